//! Page tables: entries, the two batch calls, flush flags, and the map of a guest's address space.

use zerocopy::{FromBytes, Immutable, IntoBytes, KnownLayout};

/// One request of `mmu_update`.
#[derive(
    Clone, Copy, Debug, Default, PartialEq, Eq, FromBytes, IntoBytes, Immutable, KnownLayout,
)]
#[repr(C)]
pub struct MmuUpdate {
    /// Machine address of the entry (or frame, for the M2P); the low 3 bits are the command, `MMU_*`.
    pub ptr: u64,
    /// New contents.
    pub val: u64,
}
layout!(MmuUpdate = "struct mmu_update": 16 { ptr @ 0, val @ 8 });

/// One request of `mmuext_op`.
#[derive(
    Clone, Copy, Debug, Default, PartialEq, Eq, FromBytes, IntoBytes, Immutable, KnownLayout,
)]
#[repr(C)]
pub struct MmuextOp {
    /// `MMUEXT_*`.
    pub cmd: u32,
    /// Ignored.
    pub pad0: u32,
    /// Frame number or virtual address, by the command.
    pub arg1: u64,
    /// Number of LDT entries (low 32 bits), address of a vCPU bitmap, or source frame, by the command.
    pub arg2: u64,
}
layout!(MmuextOp = "struct mmuext_op": 24 { cmd @ 0, arg1 @ 8, arg2 @ 16 });

/// A page-table entry as a guest gives it: frame number in bits 12..51 and `PTE_*` flags.
#[derive(
    Clone, Copy, Debug, Default, PartialEq, Eq, FromBytes, IntoBytes, Immutable, KnownLayout,
)]
#[repr(transparent)]
pub struct RawEntry(pub u64);

bitflags::bitflags! {
    /// Bits of a page-table entry beside the frame number.
    #[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
    pub struct EntryFlags: u64 {
        /// The entry maps something.
        const PRESENT = 1 << 0;
        /// Writable.
        const WRITABLE = 1 << 1;
        /// Reachable from ring 3, as all of a guest is: set by the hypervisor where a guest does not.
        const USER = 1 << 2;
        /// Write-through.
        const PWT = 1 << 3;
        /// Not cached.
        const PCD = 1 << 4;
        /// Was used.
        const ACCESSED = 1 << 5;
        /// Was written.
        const DIRTY = 1 << 6;
        /// PAT in an L1 entry, a large page in L2 and L3.
        const PAT_OR_LARGE = 1 << 7;
        /// Survives a change of root.
        const GLOBAL = 1 << 8;
        /// Free for the guest.
        const AVAILABLE = 7 << 9;
        /// Mark of a guest kernel's page in an L1 entry, set by the hypervisor.
        const GUEST_KERNEL = 1 << 52;
        /// Free for the guest, but [`Self::GUEST_KERNEL`].
        const AVAILABLE_HIGH = 0x3ff << 53;
        /// Not executable.
        const NO_EXECUTE = 1 << 63;
    }
}

/// Bits of an entry that hold the frame number.
pub const ENTRY_FRAME_MASK: u64 = 0x000f_ffff_ffff_f000;
/// Bytes of a page and of a frame.
pub const PAGE_SIZE: u64 = 4096;
/// log2 of [`PAGE_SIZE`].
pub const PAGE_SHIFT: u32 = 12;
/// Entries of a page table.
pub const ENTRIES_PER_TABLE: u64 = 512;
/// First L4 slot that is the hypervisor's.
pub const FIRST_HYPERVISOR_SLOT: u64 = 256;
/// Last L4 slot that is the hypervisor's.
pub const LAST_HYPERVISOR_SLOT: u64 = 271;

