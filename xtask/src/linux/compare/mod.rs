//! `cargo xtask compare-boot`: one kernel and one RAM disk as an ordinary domain here and on Debian's Xen.
//!
//! Both machines count instructions as time, have one CPU of the same model and nothing else to do, so the guest's own
//! clock at its init's first line tells how many instructions the whole machine took to get there, and the same again on
//! every run. Wall time is printed beside it and tells of the host.

mod differences;
mod stretches;

use std::fs;
use std::process::ExitCode;
use std::time::{Duration, Instant};

use anyhow::{Context, Result, ensure};

use crate::build::bare;
use crate::linux::initramfs::Initramfs;
use crate::linux::kernel::{self, Flavour};
use crate::peer::xen_linux::XenLinux;
use crate::peer::xen_linux::guest::Guest;
use crate::peer::xen_linux::session::Session;
use crate::run::client::Client;
use crate::run::place::Fame;
use crate::run::qemu::Machine;
use crate::run::serial::Echo;
use crate::run::stack::Stack;
use crate::setup::{packages, toolchain};
use crate::workspace::Workspace;

const NAME: &str = "linux";

/// A model that both hypervisors take with all its features, and with an instruction for randomness.
const CPU: &str = "qemu64,+rdrand";

/// How long one side may take.
const LIMIT: Duration = Duration::from_secs(600);

/// Between two looks at the guest's log.
const LOOK: Duration = Duration::from_secs(2);

/// What init says first.
const FIRST_LINE: &str = "init: first line";

/// How many kinds of hypercalls, exceptions and emulations are printed.
const KINDS: usize = 16;

/// Our time divided by Xen's: what is aimed at, and what fails.
const GOAL: f64 = 0.8;
const WORST: f64 = 1.0;

/// What one side did.
#[derive(Debug)]
struct Boot {
    lines: Vec<String>,
    wall: Duration,
}

/// `cargo xtask compare-boot`'s options.
#[derive(Debug, Clone, Copy, clap::Args)]
pub(crate) struct Options {
    /// vCPUs of the guest.
    #[arg(long, default_value_t = 1, value_parser = clap::value_parser!(u32).range(1..=8))]
    vcpus: u32,
    /// Do not boot Xen: print our figure only.
    #[arg(long)]
    ours: bool,
}

/// Boots both, prints figures and differences; fails when Xen is faster or a difference is not explained.
pub(crate) fn run(workspace: &Workspace, options: Options) -> Result<ExitCode> {
    let _turn = workspace.turn()?;
    packages::ensure(workspace, &[packages::RUN])?;
    let kernel = kernel::ensure(workspace, Flavour::Usual)?;
    // Xen's tools unpack a packed one before the guest sees it.
    let ramdisk = Initramfs::with_busybox(workspace)?.write_plain(workspace, "compare")?;
    let guest = Guest {
        ramdisk: Some(ramdisk),
        cmdline: "console=hvc0".to_owned(),
        memory_mib: 256,
        max_memory_mib: 512,
        vcpus: options.vcpus,
        max_vcpus: options.vcpus,
        ..Guest::new(NAME, kernel)
    };
    let ours = here(workspace, &guest)?;
    let here = ours.clock()?;
    println!(
        "Paravane: {here:.3} s by the guest's clock, {:.1} s of wall time",
        ours.wall.as_secs_f64()
    );
    if options.ours {
        return Ok(ExitCode::SUCCESS);
    }
    let theirs = on_xen(workspace, &guest)?;
    let there = theirs.clock()?;
    println!(
        "Xen 4.17: {there:.3} s by the guest's clock, {:.1} s of wall time for the whole session",
        theirs.wall.as_secs_f64()
    );
    let ratio = here / there;
    println!("Ratio:    {ratio:.3} (aim: {GOAL}; fails above {WORST})");
    let alike = stretches::print(&theirs.lines, &ours.lines);
    println!(
        "Alike:    {alike:.3} s in stretches that take both the same; if all others took none here, the ratio would be {:.3}",
        alike / there
    );
    let unexplained = differences::print(&theirs.lines, &ours.lines);
    Ok(if ratio <= WORST && unexplained == 0 {
        ExitCode::SUCCESS
    } else {
        ExitCode::FAILURE
    })
}

