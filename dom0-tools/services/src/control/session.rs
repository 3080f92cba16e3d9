//! Frames to requests: connections, streams, and how each ends.
//!
//! Every frame that a client can send, in any order, leads to an answer on its own stream or to none; a client that breaks
//! the rules loses its stream, never anybody else's.

use super::{
    host::Host,
    manager::{Manager, Next},
    stream::{Stream, Work},
};
use alloc::vec::Vec;
use dom0_protocol::{
    ClientMessage, ErrorCode, ErrorReply, Frame, Hello, Kind, MAX_STREAMS_PER_CONNECTION, Progress,
    Reply, Request, ServerMessage, StreamId,
    credit::{Receiver, SERVER_START},
};

/// Connections at once; a multiplexer has 16 clients.
const MAX_CONNECTIONS: usize = 64;

impl<H: Host> Manager<H> {
    /// Bytes of the control channel have come, in pieces of any size.
    pub fn receive(&mut self, bytes: &[u8]) {
        self.decoder.push(bytes);
        while let Some(frame) = self.decoder.next_frame() {
            self.take_frame(frame);
        }
    }

    fn take_frame(&mut self, frame: Frame) {
        let (id, kind) = (frame.stream(), frame.kind());
        let known = self.connections.contains_key(&id.connection());
        match ClientMessage::decode(frame) {
            Ok(ClientMessage::Reset(nonce)) => self.reset(nonce),
            Ok(ClientMessage::Hello(hello)) => self.greet(id, &hello),
            Ok(ClientMessage::Close) if id.local() == 0 => self.end_connection(id.connection()),
            Ok(ClientMessage::Close) => {
                self.drop_stream(id);
                self.last(id, &ServerMessage::Close);
            }
            _ if !known => {
                let error = ErrorReply::new(ErrorCode::Malformed, "a connection begins with Hello");
                self.last(id, &ServerMessage::Error(error));
            }
            Ok(ClientMessage::Open(request)) => self.open(id, request),
            Ok(ClientMessage::Data(bytes)) => self.take_data(id, &bytes),
            Ok(ClientMessage::Window(more)) => {
                if self.outbox.grant(id, more).is_err() {
                    self.break_stream(id, "more room was announced than is allowed");
                }
            }
            Err(error) => {
                // Data and Window frames of streams that have ended may still be on their way.
                let late =
                    matches!(kind, Kind::Data | Kind::Window) && !self.streams.contains_key(&id);
                if !late {
                    self.drop_stream(id);
                    self.last(id, &ServerMessage::Error(error.into()));
                }
            }
        }
    }

    /// A multiplexer has started: all that came before it is void.
    fn reset(&mut self, nonce: u64) {
        let connections: Vec<u16> = self.connections.keys().copied().collect();
        for connection in connections {
            self.forget_connection(connection);
        }
        self.outbox.clear();
        self.last(StreamId::of_connection(0), &ServerMessage::Reset(nonce));
    }

    fn greet(&mut self, id: StreamId, hello: &Hello) {
        let connection = id.connection();
        if id.local() != 0 {
            self.break_stream(id, "Hello belongs on stream 0");
            return;
        }
        match hello.negotiate() {
            Ok(_) if self.connections.len() >= MAX_CONNECTIONS => {
                let error =
                    ErrorReply::new(ErrorCode::TooManyStreams, "dom0 has too many connections")
                        .hint("end another client first");
                self.last(id, &ServerMessage::Error(error));
            }
            Ok(version) => {
                self.forget_connection(connection);
                self.connections.insert(connection, version);
                let answer = Hello::new(hello.nonce, &alloc::format!("dom0 {}", self.version));
                self.send(id, &ServerMessage::Hello(answer));
            }
            Err(error) => {
                let error = ErrorReply::new(ErrorCode::VersionMismatch, alloc::format!("{error}"));
                self.last(
                    id,
                    &ServerMessage::Error(error.hint("use a dom0ctl of the same release as dom0")),
                );
            }
        }
    }

