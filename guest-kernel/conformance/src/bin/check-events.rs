//! Event channels: states of ports, who may do what with them, what a notification changes, and the FIFO form's doors.
#![no_std]
#![no_main]

use core::sync::atomic::Ordering::SeqCst;

use guest_conformance::errno::{EEXIST, EINVAL, ENOENT, ENOSPC, ENOSYS, EOPNOTSUPP, EPERM, ESRCH};
use guest_conformance::fixture::{close, loop_port, own_number, pair, read};
use guest_conformance::shared::Shared;
use guest_conformance::{
    NOBODY, Role, SELF, address_of, call, check, event, finish, prepare, role, seen, skip, start,
};
use guest_kernel::event::upcall;
use guest_kernel::start::Boot;
use hypercall_abi::number::{EVENT_CHANNEL_OP, SCHED_OP};

guest_kernel::entry!(main);

const BIND_INTERDOMAIN: u64 = 0;
const BIND_VIRQ: u64 = 1;
const BIND_PIRQ: u64 = 2;
const CLOSE: u64 = 3;
const SEND: u64 = 4;
const STATUS: u64 = 5;
const ALLOC_UNBOUND: u64 = 6;
const BIND_IPI: u64 = 7;
const BIND_VCPU: u64 = 8;
const UNMASK: u64 = 9;
const RESET: u64 = 10;

/// A port beyond all that the two-level form has.
const BEYOND: u64 = 4096;

fn main(boot: &'static Boot) {
    start(boot);
    // Upcalls stay masked: what a port does is read from the shared page.
    let masked = upcall::mask();
    let shared = Shared::map();
    allocation(&shared);
    binding(&shared);
    virqs();
    ipis(&shared);
    sending(&shared);
    closing(&shared);
    statuses();
    vcpus();
    masks(&shared);
    fifo();
    devices();
    resets();
    full();
    // Checks have cleared what tells this kernel of its own events: let it look at all of them.
    shared.word(8).store(u64::MAX, SeqCst);
    shared.byte(0).store(1, SeqCst);
    drop(masked);
    finish()
}

fn result(operation: u64, word: u64) -> i64 {
    event(operation, [word, 0, 0]).0
}

fn upper(word: u64) -> u64 {
    word >> 32
}

/// State, vCPU and detail of a port, by a call that prepares.
fn state(port: u64) -> (u64, u64, u64) {
    let place = [SELF | port << 32, 0, 0];
    prepare(EVENT_CHANNEL_OP, &[STATUS, address_of(&place)]);
    let second = read(address_of(&place) + 8);
    (
        second & 0xffff_ffff,
        second >> 32,
        read(address_of(&place) + 16),
    )
}

fn release(port: u64) {
    close(u32::try_from(port).unwrap_or(0));
}

fn allocation(shared: &Shared) {
    check("alloc_unbound.self", (0, 1), || {
        let (result, out) = event(ALLOC_UNBOUND, [SELF | SELF << 16, 0, 0]);
        let port = upper(out[0]);
        let answer = (result, seen(state(port).0));
        release(port);
        answer
    });
    check("alloc_unbound.own-number", 0, || {
        let (result, out) = event(ALLOC_UNBOUND, [own_number() | SELF << 16, 0, 0]);
        if result == 0 {
            release(upper(out[0]));
        }
        result
    });
    check("alloc_unbound.peer-need-not-exist", (0, NOBODY), || {
        let (result, out) = event(ALLOC_UNBOUND, [SELF | NOBODY << 16, 0, 0]);
        let port = upper(out[0]);
        let answer = (result, seen(state(port).2 & 0xffff));
        release(port);
        answer
    });
    check("alloc_unbound.no-such-domain", ESRCH, || {
        result(ALLOC_UNBOUND, NOBODY | SELF << 16)
    });
    if role() == Role::Ordinary {
        check("alloc_unbound.other-domain", EPERM, || {
            result(ALLOC_UNBOUND, SELF << 16)
        });
    } else {
        skip("alloc_unbound.other-domain", "the first domain may");
    }
    check("alloc_unbound.lowest-free-port", (0, true), || {
        let (low, high) = (loop_port(), loop_port());
        close(low);
        let (result, out) = event(ALLOC_UNBOUND, [SELF | SELF << 16, 0, 0]);
        let same = upper(out[0]) == u64::from(low);
        close(low);
        close(high);
        (result, seen(same))
    });
    check("alloc_unbound.not-pending", false, || {
        let port = loop_port();
        let pending = shared.pending(u64::from(port));
        close(port);
        seen(pending)
    });
    check("alloc_unbound.notifies-vcpu-0", 0, || {
        let port = loop_port();
        let vcpu = state(u64::from(port)).1;
        close(port);
        seen(vcpu)
    });
}

