//! The page that the hypervisor shares with the domain, seen through a mapping of the suite's own.

use core::sync::atomic::{AtomicU8, AtomicU32, AtomicU64, Ordering};

use guest_kernel::paging::{Access, Mapping, Mfn};
use guest_kernel::start::boot_info;

/// The page.
#[derive(Debug)]
pub struct Shared {
    mapping: Mapping,
}

impl Shared {
    /// Maps it. Ends the kernel where that cannot be: nothing can be checked then.
    #[must_use]
    pub fn map() -> Self {
        let address = boot_info().map_or(0, |boot| boot.start_info().shared_info);
        match Mapping::new(&[Mfn(address >> 12)], Access::ReadWrite) {
            Ok(mapping) => Self { mapping },
            Err(error) => panic!("the shared page cannot be mapped: {error}"),
        }
    }

    /// Where it is mapped.
    #[must_use]
    pub fn address(&self) -> u64 {
        self.mapping.address() as u64
    }

    fn at<T>(&self, offset: usize) -> &T {
        assert!(offset + size_of::<T>() <= 4096, "the page has 4096 bytes");
        let place = core::ptr::with_exposed_provenance::<T>(self.mapping.address() + offset);
        // SAFETY: the offset is inside the mapping, which lives as long as `self`; T is an atomic, aligned by its offset.
        unsafe { &*place }
    }

    /// A byte.
    #[must_use]
    pub fn byte(&self, offset: usize) -> &AtomicU8 {
        self.at(offset)
    }

    /// A half word.
    #[must_use]
    pub fn half(&self, offset: usize) -> &AtomicU32 {
        self.at(offset & !3)
    }

    /// A word.
    #[must_use]
    pub fn word(&self, offset: usize) -> &AtomicU64 {
        self.at(offset & !7)
    }

    /// Whether a port is pending.
    #[must_use]
    pub fn pending(&self, port: u64) -> bool {
        self.bit(0x800, port, None)
    }

    /// Clears a port's pending bit.
    pub fn clear(&self, port: u64) {
        self.bit(0x800, port, Some(false));
    }

    /// Whether a port is masked.
    #[must_use]
    pub fn masked(&self, port: u64) -> bool {
        self.bit(0xa00, port, None)
    }

    /// Masks or opens a port.
    pub fn set_mask(&self, port: u64, masked: bool) {
        self.bit(0xa00, port, Some(masked));
    }

    /// Masks all ports: what comes to them is told to no vCPU.
    pub fn mask_all(&self) {
        for index in 0..64 {
            self.word(0xa00 + 8 * index)
                .store(u64::MAX, Ordering::SeqCst);
        }
    }

    /// Reads a bit, and changes it if told so.
    fn bit(&self, base: usize, port: u64, change: Option<bool>) -> bool {
        let index = usize::try_from(port / 64).unwrap_or(0) & 63;
        let word = self.word(base + 8 * index);
        let bit = 1 << (port % 64);
        let before = match change {
            None => word.load(Ordering::SeqCst),
            Some(true) => word.fetch_or(bit, Ordering::SeqCst),
            Some(false) => word.fetch_and(!bit, Ordering::SeqCst),
        };
        before & bit != 0
    }
}
