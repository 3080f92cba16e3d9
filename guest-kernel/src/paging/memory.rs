//! Memory that somebody else writes too: reached as atomics only, never as plain references.

use alloc::sync::Arc;
use core::any::Any;
use core::fmt;
use core::sync::atomic::{AtomicU8, AtomicU16, AtomicU32, AtomicU64};

use super::{Mapping, Mfn, PAGE_SIZE, direct, m2p};
use crate::heap::Page;

/// Shared memory; clones name the same bytes and keep them mapped.
#[derive(Clone)]
pub struct Memory {
    start: usize,
    len: usize,
    /// What keeps it mapped; nothing for memory that is for ever.
    _owner: Option<Arc<dyn Any + Send + Sync>>,
}

impl Memory {
    /// Frames from elsewhere.
    #[must_use]
    pub fn from_mapping(mapping: Mapping) -> Self {
        Self {
            start: mapping.address(),
            len: mapping.len(),
            _owner: Some(Arc::new(mapping)),
        }
    }

    /// A page of the heap, to be shared with another domain. Dropping the last clone gives it back to the heap: revoke
    /// the other domain's right before.
    #[must_use]
    pub fn from_page(page: Page) -> Self {
        Self {
            start: page.address(),
            len: PAGE_SIZE,
            _owner: Some(Arc::new(page)),
        }
    }

    /// A frame of this domain that the loader set aside, such as the ring pages in start_info.
    #[must_use]
    pub fn from_loader(frame: Mfn) -> Self {
        Self {
            start: direct::address_of(m2p::page_of(frame)),
            len: PAGE_SIZE,
            _owner: None,
        }
    }

    /// Memory mapped by an owner of another kind.
    pub(crate) fn from_owner(start: usize, len: usize, owner: Arc<dyn Any + Send + Sync>) -> Self {
        Self {
            start,
            len,
            _owner: Some(owner),
        }
    }

    /// Bytes that it has.
    #[must_use]
    pub fn len(&self) -> usize {
        self.len
    }

    /// True for no bytes.
    #[must_use]
    pub fn is_empty(&self) -> bool {
        self.len == 0
    }

    /// Address of the first byte.
    #[must_use]
    pub fn address(&self) -> usize {
        self.start
    }

    /// Machine frame of the first byte.
    #[must_use]
    pub fn frame(&self) -> Option<Mfn> {
        direct::frame_at(self.start)
    }

    /// Address of `count` values of type `T` at `offset`; panics beyond the end or if not aligned.
    fn place<T>(&self, offset: usize, count: usize) -> *const T {
        let end = count
            .checked_mul(size_of::<T>())
            .and_then(|size| size.checked_add(offset));
        assert!(
            end.is_some_and(|end| end <= self.len),
            "shared memory ends before this"
        );
        assert!(
            offset.is_multiple_of(align_of::<T>()),
            "shared memory is read by whole words"
        );
        core::ptr::with_exposed_provenance(self.start + offset)
    }

    /// Bytes at an offset. Panics beyond the end, as do the functions below.
    #[must_use]
    pub fn bytes(&self, offset: usize, count: usize) -> &[AtomicU8] {
        // SAFETY: in range, mapped as long as `self` lives, and everybody uses atomic accesses.
        unsafe { core::slice::from_raw_parts(self.place(offset, count), count) }
    }

    /// A 16-bit word.
    #[must_use]
    pub fn u16(&self, offset: usize) -> &AtomicU16 {
        // SAFETY: as for `bytes`; aligned, since the start is a page's.
        unsafe { &*self.place(offset, 1) }
    }

    /// A 32-bit word.
    #[must_use]
    pub fn u32(&self, offset: usize) -> &AtomicU32 {
        // SAFETY: as above.
        unsafe { &*self.place(offset, 1) }
    }

    /// A 64-bit word.
    #[must_use]
    pub fn u64(&self, offset: usize) -> &AtomicU64 {
        // SAFETY: as above.
        unsafe { &*self.place(offset, 1) }
    }
}

impl fmt::Debug for Memory {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "Memory({:#x}, {} bytes)", self.start, self.len)
    }
}