    fn open(&mut self, id: StreamId, request: Request) {
        if id.local() == 0 || self.streams.contains_key(&id) {
            self.break_stream(id, "this stream is open already");
            return;
        }
        let mine = (self.streams.keys()).filter(|open| open.connection() == id.connection());
        if mine.count() >= MAX_STREAMS_PER_CONNECTION {
            let text =
                alloc::format!("a connection may have {MAX_STREAMS_PER_CONNECTION} requests open");
            self.last(
                id,
                &ServerMessage::Error(ErrorReply::new(ErrorCode::TooManyStreams, text)),
            );
            return;
        }
        self.outbox.open(id, SERVER_START);
        if let Err(error) = self.begin(id, request) {
            self.fail(id, error);
        }
    }

    /// Begins a request: it is answered at once, or becomes a stream's work.
    fn begin(&mut self, id: StreamId, request: Request) -> Result<(), ErrorReply> {
        let reply = match request {
            Request::Version => self.version(id)?,
            Request::HostInfo => self.host_info()?,
            Request::List => self.list()?,
            Request::Show(selector) => self.show(&selector)?,
            Request::Pause(selector) => self.pause(&selector)?,
            Request::Unpause(selector) => self.unpause(&selector)?,
            Request::Destroy(selector) => self.destroy(&selector)?,
            Request::Poweroff => self.power_off(id),
            Request::Dmesg(reading) => {
                self.read_log(id, reading);
                return Ok(());
            }
            Request::Audit => {
                self.begin_audit(id);
                return Ok(());
            }
            Request::Upload(upload) => return self.upload(id, &upload),
            Request::Create(wish) => return self.create(id, *wish),
            Request::Balloon(wish) => return self.balloon(id, &wish),
            Request::Vcpus(wish) => return self.set_vcpus(id, &wish),
            Request::Shutdown(wish) => return self.shutdown(id, &wish),
            Request::Reboot(wish) => return self.reboot(id, &wish),
            Request::Console(wish) => return self.open_console(id, &wish),
            Request::Counters(selector) => self.counters(&selector)?,
            Request::Move(wish) => return self.begin_move(id, &wish),
            Request::Sched(wish) => self.sched(&wish)?,
            Request::MaxMemory(wish) => self.max_memory(&wish)?,
            Request::Rename(wish) => self.rename(wish)?,
            Request::Sysrq(wish) => return self.sysrq(id, &wish),
            Request::Wait(wish) => return self.wait_for(id, &wish),
        };
        self.done(id, reply);
        Ok(())
    }

    /// Gives a stream its work; `window` is the room for the client's data.
    pub(super) fn work_on(&mut self, id: StreamId, work: Work, window: u32) {
        let receiver = Receiver::new(window, 0);
        self.streams.insert(id, Stream { work, receiver });
        self.announce(id);
    }

    /// Announces room again, if it is worth a frame.
    pub(super) fn announce(&mut self, id: StreamId) {
        let more = (self.streams.get_mut(&id)).and_then(|stream| stream.receiver.announce());
        if let Some(more) = more {
            self.send(id, &ServerMessage::Window(more));
        }
    }

    fn take_data(&mut self, id: StreamId, bytes: &[u8]) {
        let Some(stream) = self.streams.get_mut(&id) else {
            return;
        };
        if stream.receiver.receive(bytes.len()).is_err() {
            self.break_stream(id, "more data came than there was room for");
            return;
        }
        match &mut stream.work {
            Work::Upload(_) => self.take_piece(id, bytes),
            Work::Terminal(terminal) => {
                terminal.input.extend_from_slice(bytes);
                // At once: the client may close the stream in the same breath.
                self.pass_input(id);
            }
            Work::Creating { .. }
            | Work::Changing(_)
            | Work::Ending(_)
            | Work::Waiting(_)
            | Work::Moving { .. }
            | Work::Audit
            | Work::Log { .. } => {
                self.break_stream(id, "this request takes no data");
            }
        }
    }

