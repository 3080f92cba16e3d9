//! The direct map: where a page is, and which frame it has.

use alloc::vec::Vec;

use hypercall_abi::mmu::{
    ENTRY_FRAME_MASK, EntryFlags, MMUEXT_TLB_FLUSH_ALL, MmuUpdate, MmuextOp, RawEntry, UVMF_ALL,
    UVMF_INVLPG,
};

use super::{DIRECT_BASE, DIRECT_SIZE, Mfn, PAGE_SIZE, PagingError, Pfn, bootstrap, tables};
use crate::hypercall::{mmu, word};
use crate::start::Boot;

/// Address of a page in the direct map.
#[must_use]
pub fn address_of(page: Pfn) -> usize {
    DIRECT_BASE + word(page.0) * PAGE_SIZE
}

/// The page at an address of the direct map.
#[must_use]
pub fn page_at(address: usize) -> Option<Pfn> {
    let offset = address
        .checked_sub(DIRECT_BASE)
        .filter(|&offset| offset < DIRECT_SIZE)?;
    Some(Pfn((offset / PAGE_SIZE) as u64))
}

/// The machine frame mapped at any address of this kernel.
#[must_use]
pub fn frame_at(address: usize) -> Option<Mfn> {
    let entry = tables::entry_at(address)?;
    Some(Mfn((entry & ENTRY_FRAME_MASK) >> 12))
}

/// The ramdisk's bytes, if the loader brought one.
#[must_use]
pub fn ramdisk(boot: &Boot) -> Option<&'static [u8]> {
    let (page, length) = boot.ramdisk()?;
    let start = core::ptr::with_exposed_provenance::<u8>(address_of(page));
    // SAFETY: the ramdisk's pages are whole, mapped in order, kept out of the heap for ever, and nobody writes them.
    Some(unsafe { core::slice::from_raw_parts(start, length) })
}

/// Sees to it that `pages` can be mapped without more memory.
pub(super) fn prepare(pages: &[Pfn]) -> Result<(), PagingError> {
    pages
        .iter()
        .try_for_each(|&page| tables::ensure(address_of(page)))
}

/// Maps `frames` as `pages`, which are prepared and have none.
pub(super) fn attach(pages: &[Pfn], frames: &[Mfn]) -> Result<(), PagingError> {
    let flags = EntryFlags::PRESENT | EntryFlags::WRITABLE | bootstrap::no_execute();
    let values = frames.iter().map(|frame| frame.0 << 12 | flags.bits());
    // SAFETY: nothing was mapped there, as the pages had no frames.
    unsafe { store(pages, values) }
}

/// Takes `pages` out of the map, on all vCPUs.
///
/// # Safety
/// Nobody uses the pages.
pub(super) unsafe fn detach(pages: &[Pfn]) -> Result<(), PagingError> {
    // SAFETY: the caller says that nobody uses them.
    unsafe { store(pages, core::iter::repeat_n(0, pages.len())) }?;
    let flush = MmuextOp {
        cmd: MMUEXT_TLB_FLUSH_ALL,
        ..MmuextOp::default()
    };
    // SAFETY: flushing changes no mapping.
    unsafe { mmu::mmuext_op(&[flush]) }?;
    Ok(())
}

/// Stores the entries of several pages by one call.
///
/// # Safety
/// As `mmu_update`, for each page.
unsafe fn store(pages: &[Pfn], values: impl Iterator<Item = u64>) -> Result<(), PagingError> {
    let mut updates = Vec::new();
    updates
        .try_reserve_exact(pages.len())
        .map_err(|_| PagingError::OutOfMemory)?;
    for (&page, val) in pages.iter().zip(values) {
        let (ptr, _) = tables::l1_slot(address_of(page)).ok_or(PagingError::OutOfMemory)?;
        updates.push(MmuUpdate { ptr, val });
    }
    // SAFETY: the caller answers for the entries.
    unsafe { mmu::mmu_update(&updates) }?;
    Ok(())
}

/// Makes a page of the direct map read-only, as a page table must be.
///
/// # Safety
/// Nobody writes the page any more.
pub(super) unsafe fn make_read_only(address: usize) -> Result<Mfn, PagingError> {
    let frame = frame_at(address).ok_or(PagingError::NoFrames)?;
    let entry = RawEntry(frame.0 << 12 | (EntryFlags::PRESENT | bootstrap::no_execute()).bits());
    // SAFETY: the page stays readable, and the caller says that nobody writes it.
    unsafe { mmu::update_va_mapping(address, entry, UVMF_INVLPG | UVMF_ALL) }?;
    Ok(frame)
}
