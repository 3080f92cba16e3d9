//! Event channels in the FIFO form: control blocks, event words, queues by priority and order, masks, and the way back.
//!
//! The suite's own words and queues are read in memory; upcalls stay masked, so nobody else takes an event out of them.
#![no_std]
#![no_main]

use core::sync::atomic::Ordering::SeqCst;

use guest_conformance::errno::{EACCES, EINVAL, ENOENT, ENOSPC, ENOSYS};
use guest_conformance::fixture::{Frame, close, loop_port, pair, read};
use guest_conformance::shared::Shared;
use guest_conformance::{
    NO_FRAME, Role, SELF, address_of, call, check, event, finish, prepare, role, seen, skip, start,
};
use guest_kernel::event::upcall;
use guest_kernel::paging::root;
use guest_kernel::start::Boot;
use hypercall_abi::event::{
    EVTCHN_FIFO_LINK_BITS, EVTCHN_FIFO_LINKED, EVTCHN_FIFO_MASKED, EVTCHN_FIFO_PENDING,
};
use hypercall_abi::number::{EVENT_CHANNEL_OP, SCHED_OP};

guest_kernel::entry!(main);

const CLOSE: u64 = 3;
const SEND: u64 = 4;
const STATUS: u64 = 5;
const UNMASK: u64 = 9;
const RESET: u64 = 10;
const INIT_CONTROL: u64 = 11;
const EXPAND_ARRAY: u64 = 12;
const SET_PRIORITY: u64 = 13;

/// The priority of a port that nobody gave one.
const USUAL: u64 = 7;

const PENDING: u32 = 1 << EVTCHN_FIFO_PENDING;
const MASKED: u32 = 1 << EVTCHN_FIFO_MASKED;
const LINKED: u32 = 1 << EVTCHN_FIFO_LINKED;
const LINK: u32 = (1 << EVTCHN_FIFO_LINK_BITS) - 1;

fn main(boot: &'static Boot) {
    start(boot);
    let _masked = upcall::mask();
    let fifo = Fifo {
        control: Frame::take(),
        words: Frame::take(),
        shared: Shared::map(),
        console: boot.console().map(|(_, port)| port.0),
    };
    change(&fifo);
    queues(&fifo);
    masks(&fifo);
    priorities(&fifo);
    ends(&fifo);
    blocks();
    pages(&fifo);
    reset();
    finish()
}

/// What the domain shares with the hypervisor in this form.
struct Fifo {
    control: Frame,
    words: Frame,
    shared: Shared,
    /// The port of the kernel's own console, whose events must not come into the queues under test.
    console: Option<u32>,
}

/// The half of a word at a place counted in halves.
fn half(frame: Frame, index: u64) -> u32 {
    let [a, b, c, d, e, f, g, h] = frame.word(index / 2).to_le_bytes();
    u32::from_le_bytes(if index.is_multiple_of(2) {
        [a, b, c, d]
    } else {
        [e, f, g, h]
    })
}

fn set_half(frame: Frame, index: u64, value: u32) {
    let shift = 32 * (index % 2);
    let others = frame.word(index / 2) & !(0xffff_ffff << shift);
    frame.set_word(index / 2, others | u64::from(value) << shift);
}

impl Fifo {
    fn word(&self, port: u32) -> u32 {
        half(self.words, port.into())
    }

    fn set(&self, port: u32, value: u32) {
        set_half(self.words, port.into(), value);
    }

    /// The first port of a queue.
    fn head(&self, priority: u64) -> u32 {
        half(self.control, 2 + priority)
    }

    /// Which queues have something.
    fn ready(&self) -> u32 {
        half(self.control, 0)
    }

    /// Takes everything out of all queues, and keeps the console out.
    fn drain(&self) {
        for index in 0..512 {
            self.words.set_word(index, 0);
        }
        if let Some(port) = self.console {
            self.set(port, MASKED);
        }
        for index in 0..9 {
            self.control.set_word(index, 0);
        }
        self.shared.byte(0).store(0, SeqCst);
    }

