//! Pages that a guest shares with the other end of a device.
//!
//! Indexes run freely and wrap at 2^32; the place in the ring is the index modulo its size. Each side writes its own indexes only
//! and keeps private copies of them: what stands in the page is the other side's word.

pub mod block;
pub mod console;
pub mod generic;
pub mod net;
pub mod xenstore;
