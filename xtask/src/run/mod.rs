//! `cargo xtask run`: boots the hypervisor and dom0 in QEMU, shows the tour, and leaves a prompt.
//!
//! With `--dom0 FILE` another kernel takes dom0's place: the serial line is its console and its end is the machine's.

pub(crate) mod client;
pub(crate) mod demo;
pub(crate) mod mux;
pub(crate) mod options;
pub(crate) mod place;
pub(crate) mod prompt;
pub(crate) mod qemu;
pub(crate) mod serial;
pub(crate) mod stack;
pub(crate) mod tour;

use std::fs;
use std::io::IsTerminal;
use std::path::{Path, PathBuf};
use std::process::ExitCode;
use std::time::Duration;

use anyhow::{Context, Result, bail};

use crate::build::bare::{self, Images};
use crate::build::bundle::Bundle;
use crate::build::iso::Iso;
use crate::child;
use crate::run::client::Client;
use crate::run::options::Options;
use crate::run::place::{Fame, Place};
use crate::run::qemu::{End, Input, Machine, POWERED_OFF};
use crate::run::serial::Echo;
use crate::run::stack::Stack;
use crate::setup::{packages, toolchain};
use crate::workspace::Workspace;

/// How long the machine may take to go after it has agreed to.
const FAREWELL: Duration = Duration::from_secs(30);

/// Sets up, builds and runs.
pub(crate) fn run(workspace: &Workspace, options: &Options) -> Result<ExitCode> {
    packages::ensure(workspace, &[packages::RUN])?;
    let toolchain = toolchain::ensure(workspace)?;
    let images = bare::build(workspace, toolchain)?;
    let bundle = match &options.dom0 {
        None => Bundle::dom0(workspace, &images)?,
        Some(kernel) => Bundle {
            kernel: kernel.clone(),
            ramdisk: options.dom0_ramdisk.clone(),
            cmdline: options.dom0_cmdline.clone(),
        },
    };
    let disc = options
        .iso
        .then(|| disc(workspace, options, &images, &bundle));
    let machine = Machine {
        disc: disc.transpose()?,
        kind: options.machine.clone(),
        cpu: options.cpu.clone(),
        cpus: options.cpus,
        memory_mib: options.memory,
        append: options.append.clone(),
        icount: options.icount,
        gdb: options.gdb,
        ..Machine::new(images.hypervisor())
    };
    let log = workspace.log(&format!("run-{}", std::process::id()))?;
    if options.gdb {
        println!(
            "run: waiting for a debugger: gdb {} -ex 'target remote :1234'",
            images.hypervisor().display()
        );
    }
    let end = match &options.dom0 {
        Some(_) => foreign(&bundle, machine.clone(), &log)?,
        None => own(workspace, options, &images, machine.clone(), &log)?,
    };
    if let Some(disc) = &machine.disc {
        fs::remove_file(disc).with_context(|| format!("cannot remove {}", disc.display()))?;
    }
    println!("run: {}", end.describe());
    if end == End::Code(POWERED_OFF) {
        return Ok(ExitCode::SUCCESS);
    }
    println!("{}\n  log: {}", child::tail(&log, 30), log.display());
    Ok(ExitCode::FAILURE)
}

/// Our own dom0: tour and prompt, or neither.
fn own(
    workspace: &Workspace,
    options: &Options,
    images: &Images,
    machine: Machine,
    log: &Path,
) -> Result<End> {
    println!(
        "run: the machine boots; its serial line goes to {}",
        log.display()
    );
    let echo = if options.serial {
        Echo::Terminal
    } else {
        Echo::Quiet
    };
    let mut stack = Stack::boot(workspace, images, machine, Fame::Latest, log, echo)?;
    println!(
        "run: dom0 answers after {:.1} s at {}",
        stack.boot_time().as_secs_f64(),
        stack.control().display()
    );
    if options.no_tour {
        println!("run: up until `cargo run -q -p dom0ctl -- poweroff` or Ctrl-C");
        return stack.machine().wait_forever();
    }
    let client = Client::new(stack.control());
    if let Err(error) = tour::run(&client) {
        bail!(
            "{error:#}\n{}\n  log: {}",
            child::tail(log, 30),
            log.display()
        );
    }
    if std::io::stdin().is_terminal() {
        return prompt::run(&mut stack, &client);
    }
    client.json(&["poweroff"])?;
    stack.machine().wait(FAREWELL)
}

/// Another kernel in dom0's place, with the serial line on the terminal.
fn foreign(bundle: &Bundle, mut machine: Machine, log: &Path) -> Result<End> {
    let place = Place::new(Fame::Unknown)?;
    if machine.disc.is_none() {
        let module = place.file("bundle.cpio");
        bundle.write(&module)?;
        machine.initrd = Some(module.into_os_string());
    }
    let mut running = machine.start(log, Echo::Terminal, Input::Terminal)?;
    running.wait_forever()
}

/// An image of this run's own.
fn disc(
    workspace: &Workspace,
    options: &Options,
    images: &Images,
    bundle: &Bundle,
) -> Result<PathBuf> {
    packages::ensure(workspace, &[packages::ISO])?;
    let path = workspace
        .output("iso")?
        .join(format!("run-{}.iso", std::process::id()));
    let iso = Iso {
        hypervisor: images.hypervisor(),
        append: options.append.clone(),
        bundle: bundle.clone(),
    };
    iso.write(workspace, &path)?;
    Ok(path)
}
