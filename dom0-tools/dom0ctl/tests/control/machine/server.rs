//! The socket, a multiplexer of the simplest kind, and the loop that dom0 would have.

use super::host::{FakeHost, State};
use dom0_protocol::{ClientMessage, Decoder, Frame, StreamId};
use dom0_services::control::{Manager, Setup};
use std::cell::RefCell;
use std::collections::BTreeMap;
use std::io::{Read, Write};
use std::os::unix::net::{UnixListener, UnixStream};
use std::process::Command;
use std::rc::Rc;
use std::sync::mpsc::{Receiver, RecvTimeoutError, Sender, channel};
use std::time::Duration;
use tempfile::TempDir;

enum Input {
    Connected(u16, UnixStream),
    Frame(u16, Frame),
    Gone(u16),
}

/// A machine that runs until the test ends.
pub(crate) struct Machine {
    directory: TempDir,
}

impl Machine {
    /// Starts one whose demo kernel is `demo`.
    pub(crate) fn start(demo: Vec<u8>) -> Self {
        let directory = TempDir::new().unwrap();
        let listener = UnixListener::bind(directory.path().join("s")).unwrap();
        let (sender, receiver) = channel();
        std::thread::spawn(move || accept(&listener, &sender));
        std::thread::spawn(move || Dom0::new(demo).run(&receiver));
        Self { directory }
    }

    pub(crate) fn address(&self) -> String {
        format!("unix:{}", self.directory.path().join("s").display())
    }

    pub(crate) fn connect(&self) -> UnixStream {
        UnixStream::connect(self.directory.path().join("s")).unwrap()
    }

    pub(crate) fn command(&self, args: &[&str]) -> Command {
        let mut command = crate::support::program(args);
        command.env("DOM0CTL_CONNECT", self.address());
        command
    }

    pub(crate) fn run(&self, args: &[&str]) -> crate::support::Ended {
        crate::support::run(&mut self.command(args))
    }
}

fn accept(listener: &UnixListener, sender: &Sender<Input>) {
    for (connection, socket) in (1..).zip(listener.incoming()) {
        let socket = socket.unwrap();
        let writer = socket.try_clone().unwrap();
        sender.send(Input::Connected(connection, writer)).unwrap();
        let sender = sender.clone();
        std::thread::spawn(move || read(connection, socket, &sender));
    }
}

fn read(connection: u16, mut socket: UnixStream, sender: &Sender<Input>) {
    let mut decoder = Decoder::new();
    let mut buffer = [0; 65536];
    while let Ok(length @ 1..) = socket.read(&mut buffer) {
        decoder.push(&buffer[..length]);
        while let Some(frame) = decoder.next_frame() {
            sender.send(Input::Frame(connection, frame)).unwrap();
        }
    }
    sender.send(Input::Gone(connection)).unwrap();
}

struct Dom0 {
    manager: Manager<FakeHost>,
    state: Rc<RefCell<State>>,
    sockets: BTreeMap<u16, UnixStream>,
}

impl Dom0 {
    fn new(demo: Vec<u8>) -> Self {
        let (host, state) = FakeHost::new();
        let setup = Setup {
            demo,
            store_bytes: 64 << 20,
            version: "0.1.0",
        };
        Self {
            manager: Manager::new(host, setup),
            state,
            sockets: BTreeMap::new(),
        }
    }

    fn run(mut self, inputs: &Receiver<Input>) {
        loop {
            let deadline = self.settle();
            if self.manager.is_power_off_due() {
                return;
            }
            let input = match deadline {
                Some(span) => inputs.recv_timeout(span),
                None => inputs.recv().map_err(RecvTimeoutError::from),
            };
            match input {
                Ok(Input::Connected(connection, socket)) => {
                    self.sockets.insert(connection, socket);
                }
                Ok(Input::Frame(connection, frame)) => {
                    let bytes = frame.in_connection(connection).to_bytes();
                    self.manager.receive(&bytes);
                }
                Ok(Input::Gone(connection)) => {
                    self.sockets.remove(&connection);
                    let close = ClientMessage::Close.encode(StreamId::of_connection(connection));
                    self.manager.receive(&close.unwrap().to_bytes());
                }
                Err(RecvTimeoutError::Timeout) => {}
                Err(RecvTimeoutError::Disconnected) => return,
            }
        }
    }

    /// Works until nothing is left to do now; gives the time until there may be more.
    fn settle(&mut self) -> Option<Duration> {
        loop {
            let next = self.manager.work();
            while let Some(frame) = self.manager.next_frame() {
                if let Some(socket) = self.sockets.get_mut(&frame.stream().connection()) {
                    // Who has gone is told as such by its reader.
                    socket.write_all(&frame.in_connection(0).to_bytes()).ok();
                }
            }
            self.manager.let_go();
            let (notified, ended) = self.state.borrow_mut().run_guests();
            let busy = next.again || ended || !notified.is_empty();
            for port in notified {
                self.manager.port_event(port);
            }
            if ended {
                self.manager.domain_event();
            }
            if !busy {
                let now = self.state.borrow().now();
                return next
                    .deadline
                    .map(|at| Duration::from_nanos(at.saturating_sub(now)));
            }
        }
    }
}
