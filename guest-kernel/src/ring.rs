//! Byte streams in shared pages: one side writes, the other reads, indices run freely and are masked at use.
//!
//! Each side keeps its own index and believes only the other's, after a check: indices further apart than the buffer
//! are an attack or a bug, and end the stream's use.

use core::sync::atomic::{AtomicU32, Ordering, fence};

use thiserror::Error;

use crate::paging::Memory;

/// The other side's index is impossible.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Error)]
#[error("ring indices are further apart than the ring is large")]
pub struct BadIndices;

/// Where a stream lies in its page, in bytes from the page's start.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Place {
    /// First byte of the buffer.
    pub buffer: usize,
    /// Bytes of the buffer, a power of two.
    pub size: usize,
    /// The consumer's index.
    pub consumer: usize,
    /// The producer's index.
    pub producer: usize,
}

/// Console input: from the server to the guest.
pub const CONSOLE_INPUT: Place = Place {
    buffer: 0,
    size: 1024,
    consumer: 3072,
    producer: 3076,
};
/// Console output: from the guest to the server.
pub const CONSOLE_OUTPUT: Place = Place {
    buffer: 1024,
    size: 2048,
    consumer: 3080,
    producer: 3084,
};
/// Xenstore requests: from the guest to the server.
pub const STORE_REQUESTS: Place = Place {
    buffer: 0,
    size: 1024,
    consumer: 2048,
    producer: 2052,
};
/// Xenstore replies: from the server to the guest.
pub const STORE_REPLIES: Place = Place {
    buffer: 1024,
    size: 1024,
    consumer: 2056,
    producer: 2060,
};

impl Place {
    fn buffer_size(self) -> u32 {
        u32::try_from(self.size).unwrap_or(0)
    }

    fn slot(self, index: u32) -> usize {
        self.buffer + (usize::try_from(index).unwrap_or(0) & (self.size - 1))
    }
}

/// The writing end.
#[derive(Debug)]
pub struct Writer {
    memory: Memory,
    place: Place,
    index: u32,
}

impl Writer {
    /// Goes on where the stream's producer stands.
    #[must_use]
    pub fn new(memory: Memory, place: Place) -> Self {
        let index = memory.u32(place.producer).load(Ordering::Relaxed);
        Self {
            memory,
            place,
            index,
        }
    }

    /// Bytes that can be written now.
    ///
    /// # Errors
    /// The reader's index is impossible.
    pub fn space(&self) -> Result<usize, BadIndices> {
        let used = self
            .index
            .wrapping_sub(self.consumer().load(Ordering::Acquire));
        let space = self
            .place
            .buffer_size()
            .checked_sub(used)
            .ok_or(BadIndices)?;
        usize::try_from(space).map_err(|_| BadIndices)
    }

    /// Writes as many bytes as fit and publishes them; returns how many. Notify the reader if that is not 0.
    ///
    /// # Errors
    /// The reader's index is impossible.
    pub fn write(&mut self, bytes: &[u8]) -> Result<usize, BadIndices> {
        let count = self.space()?.min(bytes.len());
        for byte in &bytes[..count] {
            self.memory.bytes(self.place.slot(self.index), 1)[0].store(*byte, Ordering::Relaxed);
            self.index = self.index.wrapping_add(1);
        }
        self.memory
            .u32(self.place.producer)
            .store(self.index, Ordering::Release);
        // The reader may sleep if it saw no more: what follows (a look at its index, a notification) comes after.
        fence(Ordering::SeqCst);
        Ok(count)
    }

    fn consumer(&self) -> &AtomicU32 {
        self.memory.u32(self.place.consumer)
    }
}

/// The reading end.
#[derive(Debug)]
pub struct Reader {
    memory: Memory,
    place: Place,
    index: u32,
}

impl Reader {
    /// Goes on where the stream's consumer stands.
    #[must_use]
    pub fn new(memory: Memory, place: Place) -> Self {
        let index = memory.u32(place.consumer).load(Ordering::Relaxed);
        Self {
            memory,
            place,
            index,
        }
    }

