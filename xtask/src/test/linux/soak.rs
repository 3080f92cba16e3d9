//! `cargo xtask soak`: Debian's `stress-ng` in a Linux domain while its memory and vCPUs change every few seconds and the
//! hypervisor recounts all frames in between.

use std::process::ExitCode;
use std::time::{Duration, Instant};

use anyhow::{Context, Result, bail, ensure};

use super::guest::{Guest, no_complaint};
use crate::linux::initramfs::Initramfs;
use crate::linux::kernel::{self, Flavour};
use crate::linux::programs;
use crate::run::client::Console;
use crate::setup::{packages, toolchain};
use crate::test::e2e::bench::{Bench, number};
use crate::test::suite::{Length, Suite};
use crate::workspace::Workspace;

/// `cargo xtask soak`'s options.
#[derive(Debug, Clone, Copy, clap::Args)]
pub(crate) struct Options {
    /// How long, as 90s or 5m.
    #[arg(long, default_value = "5m", value_parser = span, value_name = "TIME")]
    time: Duration,
}

/// Every kind of load that is asked for, one worker each; each worker checks its own results.
const LOAD: &str = "stress-ng --cpu 1 --vm 1 --vm-bytes 24M --fork 1 --switch 1 --timer 1 --timer-freq 1000 \
    --mmap 1 --mmap-bytes 8M --verify --temp-path /tmp";

/// Sizes and numbers of vCPUs, gone through in turns of different length so that all pairs meet.
const SIZES: [u64; 5] = [192, 512, 256, 384, 224];
const VCPUS: [u64; 4] = [2, 4, 1, 3];

/// Between two changes.
const REST: Duration = Duration::from_secs(3);

/// How long the load may take to end after its time, and a command on a console that it competes with.
const PATIENCE: Duration = Duration::from_secs(180);

/// Runs it for as long as was asked for.
pub(crate) fn run(workspace: &Workspace, options: Options) -> Result<ExitCode> {
    let _turn = workspace.turn()?;
    packages::ensure(workspace, &[packages::RUN])?;
    let kernel = kernel::ensure(workspace, Flavour::Usual)?;
    let mut disk = Initramfs::with_busybox(workspace)?;
    programs::add_clocks(workspace, &mut disk)?;
    disk.add_stress_ng(workspace)?;
    let guest = Guest::new("soak", &kernel, &disk.write(workspace, "soak")?);
    let mut suite = Suite::new(workspace, toolchain::ensure(workspace)?, Length::Usual);
    let mut bench = Bench::boot(&mut suite, "soak", |machine| machine)?;
    bench.case("a busy guest stands all changes", |bench| {
        bench.leaves_nothing(|| {
            no_complaint(&guest.boot(bench)?)?;
            guest.talk(bench, |shell| soak(bench, shell, &guest, options.time))?;
            bench.client().json(&["destroy", guest.name()])
        })?;
        Ok(())
    });
    bench.finish()?;
    Ok(suite.conclude())
}

fn soak(
    bench: &Bench<'_, '_>,
    shell: &mut Console<'_>,
    guest: &Guest,
    time: Duration,
) -> Result<()> {
    let seconds = time.as_secs();
    shell.sh("(ticks >/tmp/ticks &)")?;
    shell.sh(&format!(
        "({{ {LOAD} --timeout {seconds}s >/tmp/load 2>&1; echo $? >/tmp/code; }} &)"
    ))?;
    let deadline = Instant::now() + time;
    let (mut turns, mut seen) = (0_usize, 0);
    while Instant::now() < deadline {
        turn(bench, guest, turns)?;
        turns += 1;
        shell.sh_within("killall -USR1 ticks", PATIENCE)?;
        let beats = shell.sh_within("grep -c ^ticks: /tmp/ticks || true", PATIENCE)?;
        let beats: u64 = beats.first().context("no heartbeat")?.trim().parse()?;
        ensure!(beats > seen, "its heart has stopped beating");
        seen = beats;
        std::thread::sleep(REST);
    }
    let code = shell.sh_within(
        &format!(
            "for n in $(seq {}); do [ -e /tmp/code ] && break; sleep 1; done; cat /tmp/code",
            PATIENCE.as_secs()
        ),
        PATIENCE * 2,
    )?;
    if code != ["0"] {
        bail!(
            "stress-ng ended with {code:?}:\n{}",
            shell.sh("cat /tmp/load")?.join("\n")
        );
    }
    let log = shell.sh_within("dmesg", PATIENCE)?;
    println!("         {seconds} s, {turns} changes of each kind, {turns} recounts");
    for line in shell.sh("cat /tmp/load")? {
        println!("         {line}");
    }
    no_complaint(&log)
}

/// One change of memory, one of vCPUs, and a recount of all frames.
fn turn(bench: &Bench<'_, '_>, guest: &Guest, turn: usize) -> Result<()> {
    let size = SIZES.get(turn % SIZES.len()).copied().unwrap_or(256);
    let vcpus = VCPUS.get(turn % VCPUS.len()).copied().unwrap_or(2);
    let memory = bench
        .client()
        .json(&["balloon", guest.name(), &format!("{size}MiB")])?;
    ensure!(
        number(&memory, "memory_bytes")? == size << 20,
        "{size} MiB: {memory}"
    );
    let online = bench
        .client()
        .json(&["vcpus", guest.name(), &vcpus.to_string()])?;
    ensure!(
        number(&online, "vcpus_online")? == vcpus,
        "{vcpus} vCPUs: {online}"
    );
    bench.client().json(&["audit"])?;
    Ok(())
}

/// Reads a time with a unit.
fn span(text: &str) -> Result<Duration> {
    let (number, factor) = match (text.strip_suffix('s'), text.strip_suffix('m')) {
        (Some(number), _) => (number, 1),
        (None, Some(number)) => (number, 60),
        (None, None) => bail!("a time needs a unit: {text}s or {text}m"),
    };
    let seconds = number
        .parse::<u64>()
        .ok()
        .and_then(|number| number.checked_mul(factor))
        .filter(|seconds| *seconds > 0)
        .with_context(|| format!("`{text}` is no time"))?;
    Ok(Duration::from_secs(seconds))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn times_need_a_unit() {
        assert_eq!(span("90s").unwrap(), Duration::from_secs(90));
        assert_eq!(span("5m").unwrap(), Duration::from_secs(300));
        for wrong in ["5", "", "m", "0s", "-1s", "99999999999999999999m"] {
            assert!(span(wrong).is_err(), "{wrong}");
        }
    }
}
