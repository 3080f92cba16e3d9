//! From the loader's page tables to this library's: the direct map, the image's rights, the heap's memory.
//!
//! A page-table frame may be mapped nowhere writable, and only what the loader mapped can be written at first. So the new
//! tables are filled one after the other through a window, a page of the image that is mapped to each of them in turn,
//! and hung into the loader's root by one call, which makes the hypervisor check them all.

use core::cell::UnsafeCell;
use core::ops::Range;
use core::sync::atomic::{AtomicBool, Ordering};

use hypercall_abi::mmu::{
    EntryFlags, MMUEXT_TLB_FLUSH_ALL, MmuUpdate, MmuextOp, RawEntry, UVMF_INVLPG, UVMF_NONE,
};
use hypercall_abi::start::StartInfo;

use super::{
    Access, DIRECT_BASE, ENTRIES, IMAGE_BASE, Mapping, Mfn, PAGE_SIZE, PagingError, Pfn,
    TABLE_FLAGS, area, direct, tables,
};
use crate::event::shared;
use crate::heap;
use crate::hypercall::{cpuid, mmu, word};
use crate::start::Boot;

unsafe extern "C" {
    static image_text_start: u8;
    static image_rodata_start: u8;
    static image_data_start: u8;
    static image_end: u8;
}

/// A page whose address the new tables are shown at.
#[repr(C, align(4096))]
struct Window([u64; ENTRIES]);

/// Only ever reached by its address: the compiler must not think that it knows what is there.
struct WindowCell(UnsafeCell<Window>);

// SAFETY: only vCPU 0 uses the window, before there is a second one.
unsafe impl Sync for WindowCell {}

static WINDOW: WindowCell = WindowCell(UnsafeCell::new(Window([0; ENTRIES])));

/// Whether entries may forbid execution; set before the first entry is made.
static HAS_NO_EXECUTE: AtomicBool = AtomicBool::new(false);

/// CPUID leaf with the NX bit, and the bit in EDX.
const EXTENDED_FEATURES: u32 = 0x8000_0001;
const NX_BIT: u32 = 1 << 20;

/// The flag that forbids execution, if the processor has it.
pub(super) fn no_execute() -> EntryFlags {
    if HAS_NO_EXECUTE.load(Ordering::Relaxed) {
        EntryFlags::NO_EXECUTE
    } else {
        EntryFlags::empty()
    }
}

/// Builds the maps of this library, fills the heap and maps the shared page. Runs once, before there is a second vCPU.
pub(crate) fn init(boot: &Boot) -> Result<(), PagingError> {
    let [_, _, _, edx] = cpuid(EXTENDED_FEATURES, 0);
    HAS_NO_EXECUTE.store(edx & NX_BIT != 0, Ordering::Relaxed);

    let plan = Plan::new(boot.start_info(), boot.ramdisk())?;
    unmap_loader_pages(plan.behind_loader_tables..)?;
    plan.fill_tables()?;
    plan.hang_in()?;
    tables::set_root(plan.frame(plan.loader_tables.start));
    unmap_loader_pages(plan.image.end..plan.behind_loader_tables)?;
    protect_image()?;
    plan.give_to_heap();
    area::init();

    let page = Mfn(boot.start_info().shared_info >> 12);
    let mapping = Mapping::new(&[page], Access::ReadWrite)?;
    let pointer = core::ptr::with_exposed_provenance::<shared::SharedInfo>(mapping.address());
    core::mem::forget(mapping);
    // SAFETY: the page is mapped for ever, larger than the structure, and consists of atomics.
    shared::set(unsafe { &*pointer });
    Ok(())
}

/// Which pages are what at the start; all ranges are of PFNs.
struct Plan {
    p2m: *const u64,
    pages: usize,
    image: Range<usize>,
    p2m_pages: Range<usize>,
    loader_tables: Range<usize>,
    behind_loader_tables: usize,
    ramdisk: Range<usize>,
    /// The new tables: first all L1, then the L2, then the L3.
    new_tables: Range<usize>,
    l1_count: usize,
    l2_count: usize,
}

