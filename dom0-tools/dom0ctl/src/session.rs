//! A client's end of a connection: the handshake, and one call at a time.
//!
//! Blocking, with one socket and no thread. A call that is dropped before its end is closed, and what still arrives for it is
//! passed over.

use crate::exit::{Failure, Result};
use crate::patience::{USUAL, longest_silence};
use dom0_protocol::credit::{Credit, Receiver, SERVER_START};
use dom0_protocol::outbox::PIECE;
use dom0_protocol::{
    ClientMessage, Decoder, ErrorCode, Frame, Hello, Kind, Progress, Reply, Request, ServerMessage,
    StreamId,
};
use std::hash::{BuildHasher, Hasher, RandomState};
use std::io::{Read, Write};
use std::os::fd::{AsFd, BorrowedFd};
use std::os::unix::net::UnixStream;
use std::time::{Duration, Instant};

/// How long dom0 may take to answer the first frame: a machine that was just started is still booting.
const HELLO_TIMEOUT: Duration = Duration::from_secs(30);

/// A connection with a settled version.
#[derive(Debug)]
pub struct Session {
    socket: UnixStream,
    decoder: Decoder,
    last_stream: u16,
    peer: Hello,
    version: u16,
    patience: Duration,
}

/// What happens on a call.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Event {
    /// Bytes of a console or log.
    Data(Vec<u8>),
    /// There is room for data: [`Call::room`] says how much.
    Window,
    /// How far it has got.
    Progress(Progress),
    /// It is done; the last event.
    Done(Reply),
}

impl Session {
    /// Shakes hands over a connected socket.
    ///
    /// # Errors
    /// `cannot-connect` when no dom0 answers, `version-mismatch` when it speaks another version.
    pub fn start(socket: UnixStream) -> Result<Self> {
        let nonce = nonce();
        let mut session = Self {
            socket,
            decoder: Decoder::new(),
            last_stream: 0,
            peer: Hello::new(nonce, ""),
            version: 0,
            patience: USUAL,
        };
        session
            .socket
            .set_write_timeout(Some(USUAL))
            .map_err(|error| no_answer(&error.to_string()))?;
        let own = Hello::new(nonce, concat!("dom0ctl ", env!("CARGO_PKG_VERSION")));
        let connection = StreamId::of_connection(0);
        session
            .send(&ClientMessage::Hello(own), connection)
            .map_err(|failure| no_answer(&failure.error().message))?;
        session.peer = session.await_hello(nonce)?;
        session.version = session.peer.negotiate().map_err(|error| {
            Failure::new(ErrorCode::VersionMismatch, error)
                .hint("build dom0ctl and the machine's dom0 from the same source")
        })?;
        Ok(session)
    }

    /// Sets how long dom0 may take for an answer that waits for nobody.
    pub const fn set_patience(&mut self, patience: Duration) {
        self.patience = patience;
    }

    /// The version in use.
    #[must_use]
    pub const fn version(&self) -> u16 {
        self.version
    }

    /// Whom dom0 says it is.
    #[must_use]
    pub fn peer(&self) -> &str {
        &self.peer.agent
    }

