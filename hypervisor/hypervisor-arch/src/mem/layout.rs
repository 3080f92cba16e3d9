//! The hypervisor's part of the address space, L4 slots 257 to 271: who lives where.
//!
//! | slot | what |
//! |---|---|
//! | 257 | one 2 MiB area per CPU ([`CpuArea`]): its data, syscall stub, descriptor windows, stacks |
//! | 258 | device registers, uncached |
//! | 261 | the image, at its link address |
//! | 262.. | direct map of all RAM |
//! | 267.. | the pool alone, at the same distances |
//!
//! The same entries stand in every root, a guest's or ours, and never change after boot, so nothing here needs more
//! than a local flush. The size of a CPU's area is a power of two: the area of the running CPU follows from RSP.

/// Bytes of a page and of a frame.
pub(crate) const PAGE: u64 = 4096;
/// Bytes of a large page.
pub(crate) const LARGE_PAGE: u64 = 2 << 20;

/// First address of the per-CPU areas (slot 257).
pub(crate) const CPU_AREAS: u64 = 0xffff_8080_0000_0000;
/// First address of device registers (slot 258).
pub(crate) const DEVICES: u64 = 0xffff_8100_0000_0000;
/// Link address minus physical address of the image (slot 261).
pub(crate) const IMAGE: u64 = 0xffff_82d0_4000_0000;
/// Address of physical 0 in the direct map (slot 262).
pub(crate) const DIRECT_MAP: u64 = 0xffff_8300_0000_0000;
/// Address of physical 0 in the map of the pool (slot 267), which has nothing else.
pub(crate) const POOL_MAP: u64 = DIRECT_MAP + DIRECT_MAP_SIZE;
/// Bytes of address space of the direct map, and of the map of the pool: 5 slots each.
pub(crate) const DIRECT_MAP_SIZE: u64 = 5 << L4_SHIFT;
/// log2 of the bytes of an L4 slot.
pub(crate) const L4_SHIFT: u32 = 39;

/// The first of the hypervisor's private L4 slots.
pub(crate) const FIRST_SLOT: usize = 257;
/// How many L4 slots are the hypervisor's private ones.
pub(crate) const SLOTS: usize = 15;

/// Most CPUs that are brought up.
pub(crate) const MAX_CPUS: usize = 8;

/// Bytes of a CPU's area.
pub(crate) const CPU_AREA_SIZE: u64 = LARGE_PAGE;

/// Page indexes inside a CPU's area; what is not named is not mapped and guards its neighbours.
#[derive(Debug)]
pub(crate) struct CpuArea;

impl CpuArea {
    /// `CpuLocal`, the words that the syscall stub uses first.
    pub(crate) const LOCAL: usize = 1;
    /// Pages of `CpuLocal`.
    pub(crate) const LOCAL_PAGES: usize = 4;
    /// The syscall stub: the same frame in every area, addressing `CpuLocal` relative to itself.
    pub(crate) const STUB: usize = 8;
    /// 14 pages of guest descriptors, then the page of ours.
    pub(crate) const GDT: usize = 16;
    /// Pages of the GDT that belong to the guest.
    pub(crate) const GUEST_GDT_PAGES: usize = 14;
    /// 16 pages of guest LDT.
    pub(crate) const LDT: usize = 32;
    /// The stack on which the hypervisor works.
    pub(crate) const STACK: usize = 64;
    /// Pages of that stack.
    pub(crate) const STACK_PAGES: usize = 16;
    /// Four stacks for #DB, NMI, #DF and #MC, each followed by a hole.
    pub(crate) const TRAP_STACKS: usize = 96;
    /// Pages of each of them.
    pub(crate) const TRAP_STACK_PAGES: usize = 3;

    /// First address of the area of the CPU with this index.
    pub(crate) const fn base(index: usize) -> u64 {
        CPU_AREAS + index as u64 * CPU_AREA_SIZE
    }

    /// Address of a page of an area.
    pub(crate) const fn page(index: usize, page: usize) -> u64 {
        Self::base(index) + page as u64 * PAGE
    }

    /// Page index where trap stack `number` (0 to 3) begins.
    pub(crate) const fn trap_stack(number: usize) -> usize {
        Self::TRAP_STACKS + number * (Self::TRAP_STACK_PAGES + 1)
    }
}

/// The address under which RAM at `physical` is reached.
pub(crate) const fn direct(physical: u64) -> u64 {
    DIRECT_MAP + physical
}
