//! Ports of two domains that run: binding, sending both ways, waking, closing, and whose port is whose.

use core::sync::atomic::Ordering::SeqCst;

use guest_conformance::errno::{EINVAL, EPERM};
use guest_conformance::fixture::{close, read};
use guest_conformance::{SELF, address_of, call, check, event, prepare, seen};
use guest_kernel::event::upcall;
use guest_kernel::timer::MILLISECOND;
use hypercall_abi::number::{EVENT_CHANNEL_OP, SCHED_OP};

use crate::Bench;
use crate::peer::Peer;

pub(crate) const BIND_INTERDOMAIN: u64 = 0;
pub(crate) const CLOSE: u64 = 3;
pub(crate) const SEND: u64 = 4;
pub(crate) const STATUS: u64 = 5;
pub(crate) const ALLOC_UNBOUND: u64 = 6;
pub(crate) const BIND_VCPU: u64 = 8;
pub(crate) const UNMASK: u64 = 9;
pub(crate) const RESET: u64 = 10;

/// What a status says of a port that waits, and of one that is bound to another's.
const WAITS: u64 = 1;
const BOUND: u64 = 2;

/// A connection that a check is about: the asker's port and the peer's.
#[derive(Clone, Copy)]
pub(crate) struct Line {
    pub(crate) own: u64,
    pub(crate) theirs: u64,
}

impl Peer {
    /// A port of its that waits for this domain.
    pub(crate) fn offer(&self, domain: u64) -> u64 {
        self.event_prepared(ALLOC_UNBOUND, [SELF | domain << 16, 0, 0])[0] >> 32
    }

    pub(crate) fn close(&self, port: u64) {
        self.event_prepared(CLOSE, [port, 0, 0]);
    }

    /// Sends by a port of its.
    pub(crate) fn notify(&self, port: u64) {
        self.event_prepared(SEND, [port, 0, 0]);
    }

    /// What it is told of a port of its: state, and whose it is bound to or waits for.
    fn told_of(&self, port: u64) -> (u64, u64) {
        let words = self.event_prepared(STATUS, [SELF | port << 32, 0, 0]);
        (words[1] & 0xffff_ffff, words[2])
    }
}

impl Bench {
    /// A connection with a peer. Nothing is pending, and the ports are open.
    pub(crate) fn line(&self, peer: &Peer) -> Line {
        let theirs = peer.offer(self.own);
        let place = [peer.number | theirs << 32, 0];
        let bound = prepare(EVENT_CHANNEL_OP, &[BIND_INTERDOMAIN, address_of(&place)]);
        assert!(bound == 0, "a peer's port can be bound");
        let own = low(read(address_of(&place) + 8));
        self.shared.clear(own);
        self.shared.set_mask(own, false);
        peer.clear(theirs);
        peer.set_mask(theirs, false);
        Line { own, theirs }
    }

    /// Closes both ends.
    pub(crate) fn cut(&self, peer: &Peer, line: Line) {
        self.shared.set_mask(line.own, true);
        shut(line.own);
        peer.set_mask(line.theirs, true);
        peer.close(line.theirs);
    }

    /// A port that waits for a domain.
    fn offer(&self, domain: u64) -> u64 {
        let place = [SELF | domain << 16];
        prepare(EVENT_CHANNEL_OP, &[ALLOC_UNBOUND, address_of(&place)]);
        read(address_of(&place)) >> 32
    }

    /// Forgets that this vCPU was told of events.
    fn forget_upcalls(&self) {
        self.shared.word(8).store(0, SeqCst);
        self.shared.byte(0).store(0, SeqCst);
    }
}

fn low(word: u64) -> u64 {
    word & 0xffff_ffff
}

fn shut(port: u64) {
    close(u32::try_from(port).unwrap_or(0));
}

/// What is told of an own port: state, and whose it is bound to or waits for.
pub(crate) fn told_of(port: u64) -> (u64, u64) {
    let place = [SELF | port << 32, 0, 0];
    prepare(EVENT_CHANNEL_OP, &[STATUS, address_of(&place)]);
    let at = address_of(&place);
    (low(read(at + 8)), read(at + 16))
}

fn result(operation: u64, word: u64) -> i64 {
    event(operation, [word, 0, 0]).0
}

pub(crate) fn checks(bench: &Bench) {
    binds(bench);
    refusals(bench);
    sends(bench);
    wakes(bench);
    vcpus(bench);
    closes(bench);
    strangers(bench);
    resets(bench);
}

