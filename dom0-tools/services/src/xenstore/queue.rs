//! Replies and events that a connection has not taken yet, in order.

use super::{Message, PAYLOAD_MAX, wire::HEADER_BYTES};
use alloc::{collections::VecDeque, vec::Vec};

/// Whether an event may stand for an earlier, equal one that still waits.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(super) enum Merge {
    /// It says "look there", and one look is enough.
    Equal,
    /// Each one counts.
    Never,
}

/// A queue of whole messages, taken byte by byte.
#[derive(Debug, Default)]
pub(super) struct Queue {
    messages: VecDeque<Vec<u8>>,
    /// Bytes of the first message that are taken already.
    taken: usize,
    bytes: usize,
}

impl Queue {
    /// Bytes that wait.
    pub(super) const fn bytes(&self) -> usize {
        self.bytes - self.taken
    }

    pub(super) fn push(&mut self, message: &Message) {
        debug_assert!(
            message.payload.len() <= PAYLOAD_MAX,
            "replies are bounded where they are made"
        );
        let bytes = message.to_bytes();
        self.bytes += bytes.len();
        self.messages.push_back(bytes);
    }

    /// Adds an event, unless an equal one waits of which nothing has been taken.
    pub(super) fn push_event(&mut self, event: &Message, merge: Merge) {
        let bytes = event.to_bytes();
        let begun = usize::from(self.taken > 0);
        if merge == Merge::Equal
            && self
                .messages
                .iter()
                .skip(begun)
                .any(|queued| *queued == bytes)
        {
            return;
        }
        self.bytes += bytes.len();
        self.messages.push_back(bytes);
    }

    /// What is to be taken next: the rest of the first message.
    pub(super) fn front(&self) -> &[u8] {
        let first = self
            .messages
            .front()
            .and_then(|message| message.get(self.taken..));
        first.unwrap_or(&[])
    }

    /// Notes that the first `count` bytes of `front` have been taken.
    pub(super) fn take(&mut self, count: usize) {
        self.taken += count.min(self.front().len());
        if let Some(first) = self.messages.front()
            && self.taken >= first.len()
        {
            self.bytes -= first.len();
            self.taken = 0;
            self.messages.pop_front();
        }
    }

    /// Takes a whole message, for a client inside dom0.
    pub(super) fn pop(&mut self) -> Option<Vec<u8>> {
        let first = self.messages.pop_front()?;
        self.bytes -= first.len();
        self.taken = 0;
        (first.len() >= HEADER_BYTES).then_some(first)
    }
}

#[cfg(test)]
mod tests {
    use super::{Merge, Message, Queue};
    use crate::xenstore::Kind;

    #[test]
    fn equal_events_merge_unless_the_first_has_begun() {
        let event = Message::request(Kind::WatchEvent, b"/a\0t\0");
        let mut queue = Queue::default();
        queue.push_event(&event, Merge::Equal);
        queue.push_event(&event, Merge::Equal);
        assert_eq!(queue.bytes(), 21);
        queue.take(1);
        queue.push_event(&event, Merge::Equal);
        assert_eq!(queue.bytes(), 41);
        queue.push_event(&event, Merge::Never);
        assert_eq!(queue.bytes(), 62);
    }

    #[test]
    fn bytes_come_out_in_order_in_any_pieces() {
        let mut queue = Queue::default();
        queue.push(&Message::request(Kind::Read, b"x"));
        queue.push(&Message::request(Kind::Write, b"yz"));
        let mut all = alloc::vec::Vec::new();
        while let [first, ..] = queue.front() {
            all.push(*first);
            queue.take(1);
        }
        assert_eq!(all.len(), 35);
        assert_eq!(queue.bytes(), 0);
        assert_eq!(all[34], b'z');
    }
}
