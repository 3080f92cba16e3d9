//! A peer as its asker sees it: another domain whose hands are lent.

use core::cell::Cell;

use guest_conformance::fixture::{Frame, close, read};
use guest_conformance::shared::Shared;
use guest_conformance::{address_of, call_by, prepare};
use guest_kernel::timer::now;
use hypercall_abi::number::{EVENT_CHANNEL_OP, GRANT_TABLE_OP, SCHED_OP};

use crate::ports::{self, BIND_INTERDOMAIN, SEND};
use crate::{HOST, MAP, wire};

/// Nanoseconds between two looks at something that another domain does.
const LOOK: u64 = 2_000_000;

/// How often is looked before a peer counts as absent.
const LOOKS: u32 = 10_000;

/// A frame of a peer.
#[derive(Clone, Copy)]
pub(crate) struct Far {
    /// Where the peer has it.
    pub(crate) address: u64,
    /// Its machine frame.
    pub(crate) mfn: u64,
}

/// A domain that does what it is asked.
pub(crate) struct Peer {
    /// Its number.
    pub(crate) number: u64,
    /// Its page.
    page: Frame,
    /// The own end of the connection.
    port: Cell<u64>,
    /// The mapping of its page.
    handle: Cell<u64>,
    shared: Shared,
}

impl Peer {
    /// Finds the domain of this number.
    pub(crate) fn find(number: u64) -> Self {
        let page = Frame::take();
        page.unmap();
        let peer = Self {
            number,
            page,
            port: Cell::new(0),
            handle: Cell::new(0),
            shared: Shared::map(),
        };
        let found = (0..LOOKS).any(|_| {
            let place = [page.address, HOST | wire::REFERENCE << 32, number, 0];
            prepare(GRANT_TABLE_OP, &[MAP, address_of(&place), 1]);
            let out = read(address_of(&place) + 16);
            peer.handle.set(out >> 32);
            let there = out >> 16 & 0xffff == 0;
            if !there {
                pause();
            }
            there
        });
        assert!(found, "there is no peer of this number");
        while page.word(wire::READY) != wire::MAGIC {
            pause();
        }
        peer.bind();
        peer
    }

    /// Binds a port to the one that it offers.
    fn bind(&self) {
        let offered = self.page.word(wire::PORT);
        let place = [self.number | offered << 32, 0];
        let bound = prepare(EVENT_CHANNEL_OP, &[BIND_INTERDOMAIN, address_of(&place)]);
        assert!(bound == 0, "a peer's port cannot be bound");
        self.port.set(read(address_of(&place) + 8) & 0xffff_ffff);
    }

    /// Asks for something, and waits for the answer.
    fn ask(&self, command: u64, values: &[u64]) -> (u64, u64) {
        self.request(command, values, 0, 0);
        assert!(self.answers(), "a peer is silent");
        (self.page.word(wire::FIRST), self.page.word(wire::SECOND))
    }

    fn request(&self, command: u64, values: &[u64], mark: u64, delay: u64) {
        self.page.set_word(wire::COMMAND, command);
        for (index, value) in (0..).zip(0..wire::VALUE_COUNT) {
            let value = values.get(value).copied().unwrap_or(0);
            self.page.set_word(wire::VALUES + index, value);
        }
        self.page.set_word(wire::MARK, mark);
        self.page.set_word(wire::DELAY, delay);
        let count = self.page.word(wire::REQUEST);
        self.page.set_word(wire::REQUEST, count + 1);
        prepare(EVENT_CHANNEL_OP, &[SEND, address_of(&self.port.get())]);
    }

    /// Whether it answers the last request.
    fn answers(&self) -> bool {
        (0..LOOKS).any(|_| self.has_answered() || self.wait())
    }

    fn has_answered(&self) -> bool {
        self.page.word(wire::ANSWERED) == self.page.word(wire::REQUEST)
    }

