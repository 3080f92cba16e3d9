//! A dom0 that says what a test wants it to say, on a unix socket, and the real program run against it.
//!
//! What dom0 itself does is tested where it is built; here the matter is what the client makes of any answer, and of
//! none.
#![expect(dead_code, reason = "each test file uses its part")]

pub(crate) mod kernel;
pub(crate) mod records;

use dom0_protocol::{
    ClientMessage, Decoder, ErrorReply, Frame, Hello, Reply, Request, ServerMessage, StreamId,
};
use std::io::{Read, Write};
use std::os::unix::net::{UnixListener, UnixStream};
use std::path::{Path, PathBuf};
use std::process::{Command, Output, Stdio};
use std::sync::Arc;
use tempfile::TempDir;

/// The server's end of a call.
pub(crate) struct Peer {
    pub(crate) socket: UnixStream,
    decoder: Decoder,
    pub(crate) stream: StreamId,
}

impl Peer {
    pub(crate) fn send(&mut self, message: ServerMessage) {
        let frame = message.encode(self.stream).unwrap();
        self.raw(&frame.to_bytes());
    }

    /// Bytes of any kind. A client that has gone reads none, which is its right.
    pub(crate) fn raw(&mut self, bytes: &[u8]) {
        self.socket.write_all(bytes).ok();
    }

    pub(crate) fn done(&mut self, reply: Reply) {
        self.send(ServerMessage::Done(reply));
    }

    pub(crate) fn refuse(&mut self, error: ErrorReply) {
        self.send(ServerMessage::Error(error));
    }

    pub(crate) fn data(&mut self, bytes: &[u8]) {
        self.send(ServerMessage::Data(bytes.to_vec()));
    }

    fn frame(&mut self) -> Option<Frame> {
        loop {
            if let Some(frame) = self.decoder.next_frame() {
                return Some(frame);
            }
            let mut buffer = [0; 4096];
            match self.socket.read(&mut buffer) {
                Ok(0) | Err(_) => return None,
                Ok(length) => self.decoder.push(&buffer[..length]),
            }
        }
    }

    /// The client's next message, or `None` when it has gone.
    pub(crate) fn receive(&mut self) -> Option<ClientMessage> {
        let frame = self.frame()?;
        self.stream = frame.stream();
        Some(ClientMessage::decode(frame).expect("the client speaks the protocol"))
    }

    /// Takes an upload: opens the window and reads so many bytes.
    pub(crate) fn take(&mut self, length: u64) -> Vec<u8> {
        let length = usize::try_from(length).unwrap();
        let mut bytes = Vec::new();
        while bytes.len() < length {
            // Small windows, so that the client has to wait.
            self.send(ServerMessage::Window(10_000));
            let mut left = 10_000.min(length - bytes.len());
            while left > 0 {
                match self.receive() {
                    Some(ClientMessage::Data(piece)) => {
                        assert!(piece.len() <= left, "more than there was room for");
                        left -= piece.len();
                        bytes.extend(piece);
                    }
                    other => panic!("{other:?} in an upload"),
                }
            }
        }
        bytes
    }
}

/// A server that answers with a test's closure.
pub(crate) struct Server {
    directory: TempDir,
}

impl Server {
    /// Answers every request of every connection by `handler`, after a proper handshake.
    pub(crate) fn start(handler: impl Fn(Request, &mut Peer) + Send + Sync + 'static) -> Self {
        Self::raw(move |peer| {
            loop {
                match peer.receive() {
                    Some(ClientMessage::Hello(hello)) => {
                        let answer = Hello::new(hello.nonce, "a test");
                        peer.send(ServerMessage::Hello(answer));
                    }
                    Some(ClientMessage::Open(request)) => handler(request, peer),
                    Some(ClientMessage::Close) => peer.send(ServerMessage::Close),
                    Some(_) => {}
                    None => return,
                }
            }
        })
    }

    /// Answers the same to everything.
    pub(crate) fn answering(reply: Reply) -> Self {
        Self::start(move |_, peer| peer.done(reply.clone()))
    }

    /// Refuses everything.
    pub(crate) fn refusing(error: ErrorReply) -> Self {
        Self::start(move |_, peer| peer.refuse(error.clone()))
    }

    /// Hands every connection to `talk`, handshake included.
    pub(crate) fn raw(talk: impl Fn(&mut Peer) + Send + Sync + 'static) -> Self {
        let directory = TempDir::new().unwrap();
        let listener = UnixListener::bind(directory.path().join("s")).unwrap();
        let talk = Arc::new(talk);
        std::thread::spawn(move || {
            for socket in listener.incoming() {
                let talk = Arc::clone(&talk);
                std::thread::spawn(move || {
                    talk(&mut Peer {
                        socket: socket.unwrap(),
                        decoder: Decoder::new(),
                        stream: StreamId::of_connection(0),
                    });
                });
            }
        });
        Self { directory }
    }

    pub(crate) fn address(&self) -> String {
        format!("unix:{}", self.directory.path().join("s").display())
    }

    /// The program, about to run against this server.
    pub(crate) fn command(&self, args: &[&str]) -> Command {
        let mut command = program(args);
        command.env("DOM0CTL_CONNECT", self.address());
        command
    }

    /// Runs the program with nothing on its input.
    pub(crate) fn run(&self, args: &[&str]) -> Ended {
        run(&mut self.command(args))
    }
}

/// The program without any connection.
pub(crate) fn program(args: &[&str]) -> Command {
    let mut command = Command::new(env!("CARGO_BIN_EXE_dom0ctl"));
    command
        .args(args)
        .env_clear()
        .env("XDG_RUNTIME_DIR", "/nonexistent")
        .stdin(Stdio::null());
    command
}

/// A run of the program that has ended.
#[derive(Debug)]
pub(crate) struct Ended {
    pub(crate) code: i32,
    pub(crate) out: String,
    pub(crate) err: String,
}

pub(crate) fn run(command: &mut Command) -> Ended {
    command.output().unwrap().into()
}

impl From<Output> for Ended {
    fn from(output: Output) -> Self {
        Self {
            code: output.status.code().expect("no signal"),
            out: String::from_utf8(output.stdout).unwrap(),
            err: String::from_utf8(output.stderr).unwrap(),
        }
    }
}

impl Ended {
    /// Standard output as JSON, valid by this schema.
    #[track_caller]
    pub(crate) fn json(&self, schema: &str) -> serde_json::Value {
        assert_eq!(self.code, 0, "{self:?}");
        valid(&self.out, schema)
    }

    /// The error on standard error as JSON, valid by its schema.
    #[track_caller]
    pub(crate) fn error(&self) -> serde_json::Value {
        assert_eq!(self.out, "", "{self:?}");
        let json = valid(&self.err, "error");
        assert_eq!(json["exit_code"], self.code, "{self:?}");
        json["error"].clone()
    }
}

/// Text as JSON that the committed schema allows.
#[track_caller]
pub(crate) fn valid(text: &str, schema: &str) -> serde_json::Value {
    let json: serde_json::Value = serde_json::from_str(text).expect(text);
    let path = Path::new(env!("CARGO_MANIFEST_DIR")).join("../../docs/schema");
    let path: PathBuf = path.join(schema).with_extension("json");
    let schema = serde_json::from_str(&std::fs::read_to_string(path).unwrap()).unwrap();
    let validator = jsonschema::validator_for(&schema).unwrap();
    if let Err(error) = validator.validate(&json) {
        panic!("{error}\n{text}");
    }
    json
}
