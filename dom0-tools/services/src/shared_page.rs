//! A page that a guest shares with us: every byte of it may change at any time.
//!
//! The trait has no way to borrow the page, only to copy out of it and into it, so that nothing can be validated in place.
//! Index words are loaded and stored whole, with acquire and release order.

/// One shared 4 KiB page. Offsets are in bytes; an access that would leave the page is a bug of ours.
pub trait SharedPage {
    /// Loads the 32-bit word at `offset` with acquire order: bytes written before it was stored are seen after it.
    fn load(&self, offset: usize) -> u32;
    /// Stores a 32-bit word at `offset` with release order: bytes written before are seen by who sees the word.
    fn store(&self, offset: usize, value: u32);
    /// Copies bytes out of the page.
    fn read(&self, offset: usize, to: &mut [u8]);
    /// Copies bytes into the page.
    fn write(&self, offset: usize, from: &[u8]);
    /// A full barrier: stores before it are seen before loads after it are made.
    fn barrier(&self);
}

/// A ring of bytes inside a shared page: where its data lie and how many they are (a power of two).
#[derive(Clone, Copy, Debug)]
pub struct ByteRing {
    offset: usize,
    size: u32,
}

impl ByteRing {
    /// A ring of `size` bytes, a power of two, at `offset`.
    #[must_use]
    pub const fn new(offset: usize, size: u32) -> Self {
        assert!(size.is_power_of_two(), "ring sizes are powers of two");
        Self { offset, size }
    }

    /// Bytes between two free-running indices; none if they lie further apart than the ring is long, which is an attack.
    #[must_use]
    pub fn filled(&self, consumer: u32, producer: u32) -> Option<u32> {
        let filled = producer.wrapping_sub(consumer);
        (filled <= self.size).then_some(filled)
    }

    /// Room between two free-running indices; none as for `filled`.
    #[must_use]
    pub fn room(&self, consumer: u32, producer: u32) -> Option<u32> {
        self.filled(consumer, producer)
            .map(|filled| self.size - filled)
    }

    /// Copies `to.len()` bytes that begin at the free-running index `from`, at most the ring's size.
    pub fn copy_out(&self, page: &impl SharedPage, from: u32, to: &mut [u8]) {
        let (start, first) = self.split(from, to.len());
        let (head, tail) = to.split_at_mut(first);
        page.read(start, head);
        if !tail.is_empty() {
            page.read(self.offset, tail);
        }
    }

    /// Copies `from` into the ring at the free-running index `to`, at most the ring's size.
    pub fn copy_in(&self, page: &impl SharedPage, to: u32, from: &[u8]) {
        let (start, first) = self.split(to, from.len());
        let (head, tail) = from.split_at(first);
        page.write(start, head);
        if !tail.is_empty() {
            page.write(self.offset, tail);
        }
    }

    /// Byte offset in the page of a free-running index, and how many of `length` bytes fit before the ring's end.
    fn split(&self, index: u32, length: usize) -> (usize, usize) {
        let masked = index & (self.size - 1);
        let until_end = usize::try_from(self.size - masked).unwrap_or(usize::MAX);
        let start = self.offset + usize::try_from(masked).unwrap_or(0);
        (start, length.min(until_end))
    }
}

#[cfg(test)]
pub(crate) mod fake {
    //! A shared page for tests, which both sides reach through a shared reference.

    use super::SharedPage;
    use core::cell::RefCell;

    /// A page of ordinary memory.
    #[derive(Debug)]
    pub(crate) struct FakePage(RefCell<[u8; 4096]>);

    impl FakePage {
        pub(crate) fn new() -> Self {
            Self(RefCell::new([0; 4096]))
        }
    }

    impl SharedPage for FakePage {
        fn load(&self, offset: usize) -> u32 {
            let mut word = [0; 4];
            self.read(offset, &mut word);
            u32::from_le_bytes(word)
        }

        fn store(&self, offset: usize, value: u32) {
            self.write(offset, &value.to_le_bytes());
        }

        fn read(&self, offset: usize, to: &mut [u8]) {
            to.copy_from_slice(&self.0.borrow()[offset..offset + to.len()]);
        }

        fn write(&self, offset: usize, from: &[u8]) {
            self.0.borrow_mut()[offset..offset + from.len()].copy_from_slice(from);
        }

        fn barrier(&self) {}
    }
}

#[cfg(test)]
mod tests {
    use super::{ByteRing, fake::FakePage};

    const RING: ByteRing = ByteRing::new(1024, 1024);

    #[test]
    fn bytes_that_wrap_come_out_as_they_went_in() {
        let page = FakePage::new();
        let text = b"across the end";
        RING.copy_in(&page, u32::MAX - 5, text);
        let mut back = [0; 14];
        RING.copy_out(&page, u32::MAX - 5, &mut back);
        assert_eq!(&back, text);
    }

    #[test]
    fn indices_further_apart_than_the_ring_are_refused() {
        assert_eq!(RING.filled(0, 1024), Some(1024));
        assert_eq!(RING.filled(0, 1025), None);
        assert_eq!(RING.filled(1, 0), None);
        assert_eq!(RING.room(u32::MAX, 9), Some(1014));
    }
}
