//! The console ring in a page that the guest writes too.

use super::Scrollback;
use crate::shared_page::{ByteRing, SharedPage};
use alloc::{collections::VecDeque, vec, vec::Vec};
use thiserror::Error;

const TO_GUEST: ByteRing = ByteRing::new(0, 1024);
const FROM_GUEST: ByteRing = ByteRing::new(1024, 2048);
const TO_GUEST_CONSUMER: usize = 3072;
const TO_GUEST_PRODUCER: usize = 3076;
const FROM_GUEST_CONSUMER: usize = 3080;
const FROM_GUEST_PRODUCER: usize = 3084;

/// Times that the output ring is emptied per call: a guest that prints without end comes again later.
const DRAINS_PER_CALL: u32 = 16;

/// Why a console's ring is no longer served.
#[derive(Clone, Copy, PartialEq, Eq, Debug, Error)]
pub enum RingError {
    /// An index that cannot be.
    #[error("console ring indices further apart than the ring is long")]
    Indices,
}

/// What serving a console once led to.
#[derive(Clone, Copy, PartialEq, Eq, Default, Debug)]
pub struct Progress {
    /// An index of ours moved: tell the guest. A writer that found the ring full waits for it.
    pub notify: bool,
    /// The guest has printed something.
    pub printed: bool,
    /// The guest has taken input: there is room for more.
    pub took_input: bool,
    /// There is more to drain: come again after the others had their turn.
    pub again: bool,
    /// The ring has just been given up.
    pub broken: Option<RingError>,
}

/// The server's end of one console ring: our own indices, which the page cannot be trusted with.
#[derive(Debug)]
pub struct Link {
    consumed: u32,
    produced: u32,
    broken: bool,
}

impl Link {
    /// The server's end of a ring whose page is all zero.
    #[must_use]
    pub const fn new() -> Self {
        Self {
            consumed: 0,
            produced: 0,
            broken: false,
        }
    }

    pub(super) fn serve(
        &mut self,
        page: &impl SharedPage,
        output: &mut Scrollback,
        input: &mut VecDeque<u8>,
    ) -> Progress {
        let mut progress = Progress::default();
        if self.broken {
            input.clear();
            return progress;
        }
        let done = self
            .drain(page, output, &mut progress)
            .and_then(|()| self.feed(page, input, &mut progress));
        if let Err(error) = done {
            self.broken = true;
            input.clear();
            progress.broken = Some(error);
            progress.again = false;
        }
        progress
    }

    /// Takes output until there is none, reading the guest's index again after each step: it does not notify for what it
    /// added meanwhile.
    fn drain(
        &mut self,
        page: &impl SharedPage,
        output: &mut Scrollback,
        progress: &mut Progress,
    ) -> Result<(), RingError> {
        for _ in 0..DRAINS_PER_CALL {
            let produced = page.load(FROM_GUEST_PRODUCER);
            let filled = FROM_GUEST
                .filled(self.consumed, produced)
                .ok_or(RingError::Indices)?;
            if filled == 0 {
                return Ok(());
            }
            let mut bytes = vec![0; usize::try_from(filled).unwrap_or(0)];
            FROM_GUEST.copy_out(page, self.consumed, &mut bytes);
            output.push(&bytes);
            self.consumed = produced;
            page.barrier();
            page.store(FROM_GUEST_CONSUMER, self.consumed);
            page.barrier();
            progress.notify = true;
            progress.printed = true;
        }
        progress.again = true;
        Ok(())
    }

    fn feed(
        &mut self,
        page: &impl SharedPage,
        input: &mut VecDeque<u8>,
        progress: &mut Progress,
    ) -> Result<(), RingError> {
        if input.is_empty() {
            return Ok(());
        }
        let consumed = page.load(TO_GUEST_CONSUMER);
        let room = TO_GUEST
            .room(consumed, self.produced)
            .ok_or(RingError::Indices)?;
        let count = input.len().min(usize::try_from(room).unwrap_or(0));
        if count == 0 {
            return Ok(());
        }
        let bytes: Vec<u8> = input.drain(..count).collect();
        page.barrier();
        TO_GUEST.copy_in(page, self.produced, &bytes);
        self.produced = self
            .produced
            .wrapping_add(u32::try_from(count).unwrap_or(0));
        page.store(TO_GUEST_PRODUCER, self.produced);
        page.barrier();
        progress.notify = true;
        progress.took_input = true;
        Ok(())
    }
}

impl Default for Link {
    fn default() -> Self {
        Self::new()
    }
}

#[cfg(test)]
mod tests {
    use super::{
        FROM_GUEST, FROM_GUEST_PRODUCER, RingError, TO_GUEST, TO_GUEST_CONSUMER, TO_GUEST_PRODUCER,
    };
    use crate::{
        console::{Console, INPUT_BYTES},
        shared_page::{SharedPage, fake::FakePage},
    };
    use alloc::vec;

    fn print(page: &FakePage, text: &[u8]) {
        let produced = page.load(FROM_GUEST_PRODUCER);
        FROM_GUEST.copy_in(page, produced, text);
        page.store(
            FROM_GUEST_PRODUCER,
            produced.wrapping_add(u32::try_from(text.len()).expect("short")),
        );
    }

    #[test]
    fn output_is_taken_and_the_guest_told() {
        let (page, mut console) = (FakePage::new(), Console::new());
        for _ in 0..5 {
            print(&page, &[b'x'; 2000]);
            let progress = console.serve(&page);
            assert!(progress.notify && progress.printed && !progress.again);
        }
        assert_eq!(
            console
                .scrollback()
                .read(console.scrollback().start(), 20_000)
                .bytes,
            [b'x'; 10_000]
        );
        assert!(!console.serve(&page).notify, "nothing new");
    }

    #[test]
    fn input_waits_for_room_and_arrives_in_order() {
        let (page, mut console) = (FakePage::new(), Console::new());
        let typed: vec::Vec<u8> = (0..3000_u32)
            .map(|n| u8::try_from(n % 251).expect("small"))
            .collect();
        assert_eq!(console.type_in(&typed), 3000);
        let mut got = vec::Vec::new();
        while got.len() < 3000 {
            console.serve(&page);
            let consumed = page.load(TO_GUEST_CONSUMER);
            let filled = TO_GUEST
                .filled(consumed, page.load(TO_GUEST_PRODUCER))
                .expect("honest");
            let mut bytes = vec![0; usize::try_from(filled.min(100)).expect("small")];
            TO_GUEST.copy_out(&page, consumed, &mut bytes);
            page.store(
                TO_GUEST_CONSUMER,
                consumed.wrapping_add(u32::try_from(bytes.len()).expect("small")),
            );
            got.extend(bytes);
        }
        assert_eq!(got, typed);
    }

    #[test]
    fn input_nobody_takes_is_bounded() {
        let mut console = Console::new();
        assert_eq!(console.type_in(&vec![0; INPUT_BYTES + 5]), INPUT_BYTES);
        assert_eq!(console.type_in(b"x"), 0);
    }

    #[test]
    fn impossible_indices_end_the_service_once() {
        for (offset, value) in [(FROM_GUEST_PRODUCER, 2049), (TO_GUEST_CONSUMER, 1)] {
            let (page, mut console) = (FakePage::new(), Console::new());
            console.type_in(b"x");
            page.store(offset, value);
            assert_eq!(console.serve(&page).broken, Some(RingError::Indices));
            assert_eq!(console.serve(&page), super::Progress::default());
        }
    }
}
