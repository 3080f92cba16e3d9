//! Identifiers as a guest writes them: claims, to be looked up before anything is believed of them.

use zerocopy::{FromBytes, Immutable, IntoBytes, KnownLayout};

/// Number of a machine frame (4 KiB), unchecked. What ABI fields call GFN, GMFN or MFN is this for a PV guest.
#[derive(
    Clone,
    Copy,
    Debug,
    Default,
    PartialEq,
    Eq,
    PartialOrd,
    Ord,
    Hash,
    FromBytes,
    IntoBytes,
    Immutable,
    KnownLayout,
)]
#[repr(transparent)]
pub struct RawMfn(pub u64);

/// A guest's own number for one of its pages. The hypervisor only ever stores it (in the M2P).
#[derive(
    Clone,
    Copy,
    Debug,
    Default,
    PartialEq,
    Eq,
    PartialOrd,
    Ord,
    Hash,
    FromBytes,
    IntoBytes,
    Immutable,
    KnownLayout,
)]
#[repr(transparent)]
pub struct RawPfn(pub u64);

/// Number of a port of an event channel, unchecked.
#[derive(
    Clone,
    Copy,
    Debug,
    Default,
    PartialEq,
    Eq,
    PartialOrd,
    Ord,
    Hash,
    FromBytes,
    IntoBytes,
    Immutable,
    KnownLayout,
)]
#[repr(transparent)]
pub struct RawPort(pub u32);

/// Number of a domain, unchecked; may be one of the reserved numbers below.
#[derive(
    Clone,
    Copy,
    Debug,
    Default,
    PartialEq,
    Eq,
    PartialOrd,
    Ord,
    Hash,
    FromBytes,
    IntoBytes,
    Immutable,
    KnownLayout,
)]
#[repr(transparent)]
pub struct RawDomId(pub u16);

/// Number of an entry in a grant table, unchecked.
#[derive(
    Clone,
    Copy,
    Debug,
    Default,
    PartialEq,
    Eq,
    PartialOrd,
    Ord,
    Hash,
    FromBytes,
    IntoBytes,
    Immutable,
    KnownLayout,
)]
#[repr(transparent)]
pub struct RawGrantRef(pub u32);

impl RawMfn {
    /// What an unused M2P entry, and one of a frame that is not the reader's, reads as.
    pub const INVALID: Self = Self(u64::MAX);
}

impl RawPfn {
    /// A page that has no frame (in a P2M) or a frame that has no page (in the M2P).
    pub const INVALID: Self = Self(u64::MAX);
}

impl RawDomId {
    /// The management domain.
    pub const DOM0: Self = Self(0);
    /// The calling domain.
    pub const SELF: Self = Self(DOMID_SELF);
    /// Owner of frames that are not RAM.
    pub const IO: Self = Self(DOMID_IO);
    /// The hypervisor.
    pub const XEN: Self = Self(DOMID_XEN);
    /// No domain. In `DOMAIN_CREATE`: choose one.
    pub const INVALID: Self = Self(DOMID_INVALID);
}

constants! {
    /// Ordinary domain numbers are below this.
    DOMID_FIRST_RESERVED: u16 = 0x7ff0;
    /// The calling domain.
    DOMID_SELF: u16 = 0x7ff0;
    /// Pseudo-domain that owns frames which are not RAM.
    DOMID_IO: u16 = 0x7ff1;
    /// Pseudo-domain that owns the hypervisor's pages.
    DOMID_XEN: u16 = 0x7ff2;
    /// Pseudo-domain of shared copy-on-write frames; unused here.
    DOMID_COW: u16 = 0x7ff3;
    /// Never a domain.
    DOMID_INVALID: u16 = 0x7ff4;
    /// The idle domain; never shown to a guest.
    DOMID_IDLE: u16 = 0x7fff;
    /// Bits that a domain number has.
    DOMID_MASK: u16 = 0x7fff;
    /// vCPUs that have their `vcpu_info` in `shared_info`; those from here on must register one.
    XEN_LEGACY_MAX_VCPUS: u32 = 32;
}