    /// Waits a little for its event. False, since nothing is known by it.
    fn wait(&self) -> bool {
        let port = self.port.get();
        let ports = [u32::try_from(port).unwrap_or(0)];
        let place = [address_of(&ports), 1, now() + LOOK];
        prepare(SCHED_OP, &[3, address_of(&place)]);
        self.shared.clear(port);
        false
    }

    /// A place for structures that it has in common with the asker; calls of its may point there.
    pub(crate) fn place(&self, words: &[u64]) -> u64 {
        for (index, word) in (0..).zip(words) {
            self.page.set_word(wire::STRUCTURES + index, *word);
        }
        self.page.address + 8 * wire::STRUCTURES
    }

    /// Arguments as it needs them: addresses in the common page are its own.
    pub(crate) fn theirs(&self, number: u64, arguments: &[u64]) -> [u64; wire::VALUE_COUNT] {
        let page = self.page.address..self.page.address + 4096;
        let base = self.page.word(wire::PAGE);
        let mut values = [number, 0, 0, 0, 0, 0];
        for (value, argument) in values.iter_mut().skip(1).zip(arguments) {
            *value = if page.contains(argument) {
                argument - page.start + base
            } else {
                *argument
            };
        }
        values
    }

    /// The call under test, made by it: its result.
    pub(crate) fn call(&self, number: u32, arguments: &[u64]) -> i64 {
        call_by(number, arguments, |mark| {
            let values = self.theirs(number.into(), arguments);
            self.request(wire::CALL, &values, mark, 0);
            assert!(self.answers(), "a peer is silent");
            signed(self.page.word(wire::FIRST))
        })
    }

    /// A call of its that prepares a check.
    pub(crate) fn prepare(&self, number: u32, arguments: &[u64]) -> i64 {
        signed(
            self.ask(wire::CALL, &self.theirs(number.into(), arguments))
                .0,
        )
    }

    /// An event-channel operation under test; result and structure.
    pub(crate) fn event(&self, operation: u64, words: [u64; 3]) -> (i64, [u64; 3]) {
        let at = self.place(&words);
        let result = self.call(EVENT_CHANNEL_OP, &[operation, at]);
        (result, [read(at), read(at + 8), read(at + 16)])
    }

    /// An event-channel operation that prepares.
    pub(crate) fn event_prepared(&self, operation: u64, words: [u64; 3]) -> [u64; 3] {
        let at = self.place(&words);
        self.prepare(EVENT_CHANNEL_OP, &[operation, at]);
        [read(at), read(at + 8), read(at + 16)]
    }

    /// Sends to a port of its after so many nanoseconds.
    pub(crate) fn send_later(&self, port: u64, nanoseconds: u64) {
        let at = self.place(&[port]);
        let values = self.theirs(EVENT_CHANNEL_OP.into(), &[SEND, at]);
        self.request(wire::CALL, &values, 0, nanoseconds);
        assert!(self.answers(), "a peer is silent");
    }

    /// Its reset under test. The connection is made anew.
    pub(crate) fn reset(&self) -> i64 {
        let arguments = [ports::RESET, self.place(&[guest_conformance::SELF])];
        call_by(EVENT_CHANNEL_OP, &arguments, |mark| {
            self.request(wire::RESET, &[], mark, 0);
            assert!(self.answers(), "a peer is silent");
            close(u32::try_from(self.port.get()).unwrap_or(0));
            self.bind();
            signed(self.page.word(wire::FIRST))
        })
    }

    /// Its reset to clean up.
    pub(crate) fn reset_prepared(&self) {
        self.request(wire::RESET, &[], 0, 0);
        assert!(self.answers(), "a peer is silent");
        close(u32::try_from(self.port.get()).unwrap_or(0));
        self.bind();
    }

    /// Reads a word: the word, or the exception's code; and the exception's vector or 0.
    pub(crate) fn read(&self, address: u64) -> (u64, u64) {
        self.ask(wire::READ, &[address])
    }

    /// Writes a word, as [`read`](Self::read).
    pub(crate) fn write(&self, address: u64, value: u64) -> (u64, u64) {
        self.ask(wire::WRITE, &[address, value])
    }

