//! The direct map: where a page is, and which frame it has.

use hypercall_abi::mmu::{
    ENTRY_FRAME_MASK, EntryFlags, RawEntry, UVMF_ALL, UVMF_INVLPG, UVMF_NONE,
};

use super::{DIRECT_BASE, DIRECT_SIZE, Mfn, PAGE_SIZE, PagingError, Pfn, bootstrap, tables};
use crate::hypercall::{RegisterWord, mmu, word};
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
    Some(Pfn((offset / PAGE_SIZE).to_register_word()))
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

/// Maps `frame` as `page`.
pub(super) fn attach(page: Pfn, frame: Mfn) -> Result<(), PagingError> {
    let address = address_of(page);
    tables::ensure(address)?;
    let flags = EntryFlags::PRESENT | EntryFlags::WRITABLE | bootstrap::no_execute();
    // SAFETY: nothing was mapped there, as the page had no frame.
    unsafe { mmu::update_va_mapping(address, RawEntry(frame.0 << 12 | flags.bits()), UVMF_NONE) }?;
    Ok(())
}

/// Takes `page` out of the map, on all vCPUs, and returns its frame.
///
/// # Safety
/// Nobody uses the page.
pub(super) unsafe fn detach(page: Pfn) -> Result<Mfn, PagingError> {
    let address = address_of(page);
    let frame = frame_at(address).ok_or(PagingError::NoFrames)?;
    // SAFETY: the caller says that nobody uses it.
    unsafe { mmu::update_va_mapping(address, RawEntry(0), UVMF_INVLPG | UVMF_ALL) }?;
    Ok(frame)
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
