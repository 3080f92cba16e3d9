//! What programs print in a domain is what they print on the same kernel without a hypervisor.

use std::time::Duration;

use anyhow::{Context, Result, bail, ensure};

use super::guest::Guest;
use crate::linux::initramfs::Initramfs;
use crate::linux::kernel::{self, Flavour};
use crate::linux::programs;
use crate::run::qemu::{Input, Machine};
use crate::run::serial::Echo;
use crate::test::e2e::bench::Bench;
use crate::test::suite::Suite;
use crate::test::trial;
use crate::workspace::Workspace;

/// From the machine's start to the last program's end.
const LIMIT: Duration = Duration::from_secs(400);

/// What init says when they have run.
const OVER: &str = "init: /bin/programs ended with";

/// The model of QEMU's with all that it has, and the same by the other maker: 32-bit programs enter the kernel by another
/// instruction there.
const CPUS: [(&str, &str, &str); 2] = [
    ("max", "linux-programs", ""),
    (
        "max,vendor=GenuineIntel",
        "linux-programs-intel",
        "entries32",
    ),
];

/// Runs all programs on both, and compares what each has printed.
pub(crate) fn programs(suite: &mut Suite<'_>) -> Result<()> {
    let workspace = suite.workspace();
    let kernel = kernel::ensure(workspace, Flavour::Usual)?;
    let mut disk = Initramfs::with_busybox(workspace)?;
    programs::add_all(workspace, &mut disk)?;
    let ramdisk = disk.write(workspace, "programs")?;
    for (cpu, group, only) in CPUS {
        let words = format!("quiet loglevel=3 run={} only={only}", programs::RUN_ALL);
        let bare = Machine {
            cpu: cpu.to_owned(),
            memory_mib: 512,
            append: format!("console=ttyS0 {words}"),
            initrd: Some(ramdisk.as_os_str().to_owned()),
            ..Machine::new(kernel.clone())
        };
        let expected = without_hypervisor(workspace, group, &bare)?;
        let guest = Guest::new("programs", &kernel, &ramdisk).with_words(&words);
        let mut bench = Bench::boot(suite, group, |machine| Machine {
            cpu: cpu.to_owned(),
            ..machine
        })?;
        let mut printed = Vec::new();
        bench.case("the programs run", |bench| {
            printed = guest.boot_until(bench, OVER, LIMIT)?;
            Ok(())
        });
        for name in programs::names().filter(|name| only.is_empty() || *name == only) {
            bench.case(name, |_| compare(name, &printed, &expected));
        }
        bench.finish()?;
    }
    Ok(())
}

/// The kernel as QEMU's own, with its serial line as console.
fn without_hypervisor(
    workspace: &Workspace,
    group: &str,
    machine: &Machine,
) -> Result<Vec<String>> {
    let log = workspace.log(&format!("{group}-bare"))?;
    let running = machine.start(&log, Echo::Quiet, Input::None)?;
    let over = running.serial().wait_for(LIMIT, |line| line.contains(OVER));
    if over.is_none() {
        bail!(trial::explain(
            "the programs did not end without a hypervisor",
            &log,
            running.line()
        ));
    }
    Ok(running.serial().lines())
}

/// Holds that one program printed the same, and something.
fn compare(name: &str, printed: &[String], expected: &[String]) -> Result<()> {
    let mark = format!("{}{name}: ", programs::MARK);
    let of = |lines: &[String]| -> Vec<String> {
        let own = lines.iter().filter_map(|line| line.split_once(&mark));
        own.map(|(_, text)| text.trim_end().to_owned()).collect()
    };
    let (printed, expected) = (of(printed), of(expected));
    let last = expected.last().context("it prints nothing")?;
    ensure!(
        last == "ended with 0",
        "without a hypervisor it says: {}",
        expected.join("\n")
    );
    for (number, line) in expected.iter().enumerate() {
        let ours = printed.get(number).map_or("nothing", String::as_str);
        ensure!(
            ours == line,
            "line {number} is `{ours}`, and without a hypervisor `{line}`"
        );
    }
    ensure!(
        printed.len() == expected.len(),
        "it prints {} lines, and without a hypervisor {}",
        printed.len(),
        expected.len()
    );
    Ok(())
}
