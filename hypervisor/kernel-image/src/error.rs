//! Why a kernel is refused.

use thiserror::Error;

/// Why an image cannot be loaded.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Error)]
pub enum ImageError {
    /// No bytes at all.
    #[error("the kernel file is empty")]
    Empty,
    /// The first bytes are not those of an ELF file.
    #[error("the kernel file is not an ELF file")]
    NotElf,
    /// A header, table, segment or note lies beyond the end of the file.
    #[error("the kernel file is truncated")]
    Truncated,
    /// A 32-bit file.
    #[error("the kernel is a 32-bit one: only 64-bit kernels can run")]
    Is32Bit,
    /// For another processor.
    #[error("the kernel is for another processor (ELF machine {0}): only x86-64 kernels can run")]
    WrongMachine(u16),
    /// A header that contradicts itself.
    #[error("the kernel file's ELF headers make no sense")]
    Malformed,
    /// Nothing to load.
    #[error("the kernel file has no loadable segment")]
    NoSegments,
    /// More than [`MAX_SEGMENTS`](crate::MAX_SEGMENTS) segments to load.
    #[error("the kernel file has too many loadable segments")]
    TooManySegments,
    /// A segment has more bytes in the file than in memory.
    #[error("segment {0} of the kernel is larger in the file than in memory")]
    SegmentLargerInFile(usize),
    /// A segment's end is beyond the end of the address space.
    #[error("segment {0} of the kernel wraps around the end of the address space")]
    SegmentWraps(usize),
    /// Two segments want the same memory.
    #[error("segments {0} and {1} of the kernel overlap")]
    SegmentsOverlap(usize, usize),
    /// The kernel says nothing about how it wants to be started.
    #[error("the kernel has no Xen notes: it is not made to run on a hypervisor of this kind")]
    NoNotes,
    /// A kernel for hardware-assisted guests only.
    #[error("the kernel has no PV support (its notes offer a PVH entry only)")]
    NoPvSupport,
    /// The kernel speaks another interface.
    #[error("the kernel's notes ask for another interface than xen-3.0")]
    WrongInterface,
    /// The kernel wants a builder of its own.
    #[error("the kernel's notes ask for another loader than the generic one")]
    WrongLoader,
    /// `PADDR_OFFSET` without `VIRT_BASE`.
    #[error("the kernel's notes give a physical offset without a virtual base")]
    OffsetWithoutBase,
    /// The notes' addresses do not go together with the segments.
    #[error(
        "the kernel's addresses do not fit: base {base:#x}, image {start:#x} to {end:#x}, entry {entry:#x}"
    )]
    Addresses {
        /// Address of PFN 0.
        base: u64,
        /// First address of the image.
        start: u64,
        /// First address behind the image.
        end: u64,
        /// Address of the first instruction.
        entry: u64,
    },
    /// The hypercall page is not a page of the image.
    #[error("the kernel's hypercall page at {0:#x} is not a page of its image")]
    HypercallPage(u64),
    /// A feature that nobody knows is required.
    #[error("the kernel requires a feature that is not known")]
    UnknownFeature,
}

/// Why a kernel that can be loaded does not fit a domain.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Error)]
pub enum LayoutError {
    /// The domain has too little memory.
    #[error("the kernel needs {needed} pages of memory, the domain has {given}")]
    TooSmall {
        /// Pages needed, as far as they could be computed.
        needed: u64,
        /// Pages given.
        given: u64,
    },
    /// The initial mapping would leave the addresses that a guest may use.
    #[error("kernel and ramdisk do not fit into the address space from {0:#x} on")]
    AddressSpace(u64),
    /// The kernel does not support being the first domain.
    #[error("the kernel cannot be the first domain: its notes do not offer dom0")]
    NotForFirstDomain,
    /// The kernel can be the first domain only.
    #[error("the kernel can be the first domain only: its notes require dom0")]
    FirstDomainOnly,
}
