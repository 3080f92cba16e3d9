//! The multiplexer: many clients on one control channel.
//!
//! dom0 has one byte channel and a unix socket of QEMU serves one peer. This end connects to it once and serves
//! [`switch::MOST`] clients at a time on a socket of its own, passing frames both ways with the connection's number put
//! into, or taken out of, their stream ids. `docs/control-protocol.md` has the rules.
//!
//! Nobody waits for a slow client: what it does not read is queued up to a bound, beyond which its connection ends. The
//! thread that reads from dom0 never writes to it, so a busy dom0 cannot lock up with us.

mod queue;
mod switch;

use std::collections::BTreeMap;
use std::fs;
use std::hash::{BuildHasher, Hasher};
use std::io::{Read, Write};
use std::net::Shutdown;
use std::os::unix::net::{UnixListener, UnixStream};
use std::path::{Path, PathBuf};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::thread::{self, JoinHandle};
use std::time::{Duration, Instant};

use anyhow::{Context, Result, bail};
use dom0_protocol::{
    ClientMessage, Decoder, ErrorCode, ErrorReply, Frame, ServerMessage, StreamId, decoder,
};

use self::queue::Queue;
use self::switch::Switch;

/// How long a socket that QEMU has yet to create is waited for between two looks.
const LOOK: Duration = Duration::from_millis(10);

/// A multiplexer at work; it ends when this value is dropped.
#[derive(Debug)]
pub(crate) struct Multiplexer {
    hub: Arc<Hub>,
    listener: Arc<UnixListener>,
    path: PathBuf,
    threads: Vec<JoinHandle<()>>,
}

/// What all threads share.
#[derive(Debug)]
struct Hub {
    /// The way to dom0; a frame is written whole.
    server: Mutex<UnixStream>,
    routes: Mutex<Routes>,
}

#[derive(Debug, Default)]
struct Routes {
    switch: Switch,
    clients: BTreeMap<u16, Client>,
}

#[derive(Debug)]
struct Client {
    queue: Arc<Queue>,
    socket: UnixStream,
}

impl Multiplexer {
    /// Connects to dom0 through QEMU's socket, waits until dom0 answers, and serves clients at `control`.
    ///
    /// `ended` says whether the machine has gone, so that nobody waits for its socket in vain.
    pub(crate) fn start(
        console: &Path,
        control: &Path,
        limit: Duration,
        ended: impl FnMut() -> bool,
    ) -> Result<Self> {
        let deadline = Instant::now() + limit;
        let mut server = connect(console, deadline, ended)?;
        let decoder = greet(&mut server, deadline)?;
        let reader = server.try_clone().context("cannot duplicate a socket")?;
        let hub = Arc::new(Hub {
            server: Mutex::new(server),
            routes: Mutex::default(),
        });
        let listener = UnixListener::bind(control)
            .with_context(|| format!("cannot listen at {}", control.display()))?;
        let listener = Arc::new(listener);
        let threads = vec![
            thread::spawn({
                let hub = Arc::clone(&hub);
                move || hub.read_server(reader, decoder)
            }),
            thread::spawn({
                let (hub, listener) = (Arc::clone(&hub), Arc::clone(&listener));
                move || hub.accept(&listener)
            }),
        ];
        Ok(Self {
            hub,
            listener,
            path: control.to_path_buf(),
            threads,
        })
    }
}

impl Drop for Multiplexer {
    fn drop(&mut self) {
        // Each of these may find its subject gone already, which is as good.
        fs::remove_file(&self.path).ok();
        rustix::net::shutdown(&*self.listener, rustix::net::Shutdown::Both).ok();
        self.hub.server().shutdown(Shutdown::Both).ok();
        for thread in self.threads.drain(..) {
            thread.join().ok();
        }
    }
}

fn connect(path: &Path, deadline: Instant, mut ended: impl FnMut() -> bool) -> Result<UnixStream> {
    loop {
        match UnixStream::connect(path) {
            Ok(stream) => return Ok(stream),
            Err(error) if Instant::now() >= deadline || ended() => {
                return Err(error).with_context(|| format!("cannot connect to {}", path.display()));
            }
            Err(_) => thread::sleep(LOOK),
        }
    }
}

/// Makes dom0 forget whoever was here before, and waits until it says so.
fn greet(server: &mut UnixStream, deadline: Instant) -> Result<Decoder> {
    let nonce = std::collections::hash_map::RandomState::new()
        .build_hasher()
        .finish();
    let origin = StreamId::of_connection(0);
    let mut bytes = decoder::flush_padding();
    ClientMessage::Reset(nonce)
        .encode(origin)?
        .encode_into(&mut bytes);
    server
        .write_all(&bytes)
        .context("cannot write to the control channel")?;
    let mut decoder = Decoder::new();
    let mut buffer = vec![0; 64 * 1024];
    loop {
        while let Some(frame) = decoder.next_frame() {
            let at_origin = frame.stream() == origin;
            if at_origin && ServerMessage::decode(frame) == Ok(ServerMessage::Reset(nonce)) {
                server
                    .set_read_timeout(None)
                    .context("cannot set up a socket")?;
                return Ok(decoder);
            }
        }
        let left = deadline.saturating_duration_since(Instant::now());
        if left.is_zero() {
            bail!("dom0 did not answer on the control channel in time");
        }
        server
            .set_read_timeout(Some(left))
            .context("cannot set up a socket")?;
        match server.read(&mut buffer) {
            Ok(0) => bail!("the machine ended before dom0 answered"),
            Ok(length) => decoder.push(buffer.get(..length).unwrap_or_default()),
            Err(error) if error.kind() == std::io::ErrorKind::WouldBlock => {}
            Err(error) if error.kind() == std::io::ErrorKind::Interrupted => {}
            Err(error) => return Err(error).context("cannot read the control channel"),
        }
    }
}