    /// Bytes that wait.
    ///
    /// # Errors
    /// The writer's index is impossible.
    pub fn available(&self) -> Result<usize, BadIndices> {
        let produced = self.memory.u32(self.place.producer).load(Ordering::Acquire);
        let waiting = produced.wrapping_sub(self.index);
        if waiting > self.place.buffer_size() {
            return Err(BadIndices);
        }
        usize::try_from(waiting).map_err(|_| BadIndices)
    }

    /// Reads what waits, as far as it fits, and makes room for more; returns how many bytes. Notify the writer if that
    /// is not 0, and look again before sleeping.
    ///
    /// # Errors
    /// The writer's index is impossible.
    pub fn read(&mut self, buffer: &mut [u8]) -> Result<usize, BadIndices> {
        let count = self.available()?.min(buffer.len());
        for byte in &mut buffer[..count] {
            *byte = self.memory.bytes(self.place.slot(self.index), 1)[0].load(Ordering::Relaxed);
            self.index = self.index.wrapping_add(1);
        }
        fence(Ordering::SeqCst);
        self.memory
            .u32(self.place.consumer)
            .store(self.index, Ordering::Release);
        fence(Ordering::SeqCst);
        Ok(count)
    }
}

#[cfg(test)]
mod tests {
    use alloc::sync::Arc;
    use core::sync::atomic::AtomicU64;

    use super::*;

    fn page() -> Memory {
        let words: Arc<Vec<AtomicU64>> = Arc::new((0..512).map(|_| AtomicU64::new(0)).collect());
        Memory::from_owner(words.as_ptr().expose_provenance(), 4096, words)
    }

    fn ends(place: Place) -> (Memory, Writer, Reader) {
        let memory = page();
        (
            memory.clone(),
            Writer::new(memory.clone(), place),
            Reader::new(memory, place),
        )
    }

    #[test]
    fn what_is_written_is_read_in_order_across_the_end_of_the_buffer() {
        let (_, mut writer, mut reader) = ends(STORE_REPLIES);
        let mut expected = 0_u8;
        for _ in 0..50 {
            let chunk: Vec<u8> = (0..100).map(|index| expected.wrapping_add(index)).collect();
            assert_eq!(writer.write(&chunk), Ok(100));
            let mut buffer = [0; 200];
            assert_eq!(reader.read(&mut buffer), Ok(100));
            assert_eq!(buffer[..100], chunk);
            expected = expected.wrapping_add(100);
        }
    }

    #[test]
    fn a_full_ring_takes_what_fits_and_more_after_a_read() {
        let (_, mut writer, mut reader) = ends(CONSOLE_OUTPUT);
        assert_eq!(writer.write(&[7; 3000]), Ok(2048));
        assert_eq!(writer.write(&[7]), Ok(0));
        assert_eq!(reader.read(&mut [0; 48]), Ok(48));
        assert_eq!(writer.space(), Ok(48));
    }

    #[test]
    fn indices_too_far_apart_are_refused_and_nothing_is_touched() {
        let (memory, mut writer, mut reader) = ends(STORE_REQUESTS);
        memory
            .u32(STORE_REQUESTS.producer)
            .store(1025, Ordering::Relaxed);
        assert_eq!(reader.read(&mut [0; 10]), Err(BadIndices));
        memory
            .u32(STORE_REQUESTS.consumer)
            .store(1, Ordering::Relaxed);
        assert_eq!(writer.write(&[1]), Err(BadIndices));
    }

    #[test]
    fn indices_wrap_at_32_bits() {
        let memory = page();
        for index in [CONSOLE_INPUT.consumer, CONSOLE_INPUT.producer] {
            memory.u32(index).store(u32::MAX - 3, Ordering::Relaxed);
        }
        let mut writer = Writer::new(memory.clone(), CONSOLE_INPUT);
        let mut reader = Reader::new(memory, CONSOLE_INPUT);
        assert_eq!(writer.write(b"across the end"), Ok(14));
        let mut buffer = [0; 14];
        assert_eq!(reader.read(&mut buffer), Ok(14));
        assert_eq!(&buffer, b"across the end");
    }
}
