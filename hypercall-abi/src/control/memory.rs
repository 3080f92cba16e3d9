//! Operations 0x300..: contents of other domains' frames.
//!
//! Frames themselves are given by `XENMEM_populate_physmap` with the domain's number. Page tables of a new domain are written as
//! plain data and become tables by `MMUEXT_PIN_L4_TABLE` in its name, so that one validator checks them all.

use zerocopy::{FromBytes, Immutable, IntoBytes, KnownLayout};

use super::{ControlHeader, control};
use crate::guest_ptr::GuestPtr;
use crate::ids::{RawDomId, RawMfn};

/// Argument of `MEMORY_WRITE`: fills frames of a domain that is building, or of the caller.
#[derive(
    Clone, Copy, Debug, Default, PartialEq, Eq, FromBytes, IntoBytes, Immutable, KnownLayout,
)]
#[repr(C)]
pub struct MemoryWrite {
    /// Version 1.
    pub header: ControlHeader,
    /// In: whose frames.
    pub domid: RawDomId,
    /// Zero.
    pub reserved: u16,
    /// In: frames in the list, at most [`MAX_MEMORY_FRAMES`].
    pub count: u32,
    /// In: frames to begin after. Out: frames done, also on an error and where the call was preempted.
    pub done: u32,
    /// Zero.
    pub reserved2: u32,
    /// In: the frames.
    pub frames: GuestPtr<RawMfn>,
    /// In: `count` * 4096 bytes; 0 = zero the frames.
    pub data: GuestPtr<u8>,
}
layout!(MemoryWrite = "": 40 {
    header @ 0, domid @ 8, reserved @ 10, count @ 12, done @ 16, reserved2 @ 20, frames @ 24, data @ 32,
});
control!(MemoryWrite is MEMORY_WRITE version 1, reserves reserved, reserved2);

/// Argument of `MEMORY_READ`: copies frames of any domain out.
#[derive(
    Clone, Copy, Debug, Default, PartialEq, Eq, FromBytes, IntoBytes, Immutable, KnownLayout,
)]
#[repr(C)]
pub struct MemoryRead {
    /// Version 1.
    pub header: ControlHeader,
    /// In: whose frames.
    pub domid: RawDomId,
    /// Zero.
    pub reserved: u16,
    /// In: frames in the list, at most [`MAX_MEMORY_FRAMES`].
    pub count: u32,
    /// In: frames to begin after. Out: frames done, also on an error and where the call was preempted.
    pub done: u32,
    /// Zero.
    pub reserved2: u32,
    /// In: the frames.
    pub frames: GuestPtr<RawMfn>,
    /// In: where `count` * 4096 bytes go.
    pub data: GuestPtr<u8>,
}
layout!(MemoryRead = "": 40 {
    header @ 0, domid @ 8, reserved @ 10, count @ 12, done @ 16, reserved2 @ 20, frames @ 24, data @ 32,
});
control!(MemoryRead is MEMORY_READ version 1, reserves reserved, reserved2);

constants! {
    /// Copies pages into frames.
    MEMORY_WRITE: u32 = 0x300 => "";
    /// Copies frames out.
    MEMORY_READ: u32 = 0x301 => "";
    /// Frames in one call.
    MAX_MEMORY_FRAMES: u32 = 1024 => "";
}