impl Hub {
    fn server(&self) -> MutexGuard<'_, UnixStream> {
        self.server.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn routes(&self) -> MutexGuard<'_, Routes> {
        self.routes.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Writes one frame to dom0. An error means that the machine has gone: then the reader ends everything.
    fn send(&self, frame: &Frame) {
        self.server().write_all(&frame.to_bytes()).ok();
    }

    /// Passes dom0's frames on until the machine ends; then ends all clients.
    fn read_server(&self, mut socket: UnixStream, mut decoder: Decoder) {
        let mut buffer = vec![0; 64 * 1024];
        loop {
            while let Some(frame) = decoder.next_frame() {
                self.deliver(frame);
            }
            match socket.read(&mut buffer) {
                Ok(length @ 1..) => decoder.push(buffer.get(..length).unwrap_or_default()),
                Err(error) if error.kind() == std::io::ErrorKind::Interrupted => {}
                Ok(_) | Err(_) => break,
            }
        }
        for client in self.routes().clients.values() {
            client.queue.close();
        }
    }

    fn deliver(&self, frame: Frame) {
        let mut routes = self.routes();
        let Some((connection, frame)) = routes.switch.inbound(frame) else {
            return;
        };
        if let Some(client) = routes.clients.get(&connection)
            && client.queue.push(frame.to_bytes()).is_err()
        {
            // It does not read. Its own reader sees the end and says goodbye to dom0.
            client.queue.close();
            client.socket.shutdown(Shutdown::Both).ok();
        }
    }

    fn accept(self: &Arc<Self>, listener: &UnixListener) {
        while let Ok((socket, _)) = listener.accept() {
            let Some(connection) = self.routes().switch.admit() else {
                refuse(socket);
                continue;
            };
            if self.serve(connection, socket).is_err() {
                self.forget(connection);
            }
        }
    }

    fn serve(self: &Arc<Self>, connection: u16, socket: UnixStream) -> std::io::Result<()> {
        let queue = Arc::new(Queue::default());
        let client = Client {
            queue: Arc::clone(&queue),
            socket: socket.try_clone()?,
        };
        let mut writer = socket.try_clone()?;
        self.routes().clients.insert(connection, client);
        thread::spawn(move || {
            while let Some(bytes) = queue.pop() {
                if writer.write_all(&bytes).is_err() {
                    break;
                }
            }
            writer.shutdown(Shutdown::Both).ok();
        });
        let hub = Arc::clone(self);
        thread::spawn(move || {
            hub.read_client(connection, socket);
            hub.forget(connection);
        });
        Ok(())
    }

    /// Passes a client's frames on until it goes away.
    fn read_client(&self, connection: u16, mut socket: UnixStream) {
        let mut decoder = Decoder::new();
        let mut buffer = vec![0; 64 * 1024];
        loop {
            match socket.read(&mut buffer) {
                Ok(length @ 1..) => decoder.push(buffer.get(..length).unwrap_or_default()),
                Err(error) if error.kind() == std::io::ErrorKind::Interrupted => {}
                Ok(_) | Err(_) => return,
            }
            while let Some(frame) = decoder.next_frame() {
                if let Some(frame) = switch::outbound(connection, frame) {
                    self.send(&frame);
                }
            }
        }
    }

    fn forget(&self, connection: u16) {
        let farewell = {
            let mut routes = self.routes();
            if let Some(client) = routes.clients.remove(&connection) {
                client.queue.close();
            }
            routes.switch.gone(connection)
        };
        if let Some(frame) = farewell {
            self.send(&frame);
        }
    }
}

/// How long a client that is refused may take to hear it.
const REFUSAL: Duration = Duration::from_secs(5);

/// Tells a client that there is no room, as the server would, and lets it finish its own first words: a socket that is
/// closed under them would break before the reason has been read.
fn refuse(mut socket: UnixStream) {
    let reply = ErrorReply::new(
        ErrorCode::TooManyStreams,
        format!("{} connections are in use already", switch::MOST),
    )
    .hint("end one of them, then try again");
    let Ok(frame) = ServerMessage::Error(reply).encode(StreamId::of_connection(0)) else {
        return;
    };
    thread::spawn(move || -> std::io::Result<()> {
        socket.set_read_timeout(Some(REFUSAL))?;
        socket.write_all(&frame.to_bytes())?;
        socket.shutdown(Shutdown::Write)?;
        let mut rest = [0; 1024];
        while socket.read(&mut rest)? > 0 {}
        Ok(())
    });
}

#[cfg(test)]
mod tests;