    /// Begins a call.
    ///
    /// # Errors
    /// `connection-lost`, or `invalid-argument` when the request does not fit into a frame.
    pub fn call(&mut self, request: Request) -> Result<Call<'_>> {
        self.last_stream = self.last_stream.checked_add(1).unwrap_or(1);
        let id = StreamId::new(0, self.last_stream);
        let silence = longest_silence(&request, self.patience);
        self.timeout(silence)?;
        self.send(&ClientMessage::Open(request), id)?;
        Ok(Call {
            session: self,
            id,
            credit: Credit::new(0),
            receiver: Receiver::new(SERVER_START, SERVER_START),
            silence: silence.unwrap_or_default(),
            ended: false,
        })
    }

    /// A call from beginning to end, without its data and progress.
    ///
    /// # Errors
    /// What the server answers, or `connection-lost`.
    pub fn ask(&mut self, request: Request) -> Result<Reply> {
        let mut call = self.call(request)?;
        loop {
            if let Event::Done(reply) = call.next_event()? {
                return Ok(reply);
            }
        }
    }

    fn await_hello(&mut self, nonce: u64) -> Result<Hello> {
        let deadline = Instant::now() + HELLO_TIMEOUT;
        loop {
            while let Some(frame) = self.decoder.next_frame() {
                if frame.stream().local() != 0 {
                    continue;
                }
                match ServerMessage::decode(frame) {
                    Ok(ServerMessage::Hello(hello)) if hello.nonce == nonce => {
                        self.timeout(None)?;
                        return Ok(hello);
                    }
                    Ok(ServerMessage::Error(error)) => return Err(error.into()),
                    Ok(_) => {}
                    Err(error) => return Err(no_answer(&error.to_string())),
                }
            }
            let left = deadline.saturating_duration_since(Instant::now());
            if left.is_zero() {
                return Err(no_answer("it said nothing for 30 seconds"));
            }
            self.timeout(Some(left))?;
            match self.read() {
                Ok(0) => return Err(no_answer("it closed the connection")),
                Ok(_) => {}
                Err(error) if error.kind() == std::io::ErrorKind::WouldBlock => {}
                Err(error) => return Err(no_answer(&error.to_string())),
            }
        }
    }

    fn timeout(&self, limit: Option<Duration>) -> Result<()> {
        self.socket
            // 0 would be no limit, and is refused.
            .set_read_timeout(limit.map(|limit| limit.max(Duration::from_millis(1))))
            .map_err(|error| no_answer(&error.to_string()))
    }

    fn send(&mut self, message: &ClientMessage, id: StreamId) -> Result<()> {
        let frame = message
            .encode(id)
            .map_err(|error| Failure::usage(error, "shorten the command line and names"))?;
        self.write(&frame)
    }

    fn write(&mut self, frame: &Frame) -> Result<()> {
        self.socket
            .write_all(&frame.to_bytes())
            .map_err(|error| lost(&error.to_string()))
    }

    fn read(&mut self) -> std::io::Result<usize> {
        let mut buffer = [0; 64 * 1024];
        let length = loop {
            match self.socket.read(&mut buffer) {
                Err(error) if error.kind() == std::io::ErrorKind::Interrupted => {}
                other => break other?,
            }
        };
        self.decoder.push(buffer.get(..length).unwrap_or(&[]));
        Ok(length)
    }
}

/// A request on its way.
#[derive(Debug)]
pub struct Call<'a> {
    session: &'a mut Session,
    id: StreamId,
    credit: Credit,
    receiver: Receiver,
    /// How long dom0 may say nothing, if there is a limit.
    silence: Duration,
    ended: bool,
}