    /// Takes a page of its own.
    pub(crate) fn take(&self) -> Far {
        let (address, mfn) = self.ask(wire::TAKE, &[]);
        Far { address, mfn }
    }

    /// Changes its events to FIFO queues: control block and event words.
    pub(crate) fn change_to_queues(&self, control: Far, words: Far) {
        self.ask(wire::QUEUES, &[control.mfn, words.mfn, words.address]);
    }

    /// The word of its shared page with a port's bit, from this offset on.
    fn bit(&self, offset: u64, port: u64) -> (u64, u64) {
        let at = self.page.word(wire::SHARED) + offset + 8 * (port / 64);
        (at, 1 << (port % 64))
    }

    /// Whether a port of its is pending.
    pub(crate) fn pending(&self, port: u64) -> bool {
        let (at, bit) = self.bit(0x800, port);
        self.read(at).0 & bit != 0
    }

    /// Forgets that a port of its is pending.
    pub(crate) fn clear(&self, port: u64) {
        let (at, bit) = self.bit(0x800, port);
        self.ask(wire::CHANGE, &[at, !bit, 0]);
    }

    /// Masks or opens a port of its.
    pub(crate) fn set_mask(&self, port: u64, masked: bool) {
        let (at, bit) = self.bit(0xa00, port);
        self.ask(wire::CHANGE, &[at, !bit, if masked { bit } else { 0 }]);
    }

    /// A word of what it shares with the hypervisor.
    pub(crate) fn shared(&self, offset: u64) -> u64 {
        self.read(self.page.word(wire::SHARED) + offset).0
    }

    /// Sets a word of that.
    pub(crate) fn set_shared(&self, offset: u64, value: u64) {
        self.write(self.page.word(wire::SHARED) + offset, value);
    }

    /// Writes an entry of its grant table.
    pub(crate) fn lend(&self, entry: u64, flags: u64, domain: u64, frame: u64) {
        let value = frame << 32 | domain << 16 | flags;
        self.write(self.page.word(wire::TABLE) + 8 * entry, value);
    }

    /// The flags of an entry of its grant table.
    pub(crate) fn flags(&self, entry: u64) -> u64 {
        self.read(self.page.word(wire::TABLE) + 8 * entry).0 & 0xffff
    }

    /// Ends it by its own call under test, which does not return: 0 if it did not, else what it
    /// returned, or 1 for success.
    pub(crate) fn shut_down(&self, reason: u64, gone: impl Fn() -> bool) -> i64 {
        let arguments = [2, self.place(&[reason])];
        call_by(SCHED_OP, &arguments, |mark| {
            let values = self.theirs(SCHED_OP.into(), &arguments);
            self.request(wire::CALL, &values, mark, 0);
            self.ends(&gone);
            if self.has_answered() {
                signed(self.page.word(wire::FIRST).max(1))
            } else {
                0
            }
        })
    }

    /// Ends it to prepare checks.
    pub(crate) fn shut_down_prepared(&self, gone: impl Fn() -> bool) {
        let values = self.theirs(SCHED_OP.into(), &[2, self.place(&[0])]);
        self.request(wire::CALL, &values, 0, 0);
        self.ends(&gone);
    }

    /// Waits until it is gone or answers.
    fn ends(&self, gone: &impl Fn() -> bool) {
        (0..LOOKS).any(|_| self.has_answered() || gone() || self.wait());
    }

    /// Gives its page and the connection back, when it is gone.
    pub(crate) fn leave(&self) {
        let place = [self.page.address, 0, self.handle.get()];
        prepare(GRANT_TABLE_OP, &[1, address_of(&place), 1]);
        close(u32::try_from(self.port.get()).unwrap_or(0));
    }
}

/// Lets others run for a while.
pub(crate) fn pause() {
    let place = [0, 0, now() + LOOK];
    prepare(SCHED_OP, &[3, address_of(&place)]);
}

fn signed(value: u64) -> i64 {
    i64::from_ne_bytes(value.to_ne_bytes())
}
