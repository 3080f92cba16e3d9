//! `sched_op` and the timers: giving up the CPU, waiting, refusing to, and when a timer's interrupt comes.
#![no_std]
#![no_main]

use core::sync::atomic::Ordering::SeqCst;

use guest_conformance::errno::{EFAULT, EINVAL, ENOSYS, EPERM, ESRCH};
use guest_conformance::fixture::{close, eventually, loop_port, pair, read};
use guest_conformance::shared::Shared;
use guest_conformance::{
    HYPERVISOR, NOBODY, Role, SELF, UNMAPPED, address_of, call, check, finish, prepare, role, seen,
    skip, start,
};
use guest_kernel::event::upcall;
use guest_kernel::start::Boot;
use guest_kernel::timer::{MILLISECOND, now};
use hypercall_abi::number::{EVENT_CHANNEL_OP, SCHED_OP, SET_TIMER_OP, VCPU_OP};

guest_kernel::entry!(main);

const YIELD: u64 = 0;
const BLOCK: u64 = 1;
const SHUTDOWN: u64 = 2;
const POLL: u64 = 3;
const REMOTE: u64 = 4;
const CODE: u64 = 5;
const WATCHDOG: u64 = 6;
const PIN: u64 = 7;

fn main(boot: &'static Boot) {
    start(boot);
    let shared = Shared::map();
    let masked = upcall::mask();
    yields();
    polls(&shared);
    others();
    timers(&shared);
    clock(&shared);
    // Checks have cleared what tells this kernel of its own events: let it look at all of them.
    shared.word(8).store(u64::MAX, SeqCst);
    shared.byte(0).store(1, SeqCst);
    drop(masked);
    blocks(&shared);
    finish()
}

fn op(command: u64, argument: u64) -> i64 {
    call(SCHED_OP, &[command, argument])
}

fn yields() {
    check("yield.returns-0", true, || {
        op(YIELD, UNMAPPED) == 0 && op(60, 0) == ENOSYS
    });
    check("yield.leaves-mask", (true, 1), || {
        let shared = Shared::map();
        (op(YIELD, 0) == 0, seen(shared.byte(1).load(SeqCst)))
    });
}

/// A poll under test: ports, and an absolute time.
fn poll(ports: &[u32], deadline: u64) -> i64 {
    let place = [address_of(ports), ports.len() as u64, deadline];
    op(POLL, address_of(&place))
}

/// Polls, up to a time; whether that has come. An event of the kernel's own console may end a poll before, but few do.
fn poll_until_late(ports: &[u32]) -> (i64, bool) {
    let deadline = now() + 2 * MILLISECOND;
    let mut result = 0;
    for _ in 0..8 {
        result |= poll(ports, deadline);
        if now() >= deadline {
            break;
        }
    }
    (result, seen(now() >= deadline))
}

fn polls(shared: &Shared) {
    check("poll.pending-port", (0, true), || {
        let (left, right) = pair();
        let answer = (poll(&[right], 0), seen(shared.pending(u64::from(right))));
        close(left);
        close(right);
        answer
    });
    check("poll.masked-port-counts", 0, || {
        let (left, right) = pair();
        shared.set_mask(u64::from(right), true);
        let answer = poll(&[right], 0);
        close(left);
        close(right);
        answer
    });
    check("poll.one-of-several", 0, || {
        let (left, right) = pair();
        let answer = poll(&[left, right], 0);
        close(left);
        close(right);
        answer
    });
    check("poll.ends-by-its-time", (0, true), || {
        let port = loop_port();
        let answer = poll_until_late(&[port]);
        close(port);
        answer
    });
    check("poll.time-that-is-past", 0, || {
        let port = loop_port();
        let answer = poll(&[port], 1);
        close(port);
        answer
    });
    check(
        "poll.no-port-and-a-time",
        (0, true),
        || poll_until_late(&[]),
    );
    check("poll.leaves-pending", (0, true), || {
        let (left, right) = pair();
        let result = poll(&[right], 0);
        let still = shared.pending(u64::from(right));
        close(left);
        close(right);
        (result, seen(still))
    });
    check("poll.leaves-mask", (0, 1), || {
        let result = poll(&[], 1);
        (result, seen(shared.byte(1).load(SeqCst)))
    });
    check("poll.port-0", EINVAL, || poll(&[0], 1));
    check("poll.port-beyond", [EINVAL; 2], || {
        [poll(&[4096], 1), poll(&[u32::MAX], 1)]
    });
    check("poll.free-port", EINVAL, || {
        let port = loop_port();
        close(port);
        poll(&[port], 1)
    });
    check("poll.bad-port-behind-good-one", EINVAL, || {
        let port = loop_port();
        let answer = poll(&[port, 0], 1);
        close(port);
        answer
    });
    check("poll.pending-port-before-bad-one", 0, || {
        let (left, right) = pair();
        let answer = poll(&[right, 0], 1);
        close(left);
        close(right);
        answer
    });
    check("poll.129-ports", EINVAL, || {
        op(POLL, address_of(&[UNMAPPED, 129, 1]))
    });
    check("poll.128-ports-that-fault", EFAULT, || {
        op(POLL, address_of(&[UNMAPPED, 128, 1]))
    });
    check("poll.ports-of-hypervisor", EFAULT, || {
        op(POLL, address_of(&[HYPERVISOR, 1, 1]))
    });
}

