//! Requests and responses of a network device: a ring for sending and one for receiving, named from the guest's side.

use zerocopy::{FromBytes, Immutable, IntoBytes, KnownLayout};

use crate::ids::RawGrantRef;

/// A piece of a packet to send.
#[derive(
    Clone, Copy, Debug, Default, PartialEq, Eq, FromBytes, IntoBytes, Immutable, KnownLayout,
)]
#[repr(C)]
pub struct TxRequest {
    /// Page of the data.
    pub gref: RawGrantRef,
    /// Where in the page.
    pub offset: u16,
    /// `NETTXF_*`.
    pub flags: u16,
    /// Chosen by the guest, given back.
    pub id: u16,
    /// Bytes; in a packet's first request those of the whole packet.
    pub size: u16,
}
layout!(TxRequest = "struct netif_tx_request": 12 { gref @ 0, offset @ 4, flags @ 6, id @ 8, size @ 10 });

/// Answer to a [`TxRequest`].
#[derive(
    Clone, Copy, Debug, Default, PartialEq, Eq, FromBytes, IntoBytes, Immutable, KnownLayout,
)]
#[repr(C)]
pub struct TxResponse {
    /// The request's.
    pub id: u16,
    /// `NETIF_RSP_*`.
    pub status: i16,
}
layout!(TxResponse = "struct netif_tx_response": 4 { id @ 0, status @ 2 });

/// A page to receive into.
#[derive(
    Clone, Copy, Debug, Default, PartialEq, Eq, FromBytes, IntoBytes, Immutable, KnownLayout,
)]
#[repr(C)]
pub struct RxRequest {
    /// Chosen by the guest, given back.
    pub id: u16,
    /// Ignored.
    pub pad0: u16,
    /// The page.
    pub gref: RawGrantRef,
}
layout!(RxRequest = "struct netif_rx_request": 8 { id @ 0, gref @ 4 });

/// A piece of a packet received.
#[derive(
    Clone, Copy, Debug, Default, PartialEq, Eq, FromBytes, IntoBytes, Immutable, KnownLayout,
)]
#[repr(C)]
pub struct RxResponse {
    /// The request's.
    pub id: u16,
    /// Where in the page.
    pub offset: u16,
    /// `NETRXF_*`.
    pub flags: u16,
    /// Bytes, or a negative `NETIF_RSP_*`.
    pub status: i16,
}
layout!(RxResponse = "struct netif_rx_response": 8 { id @ 0, offset @ 2, flags @ 4, status @ 6 });

constants! {
    /// The checksum is the guest's to be finished.
    NETTXF_CSUM_BLANK: u16 = 1 << 0 => "NETTXF_csum_blank";
    /// The data is known to be good.
    NETTXF_DATA_VALIDATED: u16 = 1 << 1 => "NETTXF_data_validated";
    /// The packet goes on in the next request.
    NETTXF_MORE_DATA: u16 = 1 << 2 => "NETTXF_more_data";
    /// The next slot holds extra information.
    NETTXF_EXTRA_INFO: u16 = 1 << 3 => "NETTXF_extra_info";
    /// The data is known to be good.
    NETRXF_DATA_VALIDATED: u16 = 1 << 0 => "NETRXF_data_validated";
    /// The checksum is not finished.
    NETRXF_CSUM_BLANK: u16 = 1 << 1 => "NETRXF_csum_blank";
    /// The packet goes on in the next response.
    NETRXF_MORE_DATA: u16 = 1 << 2 => "NETRXF_more_data";
    /// The next slot holds extra information.
    NETRXF_EXTRA_INFO: u16 = 1 << 3 => "NETRXF_extra_info";
    /// Dropped.
    NETIF_RSP_DROPPED: i16 = -2;
    /// Failed.
    NETIF_RSP_ERROR: i16 = -1;
    /// Done.
    NETIF_RSP_OKAY: i16 = 0;
    /// Answers a slot of extra information.
    NETIF_RSP_NULL: i16 = 1;
}
