//! Who may have how much: admission before anything changes, and the watch over changes that guests carry out.
//!
//! Wanted and reached are two things. `admission` decides on what is wanted, against counts of the hypervisor; `target`
//! compares what is wanted with what the hypervisor counts, and finds the reason when the two stay apart.

mod admission;
mod target;

pub(crate) use admission::check_vcpus;
pub use admission::{HOST_RESERVE_FRAMES, Ledger, MAX_VCPUS, Refusal, Wish};
pub use target::{Change, Verdict, Why};

/// Bytes of a frame.
pub const FRAME_BYTES: u64 = 4096;

/// Frames that so many bytes fill, the last perhaps in part.
#[must_use]
pub const fn frames_of(bytes: u64) -> u64 {
    bytes.div_ceil(FRAME_BYTES)
}

/// Bytes of so many frames.
#[must_use]
pub const fn bytes_of(frames: u64) -> u64 {
    frames.saturating_mul(FRAME_BYTES)
}
