//! Boot and end.

use std::time::Duration;

use anyhow::{Result, ensure};

use super::guest::{Guest, no_complaint};
use crate::test::e2e::bench::{Bench, number};

/// How long a guest may take to end itself.
const END: Duration = Duration::from_secs(60);

/// Counts the interrupts that have come on either of two CPUs: of each one's timer, and of other CPUs that wake its scheduler.
const HEARD: &str = "awk '/-virq +timer|-ipi +resched/ && $2 + $3 > 0' /proc/interrupts | wc -l";

/// From `create` to the shell, without a complaint on the way.
pub(crate) fn to_a_shell(bench: &Bench<'_, '_>, guest: &Guest) -> Result<()> {
    no_complaint(&guest.boot(bench)?)
}

/// What the guest says of itself is what it was given.
pub(crate) fn sees_what_it_has(bench: &Bench<'_, '_>, guest: &Guest) -> Result<()> {
    let (online, processors, heard, memory) = guest.talk(bench, |shell| {
        Ok((
            shell.sh_number("nproc")?,
            shell.sh_number("grep -c ^processor /proc/cpuinfo")?,
            shell.sh_number(HEARD)?,
            shell.sh_number("sed -n 's/^MemTotal: *\\([0-9]*\\) kB/\\1/p' /proc/meminfo")?,
        ))
    })?;
    ensure!(
        (online, processors, heard) == (2, 2, 4),
        "nproc says {online}, /proc/cpuinfo has {processors}, which heard {heard} of timer and others"
    );
    let domain = bench.domain(guest.name())?;
    ensure!(
        number(&domain, "vcpus_online")? == 2 && number(&domain, "memory_bytes")? == 256 << 20,
        "the hypervisor counts: {domain}"
    );
    // The kernel itself and what it sets aside at boot for 512 MiB is not in its total.
    ensure!(
        (192 << 10..256 << 10).contains(&memory),
        "MemTotal is {memory} kB"
    );
    Ok(())
}

/// All that the kernel has logged since its first line.
pub(crate) fn log_has_no_complaint(bench: &Bench<'_, '_>, guest: &Guest) -> Result<()> {
    let log = guest.talk(bench, |shell| shell.sh("dmesg"))?;
    ensure!(
        log.iter().any(|line| line.contains("Linux version")),
        "the log has lost its beginning"
    );
    no_complaint(&log)
}

/// `shutdown` goes through the guest's own way to end, and `free` is free again.
pub(crate) fn ends_when_asked(bench: &Bench<'_, '_>, guest: &Guest, free: u64) -> Result<()> {
    bench.client().json(&["shutdown", guest.name(), "--wait"])?;
    let listed = bench
        .domains()?
        .into_iter()
        .any(|domain| domain["name"] == guest.name());
    if listed {
        bench.client().json(&["destroy", guest.name()])?;
    }
    bench.await_gone(guest.name(), END)?;
    let now = bench.free_memory()?;
    ensure!(now == free, "{free} bytes were free before, {now} are now");
    Ok(())
}
