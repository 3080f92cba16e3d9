//! QEMU as a child: a machine described by values, started, listened to and ended.
//!
//! Everything is given by the argument vector; nothing comes from a user's configuration files.

use std::ffi::OsString;
use std::path::{Path, PathBuf};
use std::process::Stdio;
use std::time::{Duration, Instant};

use anyhow::{Context, Result};

use crate::child::{Call, Guarded};
use crate::run::serial::{Echo, Serial};

/// QEMU's exit code when the first domain has powered the machine off.
pub(crate) const POWERED_OFF: i32 = 33;

/// QEMU's exit code when the hypervisor has panicked.
pub(crate) const PANICKED: i32 = 39;

/// QEMU's exit code when the hypervisor could start no first domain.
pub(crate) const NO_FIRST_DOMAIN: i32 = 41;

/// A machine, not yet started.
#[derive(Debug, Clone)]
pub(crate) struct Machine {
    /// QEMU's machine type: `pc` or `q35`.
    pub(crate) kind: String,
    /// QEMU's CPU model.
    pub(crate) cpu: String,
    /// How many CPUs.
    pub(crate) cpus: u32,
    /// How much memory, in MiB.
    pub(crate) memory_mib: u64,
    /// What the machine boots: an ELF that QEMU's `-kernel` takes.
    pub(crate) kernel: PathBuf,
    /// Its command line.
    pub(crate) append: String,
    /// Its modules, in QEMU's form.
    pub(crate) initrd: Option<OsString>,
    /// An image that GRUB boots from; it has hypervisor, command line and modules in itself.
    pub(crate) disc: Option<PathBuf>,
    /// The socket of the virtio console that carries the control channel.
    pub(crate) console: Option<PathBuf>,
    /// Further devices, in QEMU's words.
    pub(crate) devices: &'static [&'static str],
    /// Deterministic time: the clock counts instructions.
    pub(crate) icount: bool,
    /// Wait for a debugger on TCP port 1234.
    pub(crate) gdb: bool,
}

impl Machine {
    /// A machine of the usual kind.
    pub(crate) fn new(kernel: PathBuf) -> Self {
        Self {
            kind: "q35".to_owned(),
            cpu: "max".to_owned(),
            cpus: 2,
            memory_mib: 2048,
            kernel,
            append: String::new(),
            initrd: None,
            disc: None,
            console: None,
            devices: &[],
            icount: false,
            gdb: false,
        }
    }

    /// The command that starts it.
    pub(crate) fn call(&self) -> Call {
        let mut call = Call::new("qemu-system-x86_64")
            .args([
                "-nodefaults",
                "-no-user-config",
                "-display",
                "none",
                "-no-reboot",
            ])
            .args(["-machine", &format!("{},accel=tcg", self.kind)])
            .args(["-cpu", &self.cpu, "-smp", &self.cpus.to_string()])
            .args(["-m", &format!("{}M", self.memory_mib)])
            .args([
                "-chardev",
                "stdio,id=serial,signal=off",
                "-serial",
                "chardev:serial",
            ])
            .args(["-device", "isa-debug-exit,iobase=0xf4,iosize=4"]);
        call = match &self.disc {
            Some(disc) => call.arg("-cdrom").arg(disc),
            None => self.direct(call),
        };
        if let Some(socket) = &self.console {
            let mut chardev = OsString::from("socket,id=control,server=on,wait=off,path=");
            chardev.push(socket);
            call = call
                .arg("-chardev")
                .arg(chardev)
                .args(["-device", "virtio-serial-pci,disable-legacy=on"])
                .args(["-device", "virtconsole,chardev=control"]);
        }
        for device in self.devices {
            call = call.args(["-device", device]);
        }
        if self.icount {
            call = call
                .args(["-icount", "shift=0,sleep=off"])
                .args(["-rtc", "base=2026-01-01,clock=vm"]);
        }
        if self.gdb {
            call = call.args(["-gdb", "tcp:127.0.0.1:1234", "-S"]);
        }
        call
    }

    /// QEMU loads hypervisor and module itself.
    fn direct(&self, call: Call) -> Call {
        let call = call
            .arg("-kernel")
            .arg(&self.kernel)
            .args(["-append", &self.append]);
        match &self.initrd {
            Some(initrd) => call.arg("-initrd").arg(initrd),
            None => call,
        }
    }

    /// Starts it; its serial line goes to `log` and, if wanted, to the terminal.
    pub(crate) fn start(&self, log: &Path, echo: Echo, input: Input) -> Result<Running> {
        let call = self.call();
        let mut child = call.spawn(|command| {
            command.stdout(Stdio::piped()).stderr(Stdio::piped());
            if input == Input::Terminal {
                command.stdin(Stdio::piped());
            }
        })?;
        let process = child.child();
        let output = process.stdout.take().context("QEMU has no output")?;
        let complaints = process.stderr.take().context("QEMU has no error output")?;
        if let Some(pipe) = process.stdin.take() {
            super::serial::feed(pipe);
        }
        let serial = Serial::listen(output, complaints, log, echo)?;
        Ok(Running {
            child,
            serial,
            line: call.line(),
        })
    }
}

/// Where a machine's serial input comes from.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Input {
    /// Nowhere.
    None,
    /// This program's standard input.
    Terminal,
}

/// A machine that runs; it ends when this value is dropped.
#[derive(Debug)]
pub(crate) struct Running {
    child: Guarded,
    serial: Serial,
    line: String,
}

/// How a machine ended.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum End {
    /// QEMU ended with this code.
    Code(i32),
    /// QEMU was ended by a signal.
    Signal,
    /// It still runs.
    No,
}

impl End {
    /// In words.
    pub(crate) fn describe(self) -> String {
        match self {
            Self::Code(POWERED_OFF) => "powered off in order".to_owned(),
            Self::Code(35) => "asked for a reboot".to_owned(),
            Self::Code(37) => "the first domain crashed".to_owned(),
            Self::Code(PANICKED) => "the hypervisor panicked".to_owned(),
            Self::Code(NO_FIRST_DOMAIN) => "there was no first domain to start".to_owned(),
            Self::Code(0) => "QEMU ended with code 0: a reset or a triple fault".to_owned(),
            Self::Code(other) => format!("QEMU ended with code {other}"),
            Self::Signal => "QEMU was killed".to_owned(),
            Self::No => "it still runs".to_owned(),
        }
    }
}

impl Running {
    /// What it says on its serial line.
    pub(crate) fn serial(&self) -> &Serial {
        &self.serial
    }

    /// The command that started it.
    pub(crate) fn line(&self) -> &str {
        &self.line
    }

    /// Whether QEMU is no more.
    pub(crate) fn has_ended(&mut self) -> bool {
        self.wait(Duration::ZERO).is_ok_and(|end| end != End::No)
    }

    /// Waits for its end, at most so long.
    pub(crate) fn wait(&mut self, limit: Duration) -> Result<End> {
        let status = self.child.wait_until(Instant::now() + limit)?;
        let end = status.map_or(End::No, |status| {
            status.code().map_or(End::Signal, End::Code)
        });
        if end != End::No {
            self.serial.drain();
        }
        Ok(end)
    }

    /// Waits for its end, however long it takes.
    pub(crate) fn wait_forever(&mut self) -> Result<End> {
        let status = self.child.wait()?;
        self.serial.drain();
        Ok(status.code().map_or(End::Signal, End::Code))
    }
}
