//! The connection: requests out, replies and watch events in.

use alloc::collections::{BTreeMap, VecDeque};
use alloc::string::String;
use alloc::sync::Arc;
use alloc::vec::Vec;
use core::fmt;

use hypercall_abi::ring::xenstore::XS_WATCH_EVENT;
use hypercall_abi::{RawMfn, RawPort};

use super::StoreError;
use super::watch::Changes;
use super::wire::{self, Message, Parser};
use crate::event::{Port, Signal};
use crate::paging::Memory;
use crate::ring::{BadIndices, Reader, STORE_REPLIES, STORE_REQUESTS, Writer};
use crate::sync::Lock;
use crate::task;

/// Where a reply goes.
struct Slot {
    reply: Lock<Option<Result<Message, StoreError>>>,
    came: Signal,
}

struct State {
    requests: Writer,
    replies: Reader,
    /// Bytes that the ring had no room for yet.
    waiting: VecDeque<u8>,
    parser: Parser,
    next_request: u32,
    slots: BTreeMap<u32, Arc<Slot>>,
    next_token: u32,
    watches: BTreeMap<String, Arc<Changes>>,
    broken: bool,
}

/// The shared half of all clones of a store.
pub(super) struct Connection {
    port: Port,
    state: Lock<State>,
}

impl fmt::Debug for Connection {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "Connection({:?})", self.port)
    }
}

impl Connection {
    /// Connects, and starts the task that takes in what the server sends.
    pub(super) fn new(frame: RawMfn, port: RawPort) -> Option<Arc<Self>> {
        let memory = Memory::from_loader(frame);
        let port = Port::adopt(port);
        let signal = port.signal().ok()?;
        let state = State {
            requests: Writer::new(memory.clone(), STORE_REQUESTS),
            replies: Reader::new(memory, STORE_REPLIES),
            waiting: VecDeque::new(),
            parser: Parser::default(),
            next_request: 1,
            slots: BTreeMap::new(),
            next_token: 1,
            watches: BTreeMap::new(),
            broken: false,
        };
        let connection = Arc::new(Self {
            port,
            state: Lock::new(state),
        });
        let pump = Arc::clone(&connection);
        task::spawn(async move {
            loop {
                pump.pump();
                signal.wait().await;
            }
        });
        Some(connection)
    }

    /// Sends a request and waits for its reply.
    pub(super) async fn request(
        &self,
        kind: u32,
        transaction: u32,
        payload: &[&[u8]],
    ) -> Result<Vec<u8>, StoreError> {
        let slot = Arc::new(Slot {
            reply: Lock::new(None),
            came: Signal::new(),
        });
        self.send(kind, transaction, payload, Some(&slot))?;
        loop {
            let reply = slot.reply.lock().take();
            if let Some(reply) = reply {
                return reply?.into_result(kind);
            }
            slot.came.wait().await;
        }
    }

    /// Sends a request whose reply nobody wants.
    pub(super) fn tell(
        &self,
        kind: u32,
        transaction: u32,
        payload: &[&[u8]],
    ) -> Result<(), StoreError> {
        self.send(kind, transaction, payload, None)
    }

    fn send(
        &self,
        kind: u32,
        transaction: u32,
        payload: &[&[u8]],
        slot: Option<&Arc<Slot>>,
    ) -> Result<(), StoreError> {
        let mut state = self.state.lock();
        if state.broken {
            return Err(StoreError::Disconnected);
        }
        let number = state.next_request;
        let header = wire::header(kind, number, transaction, payload)?;
        state.next_request = number.wrapping_add(1).max(1);
        if let Some(slot) = slot {
            state.slots.insert(number, Arc::clone(slot));
        }
        state.waiting.extend(header);
        for part in payload {
            state.waiting.extend(*part);
        }
        self.flush(&mut state)
    }

    /// Moves waiting bytes into the ring.
    fn flush(&self, state: &mut State) -> Result<(), StoreError> {
        loop {
            let (first, _) = state.waiting.as_slices();
            match state.requests.write(first) {
                Ok(0) => return Ok(()),
                Ok(count) => {
                    state.waiting.drain(..count);
                    self.port.notify();
                }
                Err(BadIndices) => return Err(break_off(state)),
            }
        }
    }

    /// Takes in everything that the server sent, and sends on what waits.
    fn pump(&self) {
        let mut messages = Vec::new();
        {
            let mut state = self.state.lock();
            let mut buffer = [0; 256];
            loop {
                match state.replies.read(&mut buffer) {
                    Ok(0) => break,
                    Ok(count) => {
                        self.port.notify();
                        state.parser.feed(&buffer[..count]);
                    }
                    Err(BadIndices) => {
                        break_off(&mut state);
                        return;
                    }
                }
            }
            loop {
                match state.parser.next() {
                    Ok(Some(message)) => messages.push(message),
                    Ok(None) => break,
                    Err(_) => {
                        break_off(&mut state);
                        return;
                    }
                }
            }
            // An error has ended all requests already.
            let _flushed = self.flush(&mut state);
        }
        for message in messages {
            self.deliver(message);
        }
    }

    fn deliver(&self, message: Message) {
        if message.kind == XS_WATCH_EVENT {
            let mut parts = message.payload.split(|&byte| byte == 0);
            let path = parts.next().and_then(|path| str::from_utf8(path).ok());
            let token = parts.next().and_then(|token| str::from_utf8(token).ok());
            if let (Some(path), Some(token)) = (path, token) {
                let changes = self.state.lock().watches.get(token).cloned();
                // An event for a watch that has just ended is for nobody.
                if let Some(changes) = changes {
                    changes.push(path.into());
                }
            }
            return;
        }
        let slot = self.state.lock().slots.remove(&message.request);
        if let Some(slot) = slot {
            *slot.reply.lock() = Some(Ok(message));
            slot.came.set();
        }
    }

    /// Registers a receiver of watch events; returns its token.
    pub(super) fn add_watch(&self, changes: &Arc<Changes>) -> String {
        let mut state = self.state.lock();
        let token = alloc::format!("{:x}", state.next_token);
        state.next_token = state.next_token.wrapping_add(1);
        state.watches.insert(token.clone(), Arc::clone(changes));
        token
    }

    /// Forgets a receiver.
    pub(super) fn remove_watch(&self, token: &str) {
        let changes = self.state.lock().watches.remove(token);
        drop(changes);
    }
}

/// Ends the connection: every request and watch fails, and later ones too.
fn break_off(state: &mut State) -> StoreError {
    state.broken = true;
    for changes in state.watches.values() {
        changes.end();
    }
    for slot in core::mem::take(&mut state.slots).into_values() {
        *slot.reply.lock() = Some(Err(StoreError::Disconnected));
        slot.came.set();
    }
    StoreError::Disconnected
}
