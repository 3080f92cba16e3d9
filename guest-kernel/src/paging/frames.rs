//! Giving frames back to the hypervisor and taking new ones: what a balloon driver does.

use alloc::vec::Vec;

use super::{Mfn, PagingError, Pfn, direct};
use crate::heap;
use crate::hypercall::memory;

/// Gives up to `count` free pages' frames back; returns the pages that have no frame now, at least one.
///
/// # Errors
/// `OutOfMemory` when the heap has no free page to give.
pub fn release(count: usize) -> Result<Vec<Pfn>, PagingError> {
    let mut pages = Vec::new();
    let mut frames = Vec::new();
    pages
        .try_reserve_exact(count)
        .map_err(|_| PagingError::OutOfMemory)?;
    frames
        .try_reserve_exact(count)
        .map_err(|_| PagingError::OutOfMemory)?;
    for _ in 0..count {
        let Some(page) = heap::Page::zeroed() else {
            break;
        };
        let Some(number) = direct::page_at(page.leak()) else {
            break;
        };
        // SAFETY: the page was free, and is leaked: nobody uses it.
        frames.push(unsafe { direct::detach(number) }?);
        pages.push(number);
    }
    if pages.is_empty() {
        return Err(PagingError::OutOfMemory);
    }
    let released = memory::decrease_reservation(&frames);
    if released == frames.len() {
        return Ok(pages);
    }
    // The hypervisor kept some: they stay this domain's, mapped as before.
    for (page, frame) in pages.drain(released..).zip(frames.drain(released..)) {
        give_to_heap(page, frame)?;
    }
    if pages.is_empty() {
        Err(PagingError::NoFrames)
    } else {
        Ok(pages)
    }
}

/// Asks frames for `pages`, which have none, and gives them to the heap. Returns how many of them, from the first on,
/// have a frame now.
///
/// # Errors
/// `NoFrames` when the hypervisor gives none; `OutOfMemory` without a page for tables.
pub fn take(pages: &[Pfn]) -> Result<usize, PagingError> {
    let mut list = Vec::new();
    list.try_reserve_exact(pages.len())
        .map_err(|_| PagingError::OutOfMemory)?;
    list.extend(pages.iter().map(|page| page.0));
    let taken = memory::populate_physmap(&mut list, 0);
    if taken == 0 {
        return Err(PagingError::NoFrames);
    }
    for (&page, &frame) in pages.iter().zip(list.iter()).take(taken) {
        give_to_heap(page, Mfn(frame))?;
    }
    Ok(taken)
}

fn give_to_heap(page: Pfn, frame: Mfn) -> Result<(), PagingError> {
    direct::attach(page, frame)?;
    // SAFETY: the page is mapped now, writable, and nobody uses it.
    unsafe { heap::add_page(direct::address_of(page)) };
    Ok(())
}
