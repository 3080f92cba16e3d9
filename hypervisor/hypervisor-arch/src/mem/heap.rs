//! The heap: hypervisor frames only, given once at boot.

use buddy_system_allocator::Heap;
use core::alloc::{GlobalAlloc, Layout};
use core::ptr::NonNull;
use spin::Mutex;

/// Largest block is 2^(ORDER - 1) bytes: 4 GiB.
const ORDER: usize = 33;

struct LockedHeap(Mutex<Heap<ORDER>>);

#[global_allocator]
static HEAP: LockedHeap = LockedHeap(Mutex::new(Heap::empty()));

// SAFETY: the buddy heap hands out disjoint blocks of the memory it was given; the lock makes calls exclusive. Its
// holder waits for nothing, and interrupts are off, so it cannot be asked for twice by one CPU.
unsafe impl GlobalAlloc for LockedHeap {
    unsafe fn alloc(&self, layout: Layout) -> *mut u8 {
        let block = self.0.lock().alloc(layout);
        block.map_or(core::ptr::null_mut(), NonNull::as_ptr)
    }

    unsafe fn dealloc(&self, block: *mut u8, layout: Layout) {
        if let Some(block) = NonNull::new(block) {
            // SAFETY: the caller gives back a block that `alloc` gave it with this layout.
            unsafe { self.0.lock().dealloc(block, layout) };
        }
    }
}

/// Gives the heap its memory.
///
/// # Safety
/// The `length` bytes at `start` must be mapped, unused, and the heap's for ever.
pub(crate) unsafe fn give(start: u64, length: u64) {
    let (start, length) = (start as usize, length as usize);
    // SAFETY: the caller's promise.
    unsafe { HEAP.0.lock().init(start, length) };
}

/// Bytes in use and bytes in all.
pub(crate) fn usage() -> (usize, usize) {
    let heap = HEAP.0.lock();
    (heap.stats_alloc_actual(), heap.stats_total_bytes())
}
