//! `cargo xtask run`: boots the hypervisor and dom0 in QEMU, shows the tour, and leaves a prompt.
//!
//! With `--dom0 FILE` another kernel takes dom0's place: the serial line is its console and its end is the machine's.

pub(crate) mod mux;
pub(crate) mod options;
pub(crate) mod place;
pub(crate) mod qemu;
pub(crate) mod serial;
pub(crate) mod stack;

use std::process::ExitCode;

use anyhow::Result;

use crate::build::bare;
use crate::build::bundle::Bundle;
use crate::run::options::Options;
use crate::run::place::{Fame, Place};
use crate::run::qemu::{End, Input, Machine, POWERED_OFF};
use crate::run::serial::Echo;
use crate::run::stack::Stack;
use crate::setup::{packages, toolchain};
use crate::workspace::Workspace;

/// Sets up, builds and runs.
pub(crate) fn run(workspace: &Workspace, options: &Options) -> Result<ExitCode> {
    packages::ensure(workspace, packages::RUN)?;
    let toolchain = toolchain::ensure(workspace)?;
    let images = bare::build(workspace, toolchain)?;
    let machine = Machine {
        kind: options.machine.clone(),
        cpu: options.cpu.clone(),
        cpus: options.cpus,
        memory_mib: options.memory,
        append: options.append.clone(),
        gdb: options.gdb,
        ..Machine::new(images.hypervisor())
    };
    let log = workspace.log(&format!("run-{}", std::process::id()))?;
    let echo = if options.serial {
        Echo::Terminal
    } else {
        Echo::Quiet
    };
    if options.gdb {
        println!(
            "run: waiting for a debugger: gdb {} -ex 'target remote :1234'",
            images.hypervisor().display()
        );
    }
    if options.dom0.is_some() {
        return foreign(options, machine, &log);
    }
    println!(
        "run: the machine boots; its serial line goes to {}",
        log.display()
    );
    let mut stack = Stack::boot(workspace, &images, machine, Fame::Latest, &log, echo)?;
    println!(
        "run: dom0 answers after {:.1} s at {}",
        stack.boot_time().as_secs_f64(),
        stack.control().display()
    );
    let end = stack.machine().wait_forever()?;
    Ok(conclude(end))
}

/// Runs another kernel in dom0's place, with the serial line on the terminal.
fn foreign(options: &Options, mut machine: Machine, log: &std::path::Path) -> Result<ExitCode> {
    let place = Place::new(Fame::Unknown)?;
    let kernel = options.dom0.clone().unwrap_or_default();
    let bundle = Bundle {
        kernel,
        ramdisk: options.dom0_ramdisk.clone(),
        cmdline: options.dom0_cmdline.clone(),
    };
    let module = place.file("bundle.cpio");
    bundle.write(&module)?;
    machine.initrd = Some(module.into_os_string());
    let mut running = machine.start(log, Echo::Terminal, Input::Terminal)?;
    Ok(conclude(running.wait_forever()?))
}

fn conclude(end: End) -> ExitCode {
    println!("run: {}", end.describe());
    if end == End::Code(POWERED_OFF) {
        ExitCode::SUCCESS
    } else {
        ExitCode::FAILURE
    }
}
