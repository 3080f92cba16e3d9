//! The head of a generic device ring: 64 bytes, then slots shared by requests and responses.

use zerocopy::{FromBytes, Immutable, IntoBytes, KnownLayout};

/// Indexes at the start of a ring's page. A front end starts with zeros, but 1 in both `*_event`.
#[derive(
    Clone, Copy, Debug, Default, PartialEq, Eq, FromBytes, IntoBytes, Immutable, KnownLayout,
)]
#[repr(C)]
pub struct RingHead {
    /// Requests put in.
    pub req_prod: u32,
    /// Notify when `req_prod` passes this.
    pub req_event: u32,
    /// Responses put in.
    pub rsp_prod: u32,
    /// Notify when `rsp_prod` passes this.
    pub rsp_event: u32,
    /// Zero.
    pub pad0: [u32; 12],
}
layout!(RingHead = "head of struct blkif_sring": 64 { req_prod @ 0, req_event @ 4, rsp_prod @ 8, rsp_event @ 12 });

constants! {
    /// Where the slots begin, in bytes from the start of the first page.
    RING_SLOTS_OFFSET: usize = 64 => "offsetof(struct blkif_sring, ring)";
}
