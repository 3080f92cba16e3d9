//! Output: straight to the machine's console, or through a buffer to the ring.

use alloc::collections::VecDeque;
use core::fmt;

use hypercall_abi::RawPort;

use crate::event;
use crate::hypercall::{self, sched};
use crate::ring::Writer;
use crate::timer::{MILLISECOND, now};

/// Bytes that may wait for the server.
const LIMIT: usize = 16 * 1024;

/// How long, in nanoseconds, a writer sleeps at most until it looks at the ring again.
const LOOK_AGAIN: u64 = 100 * MILLISECOND;

/// The machine's console, by hypercall.
pub(super) struct Machine;

impl fmt::Write for Machine {
    fn write_str(&mut self, text: &str) -> fmt::Result {
        // A domain that may not write there has no other place to say so.
        let _written = hypercall::console::write(text.as_bytes());
        Ok(())
    }
}

/// The way out.
pub(super) struct Output {
    ring: Option<Ring>,
}

struct Ring {
    writer: Writer,
    port: RawPort,
    waiting: VecDeque<u8>,
    /// Until when the server is waited for.
    deadline: u64,
}

impl Output {
    pub(super) const fn new() -> Self {
        Self { ring: None }
    }

    pub(super) fn connect(&mut self, writer: Writer, port: RawPort) {
        self.ring = Some(Ring {
            writer,
            port,
            waiting: VecDeque::new(),
            deadline: u64::MAX,
        });
    }

    pub(super) fn write(&mut self, bytes: &[u8]) {
        match &mut self.ring {
            Some(ring) => ring.write(bytes),
            None => {
                let _written = hypercall::console::write(bytes);
            }
        }
    }

    /// Sends what the ring has room for.
    pub(super) fn flush(&mut self) {
        if let Some(ring) = &mut self.ring {
            ring.flush();
        }
    }

    /// From this time on the server is waited for no more.
    pub(super) fn wait_until(&mut self, deadline: u64) {
        if let Some(ring) = &mut self.ring {
            ring.deadline = deadline;
        }
    }

    /// Sends everything, however long the server takes.
    pub(super) fn drain(&mut self) {
        if let Some(ring) = &mut self.ring {
            ring.wait_for(0);
        }
    }
}

impl fmt::Write for Output {
    fn write_str(&mut self, text: &str) -> fmt::Result {
        if self.ring.is_none() {
            self.write(text.as_bytes());
            return Ok(());
        }
        for part in text.split_inclusive('\n') {
            match part.strip_suffix('\n') {
                Some(line) => {
                    self.write(line.as_bytes());
                    self.write(b"\r\n");
                }
                None => self.write(part.as_bytes()),
            }
        }
        Ok(())
    }
}

impl Ring {
    fn write(&mut self, bytes: &[u8]) {
        for chunk in bytes.chunks(LIMIT / 2) {
            if self.waiting.len() + chunk.len() > LIMIT {
                self.wait_for(LIMIT / 2);
            }
            self.waiting.extend(chunk);
        }
        self.flush();
    }

    fn flush(&mut self) {
        let mut sent = false;
        while !self.waiting.is_empty() {
            let (first, _) = self.waiting.as_slices();
            // A ring with impossible indices takes nothing any more.
            let Ok(count @ 1..) = self.writer.write(first) else {
                break;
            };
            self.waiting.drain(..count);
            sent = true;
        }
        if sent {
            // The server's end may be gone; then nobody listens.
            let _told = hypercall::event::send(self.port);
        }
    }

    /// Waits until at most `left` bytes wait. The port is masked meanwhile, so that no vCPU takes the event that this one
    /// sleeps for; its handler runs afterwards for what else the event meant. A vCPU that saw the port open before takes
    /// one yet, which may be that one: so this one looks again by itself.
    fn wait_for(&mut self, left: usize) {
        self.flush();
        if self.waiting.len() <= left {
            return;
        }
        let was_open = event::mask_port(self.port);
        while self.waiting.len() > left && now() < self.deadline {
            event::clear(self.port);
            match self.writer.space() {
                Ok(0) if sched::poll(self.port, now() + LOOK_AGAIN).is_err() => break,
                Ok(_) => self.flush(),
                // A ring with impossible indices takes nothing any more.
                Err(_) => break,
            }
        }
        if was_open {
            event::raise(self.port);
        }
    }
}