constants! {
    /// Checked store of an entry.
    MMU_NORMAL_PT_UPDATE: u64 = 0;
    /// Store into the M2P.
    MMU_MACHPHYS_UPDATE: u64 = 1;
    /// Checked store that keeps accessed and dirty bits.
    MMU_PT_UPDATE_PRESERVE_AD: u64 = 2;
    /// As 0 for PV frames.
    MMU_PT_UPDATE_NO_TRANSLATE: u64 = 3;

    /// Pins a frame as L1 table.
    MMUEXT_PIN_L1_TABLE: u32 = 0;
    /// Pins a frame as L2 table.
    MMUEXT_PIN_L2_TABLE: u32 = 1;
    /// Pins a frame as L3 table.
    MMUEXT_PIN_L3_TABLE: u32 = 2;
    /// Pins a frame as L4 table.
    MMUEXT_PIN_L4_TABLE: u32 = 3;
    /// Takes a pin away.
    MMUEXT_UNPIN_TABLE: u32 = 4;
    /// Installs the kernel root.
    MMUEXT_NEW_BASEPTR: u32 = 5;
    /// Flushes this CPU.
    MMUEXT_TLB_FLUSH_LOCAL: u32 = 6;
    /// Flushes one page on this CPU.
    MMUEXT_INVLPG_LOCAL: u32 = 7;
    /// Flushes the CPUs of some vCPUs.
    MMUEXT_TLB_FLUSH_MULTI: u32 = 8;
    /// Flushes one page on the CPUs of some vCPUs.
    MMUEXT_INVLPG_MULTI: u32 = 9;
    /// Flushes all CPUs that may hold the domain's translations.
    MMUEXT_TLB_FLUSH_ALL: u32 = 10;
    /// Flushes one page on all of them.
    MMUEXT_INVLPG_ALL: u32 = 11;
    /// Writes caches back.
    MMUEXT_FLUSH_CACHE: u32 = 12;
    /// Sets the local descriptor table.
    MMUEXT_SET_LDT: u32 = 13;
    /// Installs the user root; frame 0 removes it.
    MMUEXT_NEW_USER_BASEPTR: u32 = 15;
    /// Zeroes a frame.
    MMUEXT_CLEAR_PAGE: u32 = 16;
    /// Copies a frame.
    MMUEXT_COPY_PAGE: u32 = 17;
    /// Writes caches back everywhere.
    MMUEXT_FLUSH_CACHE_GLOBAL: u32 = 18;
    /// Marks a large page; refused.
    MMUEXT_MARK_SUPER: u32 = 19;
    /// Unmarks a large page; refused.
    MMUEXT_UNMARK_SUPER: u32 = 20;

    /// No flush.
    UVMF_NONE: u64 = 0;
    /// Flush everything.
    UVMF_TLB_FLUSH: u64 = 1;
    /// Flush the one page.
    UVMF_INVLPG: u64 = 2;
    /// The bits that say what is flushed.
    UVMF_FLUSHTYPE_MASK: u64 = 3;
    /// Flush the CPUs of some vCPUs: the other bits are the address of a bitmap.
    UVMF_MULTI: u64 = 0;
    /// Flush this CPU.
    UVMF_LOCAL: u64 = 0;
    /// Flush all CPUs of the domain.
    UVMF_ALL: u64 = 1 << 2;
    /// In a count: the call is the continuation of a preempted one.
    MMU_UPDATE_PREEMPTED: u32 = 0x8000_0000 => "";

    /// First address of the hypervisor's part, and of the M2P.
    HYPERVISOR_VIRT_START: u64 = 0xffff_8000_0000_0000;
    /// First address behind the hypervisor's part.
    HYPERVISOR_VIRT_END: u64 = 0xffff_8800_0000_0000;
    /// First address of the M2P: entry of frame m is at 8 * m.
    MACH2PHYS_VIRT_START: u64 = 0xffff_8000_0000_0000;
    /// First address behind the M2P.
    MACH2PHYS_VIRT_END: u64 = 0xffff_8040_0000_0000;
    /// Entries for which the M2P has room.
    MACH2PHYS_NR_ENTRIES: u64 = 1 << 35;
    /// Descriptors (8 bytes each) in one page of a descriptor table.
    DESCRIPTORS_PER_PAGE: u32 = 512 => "";
}