fn binding(shared: &Shared) {
    check("bind_interdomain.loop", (0, [2, 2]), || {
        let left = u64::from(loop_port());
        let (result, out) = event(BIND_INTERDOMAIN, [SELF | left << 32, 0, 0]);
        let right = out[1] & 0xffff_ffff;
        let answer = (result, seen([state(left).0, state(right).0]));
        release(right);
        release(left);
        answer
    });
    check(
        "bind_interdomain.new-end-is-pending",
        (0, [false, true]),
        || {
            let left = u64::from(loop_port());
            let (result, out) = event(BIND_INTERDOMAIN, [SELF | left << 32, 0, 0]);
            let right = out[1] & 0xffff_ffff;
            let answer = (result, seen([shared.pending(left), shared.pending(right)]));
            release(right);
            release(left);
            answer
        },
    );
    check(
        "bind_interdomain.ends-name-each-other",
        (0, [true; 2]),
        || {
            let left = u64::from(loop_port());
            let (result, out) = event(BIND_INTERDOMAIN, [SELF | left << 32, 0, 0]);
            let right = out[1] & 0xffff_ffff;
            let own = own_number();
            let names = |port, other| {
                let detail = state(port).2;
                detail & 0xffff == own && detail >> 32 == other
            };
            let answer = (result, seen([names(left, right), names(right, left)]));
            release(right);
            release(left);
            answer
        },
    );
    check("bind_interdomain.no-such-domain", ESRCH, || {
        result(BIND_INTERDOMAIN, NOBODY | 1 << 32)
    });
    check("bind_interdomain.port-0", EINVAL, || {
        result(BIND_INTERDOMAIN, SELF)
    });
    check("bind_interdomain.port-beyond", [EINVAL; 2], || {
        [BEYOND, 0xffff_ffff].map(|port| result(BIND_INTERDOMAIN, SELF | port << 32))
    });
    check("bind_interdomain.free-port", EINVAL, || {
        let port = loop_port();
        close(port);
        result(BIND_INTERDOMAIN, SELF | u64::from(port) << 32)
    });
    check("bind_interdomain.bound-port", EINVAL, || {
        let (left, right) = pair();
        let answer = result(BIND_INTERDOMAIN, SELF | u64::from(left) << 32);
        close(left);
        close(right);
        answer
    });
    check("bind_interdomain.port-for-another", EINVAL, || {
        let place = [SELF | NOBODY << 16];
        prepare(EVENT_CHANNEL_OP, &[ALLOC_UNBOUND, address_of(&place)]);
        let port = upper(read(address_of(&place)));
        let answer = result(BIND_INTERDOMAIN, SELF | port << 32);
        release(port);
        answer
    });
}

fn virqs() {
    check("bind_virq.24", EINVAL, || result(BIND_VIRQ, 24));
    check("bind_virq.max", EINVAL, || result(BIND_VIRQ, 0xffff_ffff));
    check("bind_virq.no-such-vcpu", ENOENT, || {
        result(BIND_VIRQ, 1 | 1000 << 32)
    });
    check("bind_virq.global-on-other-vcpu", EINVAL, || {
        result(BIND_VIRQ, 8 | 1 << 32)
    });
    check("bind_virq.bound-twice", EEXIST, || result(BIND_VIRQ, 0));
    check("bind_virq.per-vcpu", (0, 4, 1), || {
        let (result, out) = event(BIND_VIRQ, [1, 0, 0]);
        let port = out[1] & 0xffff_ffff;
        let (status, _, detail) = state(port);
        let answer = (result, seen(status), seen(detail & 0xffff_ffff));
        release(port);
        answer
    });
    check("bind_virq.global", (0, 4, 4), || {
        let (result, out) = event(BIND_VIRQ, [4, 0, 0]);
        let port = out[1] & 0xffff_ffff;
        let (status, _, detail) = state(port);
        let answer = (result, seen(status), seen(detail & 0xffff_ffff));
        release(port);
        answer
    });
    check("bind_virq.unassigned-numbers", [0; 4], || {
        [5, 14, 15, 23].map(|virq| {
            let (result, out) = event(BIND_VIRQ, [virq, 0, 0]);
            if result == 0 {
                release(out[1] & 0xffff_ffff);
            }
            result
        })
    });
    check("bind_virq.again-after-close", 0, || {
        let place = [1_u64, 0];
        prepare(EVENT_CHANNEL_OP, &[BIND_VIRQ, address_of(&place)]);
        release(read(address_of(&place) + 8) & 0xffff_ffff);
        let (result, out) = event(BIND_VIRQ, [1, 0, 0]);
        if result == 0 {
            release(out[1] & 0xffff_ffff);
        }
        result
    });
}

