//! Sends files to dom0, each content once.
//!
//! A file is announced by its SHA-256; dom0 opens the window if it wants it, and answers at once if it has it.

use crate::exit::{Failure, Result};
use crate::output::progress::Meter;
use crate::session::{Event, Session};
use dom0_protocol::progress::{Phase, Progress, Unit};
use dom0_protocol::reply::{Reply, Uploaded};
use dom0_protocol::request::{FilePurpose, Upload};
use dom0_protocol::{Digest, ErrorCode, Request};
use sha2::Digest as _;

/// The SHA-256 of bytes.
#[must_use]
pub fn digest(bytes: &[u8]) -> Digest {
    Digest(sha2::Sha256::digest(bytes).into())
}

/// Sees to it that dom0 has these bytes.
///
/// # Errors
/// `store-full`, or what else dom0 answers; `connection-lost`.
pub fn upload(
    session: &mut Session,
    bytes: &[u8],
    purpose: FilePurpose,
    meter: &Meter,
) -> Result<Uploaded> {
    let length = u64::try_from(bytes.len()).unwrap_or(u64::MAX);
    let mut call = session.call(Request::Upload(Upload {
        sha256: digest(bytes),
        length,
        purpose,
    }))?;
    let mut rest = bytes;
    loop {
        // The answer may come while there is still something to send: look before each piece.
        let event = if rest.is_empty() || call.room() == 0 {
            Some(call.next_event()?)
        } else {
            call.try_next()?
        };
        match event {
            Some(Event::Done(Reply::Uploaded(uploaded))) => return Ok(uploaded),
            Some(Event::Done(other)) => {
                return Err(Failure::new(
                    ErrorCode::Malformed,
                    format!("dom0 answered an upload by {other:?}"),
                ));
            }
            Some(Event::Window | Event::Data(_) | Event::Progress(_)) | None => {}
        }
        let sent = call.send(rest)?;
        rest = rest.get(sent..).unwrap_or(&[]);
        meter.show(&Progress {
            phase: Phase::Uploading,
            unit: Unit::Bytes,
            from: 0,
            now: length.saturating_sub(u64::try_from(rest.len()).unwrap_or(0)),
            target: length,
            note: String::new(),
        });
    }
}