fn others() {
    check("remote_shutdown.no-such-domain", ESRCH, || {
        op(REMOTE, address_of(&NOBODY))
    });
    check("remote_shutdown.self-is-no-number", ESRCH, || {
        op(REMOTE, address_of(&SELF))
    });
    if role() == Role::Ordinary {
        check("remote_shutdown.other-domain", EPERM, || {
            op(REMOTE, address_of(&0_u64))
        });
        check("pin_override", EPERM, || op(PIN, address_of(&0_u64)));
        check("shutdown_code.stored", true, || {
            op(CODE, address_of(&0_u64)) == 0 && op(60, 0) == ENOSYS
        });
    } else {
        skip("remote_shutdown.other-domain", "there is no other domain");
        skip("pin_override", "the first domain may on some hypervisors");
        skip(
            "shutdown_code.stored",
            "it would change how the machine ends",
        );
    }
    check("shutdown.fault-changes-nothing", EFAULT, || {
        op(SHUTDOWN, UNMAPPED)
    });
    check("watchdog.no-such-one", [EINVAL; 2], || {
        [
            op(WATCHDOG, address_of(&(3_u64 | 10 << 32))),
            op(WATCHDOG, address_of(&0xffff_ffff_u64)),
        ]
    });
    check("watchdog.not-in-use", EINVAL, || {
        op(WATCHDOG, address_of(&(1_u64 | 10 << 32)))
    });
    check("watchdog.two-and-no-more", (1, 2, 0xffff_ffe4), || {
        // The third answer is an error in 32 bits, which Xen does not widen.
        let ask = || op(WATCHDOG, address_of(&(1000_u64 << 32)));
        let answer = (ask(), ask(), ask());
        prepare(SCHED_OP, &[WATCHDOG, address_of(&1_u64)]);
        prepare(SCHED_OP, &[WATCHDOG, address_of(&2_u64)]);
        answer
    });
    check(
        "watchdog.set-again-and-given-back",
        (1, 0, 0, EINVAL),
        || {
            let set =
                |number: u64, seconds: u64| op(WATCHDOG, address_of(&(number | seconds << 32)));
            (set(0, 1000), set(1, 2000), set(1, 0), set(1, 0))
        },
    );
    check("watchdog.fault", EFAULT, || op(WATCHDOG, UNMAPPED));
}

/// The port of this kernel's timer interrupt.
fn timer_port() -> u64 {
    for port in 1..64 {
        let place = [SELF | port << 32, 0, 0];
        prepare(EVENT_CHANNEL_OP, &[5, address_of(&place)]);
        let status = read(address_of(&place) + 8) & 0xffff_ffff;
        if status == 4 && read(address_of(&place) + 16) & 0xffff_ffff == 0 {
            return port;
        }
    }
    0
}

