//! Consoles and the hypervisor's log as streams of data.
//!
//! A reader gets as much as waits in its stream is short; the rest stays where it is, and what is overwritten there before
//! it comes is told as a gap. Nobody waits for it.

use super::{
    domain::Key,
    host::Host,
    manager::Manager,
    stream::{Stage, Terminal, Work},
};
use crate::console::INPUT_BYTES;
use alloc::{format, vec::Vec};
use dom0_protocol::{
    ErrorCode, ErrorReply, Progress, Reply, StreamId,
    progress::{Phase, Unit},
    reply::{ConsoleEnd, LogEnd},
    request::{Console, ConsoleMode, Dmesg},
};

/// Bytes that may wait in a stream before more is added.
const BACKLOG: usize = 48 << 10;
/// Bytes added at once.
const PIECE: usize = 16 << 10;

impl<H: Host> Manager<H> {
    pub(super) fn open_console(&mut self, id: StreamId, wish: &Console) -> Result<(), ErrorReply> {
        let key = match self.find_made(&wish.domain) {
            Err(error) if error.code == ErrorCode::NoSuchDomain => {
                return if self.read_grave(id, wish) {
                    Ok(())
                } else {
                    Err(error)
                };
            }
            found => found?,
        };
        let Some(domain) = self.domains.get(&key) else {
            return Err(super::words::no_such_domain(&wish.domain));
        };
        let scrollback = domain.console.scrollback();
        let (stage, window) = match wish.mode {
            ConsoleMode::Log => (Stage::LogOnly, 0),
            ConsoleMode::Attach => (Stage::Replaying, u32::try_from(INPUT_BYTES).unwrap_or(0)),
        };
        let terminal = Terminal {
            key,
            cursor: scrollback.start(),
            replay_end: scrollback.end(),
            stage,
            input: Vec::new(),
        };
        self.work_on(id, Work::Terminal(terminal), window);
        Ok(())
    }

    pub(super) fn step_terminal(&mut self, id: StreamId) {
        self.pass_input(id);
        while self.outbox.backlog(id) < BACKLOG {
            let Some((terminal, domain)) = self.terminal(id) else {
                return;
            };
            let piece = domain.console.scrollback().read(terminal.cursor, PIECE);
            let (missed, bytes) = (piece.missed, piece.bytes.to_vec());
            terminal.cursor = piece.next;
            let replayed = terminal.cursor >= terminal.replay_end;
            let stage = terminal.stage;
            if replayed && stage == Stage::Replaying {
                terminal.stage = Stage::Live;
            }
            if missed > 0 {
                self.outbox.push_data(
                    id,
                    format!("\r\n[{missed} bytes were dropped]\r\n").as_bytes(),
                );
            }
            self.outbox.push_data(id, &bytes);
            match stage {
                Stage::LogOnly if replayed => {
                    self.done(id, Reply::ConsoleEnded(ConsoleEnd::LogComplete));
                    return;
                }
                Stage::Replaying if replayed => self.tell(id, live()),
                Stage::LogOnly | Stage::Replaying | Stage::Live if bytes.is_empty() => return,
                Stage::LogOnly | Stage::Replaying | Stage::Live => {}
            }
        }
    }

    /// Gives the guest what has been typed, as far as there is room.
    pub(super) fn pass_input(&mut self, id: StreamId) {
        let Some((terminal, domain)) = self.terminal(id) else {
            return;
        };
        if terminal.input.is_empty() {
            return;
        }
        let taken = domain.console.type_in(&terminal.input);
        terminal.input.drain(..taken);
        let key = terminal.key;
        if let Some(stream) = self.streams.get_mut(&id) {
            stream.receiver.consume(taken);
        }
        self.announce(id);
        self.serve_console(key);
    }

    fn terminal(
        &mut self,
        id: StreamId,
    ) -> Option<(&mut Terminal, &mut super::domain::Domain<H::Page>)> {
        let stream = self.streams.get_mut(&id)?;
        let Work::Terminal(terminal) = &mut stream.work else {
            return None;
        };
        let domain = self.domains.get_mut(&terminal.key)?;
        Some((terminal, domain))
    }

    /// The domain is going: its readers get all that is left, and the end.
    pub(super) fn end_terminals(&mut self, key: Key) {
        let mine: Vec<StreamId> = (self.streams.iter())
            .filter(|(_, stream)| matches!(&stream.work, Work::Terminal(terminal) if terminal.key == key))
            .map(|(id, _)| *id)
            .collect();
        for id in mine {
            while let Some((terminal, domain)) = self.terminal(id) {
                let piece = domain.console.scrollback().read(terminal.cursor, PIECE);
                if piece.bytes.is_empty() {
                    break;
                }
                terminal.cursor = piece.next;
                let bytes = piece.bytes.to_vec();
                self.outbox.push_data(id, &bytes);
            }
            self.done(id, Reply::ConsoleEnded(ConsoleEnd::DomainGone));
        }
    }

    pub(super) fn read_log(&mut self, id: StreamId, wish: Dmesg) {
        let work = Work::Log {
            cursor: wish.cursor,
            follow: wish.follow,
        };
        self.work_on(id, work, 0);
    }

    pub(super) fn step_log(&mut self, id: StreamId) {
        while self.outbox.backlog(id) < BACKLOG {
            let Some(stream) = self.streams.get_mut(&id) else {
                return;
            };
            let Work::Log { cursor, follow } = &mut stream.work else {
                return;
            };
            match self.host.read_log(*cursor, PIECE) {
                Ok((bytes, after)) if bytes.is_empty() => {
                    if !*follow {
                        self.done(id, Reply::Log(LogEnd { next: after }));
                    }
                    return;
                }
                Ok((bytes, after)) => {
                    *cursor = after;
                    self.outbox.push_data(id, &bytes);
                }
                Err(error) => {
                    self.fail(id, super::words::host(error));
                    return;
                }
            }
        }
    }
}

/// All scroll-back has been sent.
const fn live() -> Progress {
    Progress {
        phase: Phase::Live,
        unit: Unit::Bytes,
        from: 0,
        now: 0,
        target: 0,
        note: alloc::string::String::new(),
    }
}
