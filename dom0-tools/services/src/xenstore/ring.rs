//! The ring in the page that a domain shares with the server: bytes in, bytes out, hostile indices.
//!
//! A link keeps what the page cannot be trusted with: our own indices, a message half read. Messages are split anywhere by
//! the guest, also inside a header's words, and replies are written as far as they fit, down to one byte: a guest that
//! notifies only when the ring was full would otherwise wait for ever.

use super::{Action, HEADER_BYTES, Message, PAYLOAD_MAX, Server, wire::Header};
use crate::{
    DomId,
    shared_page::{ByteRing, SharedPage},
};
use alloc::vec::Vec;
use thiserror::Error;

const REQUESTS: ByteRing = ByteRing::new(0, 1024);
const REPLIES: ByteRing = ByteRing::new(1024, 1024);
const REQUEST_CONSUMER: usize = 2048;
const REQUEST_PRODUCER: usize = 2052;
const REPLY_CONSUMER: usize = 2056;
const REPLY_PRODUCER: usize = 2060;
const FEATURES: usize = 2064;
const CONNECTION: usize = 2068;
const ERROR: usize = 2072;

/// Reconnection and the error word.
const OFFERED_FEATURES: u32 = 0b11;
/// `connection`: the guest asks to begin anew.
const RECONNECT: u32 = 1;

/// Messages of one client per turn, so that a talkative one does not starve others.
const MESSAGES_PER_TURN: usize = 8;

/// Why a ring is no longer served. The domain lives on and its nodes stay.
#[derive(Clone, Copy, PartialEq, Eq, Debug, Error)]
pub enum RingError {
    /// An index that cannot be.
    #[error("ring indices further apart than the ring is long")]
    Indices,
    /// A payload longer than a message may be.
    #[error("message of more than 4096 bytes")]
    TooLong,
    /// More waits for the client than it will ever take.
    #[error("client does not take its replies and events")]
    Stuck,
}

impl RingError {
    /// The number in the page's error word.
    const fn number(self) -> u32 {
        match self {
            Self::Stuck => 1,
            Self::Indices => 2,
            Self::TooLong => 3,
        }
    }
}

/// What one turn at a ring led to.
#[derive(Clone, Debug, Default)]
pub struct Progress {
    /// An index of ours moved, or the connection word: tell the guest.
    pub notify: bool,
    /// There is more to do at once: come again after the others had their turn.
    pub again: bool,
    /// What the requests ask of the surroundings (privileged clients only).
    pub actions: Vec<Action>,
    /// The ring has just been given up.
    pub broken: Option<RingError>,
}

/// The server's end of one domain's ring.
#[derive(Debug)]
pub struct Link {
    domain: DomId,
    consumed: u32,
    produced: u32,
    partial: Vec<u8>,
    broken: bool,
}

impl Link {
    /// Takes up the ring in `page`, which the domain's builder zeroed.
    #[must_use]
    pub fn new(domain: DomId, page: &impl SharedPage) -> Self {
        let link = Self {
            domain,
            consumed: 0,
            produced: 0,
            partial: Vec::new(),
            broken: false,
        };
        link.clear_indices(page);
        page.store(FEATURES, OFFERED_FEATURES);
        link
    }

    /// Serves the ring once: a few requests in, all replies that fit out. Call it for an event of the guest's port, when
    /// the server has something new for the domain, and again when the answer says so.
    pub fn serve(&mut self, page: &impl SharedPage, server: &mut Server) -> Progress {
        let mut progress = Progress::default();
        if page.load(CONNECTION) == RECONNECT {
            self.reconnect(page, server);
            progress.notify = true;
        }
        if self.broken {
            return progress;
        }
        if let Err(error) = self.turn(page, server, &mut progress) {
            self.broken = true;
            self.partial = Vec::new();
            server.reset(self.domain);
            page.store(ERROR, error.number());
            progress.notify = true;
            progress.again = false;
            progress.broken = Some(error);
        }
        progress
    }

