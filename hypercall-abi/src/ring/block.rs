//! Requests and responses of a block device, in the 64-bit layout (protocol node `x86_64-abi`).

use zerocopy::{FromBytes, Immutable, IntoBytes, KnownLayout};

use crate::ids::RawGrantRef;

/// A piece of a request's data: sectors of 512 bytes in one granted page.
#[derive(
    Clone, Copy, Debug, Default, PartialEq, Eq, FromBytes, IntoBytes, Immutable, KnownLayout,
)]
#[repr(C)]
pub struct BlockSegment {
    /// The page.
    pub gref: RawGrantRef,
    /// First sector, 0..=7.
    pub first_sect: u8,
    /// Last sector, included.
    pub last_sect: u8,
    /// Ignored.
    pub pad0: u16,
}
layout!(BlockSegment = "struct blkif_request_segment": 8 { gref @ 0, first_sect @ 4, last_sect @ 5 });

/// Read, write, barrier, flush.
#[derive(
    Clone, Copy, Debug, Default, PartialEq, Eq, FromBytes, IntoBytes, Immutable, KnownLayout,
)]
#[repr(C)]
pub struct BlockRequest {
    /// `BLKIF_OP_*`.
    pub operation: u8,
    /// Segments used.
    pub nr_segments: u8,
    /// Device.
    pub handle: u16,
    /// Ignored.
    pub pad0: u32,
    /// Chosen by the guest, given back.
    pub id: u64,
    /// First sector, in units of 512 bytes.
    pub sector_number: u64,
    /// Where the data is.
    pub seg: [BlockSegment; 11],
}
layout!(BlockRequest = "struct blkif_request": 112 {
    operation @ 0, nr_segments @ 1, handle @ 2, id @ 8, sector_number @ 16, seg @ 24,
});

/// Answer to a request.
#[derive(
    Clone, Copy, Debug, Default, PartialEq, Eq, FromBytes, IntoBytes, Immutable, KnownLayout,
)]
#[repr(C)]
pub struct BlockResponse {
    /// The request's.
    pub id: u64,
    /// The request's.
    pub operation: u8,
    /// Zero.
    pub pad0: u8,
    /// `BLKIF_RSP_*`.
    pub status: i16,
    /// Zero.
    pub pad1: u32,
}
layout!(BlockResponse = "struct blkif_response": 16 { id @ 0, operation @ 8, status @ 10 });

constants! {
    /// Reads.
    BLKIF_OP_READ: u8 = 0;
    /// Writes.
    BLKIF_OP_WRITE: u8 = 1;
    /// Writes between all earlier and all later ones.
    BLKIF_OP_WRITE_BARRIER: u8 = 2;
    /// Makes what was written durable.
    BLKIF_OP_FLUSH_DISKCACHE: u8 = 3;
    /// Forgets sectors.
    BLKIF_OP_DISCARD: u8 = 5;
    /// Has its segments in pages of their own.
    BLKIF_OP_INDIRECT: u8 = 6;
    /// Segments in a request.
    BLKIF_MAX_SEGMENTS_PER_REQUEST: u8 = 11;
    /// Done.
    BLKIF_RSP_OKAY: i16 = 0;
    /// Failed.
    BLKIF_RSP_ERROR: i16 = -1;
    /// Not offered.
    BLKIF_RSP_EOPNOTSUPP: i16 = -2;
}