fn binds(bench: &Bench) {
    let (far, own) = (&bench.far, bench.own);
    check("bind_interdomain.own-end", (0, BOUND, [true; 2]), || {
        let theirs = far.offer(own);
        let (result, words) = event(BIND_INTERDOMAIN, [far.number | theirs << 32, 0, 0]);
        let port = low(words[1]);
        let (state, detail) = told_of(port);
        bench.cut(far, Line { own: port, theirs });
        let whose = [detail & 0xffff == far.number, detail >> 32 == theirs];
        (result, seen(state), seen(whose))
    });
    check("bind_interdomain.peers-end", (0, BOUND, [true; 2]), || {
        let theirs = far.offer(own);
        let (result, words) = event(BIND_INTERDOMAIN, [far.number | theirs << 32, 0, 0]);
        let port = low(words[1]);
        let (state, detail) = far.told_of(theirs);
        bench.cut(far, Line { own: port, theirs });
        let whose = [detail & 0xffff == own, detail >> 32 == port];
        (result, seen(state), seen(whose))
    });
    check(
        "bind_interdomain.who-binds-is-told",
        (0, [true, false]),
        || {
            let theirs = far.offer(own);
            far.clear(theirs);
            let (result, words) = event(BIND_INTERDOMAIN, [far.number | theirs << 32, 0, 0]);
            let port = low(words[1]);
            let pending = [bench.shared.pending(port), far.pending(theirs)];
            bench.cut(far, Line { own: port, theirs });
            (result, seen(pending))
        },
    );
    check(
        "bind_interdomain.by-the-peer",
        (0, BOUND, [false, true]),
        || {
            let port = bench.offer(far.number);
            bench.shared.clear(port);
            let (result, words) = far.event(BIND_INTERDOMAIN, [own | port << 32, 0, 0]);
            let theirs = low(words[1]);
            let state = told_of(port).0;
            let pending = [bench.shared.pending(port), far.pending(theirs)];
            bench.cut(far, Line { own: port, theirs });
            (result, seen(state), seen(pending))
        },
    );
    check("alloc_unbound.names-the-peer", (0, WAITS, true), || {
        let (result, words) = event(ALLOC_UNBOUND, [SELF | far.number << 16, 0, 0]);
        let (state, detail) = told_of(words[0] >> 32);
        shut(words[0] >> 32);
        (result, seen(state), seen(detail & 0xffff == far.number))
    });
}

fn refusals(bench: &Bench) {
    let (far, near, own) = (&bench.far, &bench.near, bench.own);
    let bind = |domain: u64, port: u64| {
        let (result, words) = event(BIND_INTERDOMAIN, [domain | port << 32, 0, 0]);
        if result == 0 {
            shut(low(words[1]));
        }
        result
    };
    check("bind_interdomain.kept-for-another", EINVAL, || {
        let port = far.offer(near.number);
        let answer = bind(far.number, port);
        far.close(port);
        answer
    });
    check("bind_interdomain.kept-for-its-owner", EINVAL, || {
        let port = far.offer(SELF);
        let answer = bind(far.number, port);
        far.close(port);
        answer
    });
    check("bind_interdomain.closed", EINVAL, || {
        let port = far.offer(own);
        far.close(port);
        bind(far.number, port)
    });
    check("bind_interdomain.bound-already", EINVAL, || {
        let line = bench.line(far);
        let answer = bind(far.number, line.theirs);
        bench.cut(far, line);
        answer
    });
    check("bind_interdomain.of-another-domain", EINVAL, || {
        // It waits for this domain, but the name is that of a domain without such a port.
        let ports = [(); 8].map(|()| near.offer(own));
        let answer = bind(far.number, ports[7]);
        for port in ports {
            near.close(port);
        }
        answer
    });
    check("bind_interdomain.port-0-and-beyond", [EINVAL; 3], || {
        [0, 4096, 0xffff_ffff].map(|port| bind(far.number, port))
    });
    check("bind_interdomain.between-two-others", EINVAL, || {
        let port = near.offer(far.number);
        let words = far.event_prepared(BIND_INTERDOMAIN, [near.number | port << 32, 0, 0]);
        let answer = bind(near.number, port);
        far.close(low(words[1]));
        near.close(port);
        answer
    });
}

