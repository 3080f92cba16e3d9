//! Memory and vCPUs that change while a guest works.

use std::time::{Duration, Instant};

use anyhow::{Result, ensure};

use super::bench::{Bench, number};
use crate::run::client::Console;
use crate::run::demo::TICK;

/// A minute of changes, in parts, with a rest behind each: what the host does besides, both see.
const PARTS: u32 = 10;
const PART: Duration = Duration::from_secs(6);
const REST: Duration = Duration::from_secs(2);

/// Changes of each kind under counted time: every pair of a size and a number of vCPUs once.
const COUNTED: usize = SIZES.len() * VCPUS.len();

/// Sizes and numbers of vCPUs, gone through in turns of different length so that all pairs meet.
const SIZES: [u64; 5] = [64, 192, 48, 256, 96];
const VCPUS: [u64; 4] = [1, 4, 2, 3];

/// A minute of changes, each of which is reached and seen by the guest; the longest gap is printed beside that of
/// windows without changes. It is not judged here: wall time on a busy host tells of the host. The tour judges it over a
/// few changes, and [`by_instruction_count`] without any excuse.
pub(crate) fn for_a_minute(bench: &Bench<'_, '_>) -> Result<()> {
    bench.leaves_nothing(|| {
        create(bench, "busy")?;
        bench.client().console("busy", |console| {
            console.start_heartbeat()?;
            let (mut during, mut quiet) = (Duration::ZERO, Duration::ZERO);
            let (mut turns, mut beats) = (0, 0);
            for _ in 0..PARTS {
                let deadline = Instant::now() + PART;
                while Instant::now() < deadline {
                    turn(bench, console, "busy", turns)?;
                    turns += 1;
                }
                let window = console.heartbeat()?;
                during = during.max(window.longest);
                beats += window.beats;
                std::thread::sleep(REST);
                quiet = quiet.max(console.heartbeat()?.longest);
            }
            console.stop_heartbeat()?;
            println!(
                "         {turns} changes of each kind, {beats} beats; longest gap {:.1} ms, {:.1} ms without changes",
                millis(during),
                millis(quiet)
            );
            Ok(())
        })?;
        bench.client().json(&["destroy", "busy"]).map(|_| ())
    })
}

/// The same with time that counts instructions, and a recount of all frames beside each change: no excuse by a busy host.
pub(crate) fn by_instruction_count(bench: &Bench<'_, '_>) -> Result<()> {
    bench.leaves_nothing(|| {
        create(bench, "counted")?;
        bench.client().console("counted", |console| {
            console.start_heartbeat()?;
            let (mut steps, mut pauses) = (0, 0);
            for number in 0..COUNTED {
                turn(bench, console, "counted", number)?;
                let audit = bench.client().json(&["audit"])?;
                let pause = super::bench::number(&audit, "longest_pause_ns")?;
                (steps, pauses) = (
                    steps.max(super::bench::number(&audit, "steps")?),
                    pauses.max(pause),
                );
            }
            let window = console.heartbeat()?;
            console.stop_heartbeat()?;
            println!(
                "         {} beats, longest gap {:.3} ms of counted time; recounts of up to {steps} steps, in which other CPUs \
                 stood still for {:.3} ms at most",
                window.beats,
                millis(window.longest),
                millis(Duration::from_nanos(pauses))
            );
            ensure!(
                window.longest <= TICK * 3,
                "the longest gap was {:.3} ms",
                millis(window.longest)
            );
            Ok(())
        })?;
        bench.client().json(&["destroy", "counted"]).map(|_| ())
    })
}

/// A change that cannot be is refused before anything has changed.
pub(crate) fn refusals(bench: &Bench<'_, '_>) -> Result<()> {
    bench.leaves_nothing(|| {
        create(bench, "still")?;
        let wanted = [
            (["balloon", "still", "1TiB"], 4),
            (["balloon", "still", "1MiB"], 4),
            (["balloon", "still", "512MiB"], 4),
            (["vcpus", "still", "5"], 4),
            (["vcpus", "still", "0"], 2),
            (["balloon", "still", "64"], 2),
            (["balloon", "nobody", "64MiB"], 3),
            (["vcpus", "nobody", "1"], 3),
        ];
        for (words, code) in wanted {
            let (said, json) = bench.refused(&words)?;
            ensure!(
                said.code == code,
                "`{}` ended with code {}: {json}",
                said.command,
                said.code
            );
            let domain = bench.domain("still")?;
            ensure!(
                number(&domain, "memory_bytes")? == 64 << 20
                    && number(&domain, "vcpus_online")? == 1,
                "`{}` was refused, and yet changed something: {domain}",
                said.command
            );
        }
        bench.client().json(&["destroy", "still"]).map(|_| ())
    })
}

fn create(bench: &Bench<'_, '_>, name: &str) -> Result<()> {
    bench
        .client()
        .json(&[
            "create",
            "--name",
            name,
            "--memory",
            "64MiB",
            "--max-memory",
            "256MiB",
            "--vcpus",
            "1",
            "--max-vcpus",
            "4",
        ])
        .map(|_| ())
}

/// One change of memory and one of vCPUs, each seen by the guest too.
fn turn(bench: &Bench<'_, '_>, console: &mut Console<'_>, name: &str, count: usize) -> Result<()> {
    let size = SIZES.get(count % SIZES.len()).copied().unwrap_or(64);
    let vcpus = VCPUS.get(count % VCPUS.len()).copied().unwrap_or(1);
    let memory = bench
        .client()
        .json(&["balloon", name, &format!("{size}MiB")])?;
    let reached = number(&memory, "memory_bytes")?;
    ensure!(
        reached == size << 20,
        "{size} MiB were asked for, {reached} bytes reached"
    );
    let online = number(
        &bench.client().json(&["vcpus", name, &vcpus.to_string()])?,
        "vcpus_online",
    )?;
    ensure!(
        online == vcpus,
        "{vcpus} vCPUs were asked for, {online} are online"
    );
    let seen = (console.memory()?, console.cpus()?);
    ensure!(
        seen == (size << 20, vcpus),
        "the guest sees {} bytes and {} vCPUs, not {size} MiB and {vcpus}",
        seen.0,
        seen.1
    );
    Ok(())
}

fn millis(time: Duration) -> f64 {
    time.as_secs_f64() * 1000.0
}