impl Boot {
    /// The guest's own clock at its init's first line, in seconds.
    fn clock(&self) -> Result<f64> {
        let line = self.lines.iter().find(|line| line.contains(FIRST_LINE));
        line.and_then(|line| stretches::stamp(line))
            .with_context(|| format!("no stamp in {line:?}"))
    }
}

/// As an ordinary domain of ours.
fn here(workspace: &Workspace, guest: &Guest) -> Result<Boot> {
    let images = bare::build(workspace, toolchain::ensure(workspace)?)?;
    let machine = Machine {
        kind: "pc".to_owned(),
        cpu: CPU.to_owned(),
        cpus: 1,
        memory_mib: 1536,
        icount: true,
        ..Machine::new(images.hypervisor())
    };
    let log = workspace.log("compare-boot-ours")?;
    let stack = Stack::boot(
        workspace,
        &images,
        machine,
        Fame::Unknown,
        &log,
        Echo::Quiet,
    )?;
    let client = Client::new(stack.control());
    let words = guest.words();
    client.json(&words.iter().map(String::as_str).collect::<Vec<_>>())?;
    let started = Instant::now();
    client.json(&["unpause", NAME])?;
    // Nobody is attached meanwhile: the machine would wait for whoever reads, and its clock would not.
    let lines = loop {
        std::thread::sleep(LOOK);
        let lines = client.scrollback(NAME)?;
        if lines.iter().any(|line| line.contains(FIRST_LINE)) {
            break lines;
        }
        ensure!(started.elapsed() < LIMIT, "{NAME} does not get to its init");
    };
    let wall = started.elapsed();
    keep(workspace, "ours", &lines)?;
    let shown = client.json(&["show", NAME, "--counters"])?;
    println!("Paravane was asked most often for:");
    for counter in shown["counters"]
        .as_array()
        .into_iter()
        .flatten()
        .take(KINDS)
    {
        println!(
            "  {:>7}  {}",
            counter["count"],
            counter["kind"].as_str().unwrap_or_default()
        );
    }
    Ok(Boot { lines, wall })
}

/// As an ordinary domain of Xen. The script looks seldom: what the first domain does counts as well.
fn on_xen(workspace: &Workspace, guest: &Guest) -> Result<Boot> {
    let peer = XenLinux::ensure(workspace)?;
    let script = format!(
        "create {NAME}\nfor second in $(seq {}); do sleep 2; grep -q -a '{FIRST_LINE}' $(console {NAME}) && break; done\n\
         sleep 1; finish {NAME}\n",
        LIMIT.as_secs() / 2
    );
    let session = Session {
        cpu: CPU.to_owned(),
        cpus: 1,
        icount: true,
        limit: LIMIT,
        ..Session::new("compare-boot-xen", vec![guest.clone()], script)
    };
    let started = Instant::now();
    let outcome = session.run(workspace, &peer)?;
    let lines = outcome.console(NAME).to_vec();
    if lines.is_empty() {
        return Err(anyhow::anyhow!("{}", outcome.script().join("\n")))
            .context("the guest said nothing on Xen");
    }
    keep(workspace, "xen", &lines)?;
    Ok(Boot {
        lines,
        wall: started.elapsed(),
    })
}

/// Keeps a kernel log for people.
fn keep(workspace: &Workspace, whose: &str, lines: &[String]) -> Result<()> {
    let path = workspace.log(&format!("compare-boot-kernel-{whose}"))?;
    fs::write(&path, lines.join("\n")).with_context(|| format!("cannot write {}", path.display()))
}
