//! Memory and vCPUs change under a Linux that runs: seen from inside and by the hypervisor's counts.

use std::time::{Duration, Instant};

use anyhow::{Result, ensure};

use super::guest::Guest;
use crate::run::client::Console;
use crate::run::demo::TICK;
use crate::test::e2e::bench::{Bench, number};

const MEM_TOTAL: &str = "sed -n 's/^MemTotal: *\\([0-9]*\\) kB/\\1/p' /proc/meminfo";

/// How long user space may take to put a CPU to work that the kernel has announced.
const ONLINE: Duration = Duration::from_secs(60);

/// Sizes and numbers of vCPUs that follow each other.
const CHANGES: [(&str, &str); 5] = [
    ("128MiB", "4"),
    ("512MiB", "1"),
    ("192MiB", "3"),
    ("384MiB", "2"),
    ("256MiB", "1"),
];

/// What the guest's total may be off by: pages that its balloon holds back for a moment.
const SLACK_KIB: u64 = 1024;

/// Down, up to the maximum, and back: the guest's total follows exactly.
pub(crate) fn memory(bench: &Bench<'_, '_>, guest: &Guest) -> Result<()> {
    guest.talk(bench, |shell| {
        let reserved = (256 << 10) - shell.sh_number(MEM_TOTAL)?;
        for mib in [128_u64, 512, 256] {
            let reached = bench
                .client()
                .json(&["balloon", guest.name(), &format!("{mib}MiB")])?;
            let counted = number(&bench.domain(guest.name())?, "memory_bytes")?;
            ensure!(
                number(&reached, "memory_bytes")? == mib << 20 && counted == mib << 20,
                "{mib} MiB were asked for, the hypervisor counts {counted} bytes"
            );
            let seen = shell.sh_number(MEM_TOTAL)? + reserved;
            ensure!(
                seen.abs_diff(mib << 10) <= SLACK_KIB,
                "{mib} MiB were reached, the guest counts {seen} KiB"
            );
        }
        Ok(())
    })
}

/// More, fewest, and back.
pub(crate) fn vcpus(bench: &Bench<'_, '_>, guest: &Guest) -> Result<()> {
    guest.talk(bench, |shell| {
        for wanted in [4_u64, 1, 2] {
            let reached = bench
                .client()
                .json(&["vcpus", guest.name(), &wanted.to_string()])?;
            let counted = number(&bench.domain(guest.name())?, "vcpus_online")?;
            ensure!(
                number(&reached, "vcpus_online")? == wanted && counted == wanted,
                "{wanted} vCPUs were asked for, the hypervisor counts {counted}"
            );
            await_processors(shell, wanted)?;
        }
        Ok(())
    })
}

/// A user program that ticks every 10 ms while memory and vCPUs change; time counts instructions, so a busy host is no excuse.
pub(crate) fn no_tick_is_missed(bench: &Bench<'_, '_>, guest: &Guest) -> Result<()> {
    let name = guest.name();
    guest.talk(bench, |shell| {
        shell.sh("(ticks >/tmp/ticks &)")?;
        for (memory, vcpus) in CHANGES {
            bench.client().json(&["balloon", name, memory])?;
            bench.client().json(&["vcpus", name, vcpus])?;
        }
        shell.sh("killall ticks; while pidof ticks; do :; done >/dev/null")?;
        let (ticks, longest) = (
            shell.sh_number("sed -n 's/^ticks: //p' /tmp/ticks")?,
            shell.sh_number("sed -n 's/^longest gap in us: //p' /tmp/ticks")?,
        );
        println!(
            "         {} changes of each kind, {ticks} ticks, longest gap {longest} us of counted time",
            CHANGES.len()
        );
        ensure!(ticks > 0, "it did not tick");
        let bound = TICK * 3;
        ensure!(
            Duration::from_micros(longest) <= bound,
            "the longest gap was {longest} us"
        );
        Ok(())
    })
}

/// A vCPU counts for the hypervisor from its first instruction on, for the guest when that CPU has set itself up.
fn await_processors(shell: &mut Console<'_>, wanted: u64) -> Result<()> {
    let deadline = Instant::now() + ONLINE;
    loop {
        let seen = (
            shell.sh_number("nproc")?,
            shell.sh_number("grep -c ^processor /proc/cpuinfo")?,
        );
        if seen == (wanted, wanted) {
            return Ok(());
        }
        ensure!(
            Instant::now() < deadline,
            "{wanted} vCPUs are online, nproc says {}, /proc/cpuinfo has {}",
            seen.0,
            seen.1
        );
    }
}
