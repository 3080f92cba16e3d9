//! The fake machine's frames: atomic words, poisoned when new.

use std::vec::Vec;

use crate::frame::FrameRange;
use crate::ids::Mfn;
use crate::sync::{AtomicU64, Ordering};

const WORDS: usize = 512;
/// A present, writable, user entry to a frame that no test has: an unscrubbed frame is noticed by whoever believes it.
const POISON: u64 = 0x000b_ad0b_ad0b_a007;

/// RAM of the fake machine.
pub struct FakeRam {
    ranges: Vec<(FrameRange, Vec<AtomicU64>)>,
}

impl core::fmt::Debug for FakeRam {
    fn fmt(&self, f: &mut core::fmt::Formatter<'_>) -> core::fmt::Result {
        let ranges = self.ranges.iter().map(|(range, _)| range);
        f.debug_list().entries(ranges).finish()
    }
}

impl FakeRam {
    pub(super) fn new(pool: &[FrameRange]) -> Self {
        let words = |range: &FrameRange| {
            let frames = usize::try_from(range.end - range.start).expect("a small machine");
            (0..frames * WORDS)
                .map(|_| AtomicU64::new(POISON))
                .collect()
        };
        Self {
            ranges: pool.iter().map(|range| (*range, words(range))).collect(),
        }
    }

    /// The words of a frame.
    pub(super) fn words(&self, frame: Mfn) -> &[AtomicU64] {
        let (range, words) = self
            .ranges
            .iter()
            .find(|(range, _)| range.contains(frame.get()))
            .unwrap_or_else(|| panic!("frame {frame} is not in the pool"));
        let first = usize::try_from(frame.get() - range.start).expect("a small machine") * WORDS;
        &words[first..first + WORDS]
    }

    /// The word at a byte offset, aligned down to 8.
    #[must_use]
    pub fn word(&self, frame: Mfn, offset: usize) -> &AtomicU64 {
        assert!(offset < 4096, "offset {offset} is not in a frame");
        &self.words(frame)[offset / 8]
    }

    /// The entry of this index.
    #[must_use]
    pub fn entry(&self, frame: Mfn, index: u16) -> u64 {
        self.word(frame, usize::from(index) * 8)
            .load(Ordering::Relaxed)
    }

    /// Reads bytes.
    pub fn read(&self, frame: Mfn, offset: usize, to: &mut [u8]) {
        for (at, byte) in (offset..).zip(to) {
            *byte = self.word(frame, at).load(Ordering::Relaxed).to_le_bytes()[at % 8];
        }
    }

    /// Writes bytes.
    pub fn write(&self, frame: Mfn, offset: usize, from: &[u8]) {
        for (at, &byte) in (offset..).zip(from) {
            let word = self.word(frame, at);
            let mut bytes = word.load(Ordering::Relaxed).to_le_bytes();
            bytes[at % 8] = byte;
            word.store(u64::from_le_bytes(bytes), Ordering::Relaxed);
        }
    }

    /// Fills a frame with one byte.
    pub fn fill(&self, frame: Mfn, byte: u8) {
        self.write(frame, 0, &[byte; 4096]);
    }
}
