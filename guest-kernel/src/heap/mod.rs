//! The heap: all memory of the domain that nobody else uses, in one buddy allocator.
//!
//! Single pages for page tables and the balloon come from it too, so that no memory is set aside for either.

use core::alloc::{GlobalAlloc, Layout};
use core::ptr::NonNull;

use buddy_system_allocator::Heap;

use crate::paging::PAGE_SIZE;
use crate::sync::Lock;

/// Orders of blocks: the largest has 2^39 bytes, the size of the direct map.
const ORDERS: usize = 40;

struct KernelHeap(Lock<Heap<ORDERS>>);

#[cfg_attr(target_os = "none", global_allocator)]
static HEAP: KernelHeap = KernelHeap(Lock::new(Heap::empty()));

// SAFETY: blocks come from memory that was added as unused, are aligned to their size, and are handed out once until
// they are given back, since the buddy allocator keeps them under a lock.
unsafe impl GlobalAlloc for KernelHeap {
    unsafe fn alloc(&self, layout: Layout) -> *mut u8 {
        self.0
            .lock()
            .alloc(layout)
            .map_or(core::ptr::null_mut(), NonNull::as_ptr)
    }

    unsafe fn dealloc(&self, pointer: *mut u8, layout: Layout) {
        if let Some(block) = NonNull::new(pointer) {
            // SAFETY: the caller gives back a block that `alloc` gave for this layout.
            unsafe { self.0.lock().dealloc(block, layout) };
        }
    }
}

const PAGE_LAYOUT: Layout = match Layout::from_size_align(PAGE_SIZE, PAGE_SIZE) {
    Ok(layout) => layout,
    Err(_) => panic!("a page is a power of two"),
};

/// One whole page of the heap; dropping it gives it back.
#[derive(Debug)]
pub struct Page(NonNull<u8>);

// SAFETY: a page is plain memory that its owner alone reaches.
unsafe impl Send for Page {}
// SAFETY: a shared page tells its address only.
unsafe impl Sync for Page {}

impl Page {
    /// A page with whatever is in it, if one is free. Only for who never reads it.
    pub(crate) fn any() -> Option<Self> {
        // SAFETY: the layout has a size.
        NonNull::new(unsafe { HEAP.alloc(PAGE_LAYOUT) }).map(Self)
    }

    /// A page of zeros, if one is free.
    #[must_use]
    pub fn zeroed() -> Option<Self> {
        let page = Self::any()?;
        // SAFETY: the block is a page long and ours.
        unsafe { page.0.write_bytes(0, PAGE_SIZE) };
        Some(page)
    }

    /// Its address.
    #[must_use]
    pub fn address(&self) -> usize {
        self.0.addr().get()
    }

    /// Its bytes.
    pub fn bytes(&mut self) -> &mut [u8] {
        // SAFETY: the page is initialized, ours, and borrowed with `self`.
        unsafe { core::slice::from_raw_parts_mut(self.0.as_ptr(), PAGE_SIZE) }
    }

    /// Takes the page out of the heap for good; returns its address.
    #[must_use]
    pub fn leak(self) -> usize {
        let address = self.0.as_ptr().expose_provenance();
        core::mem::forget(self);
        address
    }
}

impl Drop for Page {
    fn drop(&mut self) {
        // SAFETY: the block came from `alloc` with this layout.
        unsafe { HEAP.dealloc(self.0.as_ptr(), PAGE_LAYOUT) };
    }
}

/// Adds memory.
///
/// # Safety
/// `length` bytes from `start` on are mapped writable, for ever, and nobody uses them.
pub(crate) unsafe fn add(start: usize, length: usize) {
    // SAFETY: the caller says that the range is unused memory.
    unsafe { HEAP.0.lock().add_to_heap(start, start + length) };
}

/// Adds one page, and joins it with the free blocks beside it.
///
/// # Safety
/// As [`add`], for the page at `start`.
pub(crate) unsafe fn add_page(start: usize) {
    let mut heap = HEAP.0.lock();
    // SAFETY: the caller says that the page is unused memory.
    unsafe { heap.add_to_heap(start, start + PAGE_SIZE) };
    // Adding does not join blocks, freeing does: what is allocated now is the page just added, as the last free block.
    if let Ok(page) = heap.alloc(PAGE_LAYOUT) {
        // SAFETY: the block was allocated above with this layout.
        unsafe { heap.dealloc(page, PAGE_LAYOUT) };
    }
}

/// Bytes that can still be allocated, in blocks of any size.
#[must_use]
pub fn free_bytes() -> usize {
    let heap = HEAP.0.lock();
    heap.stats_total_bytes()
        .wrapping_sub(heap.stats_alloc_actual())
}
