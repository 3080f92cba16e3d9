//! Frames out of a stream of bytes, whatever the stream holds.
//!
//! Bytes that begin no good frame are skipped one by one until the next good frame: a client may die in mid-frame, a
//! transport may keep old bytes. Nothing is allocated for a length before the header's own check has passed, and never
//! more than one frame is kept beyond what was pushed.
//!
//! A header may be good and its payload cut: the decoder then waits for bytes that belong to whatever follows. Who
//! starts on a transport that outlives him therefore sends [`flush_padding`] first, which ends any such wait.

use crate::frame::{Frame, HEADER_LEN, Header, MAGIC, MAX_FRAME};
use alloc::vec;
use alloc::vec::Vec;

/// Zero bytes that complete, and so end, any frame that was cut: what a multiplexer sends before its first frame.
#[must_use]
pub fn flush_padding() -> Vec<u8> {
    vec![0; MAX_FRAME]
}

/// An incremental decoder. Push what has arrived, then take frames until there is none.
#[derive(Debug, Default)]
pub struct Decoder {
    buffer: Vec<u8>,
    /// Bytes at the front of `buffer` that are used up.
    used: usize,
    /// A header at `used` that has passed its check.
    header: Option<Header>,
    skipped: u64,
}

impl Decoder {
    /// A decoder that has seen nothing.
    #[must_use]
    pub const fn new() -> Self {
        Self {
            buffer: Vec::new(),
            used: 0,
            header: None,
            skipped: 0,
        }
    }

    /// Adds bytes as they arrive, in pieces of any size.
    pub fn push(&mut self, bytes: &[u8]) {
        self.buffer.drain(..self.used);
        self.used = 0;
        self.buffer.extend_from_slice(bytes);
    }

    /// How many bytes belonged to no frame since the start.
    #[must_use]
    pub const fn skipped(&self) -> u64 {
        self.skipped
    }

    /// Whether bytes of an unfinished frame are kept.
    #[must_use]
    pub fn is_mid_frame(&self) -> bool {
        self.used < self.buffer.len()
    }

    /// The next whole frame, or `None` until more has been pushed.
    pub fn next_frame(&mut self) -> Option<Frame> {
        loop {
            let header = match self.header {
                Some(header) => header,
                None => {
                    let bytes = self.rest().first_chunk::<HEADER_LEN>()?;
                    match Header::decode(bytes) {
                        Some(header) => *self.header.insert(header),
                        None => {
                            self.skip();
                            continue;
                        }
                    }
                }
            };
            let payload = self.rest().get(HEADER_LEN..)?.get(..header.length)?;
            if crc32fast::hash(payload) != header.payload_check {
                self.header = None;
                self.skip();
                continue;
            }
            let frame = Frame::new(header.kind, header.stream, payload.to_vec()).ok()?;
            self.used += HEADER_LEN + header.length;
            self.header = None;
            return Some(frame);
        }
    }

    fn rest(&self) -> &[u8] {
        self.buffer.get(self.used..).unwrap_or(&[])
    }

    /// Leaves the first byte behind, and all up to where a magic may begin.
    fn skip(&mut self) {
        let rest = self.rest();
        let next = (1..rest.len())
            .find(|&at| {
                let tail = rest.get(at..).unwrap_or(&[]);
                tail.iter().zip(&MAGIC).all(|(have, want)| have == want)
            })
            .unwrap_or(rest.len());
        self.used += next;
        self.skipped += u64::try_from(next).unwrap_or(u64::MAX);
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::frame::{Kind, MAX_PAYLOAD, StreamId};
    use proptest::prelude::*;

    fn frame(byte: u8, length: usize) -> Frame {
        Frame::new(Kind::Data, StreamId::new(1, 1), vec![byte; length]).unwrap()
    }

    fn frames(bytes: &[u8], piece: usize) -> (Vec<Frame>, u64) {
        let mut decoder = Decoder::new();
        let mut found = Vec::new();
        for part in bytes.chunks(piece) {
            decoder.push(part);
            while let Some(frame) = decoder.next_frame() {
                found.push(frame);
            }
        }
        (found, decoder.skipped())
    }

    #[test]
    fn frames_are_found_in_pieces_of_any_size() {
        let wanted = vec![
            frame(1, 0),
            frame(2, 1),
            frame(3, 300),
            frame(4, MAX_PAYLOAD),
        ];
        let bytes: Vec<u8> = wanted.iter().flat_map(Frame::to_bytes).collect();
        for piece in [1, 7, 23, 24, 25, 4096, bytes.len()] {
            assert_eq!(frames(&bytes, piece), (wanted.clone(), 0));
        }
    }

    #[test]
    fn a_cut_frame_costs_no_other_frame_once_padding_follows() {
        let mut bytes = frame(1, 5000).to_bytes();
        bytes.truncate(700);
        bytes.extend(flush_padding());
        bytes.extend(frame(2, 10).to_bytes());
        assert_eq!(frames(&bytes, 1000).0, vec![frame(2, 10)]);
    }

    #[test]
    fn a_frame_within_the_bytes_that_a_cut_frame_claimed_is_found() {
        let mut bytes = frame(1, 200).to_bytes();
        bytes.truncate(60);
        bytes.extend(frame(2, 300).to_bytes());
        assert_eq!(frames(&bytes, 50).0, vec![frame(2, 300)]);
    }

    #[test]
    fn a_damaged_length_is_not_waited_for() {
        let mut bytes = frame(1, 8).to_bytes();
        bytes[13] = 0xff;
        bytes.extend(frame(2, 8).to_bytes());
        let (found, skipped) = frames(&bytes, 32);
        assert_eq!(found, vec![frame(2, 8)]);
        assert_eq!(skipped, 32);
    }

    #[test]
    fn repeated_magic_is_no_trap() {
        let mut bytes: Vec<u8> = MAGIC.repeat(50);
        bytes.extend(&MAGIC[..2]);
        bytes.extend(frame(9, 3).to_bytes());
        assert_eq!(frames(&bytes, 3).0, vec![frame(9, 3)]);
    }

    proptest! {
        #[test]
        fn garbage_never_hides_the_frames_after_it(
            garbage in proptest::collection::vec(any::<u8>(), 0..400),
            piece in 1usize..100,
        ) {
            let mut bytes = garbage;
            bytes.extend(flush_padding());
            bytes.extend(frame(7, 40).to_bytes());
            prop_assert_eq!(frames(&bytes, piece).0, vec![frame(7, 40)]);
        }

        #[test]
        fn one_flipped_bit_never_passes(at in 0usize..(HEADER_LEN + 40), bit in 0u8..8) {
            let mut bytes = frame(7, 40).to_bytes();
            bytes[at] ^= 1 << bit;
            prop_assert_eq!(frames(&bytes, 64).0, vec![]);
        }
    }
}