fn page_of_loader_address(address: usize) -> usize {
    address.wrapping_sub(IMAGE_BASE) / PAGE_SIZE
}

impl Plan {
    fn new(info: &StartInfo, ramdisk: Option<(Pfn, usize)>) -> Result<Self, PagingError> {
        let pages = word(info.nr_pages);
        let p2m = word(info.mfn_list);
        let p2m_start = page_of_loader_address(p2m);
        let tables_start = page_of_loader_address(word(info.pt_base));
        let loader_tables = tables_start..tables_start + word(info.nr_pt_frames);
        let ramdisk = ramdisk.map_or(0..0, |(page, length)| {
            let start = word(page.0);
            start..start + length.div_ceil(PAGE_SIZE)
        });
        let l1_count = pages.div_ceil(ENTRIES);
        let l2_count = l1_count.div_ceil(ENTRIES);
        let needed = l1_count + l2_count + 1;
        let overlaps =
            ramdisk.start < loader_tables.end + needed && loader_tables.end < ramdisk.end;
        let first = if overlaps {
            ramdisk.end
        } else {
            loader_tables.end
        };
        if first + needed > pages {
            return Err(PagingError::OutOfMemory);
        }
        Ok(Self {
            p2m: core::ptr::with_exposed_provenance(p2m),
            pages,
            image: 0..page_of_loader_address((&raw const image_end).addr()),
            p2m_pages: p2m_start..p2m_start + (8 * pages).div_ceil(PAGE_SIZE),
            behind_loader_tables: loader_tables.end,
            loader_tables,
            ramdisk,
            new_tables: first..first + needed,
            l1_count,
            l2_count,
        })
    }

    /// The frame of a page, by the loader's list.
    fn frame(&self, page: usize) -> Mfn {
        debug_assert!(page < self.pages, "the list has no more entries");
        // SAFETY: the loader's list is mapped until the heap gets its pages, and has an entry for each page.
        let entry = unsafe { self.p2m.add(page) };
        // SAFETY: as above.
        Mfn(unsafe { entry.read() })
    }

    /// The direct map's entry for a page: nothing for the image, read-only for tables.
    fn direct_entry(&self, page: usize) -> u64 {
        if page >= self.pages || self.image.contains(&page) {
            return 0;
        }
        let mut flags = EntryFlags::PRESENT | no_execute();
        if !self.loader_tables.contains(&page) && !self.new_tables.contains(&page) {
            flags |= EntryFlags::WRITABLE;
        }
        self.frame(page).0 << 12 | flags.bits()
    }

    /// An entry that points to the new table with this number, or nothing if that is not below `end`.
    fn table_entry(&self, number: usize, end: usize) -> u64 {
        if number >= end {
            0
        } else {
            self.frame(self.new_tables.start + number).0 << 12 | TABLE_FLAGS.bits()
        }
    }

    /// Fills every new table through the window.
    fn fill_tables(&self) -> Result<(), PagingError> {
        let l2_end = self.l1_count + self.l2_count;
        for (number, page) in self.new_tables.clone().enumerate() {
            show_in_window(self.frame(page))?;
            for slot in 0..ENTRIES {
                write_window(
                    slot,
                    if number < self.l1_count {
                        self.direct_entry(number * ENTRIES + slot)
                    } else if number < l2_end {
                        self.table_entry((number - self.l1_count) * ENTRIES + slot, self.l1_count)
                    } else {
                        self.table_entry(self.l1_count + slot, l2_end)
                    },
                );
            }
        }
        let own = page_of_loader_address(WINDOW.0.get().addr());
        show_in_window(self.frame(own))
    }

    /// Puts the new L3 into the loader's root.
    fn hang_in(&self) -> Result<(), PagingError> {
        let root = self.frame(self.loader_tables.start);
        let l3 = self.frame(self.new_tables.end - 1);
        let slot = DIRECT_BASE >> 39 & (ENTRIES - 1);
        let update = MmuUpdate {
            ptr: (root.0 << 12) | (8 * slot as u64),
            val: l3.0 << 12 | TABLE_FLAGS.bits(),
        };
        // SAFETY: nothing is mapped in this slot yet, and what appears there belongs to nobody.
        unsafe { mmu::mmu_update(&[update]) }?;
        Ok(())
    }

