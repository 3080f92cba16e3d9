//! What dom0 and its clients say to each other, over any byte transport.
//!
//! A byte stream carries [`Frame`]s: a header with magic, kind, stream, length and checks, then a payload. A stream is
//! one conversation about one request: the client opens it with a [`Request`], the server answers with any number of
//! data and progress frames and then exactly one [`Reply`] or [`ErrorReply`]. Streams of many connections share one
//! transport; a [`StreamId`] is a connection number and a number local to that connection, so a multiplexer changes the
//! upper half and nothing else.
//!
//! * [`frame`] and [`decoder`]: bytes to frames and back, finding the next good frame after garbage;
//! * [`hello`]: the first frame of a connection, which settles the version;
//! * [`message`]: frames as typed messages of a client and of the server;
//! * [`credit`] and [`outbox`]: flow control per stream, so that a slow reader delays itself alone;
//! * [`request`], [`reply`], [`progress`], [`error`]: the vocabulary;
//! * [`domain`], [`host`], [`names`], [`digest`], [`ending`], [`wait`]: the values that it speaks of.
//!
//! The same types print as JSON in `dom0ctl --json`, so every public field name here is part of that promise too.
//! `docs/control-protocol.md` is the description for other implementations.
#![no_std]
#![forbid(unsafe_code)]

extern crate alloc;

pub mod codec;
pub mod credit;
pub mod decoder;
pub mod digest;
pub mod domain;
pub mod ending;
pub mod error;
pub mod frame;
pub mod hello;
pub mod host;
pub mod message;
pub mod names;
pub mod outbox;
pub mod progress;
pub mod reply;
pub mod request;
pub mod wait;

pub use codec::ProtocolError;
pub use decoder::Decoder;
pub use digest::Digest;
pub use error::{ErrorCode, ErrorReply};
pub use frame::{Frame, FrameTooLong, Kind, MAX_PAYLOAD, StreamId};
pub use hello::Hello;
pub use message::{ClientMessage, ServerMessage};
pub use names::{DomainName, DomainSelector};
pub use outbox::Outbox;
pub use progress::Progress;
pub use reply::Reply;
pub use request::Request;

/// The newest version of the protocol that this crate speaks.
pub const VERSION: u16 = 2;

/// The oldest version of the protocol that this crate speaks.
pub const OLDEST_VERSION: u16 = 2;

/// How many streams one connection may have open at once; more are refused with [`ErrorCode::TooManyStreams`].
pub const MAX_STREAMS_PER_CONNECTION: usize = 16;
