//! The hypervisor's own page tables.
//!
//! Built once at boot and shared by every root: a root, ours or a guest's, holds the same 15 entries
//! ([`OwnTables::slots`]). Text is executable and read-only, constants read-only, all else writable and never
//! executable, in the direct map too. After boot only the descriptor windows and device mappings change.

use crate::boot::memory_map::{FreeMemory, MemoryMap, PhysRange};
use crate::mem::layout::{self, FIRST_SLOT, L4_SHIFT, LARGE_PAGE, PAGE, SLOTS};
use alloc::boxed::Box;
use core::ptr::NonNull;
use core::sync::atomic::{AtomicU64, Ordering};
use x86_64::structures::paging::PageTableFlags as Flags;

/// Address bits of an entry.
const FRAME: u64 = 0x000f_ffff_ffff_f000;

/// What may be done with a mapping.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Rights {
    /// Fetch and read.
    Execute,
    /// Read only.
    Read,
    /// Read and write.
    Write,
    /// Read and write, uncached: device registers.
    Device,
    /// Everything: the one page from which CPUs start, in a root of its own.
    Trampoline,
    /// Everything, from ring 3 too: the page of the boot probe, in a root of its own.
    User,
}

impl Rights {
    fn flags(self) -> Flags {
        let common = Flags::PRESENT | Flags::ACCESSED;
        match self {
            Self::Execute => common,
            Self::Read => common | Flags::NO_EXECUTE,
            Self::Write => common | Flags::NO_EXECUTE | Flags::WRITABLE | Flags::DIRTY,
            Self::Device => Self::Write.flags() | Flags::NO_CACHE | Flags::WRITE_THROUGH,
            Self::Trampoline => common | Flags::WRITABLE | Flags::DIRTY,
            Self::User => Self::Trampoline.flags() | Flags::USER_ACCESSIBLE,
        }
    }
}

/// The entry that maps the frame at `physical`.
pub(crate) fn entry(physical: u64, rights: Rights) -> u64 {
    physical | rights.flags().bits()
}

/// The entry that maps the large page at `physical`, for reading and writing.
fn large_entry(physical: u64) -> u64 {
    entry(physical, Rights::Write) | Flags::HUGE_PAGE.bits()
}

unsafe extern "C" {
    static text_start: u8;
    static text_end: u8;
    static rodata_start: u8;
    static rodata_end: u8;
    static data_start: u8;
    static data_end: u8;
}

/// The parts of the image, as physical ranges with their rights.
fn image_parts() -> [(PhysRange, Rights); 3] {
    let range = |from: *const u8, to: *const u8| PhysRange {
        start: from.addr() as u64 - layout::IMAGE,
        end: to.addr() as u64 - layout::IMAGE,
    };
    [
        (
            range(&raw const text_start, &raw const text_end),
            Rights::Execute,
        ),
        (
            range(&raw const rodata_start, &raw const rodata_end),
            Rights::Read,
        ),
        (
            range(&raw const data_start, &raw const data_end),
            Rights::Write,
        ),
    ]
}

/// The image with all its parts, without the boot code below it.
pub(crate) fn image() -> PhysRange {
    let [text, _, data] = image_parts();
    PhysRange {
        start: text.0.start,
        end: data.0.end,
    }
}

/// The tables while they are being built; only the boot CPU has them.
#[derive(Debug)]
pub(crate) struct OwnTables {
    root: u64,
}

impl OwnTables {
    /// Tables with the image and the direct map of all memory.
    pub(crate) fn new(map: &MemoryMap, free: &mut FreeMemory) -> Self {
        let mut tables = Self {
            root: new_table(free),
        };
        for (range, rights) in image_parts() {
            tables.map(free, layout::IMAGE + range.start, range, rights);
        }
        let image = image();
        let image_large = image.grow_to_large_pages();
        for range in map.memory().map(PhysRange::grow_to_large_pages) {
            let mut at = range.start;
            while at < range.end.min(layout::DIRECT_MAP_SIZE) {
                if at >= image_large.start && at < image_large.end {
                    tables.map_direct_around_image(free, at);
                } else {
                    let slot = tables.slot(free, layout::direct(at), 2);
                    store(slot, large_entry(at));
                }
                at += LARGE_PAGE;
            }
            for slot in range.start >> L4_SHIFT..=(range.end - 1) >> L4_SHIFT {
                if slot << L4_SHIFT < layout::DIRECT_MAP_SIZE {
                    tables.slot(free, layout::POOL_MAP + (slot << L4_SHIFT), 3);
                }
            }
        }
        tables
    }

    /// Maps the pool at [`layout::POOL_MAP`], by tables from the heap; the L4 entries are there already.
    pub(crate) fn map_pool(&mut self, ranges: &[PhysRange]) {
        for range in ranges {
            let end = range.end.min(layout::DIRECT_MAP_SIZE);
            let mut at = range.start;
            while at < end {
                let is_large = at.is_multiple_of(LARGE_PAGE) && end - at >= LARGE_PAGE;
                let (level, value, length) = if is_large {
                    (2, large_entry(at), LARGE_PAGE)
                } else {
                    (1, entry(at, Rights::Write), PAGE)
                };
                let slot = self.slot_with(&mut table_of_heap, layout::POOL_MAP + at, level);
                store(slot, value);
                at += length;
            }
        }
    }

    /// A root with the hypervisor's entries of another and nothing else.
    pub(crate) fn with_slots(own: &Self, free: &mut FreeMemory) -> Self {
        let root = new_table(free);
        for (slot, value) in (FIRST_SLOT as u64..).zip(own.slots()) {
            store(table_entry(root, slot), value);
        }
        Self { root }
    }