    /// Gives every page that nobody uses to the heap; the loader's list is read for the last time before.
    fn give_to_heap(&self) {
        let mut kept = [self.ramdisk.clone(), self.new_tables.clone()];
        kept.sort_by_key(|range| range.start);
        let mut next = self.behind_loader_tables;
        for range in kept
            .into_iter()
            .filter(|range| !range.is_empty() && range.end > self.behind_loader_tables)
        {
            add_to_heap(next..range.start);
            next = range.end.max(next);
        }
        add_to_heap(next..self.pages);
        add_to_heap(self.p2m_pages.clone());
    }
}

fn add_to_heap(pages: Range<usize>) {
    if !pages.is_empty() {
        let start = direct::address_of(Pfn(pages.start as u64));
        // SAFETY: the pages are mapped in the direct map only, and nobody uses them.
        unsafe { heap::add(start, pages.len() * PAGE_SIZE) };
    }
}

/// Maps the window to `frame`.
fn show_in_window(frame: Mfn) -> Result<(), PagingError> {
    let flags = EntryFlags::PRESENT | EntryFlags::WRITABLE | no_execute();
    let entry = RawEntry(frame.0 << 12 | flags.bits());
    // SAFETY: only `write_window` uses the page.
    unsafe { mmu::update_va_mapping(WINDOW.0.get().addr(), entry, UVMF_INVLPG) }?;
    Ok(())
}

fn write_window(slot: usize, value: u64) {
    // SAFETY: the slot is below 512, so this is inside the page.
    let entry = unsafe { WINDOW.0.get().cast::<u64>().add(slot) };
    // SAFETY: only vCPU 0 runs, and nobody else uses the window. Volatile: the page's frame changes.
    unsafe { entry.write_volatile(value) };
}

/// Takes pages out of the loader's mapping, up to the end of the range or to where that mapping has no more tables.
fn unmap_loader_pages(pages: impl Iterator<Item = usize>) -> Result<(), PagingError> {
    for page in pages {
        let Some(address) = page
            .checked_mul(PAGE_SIZE)
            .and_then(|offset| offset.checked_add(IMAGE_BASE))
        else {
            break;
        };
        // SAFETY: behind the image nothing is used at the loader's addresses any more, but the list and start_info,
        // which the caller leaves out until they have been read.
        if unsafe { mmu::update_va_mapping(address, RawEntry(0), UVMF_NONE) }.is_err() {
            break;
        }
    }
    flush()
}

fn flush() -> Result<(), PagingError> {
    let flush = MmuextOp {
        cmd: MMUEXT_TLB_FLUSH_ALL,
        ..MmuextOp::default()
    };
    // SAFETY: flushing changes no mapping.
    unsafe { mmu::mmuext_op(&[flush]) }?;
    Ok(())
}

/// Gives each section of the image its rights: text cannot be written, nothing else executed.
fn protect_image() -> Result<(), PagingError> {
    let text = (&raw const image_text_start).addr();
    let rodata = (&raw const image_rodata_start).addr();
    let data = (&raw const image_data_start).addr();
    let end = (&raw const image_end).addr();
    let read_only = EntryFlags::PRESENT;
    let sections = [
        (text..rodata, read_only),
        (rodata..data, read_only | no_execute()),
        (data..end, read_only | EntryFlags::WRITABLE | no_execute()),
    ];
    for (addresses, flags) in sections {
        for address in addresses.step_by(PAGE_SIZE) {
            let frame = direct::frame_at(address).ok_or(PagingError::NoFrames)?;
            // SAFETY: each section keeps its frames and the rights that it was linked for.
            unsafe {
                mmu::update_va_mapping(address, RawEntry(frame.0 << 12 | flags.bits()), UVMF_NONE)
            }?;
        }
    }
    flush()
}