    /// Two ports bound to each other, with nothing pending anywhere.
    fn pair(&self) -> (u32, u32) {
        let ports = pair();
        self.drain();
        ports
    }
}

fn result(operation: u64, word: u64) -> i64 {
    event(operation, [word, 0, 0]).0
}

fn send(port: u32) -> i64 {
    result(SEND, port.into())
}

/// By a call that prepares.
fn notify(port: u32) {
    prepare(EVENT_CHANNEL_OP, &[SEND, address_of(&u64::from(port))]);
}

fn set_priority(port: u32, priority: u64) {
    let place = u64::from(port) | priority << 32;
    prepare(EVENT_CHANNEL_OP, &[SET_PRIORITY, address_of(&place)]);
}

fn close_all(ports: [u32; 4]) {
    for port in ports {
        close(port);
    }
}

fn change(fifo: &Fifo) {
    check("init_control.page-table", EINVAL, || {
        event(INIT_CONTROL, [root().map_or(0, |root| root.0), 0, 0]).0
    });
    check(
        "init_control.changes-the-form",
        (0, u64::from(EVTCHN_FIFO_LINK_BITS)),
        || {
            let (result, words) = event(INIT_CONTROL, [fifo.control.mfn, 0, 0]);
            (result, seen(words[2] & 0xff))
        },
    );
    check("expand_array.foreign-frame", EINVAL, || {
        result(EXPAND_ARRAY, NO_FRAME)
    });
    check("expand_array.page-table", EINVAL, || {
        result(EXPAND_ARRAY, root().map_or(0, |root| root.0))
    });
    check(
        "expand_array.pending-before-it-is-pending-in-it",
        (0, true),
        || {
            let (left, right) = pair();
            notify(left);
            let result = result(EXPAND_ARRAY, fifo.words.mfn);
            let pending = fifo.word(right) & PENDING != 0;
            close(left);
            close(right);
            (result, seen(pending))
        },
    );
    fifo.drain();
}

fn queues(fifo: &Fifo) {
    check("send.links-the-port", (0, PENDING | LINKED), || {
        let (left, right) = fifo.pair();
        let result = send(left);
        let word = fifo.word(right);
        close(left);
        close(right);
        (result, seen(word))
    });
    check("send.heads-its-queue", (0, true, 1 << USUAL), || {
        let (left, right) = fifo.pair();
        let result = send(left);
        let head = fifo.head(USUAL) == right;
        let ready = fifo.ready();
        close(left);
        close(right);
        (result, seen(head), seen(ready))
    });
    check("send.marks-an-upcall", (0, true), || {
        let (left, right) = fifo.pair();
        let result = send(left);
        let marked = fifo.shared.byte(0).load(SeqCst) != 0;
        close(left);
        close(right);
        (result, seen(marked))
    });
    check("send.leaves-the-bitmaps", (0, false), || {
        let (left, right) = fifo.pair();
        fifo.shared.clear(right.into());
        let result = send(left);
        let pending = fifo.shared.pending(right.into());
        close(left);
        close(right);
        (result, seen(pending))
    });
    check(
        "send.second-port-is-behind-the-first",
        (0, [true; 3]),
        || {
            let (first, one) = pair();
            let (second, two) = fifo.pair();
            notify(first);
            let result = send(second);
            let order = [
                fifo.head(USUAL) == one,
                fifo.word(one) & LINK == two,
                fifo.word(two) & LINK == 0,
            ];
            close_all([first, one, second, two]);
            (result, seen(order))
        },
    );
    check("send.pending-port-keeps-its-place", (0, [true; 2]), || {
        let (first, one) = pair();
        let (second, two) = fifo.pair();
        notify(first);
        notify(second);
        let result = send(first);
        let order = [fifo.word(one) & LINK == two, fifo.word(two) & LINK == 0];
        close_all([first, one, second, two]);
        (result, seen(order))
    });
    check(
        "send.linked-port-is-only-pending-again",
        (0, PENDING | LINKED, 0),
        || {
            let (left, right) = fifo.pair();
            notify(left);
            // As a guest that has taken the event, and not yet the port out of the queue.
            fifo.set(right, LINKED);
            set_half(fifo.control, 0, 0);
            let result = send(left);
            let (word, ready) = (fifo.word(right), fifo.ready());
            close(left);
            close(right);
            (result, seen(word), seen(ready))
        },
    );
    check("send.free-port", EINVAL, || {
        let port = loop_port();
        close(port);
        send(port)
    });
    check("bind_interdomain.new-end-is-pending", (0, true), || {
        let left = loop_port();
        fifo.drain();
        let (result, words) = event(0, [SELF | u64::from(left) << 32, 0, 0]);
        let right = u32::try_from(words[1] & 0xffff_ffff).unwrap_or(0);
        let pending = fifo.word(right) & PENDING != 0;
        close(left);
        close(right);
        (result, seen(pending))
    });
    check("poll.pending-port", 0, || {
        let (left, right) = fifo.pair();
        notify(left);
        fifo.shared.byte(0).store(0, SeqCst);
        let ports = [right];
        let place = [address_of(&ports), 1, 0];
        let answer = call(SCHED_OP, &[3, address_of(&place)]);
        close(left);
        close(right);
        answer
    });
}

