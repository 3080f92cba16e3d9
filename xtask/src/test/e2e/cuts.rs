//! Clients that end in the middle of a word, or say what no client says.

use std::io::{Read, Write};
use std::os::unix::net::UnixStream;
use std::time::Duration;

use anyhow::{Context, Result, anyhow, bail, ensure};
use dom0_protocol::request::{Balloon, Create, FilePurpose, Upload};
use dom0_protocol::wait::{Otherwise, Wait};
use dom0_protocol::{Digest, DomainName, DomainSelector, Request};
use dom0ctl::connect::Address;
use dom0ctl::session::Event;

use super::bench::Bench;

/// How much of the upload is sent before the client goes.
const PART: usize = 3 << 20;
const WHOLE: u64 = 8 << 20;

/// An upload that is given up half-way leaves no memory taken, and the next client is served.
pub(crate) fn upload(bench: &Bench<'_, '_>) -> Result<()> {
    bench.leaves_nothing(|| {
        for _ in 0..3 {
            cut_upload(bench)?;
        }
        bench.client().json(&["version"])
    })?;
    Ok(())
}

fn cut_upload(bench: &Bench<'_, '_>) -> Result<()> {
    let failed = |failure: dom0ctl::exit::Failure| anyhow!("{}", failure.error().message);
    let mut session = Address::Unix(bench.socket()).connect().map_err(failed)?;
    let request = Request::Upload(Upload {
        sha256: Digest([0x5a; 32]),
        length: WHOLE,
        purpose: FilePurpose::Ramdisk,
    });
    let mut call = session.call(request).map_err(failed)?;
    let bytes = vec![0x5a; 64 << 10];
    let mut sent = 0;
    while sent < PART {
        if call.room() == 0 {
            match call.next_event().map_err(failed)? {
                Event::Window => continue,
                other @ (Event::Data(_) | Event::Progress(_) | Event::Done(_)) => {
                    bail!("instead of room for the upload came {other:?}")
                }
            }
        }
        sent += call.send(&bytes).map_err(failed)?;
    }
    Ok(())
}

/// How far a request gets before its client is gone.
#[derive(Debug, Clone, Copy)]
pub(crate) enum Stage {
    /// It has been sent.
    Asked,
    /// So many pieces of news have come, or its end.
    Progress(u32),
}

/// Makes a request and goes away at a stage of it, as at Ctrl-C.
pub(crate) fn cut_after(bench: &Bench<'_, '_>, request: Request, stage: Stage) -> Result<()> {
    let failed = |failure: dom0ctl::exit::Failure| anyhow!("{}", failure.error().message);
    let mut session = Address::Unix(bench.socket()).connect().map_err(failed)?;
    let mut call = session.call(request).map_err(failed)?;
    let Stage::Progress(mut news) = stage else {
        return Ok(());
    };
    while news > 0 {
        match call.next_event().map_err(failed)? {
            Event::Progress(_) => news -= 1,
            Event::Done(_) => break,
            Event::Data(_) | Event::Window => {}
        }
    }
    Ok(())
}

/// A client that goes away while its domain is built, or changed: there is a domain or none, and its memory is what it was or
/// what was asked for.
pub(crate) fn at_every_stage(bench: &Bench<'_, '_>) -> Result<()> {
    bench.leaves_nothing(|| {
        for news in 0..12 {
            let stage = match news {
                0 => Stage::Asked,
                count => Stage::Progress(count),
            };
            cut_after(bench, new_domain("cut")?, stage)?;
            bench.settled("cut")?;
        }
        bench.client().json(&[
            "create",
            "--name",
            "cut",
            "--memory",
            "64MiB",
            "--max-memory",
            "128MiB",
        ])?;
        for news in 0..6 {
            let stage = match news {
                0 => Stage::Asked,
                count => Stage::Progress(count),
            };
            let target = if news % 2 == 0 { 128 } else { 64 };
            cut_after(bench, balloon("cut", target)?, stage)?;
            super::moves::settle(bench, &[("cut", target)])?;
        }
        bench.client().json(&["destroy", "cut"]).map(|_| ())
    })
}

