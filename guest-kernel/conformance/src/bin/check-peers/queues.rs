//! Events between a domain with FIFO queues and one with bitmaps.

use guest_conformance::{address_of, check, event, prepare, seen};
use hypercall_abi::number::EVENT_CHANNEL_OP;

use crate::Bench;
use crate::peer::{Far, Peer};
use crate::ports::{SEND, UNMASK};

pub(crate) const INIT_CONTROL: u64 = 11;
pub(crate) const EXPAND_ARRAY: u64 = 12;
const SET_PRIORITY: u64 = 13;

/// Bits of an event word.
const PENDING: u64 = 1 << 31;
const MASKED: u64 = 1 << 30;
const LINKED: u64 = 1 << 29;

/// What a peer shares with the hypervisor once it has queues.
struct Queues<'a> {
    peer: &'a Peer,
    control: Far,
    words: Far,
}

impl Queues<'_> {
    /// A half word at a place counted in halves.
    fn half(&self, page: Far, index: u64) -> u64 {
        let word = self.peer.read(page.address + 8 * (index / 2)).0;
        word >> (32 * (index % 2)) & 0xffff_ffff
    }

    /// A port's word, by its three bits.
    fn state(&self, port: u64) -> u64 {
        self.half(self.words, port) & (PENDING | MASKED | LINKED)
    }

    /// Empties all queues, and masks a port of the peer or not.
    fn empty(&self, port: u64, masked: bool) {
        for index in 0..32 {
            self.peer.write(self.words.address + 8 * index, 0);
        }
        for index in 0..9 {
            self.peer.write(self.control.address + 8 * index, 0);
        }
        let mask = if masked {
            MASKED << (32 * (port % 2))
        } else {
            0
        };
        self.peer.write(self.words.address + 8 * (port / 2), mask);
    }
}

fn send(port: u64) -> i64 {
    event(SEND, [port, 0, 0]).0
}

pub(crate) fn checks(bench: &Bench) {
    let far = &bench.far;
    let queues = Queues {
        peer: far,
        control: far.take(),
        words: far.take(),
    };
    far.change_to_queues(queues.control, queues.words);
    let line = bench.line(far);
    let port = line.theirs;
    check("fifo.send-from-bitmaps", (0, PENDING | LINKED), || {
        queues.empty(port, false);
        (send(line.own), seen(queues.state(port)))
    });
    check("fifo.send-to-a-masked-word", (0, PENDING | MASKED), || {
        queues.empty(port, true);
        (send(line.own), seen(queues.state(port)))
    });
    check("fifo.peer-unmasks", (0, PENDING | LINKED), || {
        queues.empty(port, true);
        prepare(EVENT_CHANNEL_OP, &[SEND, address_of(&line.own)]);
        let (result, _) = far.event(UNMASK, [port, 0, 0]);
        (result, seen(queues.state(port)))
    });
    // The peer's own connection is in the queue of the usual priority all the time.
    check("fifo.priority-of-the-peers-end", (0, [true; 2]), || {
        let (result, _) = far.event(SET_PRIORITY, [port | 3 << 32, 0, 0]);
        queues.empty(port, false);
        prepare(EVENT_CHANNEL_OP, &[SEND, address_of(&line.own)]);
        let head = queues.half(queues.control, 2 + 3) == port;
        let ready = queues.half(queues.control, 0) >> 3 & 1 == 1;
        (result, seen([head, ready]))
    });
    check("fifo.bitmap-of-the-peer-is-left", (0, false), || {
        far.clear(port);
        (send(line.own), seen(far.pending(port)))
    });
    check("fifo.send-to-bitmaps", (0, true), || {
        bench.shared.clear(line.own);
        let (result, _) = far.event(SEND, [port, 0, 0]);
        (result, seen(bench.shared.pending(line.own)))
    });
    check("fifo.reset-brings-bitmaps-back", (0, [true, false]), || {
        let result = far.reset();
        let line = bench.line(far);
        queues.empty(0, false);
        prepare(EVENT_CHANNEL_OP, &[SEND, address_of(&line.own)]);
        let answer = [
            far.pending(line.theirs),
            queues.state(line.theirs) & PENDING != 0,
        ];
        bench.cut(far, line);
        (result, seen(answer))
    });
    bench.cut(far, line);
    // Whatever became of the check: from here on the peer has bitmaps.
    far.reset_prepared();
}