    fn turn(
        &mut self,
        page: &impl SharedPage,
        server: &mut Server,
        progress: &mut Progress,
    ) -> Result<(), RingError> {
        progress.notify |= self.send(page, server)?;
        let mut answered = 0;
        while answered < MESSAGES_PER_TURN && server.accepts_requests(self.domain) {
            if server.wait(self.domain).is_some() {
                break;
            }
            let Some(message) = self.receive(page, progress)? else {
                break;
            };
            progress
                .actions
                .extend(server.handle(self.domain, &message));
            answered += 1;
        }
        progress.notify |= self.send(page, server)?;
        if server.is_stuck(self.domain) {
            return Err(RingError::Stuck);
        }
        progress.again = answered == MESSAGES_PER_TURN && server.accepts_requests(self.domain);
        Ok(())
    }

    /// One whole request, or none if not all of it is there yet. Reads the producer again after each advance: the guest
    /// does not notify for bytes that it added meanwhile.
    fn receive(
        &mut self,
        page: &impl SharedPage,
        progress: &mut Progress,
    ) -> Result<Option<Message>, RingError> {
        loop {
            let wanted = self.wanted()?;
            if wanted == 0 {
                return Ok(self.complete());
            }
            let produced = page.load(REQUEST_PRODUCER);
            let filled = REQUESTS
                .filled(self.consumed, produced)
                .ok_or(RingError::Indices)?;
            if filled == 0 {
                return Ok(None);
            }
            let count = wanted.min(filled);
            let start = self.partial.len();
            self.partial
                .resize(start + usize::try_from(count).unwrap_or(0), 0);
            if let Some(to) = self.partial.get_mut(start..) {
                REQUESTS.copy_out(page, self.consumed, to);
            }
            self.consumed = self.consumed.wrapping_add(count);
            page.barrier();
            page.store(REQUEST_CONSUMER, self.consumed);
            page.barrier();
            progress.notify = true;
        }
    }

    /// Bytes missing until the header, or the message, is whole.
    fn wanted(&self) -> Result<u32, RingError> {
        let have = self.partial.len();
        let needed = match self.header() {
            None => HEADER_BYTES,
            Some(header) => {
                let length = usize::try_from(header.length).map_err(|_| RingError::TooLong)?;
                if length > PAYLOAD_MAX {
                    return Err(RingError::TooLong);
                }
                HEADER_BYTES + length
            }
        };
        u32::try_from(needed.saturating_sub(have)).map_err(|_| RingError::TooLong)
    }

    fn header(&self) -> Option<Header> {
        let bytes = self.partial.first_chunk::<HEADER_BYTES>()?;
        Some(Header::from_bytes(*bytes))
    }

    fn complete(&mut self) -> Option<Message> {
        let header = self.header()?;
        let payload = self.partial.split_off(HEADER_BYTES);
        self.partial.clear();
        Some(header.with_payload(payload))
    }

    /// Writes what fits. Says whether anything moved.
    fn send(&mut self, page: &impl SharedPage, server: &mut Server) -> Result<bool, RingError> {
        let mut moved = false;
        loop {
            let bytes = server.outgoing(self.domain);
            if bytes.is_empty() {
                return Ok(moved);
            }
            let consumed = page.load(REPLY_CONSUMER);
            let room = REPLIES
                .room(consumed, self.produced)
                .ok_or(RingError::Indices)?;
            if room == 0 {
                return Ok(moved);
            }
            let room = usize::try_from(room).unwrap_or(0);
            let piece = bytes.get(..room).unwrap_or(bytes);
            let count = piece.len();
            page.barrier();
            REPLIES.copy_in(page, self.produced, piece);
            self.produced = self
                .produced
                .wrapping_add(u32::try_from(count).unwrap_or(0));
            page.store(REPLY_PRODUCER, self.produced);
            page.barrier();
            server.sent(self.domain, count);
            moved = true;
        }
    }

    fn reconnect(&mut self, page: &impl SharedPage, server: &mut Server) {
        self.consumed = 0;
        self.produced = 0;
        self.partial = Vec::new();
        self.broken = false;
        server.reset(self.domain);
        self.clear_indices(page);
        page.store(ERROR, 0);
        page.barrier();
        page.store(CONNECTION, 0);
    }

    fn clear_indices(&self, page: &impl SharedPage) {
        for index in [
            REQUEST_CONSUMER,
            REQUEST_PRODUCER,
            REPLY_CONSUMER,
            REPLY_PRODUCER,
        ] {
            page.store(index, 0);
        }
    }
}
