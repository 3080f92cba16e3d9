//! The machine's memory as the policy is told of it: what is the pool, and what nobody may ever map.

use crate::boot::memory_map::{FreeMemory, MemoryKind, MemoryMap, PhysRange};
use crate::cpu::apic;
use crate::mem::layout::PAGE;
use crate::mem::own_tables::OwnTables;
use crate::mem::pool;
use arrayvec::ArrayVec;
use core::arch::x86_64::__cpuid;
use hypercall_abi::memory::E820Entry;
use hypervisor_core::frame::FrameRange;

/// Physical address of the first I/O APIC of a PC.
const IO_APIC: u64 = 0xfec0_0000;
/// The first mebibyte counts as a device's, its RAM too, which nobody needs after boot: kernels of PCs map it as it is.
const LOW_MEMORY_END: u64 = 1 << 20;
/// Ranges of the map, and the two interrupt controllers.
const WITHHELD: usize = MemoryMap::CAPACITY + 2;

/// Frames for guests, and frames that no guest may map even as a device.
#[derive(Debug)]
pub(crate) struct Inventory {
    /// The pool.
    pub(crate) pool: ArrayVec<FrameRange, { pool::MAX_RANGES }>,
    /// Frames that become the pool's when the first domain is built.
    pub(crate) later: ArrayVec<FrameRange, { FreeMemory::HELD }>,
    /// RAM, the pool's or not, and the interrupt controllers. What firmware reserves is none of it: a first domain with
    /// drivers reads the BIOS area and ACPI's tables there.
    pub(crate) withheld: ArrayVec<FrameRange, WITHHELD>,
    /// The loader's map, for a first domain that asks for it.
    pub(crate) firmware_map: ArrayVec<E820Entry, { MemoryMap::CAPACITY }>,
}

impl Inventory {
    /// Makes all free memory the pool. The boot modules are part of it: they are read as slices until the policy is told of
    /// their frames, and never after.
    pub(crate) fn take(map: &MemoryMap, free: &FreeMemory, tables: &mut OwnTables) -> Self {
        let largest = largest_first(free);
        let mut ranges: ArrayVec<PhysRange, { pool::MAX_RANGES }> =
            largest.into_iter().take(pool::MAX_RANGES).collect();
        ranges.sort_unstable_by_key(|range| range.start);
        let pool: ArrayVec<_, _> = ranges.iter().copied().map(frames).collect();
        // The policy does not know these yet, so it cannot ask for them.
        let room = ranges.remaining_capacity();
        ranges.extend(free.held().iter().copied().take(room));
        let later = ranges
            .iter()
            .skip(pool.len())
            .copied()
            .map(frames)
            .collect();
        tables.map_pool(&ranges);

        let devices = [apic::REGISTERS, IO_APIC].map(|start| PhysRange::with_length(start, PAGE));
        let withheld = map
            .entries()
            .iter()
            .filter(|(_, kind)| *kind == MemoryKind::Ram)
            .filter(|(range, _)| range.end > LOW_MEMORY_END)
            .map(|(range, _)| PhysRange {
                start: range.start.max(LOW_MEMORY_END),
                ..*range
            })
            .chain(devices)
            .map(frames)
            .collect();
        let entry = |&(range, kind): &(PhysRange, MemoryKind)| E820Entry {
            address: range.start,
            size: range.length(),
            kind: kind.e820(),
        };
        let firmware_map = map.entries().iter().map(entry).collect();
        Self {
            pool,
            later,
            withheld,
            firmware_map,
        }
    }
}

/// The free ranges, the largest first: should there be more than the pool can have, crumbs are lost.
fn largest_first(free: &FreeMemory) -> ArrayVec<PhysRange, { FreeMemory::CAPACITY }> {
    let mut ranges: ArrayVec<_, { FreeMemory::CAPACITY }> = free.ranges().iter().copied().collect();
    ranges.sort_unstable_by_key(|range| core::cmp::Reverse(range.length()));
    ranges
}

/// All frames that a range touches.
fn frames(range: PhysRange) -> FrameRange {
    FrameRange {
        start: range.start / PAGE,
        end: range.end.div_ceil(PAGE),
    }
}

/// MAXPHYADDR.
pub(crate) fn address_bits() -> u8 {
    const SIZES: u32 = 0x8000_0008;
    if __cpuid(0x8000_0000).eax < SIZES {
        return 36;
    }
    __cpuid(SIZES).eax as u8
}