fn sends(bench: &Bench) {
    let far = &bench.far;
    check("send.reaches-the-peer", (0, true), || {
        let line = bench.line(far);
        let answer = (result(SEND, line.own), seen(far.pending(line.theirs)));
        bench.cut(far, line);
        answer
    });
    check("send.of-the-peer-arrives", (0, true), || {
        let line = bench.line(far);
        let (result, _) = far.event(SEND, [line.theirs, 0, 0]);
        let answer = (result, seen(bench.shared.pending(line.own)));
        bench.cut(far, line);
        answer
    });
    check("send.own-end-is-not-raised", (0, false), || {
        let line = bench.line(far);
        let answer = (result(SEND, line.own), seen(bench.shared.pending(line.own)));
        bench.cut(far, line);
        answer
    });
    let told = |masked: bool| {
        let line = bench.line(far);
        bench.shared.set_mask(line.own, masked);
        bench.forget_upcalls();
        let (result, _) = far.event(SEND, [line.theirs, 0, 0]);
        let chosen = bench.shared.word(8).load(SeqCst) >> (line.own / 64) & 1 != 0;
        let pending = bench.shared.pending(line.own);
        bench.cut(far, line);
        (result, seen([pending, chosen]))
    };
    check("send.of-the-peer-selects", (0, [true, true]), || {
        told(false)
    });
    check(
        "send.of-the-peer-to-a-masked-port",
        (0, [true, false]),
        || told(true),
    );
    check(
        "send.to-a-port-that-the-peer-masks",
        (0, [true, false]),
        || {
            let line = bench.line(far);
            far.set_mask(line.theirs, true);
            far.set_shared(8, 0);
            let result = result(SEND, line.own);
            let chosen = far.shared(8) >> (line.theirs / 64) & 1 != 0;
            let answer = [far.pending(line.theirs), chosen];
            bench.cut(far, line);
            (result, seen(answer))
        },
    );
    check("unmask.what-the-peer-sent-is-told", (0, [true; 2]), || {
        let line = bench.line(far);
        bench.shared.set_mask(line.own, true);
        far.notify(line.theirs);
        bench.forget_upcalls();
        let result = result(UNMASK, line.own);
        let chosen = bench.shared.word(8).load(SeqCst) >> (line.own / 64) & 1 != 0;
        let marked = bench.shared.byte(0).load(SeqCst) != 0;
        bench.cut(far, line);
        (result, seen([chosen, marked]))
    });
    check("send.the-peers-number-is-not-ones-own", EINVAL, || {
        // Of eight ports of the peer at least one has a number that is free here.
        let ports = [(); 8].map(|()| far.offer(SELF));
        let answers = ports.map(|port| match told_of(port).0 {
            0 => result(SEND, port),
            _ => EINVAL,
        });
        for port in ports {
            far.close(port);
        }
        answers.into_iter().max().unwrap_or(0)
    });
}

fn wakes(bench: &Bench) {
    let far = &bench.far;
    // Without a time: one that is not woken hangs here.
    check("poll.ends-by-an-event-of-the-peer", (0, true), || {
        let line = bench.line(far);
        far.send_later(line.theirs, 4 * MILLISECOND);
        let ports = [u32::try_from(line.own).unwrap_or(0)];
        let place = [address_of(&ports), 1, 0];
        let mut result = 0;
        // An event of the kernel's own console may end one before.
        while result == 0 && !bench.shared.pending(line.own) {
            result = call(SCHED_OP, &[3, address_of(&place)]);
        }
        let answer = (result, seen(bench.shared.pending(line.own)));
        bench.cut(far, line);
        answer
    });
    check("block.ends-by-an-event-of-the-peer", (true, true), || {
        let line = bench.line(far);
        far.send_later(line.theirs, 4 * MILLISECOND);
        let mut done = true;
        while done && !bench.shared.pending(line.own) {
            done = call(SCHED_OP, &[1]) == 0;
        }
        core::mem::forget(upcall::mask());
        let answer = (done, seen(bench.shared.pending(line.own)));
        bench.cut(far, line);
        answer
    });
}

fn vcpus(bench: &Bench) {
    let far = &bench.far;
    check(
        "bind_vcpu.events-of-the-peer-come-there",
        (0, [true, false]),
        || {
            let line = bench.line(far);
            let result = result(BIND_VCPU, line.own | 1 << 32);
            bench.forget_upcalls();
            bench.shared.word(64 + 8).store(0, SeqCst);
            far.notify(line.theirs);
            let told = |vcpu: usize| {
                bench.shared.word(64 * vcpu + 8).load(SeqCst) >> (line.own / 64) & 1 != 0
            };
            let answer = (result, seen([told(1), told(0)]));
            bench.cut(far, line);
            bench.shared.byte(64).store(0, SeqCst);
            bench.shared.word(64 + 8).store(0, SeqCst);
            answer
        },
    );
    check("bind_vcpu.peer-moves-its-end", (0, [false, true]), || {
        let line = bench.line(far);
        let (result, _) = far.event(BIND_VCPU, [line.theirs | 1 << 32, 0, 0]);
        far.set_shared(8, 0);
        far.set_shared(64 + 8, 0);
        prepare(EVENT_CHANNEL_OP, &[SEND, address_of(&line.own)]);
        let told = |vcpu: u64| far.shared(64 * vcpu + 8) >> (line.theirs / 64) & 1 != 0;
        let answer = (result, seen([told(0), told(1)]));
        bench.cut(far, line);
        answer
    });
}