impl Call<'_> {
    /// How many bytes of data the server takes now.
    #[must_use]
    pub const fn room(&self) -> u32 {
        self.credit.available()
    }

    /// The next event, when it comes.
    ///
    /// # Errors
    /// The server's error, or `connection-lost`.
    pub fn next_event(&mut self) -> Result<Event> {
        loop {
            if let Some(event) = self.try_next()? {
                return Ok(event);
            }
            self.fill()?;
        }
    }

    /// The next event, if it has arrived already.
    ///
    /// # Errors
    /// The server's error, or `connection-lost`.
    pub fn try_next(&mut self) -> Result<Option<Event>> {
        while let Some(frame) = self.session.decoder.next_frame() {
            let connection = frame.stream().local() == 0;
            if frame.stream() != self.id && !connection {
                continue;
            }
            // Kinds of later versions are no concern of this one.
            if matches!(frame.kind(), Kind::Unknown(_)) {
                continue;
            }
            let message = ServerMessage::decode(frame).map_err(|error| {
                self.ended = true;
                Failure::from(dom0_protocol::error::ErrorReply::from(error))
            })?;
            if connection {
                if let ServerMessage::Error(error) = message {
                    return Err(error.into());
                }
                if message == ServerMessage::Close {
                    return Err(lost("dom0 ended it"));
                }
                continue;
            }
            match message {
                ServerMessage::Data(bytes) => {
                    self.accept(bytes.len())?;
                    return Ok(Some(Event::Data(bytes)));
                }
                ServerMessage::Window(more) => {
                    self.credit
                        .grant(more)
                        .map_err(|error| lost(&error.to_string()))?;
                    return Ok(Some(Event::Window));
                }
                ServerMessage::Progress(progress) => return Ok(Some(Event::Progress(progress))),
                ServerMessage::Done(reply) => {
                    self.ended = true;
                    return Ok(Some(Event::Done(reply)));
                }
                ServerMessage::Error(error) => {
                    self.ended = true;
                    return Err(error.into());
                }
                ServerMessage::Close => {
                    self.ended = true;
                    return Err(lost("dom0 closed the stream"));
                }
                ServerMessage::Hello(_) | ServerMessage::Reset(_) => {}
            }
        }
        Ok(None)
    }

    /// Waits until something arrives.
    ///
    /// # Errors
    /// `connection-lost`; `deadline` when dom0 says nothing for longer than it may.
    pub fn fill(&mut self) -> Result<()> {
        match self.session.read() {
            Ok(0) => Err(lost("the other end closed it")),
            Ok(_) => Ok(()),
            Err(error) if error.kind() == std::io::ErrorKind::WouldBlock => {
                Err(silent(self.silence))
            }
            Err(error) => Err(lost(&error.to_string())),
        }
    }

    /// Sends as much data as there is room for, in one frame at most, and says how much that was.
    ///
    /// # Errors
    /// `connection-lost`.
    pub fn send(&mut self, bytes: &[u8]) -> Result<usize> {
        let length = self.credit.take(bytes.len().min(PIECE));
        let piece = bytes.get(..length).unwrap_or(&[]);
        if !piece.is_empty() {
            self.session
                .send(&ClientMessage::Data(piece.to_vec()), self.id)?;
        }
        Ok(length)
    }

    fn accept(&mut self, length: usize) -> Result<()> {
        self.receiver
            .receive(length)
            .map_err(|error| lost(&error.to_string()))?;
        self.receiver.consume(length);
        if let Some(more) = self.receiver.announce() {
            self.session.send(&ClientMessage::Window(more), self.id)?;
        }
        Ok(())
    }
}

impl AsFd for Call<'_> {
    fn as_fd(&self) -> BorrowedFd<'_> {
        self.session.socket.as_fd()
    }
}

impl Drop for Call<'_> {
    fn drop(&mut self) {
        if !self.ended {
            // When the connection is gone there is nothing left to close.
            self.session.send(&ClientMessage::Close, self.id).ok();
        }
    }
}

fn lost(why: &str) -> Failure {
    Failure::new(
        ErrorCode::ConnectionLost,
        format!("the connection to dom0 was lost: {why}"),
    )
    .hint("see whether the machine still runs: `dom0ctl list`")
}

fn silent(limit: Duration) -> Failure {
    Failure::new(
        ErrorCode::Deadline,
        format!("dom0 has said nothing for {} s", limit.as_secs_f64()),
    )
    .hint("the machine may be frozen or very busy: look at its console, or give more time with --patience")
}

fn no_answer(why: &str) -> Failure {
    Failure::new(
        ErrorCode::CannotConnect,
        format!("no dom0 answers at the other end: {why}"),
    )
    .hint("the machine may still be booting, or have ended: look at its console")
}

/// A number that no other client of this machine has used lately; it guards against mix-ups, not against malice.
fn nonce() -> u64 {
    RandomState::new().build_hasher().finish()
}