fn timers(shared: &Shared) {
    let port = timer_port();
    let stop = || {
        prepare(SET_TIMER_OP, &[0]);
        prepare(VCPU_OP, &[7, 0, 0]);
        shared.clear(port);
    };
    let fires = || eventually(|| shared.pending(port));
    // A timer that is set and stopped again: what the stop answered, and whether the interrupt came all the same. Where the
    // host was so busy that the time was over before the stop, nothing is known yet.
    let quiet = |arm: &dyn Fn(u64) -> i64, halt: &dyn Fn() -> i64| loop {
        shared.clear(port);
        let deadline = now() + 5 * MILLISECOND;
        arm(deadline);
        let result = halt();
        if now() < deadline {
            while now() < deadline + 3 * MILLISECOND {}
            return (result, seen(shared.pending(port)));
        }
        prepare(SET_TIMER_OP, &[0]);
    };
    stop();
    check("set_timer_op.fires", (0, true), || {
        let result = call(SET_TIMER_OP, &[now() + MILLISECOND]);
        let answer = (result, seen(fires()));
        stop();
        answer
    });
    check("set_timer_op.never-early", (0, true), || {
        let deadline = now() + 3 * MILLISECOND;
        let result = call(SET_TIMER_OP, &[deadline]);
        let answer = (result, seen(fires() && now() >= deadline));
        stop();
        answer
    });
    check("set_timer_op.past-fires-at-once", (0, true), || {
        let result = call(SET_TIMER_OP, &[1]);
        let answer = (result, seen(fires()));
        stop();
        answer
    });
    check("set_timer_op.0-stops", (0, false), || {
        let answer = quiet(&|at| prepare(SET_TIMER_OP, &[at]), &|| {
            call(SET_TIMER_OP, &[0])
        });
        stop();
        answer
    });
    check("set_timer_op.replaces", (0, true), || {
        prepare(SET_TIMER_OP, &[now() + 1_000 * MILLISECOND]);
        let before = now();
        let result = call(SET_TIMER_OP, &[before + MILLISECOND]);
        let answer = (result, seen(fires() && now() < before + 900 * MILLISECOND));
        stop();
        answer
    });
    check("set_timer_op.negative-fires-soon", (0, true), || {
        let result = call(SET_TIMER_OP, &[u64::MAX]);
        let answer = (result, seen(fires()));
        stop();
        answer
    });
    let single = |deadline: u64| call(VCPU_OP, &[8, 0, address_of(&[deadline, 0])]);
    check("singleshot.fires", (0, true), || {
        let answer = (single(now() + MILLISECOND), seen(fires()));
        stop();
        answer
    });
    check("singleshot.past-fires-before-return", (0, true), || {
        let answer = (single(1), seen(shared.pending(port)));
        stop();
        answer
    });
    check("singleshot.stopped", (0, false), || {
        let answer = quiet(
            &|at| prepare(VCPU_OP, &[8, 0, address_of(&[at, 0])]),
            &|| call(VCPU_OP, &[9, 0, 0]),
        );
        stop();
        answer
    });
    check("singleshot.is-the-same-timer", (0, false), || {
        let answer = quiet(&|at| prepare(SET_TIMER_OP, &[at]), &|| {
            call(VCPU_OP, &[9, 0, 0])
        });
        stop();
        answer
    });
    check("periodic.ticks", (0, [true; 3]), || {
        let result = call(VCPU_OP, &[6, 0, address_of(&(2 * MILLISECOND))]);
        let ticks = [(); 3].map(|()| {
            shared.clear(port);
            fires()
        });
        stop();
        (result, seen(ticks))
    });
    check("periodic.stops", (0, false), || {
        prepare(VCPU_OP, &[6, 0, address_of(&(2 * MILLISECOND))]);
        let result = call(VCPU_OP, &[7, 0, 0]);
        shared.clear(port);
        let deadline = now() + 6 * MILLISECOND;
        while now() < deadline {}
        let answer = (result, seen(shared.pending(port)));
        stop();
        answer
    });
}

fn clock(shared: &Shared) {
    check("clock.version-is-even", 0, || {
        seen(shared.half(0x20).load(SeqCst) & 1)
    });
    check("clock.multiplier-is-not-0", true, || {
        seen(shared.half(0x38).load(SeqCst) != 0)
    });
    check("clock.multiplier-has-its-top-bit", true, || {
        seen(shared.half(0x38).load(SeqCst) >> 31 == 1)
    });
    check("clock.padding-is-0", [0, 0], || {
        seen([
            shared.half(0x24).load(SeqCst),
            shared.half(0x3c).load(SeqCst) >> 16,
        ])
    });
    check("clock.no-flag-but-stable", 0, || {
        seen(shared.half(0x3c).load(SeqCst) >> 8 & 0xfe)
    });
    check("clock.does-not-go-back", true, || {
        let mut last = 0;
        seen((0..10_000).all(|_| {
            let time = now();
            let holds = time >= last;
            last = time;
            holds
        }))
    });
    check("wallclock.version-is-even", 0, || {
        seen(shared.half(0xc00).load(SeqCst) & 1)
    });
    check("wallclock.nanoseconds-are-below-a-second", true, || {
        seen(shared.half(0xc08).load(SeqCst) < 1_000_000_000)
    });
    check("wallclock.is-in-this-century", true, || {
        seen(shared.half(0xc04).load(SeqCst) > 1_600_000_000)
    });
    check("wallclock.upper-half", 0, || {
        seen(shared.half(0xc0c).load(SeqCst))
    });
}

fn blocks(shared: &Shared) {
    check("block.unmasks", (true, 0), || {
        prepare(SET_TIMER_OP, &[now() + 2 * MILLISECOND]);
        let masked = upcall::mask();
        let done = op(BLOCK, 0) == 0;
        let mask = shared.byte(1).load(SeqCst);
        core::mem::forget(masked);
        upcall::unmask();
        (done, seen(mask))
    });
    check("block.pending-upcall-ends-it-at-once", (true, true), || {
        let masked = upcall::mask();
        shared.byte(0).store(1, SeqCst);
        let before = now();
        let done = op(BLOCK, 0) == 0;
        let soon = now() - before < 1_000 * MILLISECOND;
        core::mem::forget(masked);
        upcall::unmask();
        (done, seen(soon))
    });
}