fn masks(fifo: &Fifo) {
    check(
        "send.masked-port-is-not-linked",
        (0, PENDING | MASKED, 0),
        || {
            let (left, right) = fifo.pair();
            fifo.set(right, MASKED);
            let result = send(left);
            let (word, ready) = (fifo.word(right), fifo.ready());
            close(left);
            close(right);
            (result, seen(word), seen(ready))
        },
    );
    check(
        "unmask.links-what-is-pending",
        (0, PENDING | LINKED, true),
        || {
            let (left, right) = fifo.pair();
            fifo.set(right, MASKED);
            notify(left);
            let result = result(UNMASK, right.into());
            let (word, head) = (fifo.word(right), fifo.head(USUAL) == right);
            close(left);
            close(right);
            (result, seen(word), seen(head))
        },
    );
    check("unmask.nothing-pending", (0, 0), || {
        let (left, right) = fifo.pair();
        fifo.set(right, MASKED);
        let result = result(UNMASK, right.into());
        let word = fifo.word(right);
        close(left);
        close(right);
        (result, seen(word))
    });
}

fn priorities(fifo: &Fifo) {
    check(
        "set_priority.chooses-the-queue",
        (0, [true; 2], 1 << 2),
        || {
            let (left, right) = fifo.pair();
            let result = result(SET_PRIORITY, u64::from(right) | 2 << 32);
            notify(left);
            let heads = [fifo.head(2) == right, fifo.head(USUAL) == 0];
            let ready = fifo.ready();
            close(left);
            close(right);
            (result, seen(heads), seen(ready))
        },
    );
    check("set_priority.first-and-last", (0, 0, 1 | 1 << 15), || {
        let (first, one) = pair();
        let (second, two) = fifo.pair();
        let high = result(SET_PRIORITY, u64::from(one));
        let low = result(SET_PRIORITY, u64::from(two) | 15 << 32);
        notify(first);
        notify(second);
        let ready = fifo.ready();
        close_all([first, one, second, two]);
        (high, low, seen(ready))
    });
    check(
        "set_priority.queued-port-stays-where-it-is",
        (0, [true, true]),
        || {
            let (left, right) = fifo.pair();
            notify(left);
            let result = result(SET_PRIORITY, u64::from(right) | 3 << 32);
            let heads = [fifo.head(USUAL) == right, fifo.head(3) == 0];
            close(left);
            close(right);
            (result, seen(heads))
        },
    );
    check("set_priority.close-forgets-it", (0, true), || {
        let (left, right) = pair();
        set_priority(right, 1);
        let result = result(CLOSE, right.into());
        close(left);
        // The lowest free ports are given out again.
        let (first, one) = fifo.pair();
        notify(first);
        let usual = fifo.head(1) == 0 && fifo.ready() == 1 << USUAL;
        close(first);
        close(one);
        (result, seen(usual))
    });
    check("set_priority.beyond-15", [EINVAL; 2], || {
        let port = loop_port();
        let answers = [16, 0xffff_ffff]
            .map(|priority| result(SET_PRIORITY, u64::from(port) | priority << 32));
        close(port);
        answers
    });
    check("set_priority.free-port", EACCES, || {
        let port = loop_port();
        close(port);
        result(SET_PRIORITY, u64::from(port) | 1 << 32)
    });
    check("set_priority.port-0", EACCES, || {
        result(SET_PRIORITY, 1 << 32)
    });
    check("set_priority.port-beyond", EINVAL, || {
        result(SET_PRIORITY, 0xffff_ffff | 1 << 32)
    });
}

