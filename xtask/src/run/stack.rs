//! Hypervisor, dom0 and multiplexer together: a machine that `dom0ctl` can talk to.

use std::path::{Path, PathBuf};
use std::time::{Duration, Instant};

use anyhow::{Context, Result};

use crate::build::bare::Images;
use crate::build::bundle::Bundle;
use crate::run::mux::Multiplexer;
use crate::run::place::{Fame, Place};
use crate::run::qemu::{Input, Machine, Running};
use crate::run::serial::Echo;
use crate::workspace::Workspace;

/// How long dom0 may take to answer first: far beyond what it takes, since a loaded host is slow.
const BOOT_LIMIT: Duration = Duration::from_secs(120);

/// A machine whose dom0 has answered. Its parts end in this order: who talks to it, the machine, its directory.
#[derive(Debug)]
pub(crate) struct Stack {
    _multiplexer: Multiplexer,
    running: Running,
    place: Place,
    boot: Duration,
}

impl Stack {
    /// Boots `machine` with our dom0, unless it has a module of its own, and waits for its answer.
    pub(crate) fn boot(
        workspace: &Workspace,
        images: &Images,
        mut machine: Machine,
        fame: Fame,
        log: &Path,
        echo: Echo,
    ) -> Result<Self> {
        let place = Place::new(fame)?;
        if machine.disc.is_none() && machine.initrd.is_none() {
            let module = place.file("bundle.cpio");
            Bundle::dom0(workspace, images)?.write(&module)?;
            machine.initrd = Some(module.into_os_string());
        }
        machine.console = Some(place.console());
        let started = Instant::now();
        let mut running = machine.start(log, echo, Input::None)?;
        // A debugger holds the machine for as long as a person likes.
        let limit = if machine.gdb {
            Duration::from_secs(24 * 3600)
        } else {
            BOOT_LIMIT
        };
        let multiplexer = Multiplexer::start(&place.console(), &place.control(), limit, || {
            running.has_ended()
        })
        .with_context(|| {
            format!(
                "the machine did not come up\n{}\n  command: {}\n  log:     {}",
                crate::child::tail(log, 30),
                running.line(),
                log.display()
            )
        })?;
        Ok(Self {
            _multiplexer: multiplexer,
            running,
            place,
            boot: started.elapsed(),
        })
    }

    /// The socket that `dom0ctl` connects to.
    pub(crate) fn control(&self) -> PathBuf {
        self.place.control()
    }

    /// From QEMU's start to dom0's first answer.
    pub(crate) fn boot_time(&self) -> Duration {
        self.boot
    }

    /// The command that started it.
    pub(crate) fn command(&self) -> &str {
        self.running.line()
    }

    /// QEMU.
    pub(crate) fn machine(&mut self) -> &mut Running {
        &mut self.running
    }
}
