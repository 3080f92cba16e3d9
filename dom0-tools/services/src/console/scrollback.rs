//! The last bytes that a domain printed, and positions of readers in them.

use alloc::{collections::VecDeque, vec::Vec};

/// How much is kept of each domain.
pub const SCROLLBACK_BYTES: usize = 256 << 10;

/// A reader's place: how many bytes the domain had printed in all when the reader was there.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Default, Debug)]
pub struct Cursor(u64);

/// What a reader gets at once.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct Piece<'a> {
    /// Bytes that were dropped before the reader came for them.
    pub missed: u64,
    /// Consecutive bytes; empty when the reader has all.
    pub bytes: &'a [u8],
    /// Where to go on.
    pub next: Cursor,
}

/// The last `SCROLLBACK_BYTES` bytes. Memory is taken as they come.
#[derive(Debug, Default)]
pub struct Scrollback {
    bytes: VecDeque<u8>,
    /// Bytes printed in all.
    end: u64,
}

impl Scrollback {
    /// Nothing printed yet.
    #[must_use]
    pub const fn new() -> Self {
        Self {
            bytes: VecDeque::new(),
            end: 0,
        }
    }

    /// Adds output; drops the oldest.
    pub fn push(&mut self, bytes: &[u8]) {
        let kept = bytes
            .get(bytes.len().saturating_sub(SCROLLBACK_BYTES)..)
            .unwrap_or(bytes);
        let excess = (self.bytes.len() + kept.len()).saturating_sub(SCROLLBACK_BYTES);
        self.bytes.drain(..excess);
        self.bytes.extend(kept);
        self.end += u64::try_from(bytes.len()).unwrap_or(u64::MAX);
    }

    /// The last bytes, at most so many.
    #[must_use]
    pub fn last(&self, most: usize) -> Vec<u8> {
        let skipped = self.bytes.len().saturating_sub(most);
        self.bytes.iter().copied().skip(skipped).collect()
    }

    /// The place of the oldest byte that is kept.
    #[must_use]
    pub fn start(&self) -> Cursor {
        let kept = u64::try_from(self.bytes.len()).unwrap_or(u64::MAX);
        Cursor(self.end.saturating_sub(kept))
    }

    /// The place behind the newest byte.
    #[must_use]
    pub const fn end(&self) -> Cursor {
        Cursor(self.end)
    }

    /// What comes at `cursor`, at most `most` bytes, perhaps fewer than there are: call again until none come.
    #[must_use]
    pub fn read(&self, cursor: Cursor, most: usize) -> Piece<'_> {
        let from = cursor.max(self.start()).min(self.end());
        let missed = from.0.saturating_sub(cursor.0);
        let skip = usize::try_from(from.0 - self.start().0).unwrap_or(usize::MAX);
        let (front, back) = self.bytes.as_slices();
        let rest = match front.get(skip..) {
            Some(rest) if !rest.is_empty() => rest,
            _ => back.get(skip.saturating_sub(front.len())..).unwrap_or(&[]),
        };
        let bytes = rest.get(..most).unwrap_or(rest);
        let count = u64::try_from(bytes.len()).unwrap_or(0);
        Piece {
            missed,
            bytes,
            next: Cursor(from.0 + count),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::{Cursor, SCROLLBACK_BYTES, Scrollback};
    use alloc::vec::Vec;

    fn all(scrollback: &Scrollback, mut from: Cursor) -> (u64, Vec<u8>) {
        let (mut missed, mut bytes) = (0, Vec::new());
        loop {
            let piece = scrollback.read(from, 1000);
            missed += piece.missed;
            bytes.extend_from_slice(piece.bytes);
            from = piece.next;
            if piece.bytes.is_empty() {
                return (missed, bytes);
            }
        }
    }

    #[test]
    fn a_reader_that_keeps_up_misses_nothing() {
        let mut scrollback = Scrollback::new();
        let mut cursor = scrollback.start();
        for round in 0..2000_u32 {
            let text = alloc::format!("line {round} with some more text to fill the ring soon\n");
            scrollback.push(text.as_bytes());
            let (missed, bytes) = all(&scrollback, cursor);
            assert_eq!((missed, bytes.as_slice()), (0, text.as_bytes()));
            cursor = scrollback.end();
        }
    }

    #[test]
    fn a_slow_reader_is_told_how_much_it_missed() {
        let mut scrollback = Scrollback::new();
        scrollback.push(b"old");
        scrollback.push(&alloc::vec![b'x'; SCROLLBACK_BYTES]);
        let (missed, bytes) = all(&scrollback, Cursor::default());
        assert_eq!((missed, bytes.len()), (3, SCROLLBACK_BYTES));
        scrollback.push(&alloc::vec![b'y'; 3 * SCROLLBACK_BYTES]);
        let (missed, bytes) = all(&scrollback, Cursor::default());
        assert_eq!(
            missed,
            u64::try_from(3 * SCROLLBACK_BYTES + 3).expect("small")
        );
        assert!(bytes.iter().all(|byte| *byte == b'y'));
    }

    #[test]
    fn a_cursor_from_the_future_reads_nothing() {
        let mut scrollback = Scrollback::new();
        scrollback.push(b"abc");
        assert!(scrollback.read(Cursor(99), 10).bytes.is_empty());
    }
}
