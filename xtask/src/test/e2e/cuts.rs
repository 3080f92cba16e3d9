//! Clients that end in the middle of a word, or say what no client says.

use std::io::{Read, Write};
use std::os::unix::net::UnixStream;
use std::time::Duration;

use anyhow::{Context, Result, anyhow, bail, ensure};
use dom0_protocol::request::{FilePurpose, Upload};
use dom0_protocol::{Digest, Request};
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