/// Two clients want different things of the same domain: one is told that it was overtaken, or both succeed one after the
/// other, and what stands in the end is what one of them asked for.
pub(crate) fn racing_balloons(bench: &Bench<'_, '_>) -> Result<()> {
    bench.leaves_nothing(|| {
        let words = [
            "create",
            "--name",
            "raced",
            "--memory",
            "64MiB",
            "--max-memory",
            "128MiB",
        ];
        bench.client().json(&words)?;
        bench.await_state("raced", &["blocked"], Duration::from_secs(30))?;
        for _ in 0..10 {
            let client = bench.client();
            let ends = std::thread::scope(|scope| {
                let racers: Vec<_> = ["128MiB", "32MiB"]
                    .map(|size| scope.spawn(move || client.say(&["balloon", "raced", size])))
                    .into_iter()
                    .collect();
                racers
                    .into_iter()
                    .map(|racer| racer.join())
                    .collect::<Vec<_>>()
            });
            let mut reached = 0;
            for said in ends {
                let Ok(said) = said else {
                    bail!("a client panicked")
                };
                ensure!(
                    said.code == 0 || said.err.contains("another request"),
                    "`{}` ended with {}: {}",
                    said.command,
                    said.code,
                    said.err
                );
                reached += u32::from(said.code == 0);
            }
            ensure!(reached > 0, "neither has reached its target");
            let domain = bench.domain("raced")?;
            let target = super::bench::number(&domain, "target_memory_bytes")? >> 20;
            ensure!(target == 128 || target == 32, "the target is {target} MiB");
            super::moves::settle(bench, &[("raced", target)])?;
        }
        bench.client().json(&["destroy", "raced"]).map(|_| ())
    })
}

fn selector(name: &str) -> Result<DomainSelector> {
    name.parse().map_err(|error| anyhow!("{name}: {error}"))
}

fn balloon(name: &str, mib: u64) -> Result<Request> {
    Ok(Request::Balloon(Balloon {
        domain: selector(name)?,
        target_bytes: mib << 20,
        wait: Wait::UntilReached {
            timeout_ms: 30_000,
            otherwise: Otherwise::Keep,
        },
    }))
}

fn new_domain(name: &str) -> Result<Request> {
    Ok(Request::Create(Box::new(Create {
        name: Some(DomainName::new(name).map_err(|error| anyhow!("{error}"))?),
        ..Create::default()
    })))
}

/// Bytes that are no frames are passed over; whoever sends them harms nobody.
pub(crate) fn random_frames(bench: &Bench<'_, '_>) -> Result<()> {
    bench.leaves_nothing(|| {
        for seed in 1..=20 {
            let mut socket = UnixStream::connect(bench.socket()).context("cannot connect")?;
            let mut noise = noise(seed, 8192);
            if seed % 2 == 0 {
                // Half of them look like frames for a while.
                for at in (0..noise.len()).step_by(512) {
                    if let Some(place) = noise.get_mut(at..at + 4) {
                        place.copy_from_slice(&dom0_protocol::frame::MAGIC);
                    }
                }
            }
            socket.write_all(&noise).context("cannot write")?;
            good_frames_of_nonsense(&mut socket, seed)?;
            let said = bench.client().say(&["list"]);
            ensure!(said.code == 0, "after noise {seed}: {}", said.err);
        }
        Ok(())
    })
}

/// Frames with right checks and wrong contents: each gets an answer or is ignored.
fn good_frames_of_nonsense(socket: &mut UnixStream, seed: u64) -> Result<()> {
    use dom0_protocol::{Frame, Kind, StreamId};
    for (number, kind) in (0..=12).map(Kind::from_number).enumerate() {
        let local = u16::try_from(number).context("too many kinds")?;
        let frame = Frame::new(kind, StreamId::new(0, local), noise(seed + 100, 200))
            .context("a frame of 200 bytes")?;
        socket
            .write_all(&frame.to_bytes())
            .context("cannot write")?;
    }
    socket
        .set_read_timeout(Some(Duration::from_millis(50)))
        .context("cannot set a time limit")?;
    // Whatever the answers are, or none until the time is over: that others are served is the check.
    let mut answers = Vec::new();
    socket.read_to_end(&mut answers).ok();
    Ok(())
}

/// Bytes of a xorshift generator: the same for the same seed.
fn noise(seed: u64, length: usize) -> Vec<u8> {
    let mut state = seed.wrapping_mul(0x9e37_79b9_7f4a_7c15) | 1;
    (0..length)
        .map(|_| {
            state ^= state << 13;
            state ^= state >> 7;
            state ^= state << 17;
            state.to_le_bytes()[3]
        })
        .collect()
}
