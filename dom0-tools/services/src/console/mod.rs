//! Consoles of domains: everything a guest prints is taken at once and kept, whoever reads it and however slowly.
//!
//! A guest whose console is not drained stops in its kernel, so nothing here waits for a reader: output goes into a
//! `Scrollback` of fixed size that drops its oldest bytes, and a reader is no more than a position in it. Input waits in a
//! bounded queue until the guest's ring takes it.

mod link;
mod scrollback;

pub use link::{Link, Progress, RingError};
pub use scrollback::{Cursor, Piece, SCROLLBACK_BYTES, Scrollback};

use crate::shared_page::SharedPage;
use alloc::collections::VecDeque;

/// Input that waits for a guest, in bytes.
pub const INPUT_BYTES: usize = 16 << 10;

/// One domain's console.
#[derive(Debug)]
pub struct Console {
    scrollback: Scrollback,
    input: VecDeque<u8>,
    link: Link,
}

impl Default for Console {
    fn default() -> Self {
        Self::new()
    }
}

impl Console {
    /// A console that has printed nothing.
    #[must_use]
    pub fn new() -> Self {
        Self {
            scrollback: Scrollback::new(),
            input: VecDeque::new(),
            link: Link::new(),
        }
    }

    /// The domain begins anew with a fresh ring; what it printed before is kept.
    pub fn restart(&mut self) {
        self.input.clear();
        self.link = Link::new();
    }

    /// What it has printed.
    #[must_use]
    pub const fn scrollback(&self) -> &Scrollback {
        &self.scrollback
    }

    /// Adds a line of dom0's own, such as the news of a restart.
    pub fn note(&mut self, text: &str) {
        self.scrollback.push(text.as_bytes());
    }

    /// Queues input; gives the number of bytes that there was room for.
    pub fn type_in(&mut self, bytes: &[u8]) -> usize {
        let room = INPUT_BYTES.saturating_sub(self.input.len());
        let taken = bytes.get(..room).unwrap_or(bytes);
        self.input.extend(taken);
        taken.len()
    }

    /// Room in the input queue, in bytes.
    #[must_use]
    pub fn input_room(&self) -> usize {
        INPUT_BYTES.saturating_sub(self.input.len())
    }

    /// Drains the guest's output and gives it what input fits. Call it for an event of the guest's port, after `type_in`,
    /// and once more when the domain is dying: the last words of a panic are there.
    pub fn serve(&mut self, page: &impl SharedPage) -> Progress {
        self.link.serve(page, &mut self.scrollback, &mut self.input)
    }
}
