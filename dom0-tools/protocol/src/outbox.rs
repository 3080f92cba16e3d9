//! What waits to be sent over a shared transport, by stream.
//!
//! Streams that have something to send take turns, one frame each, so a long upload or a noisy console delays others by
//! one frame at most. Within a stream order is kept. Data waits for the receiver's room; what was queued behind it waits
//! with it, and other streams go ahead.

use crate::credit::{Credit, WindowBroken};
use crate::frame::{Frame, Kind, MAX_PAYLOAD, StreamId};
use alloc::collections::{BTreeMap, VecDeque};
use alloc::vec::Vec;

/// Data goes out in pieces of this size, so that turns are short.
pub const PIECE: usize = MAX_PAYLOAD / 4;

#[derive(Debug)]
enum Item {
    Data(VecDeque<u8>),
    Frame(Frame),
}

#[derive(Debug)]
struct Stream {
    credit: Credit,
    items: VecDeque<Item>,
    /// Whether it stands in `turns`.
    waiting: bool,
    /// Forgotten once the queue is empty.
    ending: bool,
}

impl Stream {
    fn can_send(&self) -> bool {
        match self.items.front() {
            None => false,
            Some(Item::Frame(_)) => true,
            Some(Item::Data(_)) => self.credit.available() > 0,
        }
    }

    fn take(&mut self, id: StreamId) -> Option<Frame> {
        match self.items.pop_front()? {
            Item::Frame(frame) => Some(frame),
            Item::Data(mut bytes) => {
                let length = self.credit.take(bytes.len().min(PIECE));
                let piece: Vec<u8> = bytes.drain(..length).collect();
                if !bytes.is_empty() {
                    self.items.push_front(Item::Data(bytes));
                }
                Frame::new(Kind::Data, id, piece).ok()
            }
        }
    }
}

/// Queues of all streams of one sender.
#[derive(Debug, Default)]
pub struct Outbox {
    streams: BTreeMap<StreamId, Stream>,
    turns: VecDeque<StreamId>,
}

impl Outbox {
    /// An empty outbox.
    #[must_use]
    pub const fn new() -> Self {
        Self {
            streams: BTreeMap::new(),
            turns: VecDeque::new(),
        }
    }

    /// Begins a stream with room for `credit` bytes of data. An old stream of that number is dropped first.
    pub fn open(&mut self, id: StreamId, credit: u32) {
        self.drop_stream(id);
        self.streams.insert(
            id,
            Stream {
                credit: Credit::new(credit),
                items: VecDeque::new(),
                waiting: false,
                ending: false,
            },
        );
    }

    /// Queues data; an unknown or ending stream takes none.
    pub fn push_data(&mut self, id: StreamId, bytes: &[u8]) {
        let Some(stream) = self.streams.get_mut(&id) else {
            return;
        };
        if bytes.is_empty() || stream.ending {
            return;
        }
        if let Some(Item::Data(tail)) = stream.items.back_mut() {
            tail.extend(bytes);
        } else {
            stream
                .items
                .push_back(Item::Data(bytes.iter().copied().collect()));
        }
        self.schedule(id);
    }

    /// Queues a frame that needs no room, on its own stream; a stream that is not open yet is opened without room.
    pub fn push(&mut self, frame: Frame) {
        let id = frame.stream();
        if !self.streams.contains_key(&id) {
            self.open(id, 0);
        }
        if let Some(stream) = self.streams.get_mut(&id) {
            if stream.ending {
                return;
            }
            stream.items.push_back(Item::Frame(frame));
        }
        self.schedule(id);
    }

    /// Queues a stream's last frame: the stream is forgotten once all has been sent.
    pub fn finish(&mut self, frame: Frame) {
        let id = frame.stream();
        self.push(frame);
        if let Some(stream) = self.streams.get_mut(&id) {
            stream.ending = true;
        }
    }

    /// The receiver has announced room.
    ///
    /// # Errors
    /// [`WindowBroken`] when it announced more than is allowed.
    pub fn grant(&mut self, id: StreamId, more: u32) -> Result<(), WindowBroken> {
        if let Some(stream) = self.streams.get_mut(&id) {
            stream.credit.grant(more)?;
            self.schedule(id);
        }
        Ok(())
    }

