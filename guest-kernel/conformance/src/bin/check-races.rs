//! Answers that only another vCPU at work at the same instant provokes: tried until they come.
#![no_std]
#![no_main]

use core::sync::atomic::{AtomicBool, Ordering::SeqCst};

use guest_conformance::errno::{EAGAIN, EBUSY};
use guest_conformance::fixture::{close, read};
use guest_conformance::{Role, SELF, address_of, call, check, finish, prepare, role, skip, start};
use guest_kernel::event::upcall;
use guest_kernel::smp;
use guest_kernel::start::Boot;
use guest_kernel::task::{block_on, spawn_on};
use guest_kernel::timer::now;
use hypercall_abi::control::ControlArgument;
use hypercall_abi::number::{EVENT_CHANNEL_OP, PARAVANE_OP};
use hypercall_abi::table::prelude::Audit;
use zerocopy::{FromZeros, IntoBytes};

guest_kernel::entry!(main);

const ALLOC_UNBOUND: u64 = 6;
const RESET: u64 = 10;

/// Nanoseconds until an answer counts as not coming: far more than it takes.
const PATIENCE: u64 = 60_000_000_000;

/// The other vCPU ends what it does.
static STOP: AtomicBool = AtomicBool::new(false);

fn main(boot: &'static Boot) {
    start(boot);
    if role() == Role::Ordinary {
        skip("audit.by-two-at-once", "no right to count frames");
        skip(
            "reset.while-another-binds",
            "this kernel's console has a port",
        );
        finish();
    }
    let other = smp::possible().nth(1);
    let there = other.is_some_and(|other| block_on(smp::up(other)).is_ok());
    let Some(other) = other.filter(|_| there) else {
        panic!("there is no second vCPU");
    };
    if audit(prepare) == 0 {
        let counts = || {
            audit(prepare);
        };
        beside(other, counts, || {
            check("audit.by-two-at-once", EBUSY, || {
                until_refused(|| audit(call))
            });
        });
    } else {
        skip("audit.by-two-at-once", "no hypercall 56 here");
    }
    // The kernel's own ports go too: this is the last one.
    let _masked = upcall::mask();
    beside(
        other,
        || close(bind()),
        || {
            check("reset.while-another-binds", EAGAIN, || {
                until_refused(|| call(EVENT_CHANNEL_OP, &[RESET, address_of(&SELF)]))
            });
        },
    );
    finish()
}

/// Runs a check while the other vCPU does something all the time.
fn beside(other: smp::VcpuId, work: fn(), checked: impl FnOnce()) {
    static BEGUN: AtomicBool = AtomicBool::new(false);
    static ENDED: AtomicBool = AtomicBool::new(false);
    for flag in [&STOP, &BEGUN, &ENDED] {
        flag.store(false, SeqCst);
    }
    spawn_on(other, async move {
        while !STOP.load(SeqCst) {
            work();
            BEGUN.store(true, SeqCst);
        }
        ENDED.store(true, SeqCst);
    });
    while !BEGUN.load(SeqCst) {
        prepare(hypercall_abi::number::SCHED_OP, &[0]);
    }
    checked();
    STOP.store(true, SeqCst);
    while !ENDED.load(SeqCst) {
        prepare(hypercall_abi::number::SCHED_OP, &[0]);
    }
}

/// Asks until the answer is another one than success.
fn until_refused(ask: impl Fn() -> i64) -> i64 {
    let deadline = now() + PATIENCE;
    loop {
        let answer = ask();
        if answer != 0 || now() > deadline {
            return answer;
        }
    }
}

/// One step of a recount that begins anew.
fn audit(make: fn(u32, &[u64]) -> i64) -> i64 {
    let mut question = Audit::new_zeroed();
    question.as_mut_bytes()[..8].copy_from_slice(Audit::HEADER.as_bytes());
    make(
        PARAVANE_OP,
        &[Audit::OPERATION.into(), address_of(&question)],
    )
}

/// A port that waits for this domain, or 0.
fn bind() -> u32 {
    let place = [SELF | SELF << 16];
    if prepare(EVENT_CHANNEL_OP, &[ALLOC_UNBOUND, address_of(&place)]) != 0 {
        return 0;
    }
    u32::try_from(read(address_of(&place)) >> 32).unwrap_or(0)
}
