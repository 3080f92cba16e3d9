//! Rule tested: events reach the port they are sent to, once they are let in, and none is lost; timers never fire early.
#![no_std]
#![no_main]
#![deny(unsafe_code)]

extern crate alloc;

use alloc::sync::Arc;
use core::sync::atomic::{AtomicU32, Ordering};

use guest_kernel::event::{Port, Signal};
use guest_kernel::hypercall::{self, Errno};
use guest_kernel::smp::VcpuId;
use guest_kernel::start::Boot;
use guest_kernel::task::{self, Either, block_on, either};
use guest_kernel::timer::{MILLISECOND, SECOND, now, sleep, sleep_until};
use guest_kernels::{check, error, finish};
use hypercall_abi::event::{
    EVTCHNSTAT_CLOSED, EVTCHNSTAT_INTERDOMAIN, EVTCHNSTAT_UNBOUND, VIRQ_TIMER,
};
use hypercall_abi::{RawDomId, RawPort};

guest_kernel::entry!(main);

fn main(_: &'static Boot) {
    block_on(async {
        let Ok((left, right)) = pair() else {
            error(format_args!("no loop of two ports"))
        };
        ports(&left);
        delivery(&left, &right).await;
        ping_pong(left, right).await;
        interrupts();
        timers().await;
    });
    finish()
}

/// Two ports of this domain, bound to each other.
fn pair() -> Result<(Port, Port), Errno> {
    let left = Port::alloc_unbound(RawDomId::SELF)?;
    let status = hypercall::event::status(left.number())?;
    check!(status.status == EVTCHNSTAT_UNBOUND, "a new port is unbound");
    let right = Port::bind_interdomain(RawDomId::SELF, left.number())?;
    Ok((left, right))
}

fn ports(left: &Port) {
    let status = hypercall::event::status(left.number()).map(|status| status.status);
    check!(status == Ok(EVTCHNSTAT_INTERDOMAIN), "a bound port says so");
    let Ok(port) = Port::alloc_unbound(RawDomId::SELF) else {
        error(format_args!("no port"))
    };
    let number = port.number();
    drop(port);
    let status = hypercall::event::status(number).map(|status| status.status);
    check!(status == Ok(EVTCHNSTAT_CLOSED), "a closed port says so");
    check!(
        hypercall::event::send(number) == Err(Errno::EINVAL),
        "sending on it is EINVAL"
    );
    check!(
        hypercall::event::close(number) == Err(Errno::EINVAL),
        "so is closing it again"
    );
    check!(
        hypercall::event::send(RawPort(0)) == Err(Errno::EINVAL),
        "port 0 is nobody's"
    );
    check!(
        hypercall::event::send(RawPort(u32::MAX)) == Err(Errno::EINVAL),
        "nor is a number beyond all ports"
    );
    check!(
        Port::bind_virq(VIRQ_TIMER, VcpuId::BOOT).err() == Some(Errno::EEXIST),
        "an interrupt is bound once"
    );
    check!(
        Port::bind_virq(24, VcpuId::BOOT).err() == Some(Errno::EINVAL),
        "interrupt 24 does not exist"
    );
    let reused = Port::alloc_unbound(RawDomId::SELF).map(|port| port.number());
    check!(reused == Ok(number), "the lowest free port is given out");
}

async fn delivery(left: &Port, right: &Port) {
    let came = Arc::new(AtomicU32::new(0));
    left.notify();
    left.notify();
    let counter = Arc::clone(&came);
    let opened = right.set_handler(move || {
        counter.fetch_add(1, Ordering::SeqCst);
    });
    check!(opened.is_ok(), "a port can be opened");
    check!(
        came.load(Ordering::SeqCst) == 1,
        "events before that are delivered then, as one"
    );
    left.notify();
    check!(
        came.load(Ordering::SeqCst) == 2,
        "an event to oneself is there when the call returns"
    );
    let Ok(signal) = right.signal() else {
        error(format_args!("no handler"))
    };
    left.notify();
    signal.wait().await;
    check!(!signal.take(), "a wait takes the signal");
}

/// Two tasks that wake each other by events.
async fn ping_pong(left: Port, right: Port) {
    const ROUNDS: u32 = 5000;
    let (Ok(left_signal), Ok(right_signal)) = (left.signal(), right.signal()) else {
        error(format_args!("no handlers"));
    };
    // What came before is no part of the game.
    left_signal.take();
    right_signal.take();
    let done = Arc::new(Signal::new());
    let finished = Arc::clone(&done);
    task::spawn(async move {
        for _ in 0..ROUNDS {
            right_signal.wait().await;
            right.notify();
        }
        finished.set();
    });
    let mut rounds = 0;
    for _ in 0..ROUNDS {
        left.notify();
        match either(left_signal.wait(), sleep(5 * SECOND)).await {
            Either::First(()) => rounds += 1,
            Either::Second(()) => break,
        }
    }
    check!(
        rounds == ROUNDS,
        "{rounds} of {ROUNDS} rounds without a lost event"
    );
    done.wait().await;
}

fn interrupts() {
    let came = Arc::new(AtomicU32::new(0));
    let counter = Arc::clone(&came);
    let Ok(port) = Port::bind_ipi(VcpuId::BOOT) else {
        error(format_args!("no port"))
    };
    let opened = port.set_handler(move || {
        counter.fetch_add(1, Ordering::SeqCst);
    });
    port.notify();
    check!(
        opened.is_ok() && came.load(Ordering::SeqCst) == 1,
        "a vCPU can interrupt itself"
    );
    let refused = port.move_to(VcpuId::BOOT);
    check!(
        refused == Err(Errno::EINVAL),
        "such a port is tied to its vCPU"
    );
    port.notify();
    check!(
        came.load(Ordering::SeqCst) == 2,
        "and stays open when it is not moved"
    );
}

async fn timers() {
    let mut early = 0;
    let mut latest = 0;
    for round in 0..100 {
        let deadline = now() + round % 7 * MILLISECOND / 4;
        sleep_until(deadline).await;
        let late = now().saturating_sub(deadline);
        early += u32::from(now() < deadline);
        latest = late.max(latest);
    }
    check!(
        early == 0,
        "no sleep ends early (the latest was {} us late)",
        latest / 1000
    );
    let start = now();
    sleep_until(1).await;
    check!(now() - start < SECOND, "a time that is past is no wait");
    let slow = either(sleep(MILLISECOND), sleep(100 * MILLISECOND)).await;
    check!(
        slow == Either::First(()),
        "the shorter of two sleeps ends first"
    );
    let before = now();
    let polled = hypercall::sched::poll(RawPort(1), before + 2 * MILLISECOND);
    check!(
        polled.is_ok() && now() - before < 5 * SECOND,
        "a poll comes back by its time"
    );
}
