//! Giving frames back to the hypervisor and taking new ones: what a balloon driver does.
//!
//! Both work on many pages by a few calls: one for all entries, one flush, one for all frames.

use alloc::vec::Vec;

use super::{Mfn, PagingError, Pfn, direct};
use crate::heap::{self, Page};
use crate::hypercall::memory;

/// A list with room for `count` elements.
fn list<T>(count: usize) -> Result<Vec<T>, PagingError> {
    let mut list = Vec::new();
    list.try_reserve_exact(count)
        .map_err(|_| PagingError::OutOfMemory)?;
    Ok(list)
}

/// Gives up to `count` free pages' frames back; returns the pages that have no frame now, at least one.
///
/// # Errors
/// `OutOfMemory` when the heap has no free page to give, `NoFrames` when the hypervisor takes none.
pub fn release(count: usize) -> Result<Vec<Pfn>, PagingError> {
    let mut pages = list(count)?;
    let mut frames = list(count)?;
    while pages.len() < count {
        let Some(address) = Page::any().map(Page::leak) else {
            break;
        };
        let (Some(page), Some(frame)) = (direct::page_at(address), direct::frame_at(address))
        else {
            break;
        };
        pages.push(page);
        frames.push(frame);
    }
    if pages.is_empty() {
        return Err(PagingError::OutOfMemory);
    }
    // SAFETY: the pages were free, and are leaked: nobody uses them.
    if let Err(error) = unsafe { direct::detach(&pages) } {
        // For want of memory for the request: the pages are mapped as they were.
        pages.into_iter().for_each(add_to_heap);
        return Err(error);
    }
    let released = memory::decrease_reservation(&frames);
    // What the hypervisor would not take stays this domain's, as before; unused, if there is no memory to map it again.
    let _kept = give_to_heap(&pages[released..], &frames[released..]);
    pages.truncate(released);
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
    // Everything that may fail for want of memory comes before there are frames that would be lost then.
    direct::prepare(pages)?;
    let mut names = list(pages.len())?;
    let mut frames = list(pages.len())?;
    names.extend(pages.iter().map(|page| page.0));
    let taken = memory::populate_physmap(&mut names, 0);
    if taken == 0 {
        return Err(PagingError::NoFrames);
    }
    frames.extend(names[..taken].iter().map(|&frame| Mfn(frame)));
    if let Err(error) = give_to_heap(&pages[..taken], &frames) {
        // Mapped nowhere, they would be lost to everybody.
        memory::decrease_reservation(&frames);
        return Err(error);
    }
    Ok(taken)
}

fn give_to_heap(pages: &[Pfn], frames: &[Mfn]) -> Result<(), PagingError> {
    if pages.is_empty() {
        return Ok(());
    }
    direct::attach(pages, frames)?;
    pages.iter().copied().for_each(add_to_heap);
    Ok(())
}

/// Adds a page that is mapped and that nobody uses.
fn add_to_heap(page: Pfn) {
    // SAFETY: the callers have mapped it writable, and hold the only right to it.
    unsafe { heap::add_page(direct::address_of(page)) };
}