fn closes(bench: &Bench) {
    let far = &bench.far;
    check(
        "close.by-the-peer-leaves-a-port-that-waits-for-it",
        (0, WAITS, true),
        || {
            let line = bench.line(far);
            let (result, _) = far.event(CLOSE, [line.theirs, 0, 0]);
            let (state, detail) = told_of(line.own);
            shut(line.own);
            (result, seen(state), seen(detail & 0xffff == far.number))
        },
    );
    check(
        "close.leaves-the-peers-port-waiting",
        (0, WAITS, true),
        || {
            let line = bench.line(far);
            let result = result(CLOSE, line.own);
            let (state, detail) = far.told_of(line.theirs);
            far.close(line.theirs);
            (result, seen(state), seen(detail & 0xffff == bench.own))
        },
    );
    check("close.by-the-peer-tells-nobody", (0, false), || {
        let line = bench.line(far);
        let (result, _) = far.event(CLOSE, [line.theirs, 0, 0]);
        let answer = (result, seen(bench.shared.pending(line.own)));
        shut(line.own);
        answer
    });
    check(
        "close.by-the-peer-leaves-what-is-pending",
        (0, true),
        || {
            let line = bench.line(far);
            far.notify(line.theirs);
            let (result, _) = far.event(CLOSE, [line.theirs, 0, 0]);
            let answer = (result, seen(bench.shared.pending(line.own)));
            shut(line.own);
            answer
        },
    );
    check("close.other-end-can-be-bound-again", (0, BOUND), || {
        let line = bench.line(far);
        far.close(line.theirs);
        let (result, words) = far.event(BIND_INTERDOMAIN, [bench.own | line.own << 32, 0, 0]);
        let state = told_of(line.own).0;
        let theirs = low(words[1]);
        bench.cut(far, Line { theirs, ..line });
        (result, seen(state))
    });
    check("send.after-the-peer-closed", (0, false), || {
        let line = bench.line(far);
        far.close(line.theirs);
        let answer = (result(SEND, line.own), seen(far.pending(line.theirs)));
        shut(line.own);
        answer
    });
}

fn strangers(bench: &Bench) {
    let far = &bench.far;
    check("status.of-the-peers-port", EPERM, || {
        let port = far.offer(bench.own);
        let answer = result(STATUS, far.number | port << 32);
        far.close(port);
        answer
    });
    check("status.of-the-peer-after-its-port", EINVAL, || {
        result(STATUS, far.number | 0xffff_ffff << 32)
    });
    check("reset.of-the-peer", (EPERM, WAITS), || {
        let port = far.offer(bench.own);
        let result = result(RESET, far.number);
        let state = far.told_of(port).0;
        far.close(port);
        (result, seen(state))
    });
    check("alloc_unbound.in-the-peers-name", EPERM, || {
        result(ALLOC_UNBOUND, far.number | SELF << 16)
    });
    check("bind_vcpu.of-the-peers-port", EINVAL, || {
        let ports = [(); 8].map(|()| far.offer(SELF));
        let answers = ports.map(|port| match told_of(port).0 {
            0 => result(BIND_VCPU, port),
            _ => EINVAL,
        });
        for port in ports {
            far.close(port);
        }
        answers.into_iter().max().unwrap_or(0)
    });
}

fn resets(bench: &Bench) {
    let far = &bench.far;
    check("reset.by-the-peer-unbinds", (0, WAITS, true), || {
        let line = bench.line(far);
        let result = far.reset();
        let (state, detail) = told_of(line.own);
        shut(line.own);
        (result, seen(state), seen(detail & 0xffff == far.number))
    });
    check("reset.by-the-peer-tells-nobody", (0, false), || {
        let line = bench.line(far);
        let result = far.reset();
        let pending = bench.shared.pending(line.own);
        shut(line.own);
        (result, seen(pending))
    });
}