    /// Looks at one stream's work.
    pub(super) fn step_stream(&mut self, id: StreamId, next: &mut Next) {
        let Some(stream) = self.streams.get(&id) else {
            return;
        };
        match stream.work {
            Work::Changing(_) => self.step_change(id, next),
            Work::Ending(_) => self.step_ending(id, next),
            Work::Waiting(_) => self.step_waiting(id, next),
            Work::Terminal(_) => self.step_terminal(id),
            Work::Log { .. } => self.step_log(id),
            Work::Creating { .. } | Work::Upload(_) | Work::Moving { .. } | Work::Audit => {}
        }
    }

    /// Ends a stream with its answer.
    pub(super) fn done(&mut self, id: StreamId, reply: Reply) {
        self.drop_work(id);
        self.last(id, &ServerMessage::Done(reply));
    }

    /// Ends a stream with an error.
    pub(super) fn fail(&mut self, id: StreamId, error: ErrorReply) {
        self.drop_work(id);
        self.last(id, &ServerMessage::Error(error));
    }

    /// Tells a stream's client how far its request is.
    pub(super) fn tell(&mut self, id: StreamId, progress: Progress) {
        self.send(id, &ServerMessage::Progress(progress));
    }

    fn break_stream(&mut self, id: StreamId, why: &str) {
        self.drop_stream(id);
        let error = ErrorReply::new(ErrorCode::Malformed, why);
        self.last(id, &ServerMessage::Error(error));
    }

    /// Forgets a stream and all that waits for it.
    fn drop_stream(&mut self, id: StreamId) {
        let creating = (self.streams.get(&id)).and_then(|stream| stream.work.creating());
        self.drop_work(id);
        self.outbox.drop_stream(id);
        if let Some(key) = creating {
            // Who wanted the domain went away before there was one.
            let text = "its client went away while it was being built";
            self.end_of(key, &ErrorReply::new(ErrorCode::Superseded, text));
        }
    }

    fn drop_work(&mut self, id: StreamId) {
        if let Some(stream) = self.streams.remove(&id)
            && let Work::Upload(arriving) = stream.work
        {
            self.files.unreserve(arriving.length);
        }
    }

    fn end_connection(&mut self, connection: u16) {
        self.forget_connection(connection);
        self.last(StreamId::of_connection(connection), &ServerMessage::Close);
    }

    fn forget_connection(&mut self, connection: u16) {
        let mine: Vec<StreamId> = (self.streams.keys().copied())
            .filter(|id| id.connection() == connection)
            .collect();
        for id in mine {
            self.drop_stream(id);
        }
        self.outbox.drop_connection(connection);
        self.files.release(connection);
        self.connections.remove(&connection);
    }

    fn send(&mut self, id: StreamId, message: &ServerMessage) {
        match message.encode(id) {
            Ok(frame) => self.outbox.push(frame),
            Err(error) => log::error!("control: an answer on stream {id} cannot be sent: {error}"),
        }
    }

    /// Sends a stream's last frame.
    fn last(&mut self, id: StreamId, message: &ServerMessage) {
        let frame = message.encode(id).or_else(|error| {
            let error = ErrorReply::new(
                ErrorCode::Internal,
                alloc::format!("the answer cannot be sent: {error}"),
            );
            ServerMessage::Error(error).encode(id)
        });
        match frame {
            Ok(frame) => self.outbox.finish(frame),
            Err(error) => log::error!("control: the end of stream {id} cannot be sent: {error}"),
        }
    }

    /// Ends all streams that `concerned` picks, each with the error that it gives.
    pub(super) fn fail_streams(&mut self, concerned: impl Fn(&Work) -> Option<ErrorReply>) {
        let ends: Vec<(StreamId, ErrorReply)> = (self.streams.iter())
            .filter_map(|(id, stream)| concerned(&stream.work).map(|error| (*id, error)))
            .collect();
        for (id, error) in ends {
            self.fail(id, error);
        }
    }

    fn power_off(&mut self, id: StreamId) -> Reply {
        let deadline = self.host.now().saturating_add(2_000_000_000);
        self.power_off = Some(super::manager::PowerOff {
            connection: id.connection(),
            deadline,
        });
        Reply::PoweringOff
    }
}
