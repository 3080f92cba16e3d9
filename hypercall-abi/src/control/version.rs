//! Operation 0, open to every domain: which versions, which calls, which features.

use zerocopy::{FromBytes, Immutable, IntoBytes, KnownLayout};

use super::{ControlHeader, control};

/// A question and its answer.
#[derive(
    Clone, Copy, Debug, Default, PartialEq, Eq, FromBytes, IntoBytes, Immutable, KnownLayout,
)]
#[repr(C)]
pub struct Query {
    /// Version 1.
    pub header: ControlHeader,
    /// In: `QUERY_*`.
    pub topic: u32,
    /// In: which row of [`QUERY_OPERATIONS`]; else 0.
    pub index: u32,
    /// Out: as the topic says.
    pub values: [u64; 4],
}
layout!(Query = "": 48 { header @ 0, topic @ 8, index @ 12, values @ 16 });
control!(Query is PARAVANE_QUERY version 1);

constants! {
    /// Tells versions, calls and features. Open to every domain.
    PARAVANE_QUERY: u32 = 0 => "";
    /// Values: version of the guest ABI (major << 16 | minor), newest and oldest version of this interface, bitmap of
    /// `PARAVANE_FEATURE_*`.
    QUERY_VERSIONS: u32 = 0 => "";
    /// Values: bitmap of the hypercalls 0..=63 that exist; the rest 0.
    QUERY_HYPERCALLS: u32 = 1 => "";
    /// Values of the index-th sub-operation: number of its hypercall, its own number ([`QUERY_NO_SUB_OPERATION`] for a call without
    /// any), version that introduced it, who may call it (`QUERY_WHO_*`). `ENOENT` past the last.
    QUERY_OPERATIONS: u32 = 2 => "";
    /// In an answer to [`QUERY_OPERATIONS`]: the hypercall has no sub-operations.
    QUERY_NO_SUB_OPERATION: u64 = u64::MAX => "";
    /// Every domain may call it, on itself; the management domain on others where the operation says so.
    QUERY_WHO_ANY: u64 = 0 => "";
    /// The management domain only.
    QUERY_WHO_DOM0: u64 = 1 => "";
    /// The M2P shows a domain its own frames only.
    PARAVANE_FEATURE_PRIVATE_M2P: u64 = 1 << 0 => "";
    /// `CONSOLEIO_write` is open to every domain.
    PARAVANE_FEATURE_CONSOLE_WRITE: u64 = 1 << 1 => "";
}