fn ends(fifo: &Fifo) {
    check("close.clears-pending", (0, false), || {
        let (left, right) = fifo.pair();
        notify(left);
        let result = result(CLOSE, right.into());
        let pending = fifo.word(right) & PENDING != 0;
        close(left);
        (result, seen(pending))
    });
    check("close.port-in-its-queue-stays-linked", (0, true), || {
        let (left, right) = fifo.pair();
        notify(left);
        let result = result(CLOSE, right.into());
        let linked = fifo.word(right) & LINKED != 0;
        close(left);
        (result, seen(linked))
    });
    fifo.drain();
}

fn blocks() {
    check("init_control.second-of-a-vcpu", EINVAL, || {
        event(INIT_CONTROL, [Frame::take().mfn, 0, 0]).0
    });
    check("init_control.of-another-vcpu", 0, || {
        event(INIT_CONTROL, [Frame::take().mfn, 1 << 32, 0]).0
    });
    check("init_control.last-place", 0, || {
        event(INIT_CONTROL, [Frame::take().mfn, 2 << 32 | 4024, 0]).0
    });
    check("init_control.no-such-vcpu", ENOENT, || {
        event(INIT_CONTROL, [Frame::take().mfn, 1000 << 32, 0]).0
    });
}

fn pages(fifo: &Fifo) {
    check("expand_array.128-pages", (0, 127, ENOSPC), || {
        let first = result(EXPAND_ARRAY, fifo.words.mfn);
        let mut pages = 1;
        let mut last = first;
        while last == 0 && pages < 200 {
            last = result(EXPAND_ARRAY, fifo.words.mfn);
            pages += i64::from(last == 0);
        }
        (first, pages, last)
    });
}

/// Last: the kernel's own ports are closed too. Only the first domain tells its answers without one.
fn reset() {
    if role() == Role::Ordinary {
        skip("reset.closes-all-ports", "this kernel's console has a port");
        skip(
            "reset.goes-back-to-bitmaps",
            "this kernel's console has a port",
        );
        return;
    }
    check("reset.closes-all-ports", (0, 0), || {
        let port = loop_port();
        let result = result(RESET, SELF);
        let place = [SELF | u64::from(port) << 32, 0, 0];
        prepare(EVENT_CHANNEL_OP, &[STATUS, address_of(&place)]);
        (result, seen(read(address_of(&place) + 8) & 0xffff_ffff))
    });
    check("reset.goes-back-to-bitmaps", (0, ENOSYS), || {
        let result = result(RESET, SELF);
        let port = loop_port();
        let place = u64::from(port) | 7 << 32;
        (
            result,
            seen(prepare(
                EVENT_CHANNEL_OP,
                &[SET_PRIORITY, address_of(&place)],
            )),
        )
    });
}