fn ipis(shared: &Shared) {
    let bind = || {
        let place = [0_u64];
        prepare(EVENT_CHANNEL_OP, &[BIND_IPI, address_of(&place)]);
        upper(read(address_of(&place)))
    };
    check("bind_ipi.binds", (0, 5), || {
        let (result, out) = event(BIND_IPI, [0; 3]);
        let port = upper(out[0]);
        let answer = (result, seen(state(port).0));
        release(port);
        answer
    });
    check("bind_ipi.no-such-vcpu", ENOENT, || result(BIND_IPI, 1000));
    check("bind_ipi.cannot-move", EINVAL, || {
        let port = bind();
        let answer = result(BIND_VCPU, port);
        release(port);
        answer
    });
    check("bind_ipi.send-raises-itself", (0, true), || {
        let port = bind();
        let answer = (result(SEND, port), seen(shared.pending(port)));
        release(port);
        answer
    });
    check("bind_ipi.several", (0, true), || {
        let first = bind();
        let (result, out) = event(BIND_IPI, [0; 3]);
        let second = upper(out[0]);
        release(first);
        release(second);
        (result, seen(first != second))
    });
}

fn sending(shared: &Shared) {
    check("send.raises-the-other-end", (0, [false, true]), || {
        let (left, right) = pair();
        shared.clear(u64::from(right));
        let result = result(SEND, u64::from(left));
        let answer = (
            result,
            seen([
                shared.pending(u64::from(left)),
                shared.pending(u64::from(right)),
            ]),
        );
        close(left);
        close(right);
        answer
    });
    check("send.unbound-is-dropped", (0, false), || {
        let port = loop_port();
        let answer = (
            result(SEND, u64::from(port)),
            seen(shared.pending(u64::from(port))),
        );
        close(port);
        answer
    });
    check("send.port-0", EINVAL, || result(SEND, 0));
    check("send.port-beyond", [EINVAL; 2], || {
        [BEYOND, 0xffff_ffff].map(|port| result(SEND, port))
    });
    check("send.free-port", EINVAL, || {
        let port = loop_port();
        close(port);
        result(SEND, u64::from(port))
    });
    check("send.virq", EINVAL, || {
        let place = [1_u64, 0];
        prepare(EVENT_CHANNEL_OP, &[BIND_VIRQ, address_of(&place)]);
        let port = read(address_of(&place) + 8) & 0xffff_ffff;
        let answer = result(SEND, port);
        release(port);
        answer
    });
    let selected = |masked: bool| {
        let (left, right) = pair();
        let port = u64::from(right);
        shared.clear(port);
        shared.set_mask(port, masked);
        shared.word(8).store(0, SeqCst);
        shared.byte(0).store(0, SeqCst);
        let result = result(SEND, u64::from(left));
        let selector = shared.word(8).load(SeqCst);
        let pending = shared.byte(0).load(SeqCst);
        let chosen = selector >> (port / 64) & 1 != 0;
        close(left);
        close(right);
        (result, seen([chosen, pending != 0]))
    };
    check(
        "send.open-port-selects-and-marks-upcall",
        (0, [true, true]),
        || selected(false),
    );
    check(
        "send.masked-port-marks-no-upcall",
        (0, [false, false]),
        || selected(true),
    );
    check(
        "send.pending-port-changes-nothing",
        (0, [false, false]),
        || {
            let (left, right) = pair();
            let port = u64::from(right);
            shared.set_mask(port, false);
            // The port is pending since it was bound.
            shared.word(8).store(0, SeqCst);
            shared.byte(0).store(0, SeqCst);
            let result = result(SEND, u64::from(left));
            let selector = shared.word(8).load(SeqCst);
            let pending = shared.byte(0).load(SeqCst);
            close(left);
            close(right);
            (
                result,
                seen([selector >> (port / 64) & 1 != 0, pending != 0]),
            )
        },
    );
}