    /// Bytes of data that wait on a stream: what a producer looks at before it makes more.
    #[must_use]
    pub fn backlog(&self, id: StreamId) -> usize {
        let items = self.streams.get(&id).map(|stream| stream.items.iter());
        items
            .into_iter()
            .flatten()
            .map(|item| match item {
                Item::Data(bytes) => bytes.len(),
                Item::Frame(_) => 0,
            })
            .sum()
    }

    /// Forgets a stream and all that it had to send.
    pub fn drop_stream(&mut self, id: StreamId) {
        self.streams.remove(&id);
    }

    /// Forgets all streams of a connection.
    pub fn drop_connection(&mut self, connection: u16) {
        self.streams.retain(|id, _| id.connection() != connection);
    }

    /// Forgets everything.
    pub fn clear(&mut self) {
        self.streams.clear();
        self.turns.clear();
    }

    /// Whether [`Outbox::next_frame`] has something.
    #[must_use]
    pub fn has_next(&self) -> bool {
        self.turns
            .iter()
            .any(|id| self.streams.get(id).is_some_and(Stream::can_send))
    }

    /// The next frame to send.
    pub fn next_frame(&mut self) -> Option<Frame> {
        while let Some(id) = self.turns.pop_front() {
            // A stream that was dropped may have left its turn behind.
            let Some(stream) = self.streams.get_mut(&id) else {
                continue;
            };
            stream.waiting = false;
            if !stream.can_send() {
                continue;
            }
            let frame = stream.take(id);
            if stream.ending && stream.items.is_empty() {
                self.streams.remove(&id);
            } else {
                self.schedule(id);
            }
            if frame.is_some() {
                return frame;
            }
        }
        None
    }

    fn schedule(&mut self, id: StreamId) {
        if let Some(stream) = self.streams.get_mut(&id)
            && !stream.waiting
            && stream.can_send()
        {
            stream.waiting = true;
            self.turns.push_back(id);
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use alloc::vec;

    const A: StreamId = StreamId::new(0, 1);
    const B: StreamId = StreamId::new(1, 1);

    fn end(id: StreamId) -> Frame {
        Frame::new(Kind::Done, id, vec![]).unwrap()
    }

    fn drain(outbox: &mut Outbox) -> Vec<(StreamId, Kind, usize)> {
        core::iter::from_fn(|| outbox.next_frame())
            .map(|frame| (frame.stream(), frame.kind(), frame.payload().len()))
            .collect()
    }

    #[test]
    fn streams_take_turns() {
        let mut outbox = Outbox::new();
        outbox.open(A, 1 << 20);
        outbox.open(B, 1 << 20);
        outbox.push_data(A, &vec![0; 2 * PIECE + 1]);
        outbox.push_data(B, &[0; 5]);
        let order = drain(&mut outbox);
        assert_eq!(
            order,
            [
                (A, Kind::Data, PIECE),
                (B, Kind::Data, 5),
                (A, Kind::Data, PIECE),
                (A, Kind::Data, 1)
            ]
        );
    }

    #[test]
    fn a_slow_reader_blocks_itself_alone_and_keeps_its_order() {
        let mut outbox = Outbox::new();
        outbox.open(A, 3);
        outbox.open(B, 100);
        outbox.push_data(A, b"12345");
        outbox.finish(end(A));
        outbox.push_data(B, b"x");
        assert_eq!(drain(&mut outbox), [(A, Kind::Data, 3), (B, Kind::Data, 1)]);
        assert!(!outbox.has_next());
        assert_eq!(outbox.backlog(A), 2);
        outbox.grant(A, 10).unwrap();
        assert!(outbox.has_next());
        assert_eq!(drain(&mut outbox), [(A, Kind::Data, 2), (A, Kind::Done, 0)]);
        assert_eq!(outbox.backlog(A), 0);
    }

    #[test]
    fn a_connection_that_vanished_sends_nothing_more() {
        let mut outbox = Outbox::new();
        outbox.open(A, 100);
        outbox.open(B, 100);
        outbox.push_data(A, b"a");
        outbox.push_data(B, b"b");
        outbox.drop_connection(0);
        assert_eq!(drain(&mut outbox), [(B, Kind::Data, 1)]);
        outbox.push_data(A, b"a");
        assert!(!outbox.has_next());
    }

    #[test]
    fn nothing_follows_the_last_frame() {
        let mut outbox = Outbox::new();
        outbox.open(A, 100);
        outbox.finish(end(A));
        outbox.push_data(A, b"late");
        outbox.push(end(A));
        assert_eq!(drain(&mut outbox), [(A, Kind::Done, 0)]);
    }
}
