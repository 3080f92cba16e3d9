//! The xenstore ring and the header of its messages.

use zerocopy::{FromBytes, Immutable, IntoBytes, KnownLayout};

/// The page's used part: two byte streams. Messages are split anywhere.
#[derive(Clone, Copy, Debug, PartialEq, Eq, FromBytes, IntoBytes, Immutable, KnownLayout)]
#[repr(C)]
pub struct XenstoreRing {
    /// Bytes to the server.
    pub req: [u8; RING_SIZE],
    /// Bytes from the server.
    pub rsp: [u8; RING_SIZE],
    /// How far the server has read.
    pub req_cons: u32,
    /// How far the guest has written.
    pub req_prod: u32,
    /// How far the guest has read.
    pub rsp_cons: u32,
    /// How far the server has written.
    pub rsp_prod: u32,
    /// `XENSTORE_SERVER_FEATURE_*`.
    pub server_features: u32,
    /// `XENSTORE_CONNECTED` or `XENSTORE_RECONNECT`.
    pub connection: u32,
    /// `XENSTORE_ERROR_*`.
    pub error: u32,
}
layout!(XenstoreRing = "struct xenstore_domain_interface": 2076 {
    req @ 0, rsp @ 1024, req_cons @ 2048, req_prod @ 2052, rsp_cons @ 2056, rsp_prod @ 2060, server_features @ 2064,
    connection @ 2068, error @ 2072,
});

/// Header of a message; `len` bytes of payload follow.
#[derive(
    Clone, Copy, Debug, Default, PartialEq, Eq, FromBytes, IntoBytes, Immutable, KnownLayout,
)]
#[repr(C)]
pub struct MessageHeader {
    /// `XS_*`.
    pub kind: u32,
    /// Chosen by the guest, given back.
    pub req_id: u32,
    /// Transaction, 0 = none.
    pub tx_id: u32,
    /// Bytes that follow.
    pub len: u32,
}
layout!(MessageHeader = "struct xsd_sockmsg": 16 { kind = "type" @ 0, req_id @ 4, tx_id @ 8, len @ 12 });

/// Bytes of each stream.
pub const RING_SIZE: usize = 1024;

constants! {
    /// Privileged control (formerly debugging).
    XS_CONTROL: u32 = 0;
    /// Names of a node's children.
    XS_DIRECTORY: u32 = 1;
    /// A node's value.
    XS_READ: u32 = 2;
    /// A node's permissions.
    XS_GET_PERMS: u32 = 3;
    /// Watches a path.
    XS_WATCH: u32 = 4;
    /// Watches no more.
    XS_UNWATCH: u32 = 5;
    /// Begins a transaction.
    XS_TRANSACTION_START: u32 = 6;
    /// Ends a transaction.
    XS_TRANSACTION_END: u32 = 7;
    /// Tells the server of a domain.
    XS_INTRODUCE: u32 = 8;
    /// Tells the server that a domain is gone.
    XS_RELEASE: u32 = 9;
    /// Home of a domain.
    XS_GET_DOMAIN_PATH: u32 = 10;
    /// Writes a value.
    XS_WRITE: u32 = 11;
    /// Makes a node.
    XS_MKDIR: u32 = 12;
    /// Removes a node and all below it.
    XS_RM: u32 = 13;
    /// Sets permissions.
    XS_SET_PERMS: u32 = 14;
    /// From the server: something watched has changed.
    XS_WATCH_EVENT: u32 = 15;
    /// From the server: the name of an error.
    XS_ERROR: u32 = 16;
    /// Whether a domain was introduced.
    XS_IS_DOMAIN_INTRODUCED: u32 = 17;
    /// A domain runs again.
    XS_RESUME: u32 = 18;
    /// Lets one domain act for another.
    XS_SET_TARGET: u32 = 19;
    /// Drops all watches and transactions of the caller.
    XS_RESET_WATCHES: u32 = 21;
    /// Names of children, in parts.
    XS_DIRECTORY_PART: u32 = 22;

    /// Longest payload.
    XENSTORE_PAYLOAD_MAX: u32 = 4096;
    /// Longest absolute path, its NUL not counted.
    XENSTORE_ABS_PATH_MAX: u32 = 3072;
    /// Longest relative path, its NUL not counted.
    XENSTORE_REL_PATH_MAX: u32 = 2048;
    /// The server lets a guest reconnect.
    XENSTORE_SERVER_FEATURE_RECONNECTION: u32 = 1;
    /// The server reports errors in the page.
    XENSTORE_SERVER_FEATURE_ERROR: u32 = 2;
    /// All is well.
    XENSTORE_CONNECTED: u32 = 0;
    /// The guest asks for a fresh start.
    XENSTORE_RECONNECT: u32 = 1;
    /// No error.
    XENSTORE_ERROR_NONE: u32 = 0;
    /// The event channel failed.
    XENSTORE_ERROR_COMM: u32 = 1;
    /// Indexes made no sense.
    XENSTORE_ERROR_RINGIDX: u32 = 2;
    /// A payload was too long.
    XENSTORE_ERROR_PROTO: u32 = 3;
}