    /// One large page of the direct map that holds part of the image: in small pages, so that no alias of text or
    /// constants is writable.
    fn map_direct_around_image(&mut self, free: &mut FreeMemory, start: u64) {
        let [text, rodata, _] = image_parts();
        for at in (start..start + LARGE_PAGE).step_by(PAGE as usize) {
            let constant = [text.0, rodata.0]
                .iter()
                .any(|part| at >= part.start && at < part.end);
            let rights = if constant {
                Rights::Read
            } else {
                Rights::Write
            };
            let slot = self.slot(free, layout::direct(at), 1);
            store(slot, entry(at, rights));
        }
    }

    /// Maps a physical range, in small pages, at `address`.
    pub(crate) fn map(
        &mut self,
        free: &mut FreeMemory,
        address: u64,
        range: PhysRange,
        rights: Rights,
    ) {
        for offset in (0..range.length()).step_by(PAGE as usize) {
            let slot = self.slot(free, address + offset, 1);
            store(slot, entry(range.start + offset, rights));
        }
    }

    /// Maps `pages` fresh zeroed pages at `address`.
    pub(crate) fn map_fresh(&mut self, free: &mut FreeMemory, address: u64, pages: usize) {
        let range = zeroed(free, pages as u64 * PAGE);
        self.map(free, address, range, Rights::Write);
    }

    /// The L1 table that maps the 2 MiB around `address`, made if it is missing.
    pub(crate) fn l1_of(&mut self, free: &mut FreeMemory, address: u64) -> L1Window {
        let first = address - address % LARGE_PAGE;
        L1Window {
            first: self.slot(free, first, 1),
        }
    }

    /// Physical address of the root.
    pub(crate) fn root(&self) -> u64 {
        self.root
    }

    /// The entries that every root holds in L4 slots 257 to 271.
    pub(crate) fn slots(&self) -> [u64; SLOTS] {
        core::array::from_fn(|index| load(table_entry(self.root, (FIRST_SLOT + index) as u64)))
    }

    /// The entry of the table of this level that maps `address`; missing tables above it are made.
    fn slot(&mut self, free: &mut FreeMemory, address: u64, level: u32) -> NonNull<AtomicU64> {
        self.slot_with(&mut || new_table(free), address, level)
    }

    /// As [`Self::slot`]; `new_table` gives empty tables.
    fn slot_with(
        &mut self,
        new_table: &mut dyn FnMut() -> u64,
        address: u64,
        level: u32,
    ) -> NonNull<AtomicU64> {
        let mut table = self.root;
        for above in (level + 1..=4).rev() {
            let slot = table_entry(table, index(address, above));
            if load(slot) == 0 {
                let lower = new_table();
                let mut flags = Flags::PRESENT | Flags::WRITABLE | Flags::ACCESSED;
                flags.set(Flags::USER_ACCESSIBLE, address < layout::CPU_AREAS);
                store(slot, lower | flags.bits());
            }
            table = load(slot) & FRAME;
        }
        table_entry(table, index(address, level))
    }
}

/// The 512 entries of one L1 table of ours, changed while the machine runs.
#[derive(Debug, Clone, Copy)]
pub(crate) struct L1Window {
    first: NonNull<AtomicU64>,
}

// SAFETY: the table is never freed, and its entries are accessed atomically.
unsafe impl Send for L1Window {}
// SAFETY: as for `Send`.
unsafe impl Sync for L1Window {}

impl L1Window {
    /// Makes `value` the entry of one page. True if it was another, but for what the CPU marks: the caller flushes then.
    pub(crate) fn set(self, page: usize, value: u64) -> bool {
        assert!(page < 512, "an L1 table has 512 entries");
        // SAFETY: checked to lie in the table.
        let slot = unsafe { self.first.add(page) };
        let marks = Flags::ACCESSED | Flags::DIRTY;
        let changed = (load(slot) ^ value) & !marks.bits() != 0;
        if changed {
            store(slot, value);
        }
        changed
    }
}

fn index(address: u64, level: u32) -> u64 {
    (address >> (12 + 9 * (level - 1))) & 511
}

/// The entry with this index of the table at `table`.
fn table_entry(table: u64, index: u64) -> NonNull<AtomicU64> {
    let address = layout::direct(table) + index * 8;
    NonNull::new(address as *mut AtomicU64).expect("the direct map does not begin at 0")
}

fn load(slot: NonNull<AtomicU64>) -> u64 {
    // SAFETY: only made by `table_entry` and `L1Window` for entries of our tables, which are never freed.
    unsafe { slot.as_ref() }.load(Ordering::Relaxed)
}

fn store(slot: NonNull<AtomicU64>, value: u64) {
    // SAFETY: as in `load`.
    unsafe { slot.as_ref() }.store(value, Ordering::Relaxed);
}

fn new_table(free: &mut FreeMemory) -> u64 {
    zeroed(free, PAGE).start
}

/// An empty table from the heap, for ever.
fn table_of_heap() -> u64 {
    #[repr(align(4096))]
    struct Table([u64; 512]);
    let table = Box::leak(Box::new(Table([0; 512])));
    table.0.as_ptr().addr() as u64 - layout::DIRECT_MAP
}

/// Takes zeroed memory of the hypervisor's own.
pub(crate) fn zeroed(free: &mut FreeMemory, length: u64) -> PhysRange {
    let range = free
        .take(length, PAGE)
        .expect("the machine has memory for the hypervisor's own tables");
    let bytes = layout::direct(range.start) as *mut u8;
    // SAFETY: the range was free, so nothing else refers to it, and the direct map (or the boot tables, which map
    // low memory at the same addresses) reaches it: `take` gives the lowest memory first.
    unsafe { bytes.write_bytes(0, range.length() as usize) };
    range
}