fn closing(shared: &Shared) {
    check("close.frees", (0, 0), || {
        let port = u64::from(loop_port());
        (result(CLOSE, port), seen(state(port).0))
    });
    check("close.other-end-waits-again", (0, 1, true), || {
        let (left, right) = pair();
        let result = result(CLOSE, u64::from(right));
        let (status, _, detail) = state(u64::from(left));
        let accepts = detail & 0xffff == own_number();
        close(left);
        (result, seen(status), seen(accepts))
    });
    check("close.sends-no-event", (0, false), || {
        let (left, right) = pair();
        shared.clear(u64::from(left));
        let answer = (
            result(CLOSE, u64::from(right)),
            seen(shared.pending(u64::from(left))),
        );
        close(left);
        answer
    });
    check("close.clears-pending", (0, false), || {
        let (left, right) = pair();
        let answer = (
            result(CLOSE, u64::from(right)),
            seen(shared.pending(u64::from(right))),
        );
        close(left);
        answer
    });
    check("close.leaves-mask", (0, true), || {
        let port = loop_port();
        shared.set_mask(u64::from(port), true);
        (
            result(CLOSE, u64::from(port)),
            seen(shared.masked(u64::from(port))),
        )
    });
    check("close.twice", EINVAL, || {
        let port = loop_port();
        close(port);
        result(CLOSE, u64::from(port))
    });
    check("close.port-0", EINVAL, || result(CLOSE, 0));
    check("close.port-beyond", [EINVAL; 2], || {
        [BEYOND, 0xffff_ffff].map(|port| result(CLOSE, port))
    });
}

fn statuses() {
    let status = |word: u64| {
        let (result, out) = event(STATUS, [word, 0, 0]);
        (result, seen(out[1] & 0xffff_ffff))
    };
    check("status.free-port", (0, 0), || {
        let port = loop_port();
        close(port);
        status(SELF | u64::from(port) << 32)
    });
    check("status.unbound", (0, 1), || {
        let port = loop_port();
        let answer = status(SELF | u64::from(port) << 32);
        close(port);
        answer
    });
    check("status.own-number", (0, 1), || {
        let port = loop_port();
        let answer = status(own_number() | u64::from(port) << 32);
        close(port);
        answer
    });
    check("status.port-0", (0, 0), || status(SELF));
    check("status.no-such-domain", ESRCH, || {
        status(NOBODY | 1 << 32).0
    });
    check("status.port-beyond", EINVAL, || {
        status(SELF | BEYOND << 32).0
    });
    check("status.port-max", EINVAL, || {
        status(SELF | 0xffff_ffff << 32).0
    });
    if role() == Role::Ordinary {
        check("status.other-domain", EPERM, || status(1 << 32).0);
    } else {
        skip("status.other-domain", "the first domain may ask");
    }
}

fn vcpus() {
    check("bind_vcpu.same", 0, || {
        let port = loop_port();
        let answer = result(BIND_VCPU, u64::from(port));
        close(port);
        answer
    });
    check("bind_vcpu.moves", (0, 1), || {
        let port = loop_port();
        let result = result(BIND_VCPU, u64::from(port) | 1 << 32);
        let vcpu = state(u64::from(port)).1;
        close(port);
        (result, seen(vcpu))
    });
    check("bind_vcpu.no-such-vcpu", ENOENT, || {
        let port = loop_port();
        let answer = result(BIND_VCPU, u64::from(port) | 1000 << 32);
        close(port);
        answer
    });
    check("bind_vcpu.vcpu-before-port", ENOENT, || {
        result(BIND_VCPU, BEYOND | 1000 << 32)
    });
    check("bind_vcpu.free-port", EINVAL, || {
        let port = loop_port();
        close(port);
        result(BIND_VCPU, u64::from(port))
    });
    check("bind_vcpu.port-beyond", EINVAL, || {
        result(BIND_VCPU, BEYOND)
    });
    check("bind_vcpu.per-vcpu-virq", EINVAL, || {
        let place = [1_u64, 0];
        prepare(EVENT_CHANNEL_OP, &[BIND_VIRQ, address_of(&place)]);
        let port = read(address_of(&place) + 8) & 0xffff_ffff;
        let answer = result(BIND_VCPU, port);
        release(port);
        answer
    });
    check("bind_vcpu.global-virq", (0, 1), || {
        let place = [4_u64, 0];
        prepare(EVENT_CHANNEL_OP, &[BIND_VIRQ, address_of(&place)]);
        let port = read(address_of(&place) + 8) & 0xffff_ffff;
        let result = result(BIND_VCPU, port | 1 << 32);
        let vcpu = state(port).1;
        release(port);
        (result, seen(vcpu))
    });
    check("bind_vcpu.close-forgets", 0, || {
        let port = loop_port();
        prepare(
            EVENT_CHANNEL_OP,
            &[BIND_VCPU, address_of(&(u64::from(port) | 1 << 32))],
        );
        close(port);
        let again = loop_port();
        let vcpu = state(u64::from(again)).1;
        close(again);
        seen(vcpu)
    });
}

