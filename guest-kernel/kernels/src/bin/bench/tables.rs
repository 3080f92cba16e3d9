//! Rows of page tables.

use guest_kernel::heap::Page;
use guest_kernel::hypercall::mmu::{mmu_update, mmuext_op, update_va_mapping};
use guest_kernel::paging::{Memory, Mfn, frame_at, root};
use hypercall_abi::mmu::{
    EntryFlags, FIRST_HYPERVISOR_SLOT, LAST_HYPERVISOR_SLOT, MMUEXT_NEW_BASEPTR,
    MMUEXT_PIN_L1_TABLE, MMUEXT_PIN_L4_TABLE, MMUEXT_UNPIN_TABLE, MmuUpdate, MmuextOp, RawEntry,
    UVMF_INVLPG, UVMF_NONE, UVMF_TLB_FLUSH,
};

use crate::Failure;
use crate::measure::Meter;

const READ_ONLY: u64 = EntryFlags::PRESENT
    .union(EntryFlags::USER)
    .union(EntryFlags::ACCESSED)
    .union(EntryFlags::DIRTY)
    .bits();
const WRITABLE: u64 = READ_ONLY | EntryFlags::WRITABLE.bits();
const ENTRIES: usize = 512;

/// A page of the heap that this benchmark keeps, and its frame.
struct Own {
    address: usize,
    frame: Mfn,
}

impl Own {
    fn new() -> Result<Self, Failure> {
        let address = Page::zeroed().ok_or(Failure::Memory)?.leak();
        let frame = frame_at(address).ok_or(Failure::Memory)?;
        Ok(Self { address, frame })
    }

    fn entry(&self, flags: u64) -> u64 {
        self.frame.0 << 12 | flags
    }

    /// Writes entries from slot 0 on; then the page is read-only, as a page table must be.
    fn fill(&self, entries: impl Iterator<Item = u64>) -> Result<(), Failure> {
        let table = core::ptr::with_exposed_provenance_mut::<u64>(self.address);
        for (slot, value) in entries.take(ENTRIES).enumerate() {
            // SAFETY: the slot is in the page.
            let place = unsafe { table.add(slot) };
            // SAFETY: the page is ours and writable until the end of this function.
            unsafe { place.write_volatile(value) };
        }
        self.map(READ_ONLY, UVMF_INVLPG).map_err(Failure::from)
    }

    fn map(&self, flags: u64, flush: u64) -> Result<(), guest_kernel::hypercall::Errno> {
        // SAFETY: the page is the benchmark's, which does not write it while it is not writable.
        unsafe { update_va_mapping(self.address, RawEntry(self.entry(flags)), flush) }
    }
}

fn extended(cmd: u32, frame: Mfn) -> Result<(), guest_kernel::hypercall::Errno> {
    let operation = MmuextOp {
        cmd,
        arg1: frame.0,
        ..MmuextOp::default()
    };
    // SAFETY: the frames are tables of this benchmark; a root among them maps what the kernel's own maps.
    unsafe { mmuext_op(&[operation]) }
}

/// Pins and unpins once, so that a refusal is told and not measured.
fn pin_and_unpin(meter: Meter, name: &str, cmd: u32, table: Mfn) -> Result<(), Failure> {
    extended(cmd, table)?;
    extended(MMUEXT_UNPIN_TABLE, table)?;
    meter.measure(name, 1, || {
        let _pinned = extended(cmd, table);
        let _unpinned = extended(MMUEXT_UNPIN_TABLE, table);
    });
    Ok(())
}

pub(crate) fn measure(meter: Meter) -> Result<(), Failure> {
    one_page(meter)?;
    let l1 = Own::new()?;
    let pages = (0..ENTRIES)
        .map(|_| Own::new())
        .collect::<Result<alloc::vec::Vec<_>, _>>()?;
    l1.fill(pages.iter().map(|page| page.entry(WRITABLE)))?;
    pin_and_unpin(
        meter,
        "pin and unpin of an L1",
        MMUEXT_PIN_L1_TABLE,
        l1.frame,
    )?;
    let mut table = l1.frame;
    for _ in 0..3 {
        let upper = Own::new()?;
        upper.fill(core::iter::once(table.0 << 12 | WRITABLE))?;
        table = upper.frame;
    }
    let name = "pin and unpin of a four-level tree";
    pin_and_unpin(meter, name, MMUEXT_PIN_L4_TABLE, table)?;
    batches(meter, &l1, &pages)?;
    roots(meter)
}

fn one_page(meter: Meter) -> Result<(), Failure> {
    let page = Own::new()?;
    for (name, flush) in [
        ("update_va_mapping without flush", UVMF_NONE),
        ("update_va_mapping INVLPG", UVMF_INVLPG),
        ("update_va_mapping full flush", UVMF_TLB_FLUSH),
    ] {
        page.map(READ_ONLY, flush)?;
        meter.measure(name, 2, || {
            let _writable = page.map(WRITABLE, flush);
            let _read_only = page.map(READ_ONLY, flush);
        });
    }
    Ok(())
}

/// Entries of a table that is pinned and nowhere loaded change their rights.
fn batches(meter: Meter, l1: &Own, pages: &[Own]) -> Result<(), Failure> {
    extended(MMUEXT_PIN_L1_TABLE, l1.frame)?;
    let requests = |flags: u64| -> alloc::vec::Vec<MmuUpdate> {
        let slots = (l1.frame.0 << 12..).step_by(8);
        pages
            .iter()
            .zip(slots)
            .map(|(page, ptr)| MmuUpdate {
                ptr,
                val: page.entry(flags),
            })
            .collect()
    };
    let (read_only, writable) = (requests(READ_ONLY), requests(WRITABLE));
    for (name, count) in [
        ("mmu_update of 1", 1),
        ("mmu_update of 32", 32),
        ("mmu_update of 128", 128),
    ] {
        let (closing, opening) = (&read_only[..count], &writable[..count]);
        // SAFETY: the table maps the benchmark's pages at no address.
        unsafe { mmu_update(closing) }?;
        meter.measure(name, 2, || {
            // SAFETY: as above.
            let _opened = unsafe { mmu_update(opening) };
            // SAFETY: as above.
            let _closed = unsafe { mmu_update(closing) };
        });
    }
    extended(MMUEXT_UNPIN_TABLE, l1.frame)?;
    Ok(())
}

/// Changes from the kernel's root to a copy of it and back.
fn roots(meter: Meter) -> Result<(), Failure> {
    let first = root().ok_or(Failure::Memory)?;
    let shown = Memory::from_loader(first);
    let reserved = FIRST_HYPERVISOR_SLOT..=LAST_HYPERVISOR_SLOT;
    let second = Own::new()?;
    second.fill(
        (0..ENTRIES as u64)
            .zip((0..).step_by(8))
            .map(|(slot, offset)| {
                if reserved.contains(&slot) {
                    0
                } else {
                    shown
                        .u64(offset)
                        .load(core::sync::atomic::Ordering::Relaxed)
                }
            }),
    )?;
    extended(MMUEXT_PIN_L4_TABLE, second.frame)?;
    extended(MMUEXT_NEW_BASEPTR, second.frame)?;
    extended(MMUEXT_NEW_BASEPTR, first)?;
    meter.measure("kernel-root switch", 2, || {
        let _there = extended(MMUEXT_NEW_BASEPTR, second.frame);
        let _back = extended(MMUEXT_NEW_BASEPTR, first);
    });
    Ok(())
}
