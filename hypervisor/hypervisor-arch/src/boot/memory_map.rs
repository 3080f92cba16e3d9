//! Physical memory at boot: the map that the loader gave, and what of it is still free.
//!
//! [`FreeMemory`] is the one source of frames until the pool is split off: the hypervisor's own tables, heap and
//! per-CPU areas are taken from it and never given back; what is left when boot ends becomes the pool, and so does, a
//! little later, what boot held: the loader's modules and the code of the first steps.

use crate::mem::layout::{LARGE_PAGE, PAGE};
use arrayvec::{ArrayVec, CapacityError};

/// What a range of the machine's address space holds.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum MemoryKind {
    /// Ordinary RAM.
    Ram,
    /// RAM that holds ACPI's tables.
    AcpiTables,
    /// RAM that firmware keeps while the machine runs.
    AcpiStorage,
    /// Anything else.
    Reserved,
}

impl MemoryKind {
    /// From the numbers of BIOS call E820, which PVH uses too.
    pub(crate) fn from_e820(number: u32) -> Self {
        match number {
            1 => Self::Ram,
            3 => Self::AcpiTables,
            4 => Self::AcpiStorage,
            _ => Self::Reserved,
        }
    }

    /// The number of BIOS call E820.
    pub(crate) fn e820(self) -> u32 {
        match self {
            Self::Ram => 1,
            Self::Reserved => 2,
            Self::AcpiTables => 3,
            Self::AcpiStorage => 4,
        }
    }
}

/// A half-open range of physical addresses.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct PhysRange {
    /// First address.
    pub(crate) start: u64,
    /// First address behind it.
    pub(crate) end: u64,
}

impl PhysRange {
    /// The range that begins at `start`; a length that would wrap ends at the top.
    pub(crate) fn with_length(start: u64, length: u64) -> Self {
        Self {
            start,
            end: start.saturating_add(length),
        }
    }

    /// Bytes in it.
    pub(crate) fn length(self) -> u64 {
        self.end.saturating_sub(self.start)
    }

    /// The whole pages inside.
    fn shrink_to_pages(self) -> Self {
        let start = self.start.next_multiple_of(PAGE);
        let end = self.end - self.end % PAGE;
        Self {
            start,
            end: end.max(start),
        }
    }

    /// The pages that touch it.
    fn grow_to_pages(self) -> Self {
        Self {
            start: self.start - self.start % PAGE,
            end: self.end.next_multiple_of(PAGE),
        }
    }

    /// The large pages that touch it.
    pub(crate) fn grow_to_large_pages(self) -> Self {
        Self {
            start: self.start - self.start % LARGE_PAGE,
            end: self.end.next_multiple_of(LARGE_PAGE),
        }
    }
}

/// The loader's memory map.
#[derive(Debug, Default)]
pub(crate) struct MemoryMap {
    entries: ArrayVec<(PhysRange, MemoryKind), { Self::CAPACITY }>,
}

impl MemoryMap {
    /// Most entries that are taken.
    pub(crate) const CAPACITY: usize = 64;

    /// Adds an entry.
    pub(crate) fn push(
        &mut self,
        range: PhysRange,
        kind: MemoryKind,
    ) -> Result<(), CapacityError<(PhysRange, MemoryKind)>> {
        self.entries.try_push((range, kind))
    }

    /// Everything that is RAM or holds ACPI's tables.
    pub(crate) fn memory(&self) -> impl Iterator<Item = PhysRange> + '_ {
        self.entries
            .iter()
            .filter(|(_, kind)| *kind != MemoryKind::Reserved)
            .map(|(range, _)| *range)
    }

    /// Ordinary RAM.
    pub(crate) fn ram(&self) -> impl Iterator<Item = PhysRange> + '_ {
        self.entries
            .iter()
            .filter(|(_, kind)| *kind == MemoryKind::Ram)
            .map(|(range, _)| *range)
    }

    /// Bytes of ordinary RAM.
    pub(crate) fn ram_bytes(&self) -> u64 {
        self.ram().map(PhysRange::length).sum()
    }

    /// Everything that is listed.
    pub(crate) fn entries(&self) -> &[(PhysRange, MemoryKind)] {
        &self.entries
    }
}

/// RAM that nobody uses yet.
#[derive(Debug)]
pub(crate) struct FreeMemory {
    ranges: ArrayVec<PhysRange, { Self::CAPACITY }>,
    held: ArrayVec<PhysRange, { Self::HELD }>,
}

impl FreeMemory {
    /// Most ranges at a time.
    pub(crate) const CAPACITY: usize = 2 * MemoryMap::CAPACITY;
    /// Most ranges that boot may need for a while.
    pub(crate) const HELD: usize = 8;

    /// All whole pages of RAM in the map.
    pub(crate) fn new(map: &MemoryMap) -> Self {
        let mut ranges: ArrayVec<_, { Self::CAPACITY }> = map
            .ram()
            .map(PhysRange::shrink_to_pages)
            .filter(|range| range.length() > 0)
            .collect();
        ranges.sort_unstable_by_key(|range| range.start);
        Self {
            ranges,
            held: ArrayVec::new(),
        }
    }

    /// Takes out whatever of `used` is in it, to whole pages, until boot is over: [`Self::held`] has it then.
    pub(crate) fn hold(&mut self, used: PhysRange) {
        let before = self.ranges.clone();
        self.remove(used);
        let used = used.grow_to_pages();
        for range in before {
            let part = PhysRange {
                start: range.start.max(used.start),
                end: range.end.min(used.end),
            };
            // Beyond so many ranges the memory is lost, not the boot.
            if part.length() > 0 && !self.held.is_full() {
                self.held.push(part);
            }
        }
    }

    /// What boot needs and gives back: disjoint ranges of whole pages of RAM.
    pub(crate) fn held(&self) -> &[PhysRange] {
        &self.held
    }

    /// Takes out whatever of `used` is in it, to whole pages.
    pub(crate) fn remove(&mut self, used: PhysRange) {
        let used = used.grow_to_pages();
        let before = core::mem::take(&mut self.ranges);
        for range in before {
            let below = PhysRange {
                start: range.start,
                end: range.end.min(used.start),
            };
            let above = PhysRange {
                start: range.start.max(used.end),
                end: range.end,
            };
            for rest in [below, above] {
                if rest.end > rest.start {
                    self.ranges.push(rest);
                }
            }
        }
    }

    /// Takes `length` bytes, rounded up to whole pages, beginning at a multiple of `align`, from the lowest range that
    /// has them.
    pub(crate) fn take(&mut self, length: u64, align: u64) -> Option<PhysRange> {
        let length = length.next_multiple_of(PAGE);
        let found = self.ranges.iter().find_map(|range| {
            let start = range.start.next_multiple_of(align);
            let end = start.checked_add(length)?;
            (end <= range.end).then_some(PhysRange { start, end })
        })?;
        self.remove(found);
        Some(found)
    }

    /// The ranges that are free, in ascending order.
    pub(crate) fn ranges(&self) -> &[PhysRange] {
        &self.ranges
    }

    /// Bytes that are free.
    pub(crate) fn bytes(&self) -> u64 {
        self.ranges.iter().map(|range| range.length()).sum()
    }
}
