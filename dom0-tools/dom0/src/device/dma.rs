//! Memory that the device reads and writes by machine address.

use alloc::collections::BTreeMap;
use core::ptr::NonNull;

use guest_kernel::paging::{self, Contiguous, PagingError};
use guest_kernel::sync::Lock;
use virtio_drivers::{BufferDirection, Hal, PhysAddr};

/// Bytes of a page.
const PAGE: usize = 4096;

/// What the queues themselves lie in, by machine address.
static GIVEN: Lock<BTreeMap<PhysAddr, Contiguous>> = Lock::new(BTreeMap::new());

/// virtio's view of this domain's memory.
#[derive(Debug)]
pub(super) struct Dma;

// SAFETY: `dma_alloc` gives zeroed pages of a mapping that nothing else names, aligned to a page, kept in `GIVEN` until
// `dma_dealloc`; machine addresses come from the hypervisor or the page tables.
unsafe impl Hal for Dma {
    fn dma_alloc(pages: usize, _: BufferDirection) -> (PhysAddr, NonNull<u8>) {
        let order = pages.next_power_of_two().trailing_zeros();
        match Contiguous::new(order) {
            Ok(memory) => {
                let address = core::ptr::with_exposed_provenance_mut(memory.address());
                let machine = memory.machine_address();
                GIVEN.lock().insert(machine, memory);
                (
                    machine,
                    NonNull::new(address).unwrap_or(NonNull::dangling()),
                )
            }
            // An address of 0 tells the caller that there is none.
            Err(_) => (0, NonNull::dangling()),
        }
    }

    unsafe fn dma_dealloc(machine: PhysAddr, _: NonNull<u8>, _: usize) -> i32 {
        let memory = GIVEN.lock().remove(&machine);
        drop(memory);
        0
    }

    unsafe fn mmio_phys_to_virt(_: PhysAddr, _: usize) -> NonNull<u8> {
        // Only virtio's own PCI transport asks; ours maps its registers itself.
        NonNull::dangling()
    }

    unsafe fn share(buffer: NonNull<[u8]>, _: BufferDirection) -> PhysAddr {
        // Buffers lie in `Buffers`, so the frames behind the first follow it.
        let address = buffer.cast::<u8>().addr().get();
        let offset = u64::try_from(address % PAGE).unwrap_or(0);
        paging::frame_at(address).map_or(0, |frame| (frame.0 << 12) + offset)
    }

    unsafe fn unshare(_: PhysAddr, _: NonNull<[u8]>, _: BufferDirection) {}
}

/// Buffers of equal size in contiguous memory.
#[derive(Debug)]
pub(super) struct Buffers {
    memory: Contiguous,
    size: usize,
}

impl Buffers {
    /// `count` buffers of `size` bytes, both powers of two.
    pub(super) fn new(count: usize, size: usize) -> Result<Self, PagingError> {
        let pages = (count * size).div_ceil(PAGE).next_power_of_two();
        Ok(Self {
            memory: Contiguous::new(pages.trailing_zeros())?,
            size,
        })
    }

    /// Bytes of each.
    pub(super) const fn size(&self) -> usize {
        self.size
    }

    /// A buffer's bytes; panics beyond the last.
    ///
    /// # Safety
    /// The device does not own it, and no other reference to it lives.
    #[expect(
        clippy::mut_from_ref,
        reason = "each buffer is borrowed by itself; the caller answers for it"
    )]
    pub(super) unsafe fn bytes(&self, index: usize) -> &mut [u8] {
        assert!(
            (index + 1) * self.size <= self.memory.len(),
            "no such buffer"
        );
        let start = self.memory.address() + index * self.size;
        let start = core::ptr::with_exposed_provenance_mut::<u8>(start);
        // SAFETY: mapped, initialized by the hypervisor, as long as `self` lives, and the caller's alone.
        unsafe { core::slice::from_raw_parts_mut(start, self.size) }
    }
}