fn masks(shared: &Shared) {
    check("unmask.clears-mask", (0, false), || {
        let port = u64::from(loop_port());
        shared.set_mask(port, true);
        let answer = (result(UNMASK, port), seen(shared.masked(port)));
        release(port);
        answer
    });
    check("unmask.delivers-what-is-pending", (0, [true, true]), || {
        let (left, right) = pair();
        let port = u64::from(right);
        shared.set_mask(port, true);
        shared.word(8).store(0, SeqCst);
        shared.byte(0).store(0, SeqCst);
        let result = result(UNMASK, port);
        let selected = shared.word(8).load(SeqCst) >> (port / 64) & 1 != 0;
        let marked = shared.byte(0).load(SeqCst) != 0;
        close(left);
        close(right);
        (result, seen([selected, marked]))
    });
    check("unmask.nothing-pending", (0, false), || {
        let port = u64::from(loop_port());
        shared.set_mask(port, true);
        shared.byte(0).store(0, SeqCst);
        let answer = (result(UNMASK, port), seen(shared.byte(0).load(SeqCst) != 0));
        release(port);
        answer
    });
    check("unmask.free-port", 0, || {
        let port = loop_port();
        close(port);
        result(UNMASK, u64::from(port))
    });
    check("unmask.port-beyond", [EINVAL; 2], || {
        [BEYOND, 0xffff_ffff].map(|port| result(UNMASK, port))
    });
    check("upcall.spurious-mask-value", (0, 2), || {
        // Any value but 0 masks: an upcall would have changed the byte.
        let (left, right) = pair();
        shared.set_mask(u64::from(right), false);
        shared.clear(u64::from(right));
        shared.byte(1).store(2, SeqCst);
        let result = result(SEND, u64::from(left));
        let mask = shared.byte(1).load(SeqCst);
        shared.byte(1).store(1, SeqCst);
        close(left);
        close(right);
        (result, seen(mask))
    });
}

fn fifo() {
    check("set_priority.two-level", ENOSYS, || {
        let port = loop_port();
        let answer = result(13, u64::from(port) | 7 << 32);
        close(port);
        answer
    });
    check("expand_array.before-init", EOPNOTSUPP, || result(12, 1));
    check("init_control.no-such-vcpu", ENOENT, || {
        event(11, [1, 1000 << 32, 0]).0
    });
    check("init_control.offset-beyond", EINVAL, || {
        event(11, [1, 4032, 0]).0
    });
    check("init_control.offset-unaligned", EINVAL, || {
        event(11, [1, 4, 0]).0
    });
    check("init_control.foreign-frame", EINVAL, || {
        event(11, [0xff_ffff, 0, 0]).0
    });
}

fn devices() {
    check("bind_pirq.beyond", EINVAL, || {
        result(BIND_PIRQ, 0xffff_ffff)
    });
    if role() == Role::Ordinary {
        check("bind_pirq.not-given", EPERM, || result(BIND_PIRQ, 20));
    } else {
        skip(
            "bind_pirq.not-given",
            "the first domain owns the machine's interrupts",
        );
    }
}

fn resets() {
    check("reset.no-such-domain", ESRCH, || result(RESET, NOBODY));
    if role() == Role::Ordinary {
        check("reset.other-domain", EPERM, || result(RESET, 0));
    } else {
        skip("reset.other-domain", "there is no other domain");
    }
    check("poll.deliverable-upcall", 0, || {
        let place = [0_u64, 0, 1];
        call(SCHED_OP, &[3, address_of(&place)])
    });
}

/// Every way to get a port, when there is none.
fn full() {
    check("port.none-left", [ENOSPC; 4], || {
        let waiting = u64::from(loop_port());
        let mut taken = [0_u64; 64];
        loop {
            let place = [SELF | SELF << 16];
            if prepare(EVENT_CHANNEL_OP, &[ALLOC_UNBOUND, address_of(&place)]) != 0 {
                break;
            }
            let port = upper(read(address_of(&place)));
            taken[usize::try_from(port / 64).unwrap_or(0) & 63] |= 1 << (port % 64);
        }
        let answers = [
            result(ALLOC_UNBOUND, SELF | SELF << 16),
            result(BIND_INTERDOMAIN, SELF | waiting << 32),
            result(BIND_VIRQ, 1),
            result(BIND_IPI, 0),
        ];
        let is_taken = |port: &u64| {
            taken[usize::try_from(port / 64).unwrap_or(0) & 63] >> (port % 64) & 1 != 0
        };
        (0..BEYOND).filter(is_taken).for_each(release);
        release(waiting);
        answers
    });
}
