//! Rule tested: a domain that changes to FIFO events loses nothing, gets its events by priority and in order, and goes back
//! to bitmaps by a reset.
#![no_std]
#![no_main]
#![deny(unsafe_code)]

extern crate alloc;

use alloc::sync::Arc;
use alloc::vec::Vec;
use core::sync::atomic::{AtomicU32, Ordering};

use guest_kernel::event::{Port, fifo, upcall};
use guest_kernel::hypercall::{self, Errno, event};
use guest_kernel::smp::{self, VcpuId};
use guest_kernel::start::Boot;
use guest_kernel::sync::Lock;
use guest_kernel::task::{self, Either, block_on, either};
use guest_kernel::timer::{MILLISECOND, SECOND, now, sleep};
use guest_kernels::{check, error, finish};
use hypercall_abi::event::{EVTCHNSTAT_CLOSED, VIRQ_DEBUG};
use hypercall_abi::{RawDomId, RawPort};

guest_kernel::entry!(main);

/// Numbers in the order in which handlers ran.
static ORDER: Lock<Vec<u32>> = Lock::new(Vec::new());

fn main(_: &'static Boot) {
    block_on(async {
        let early = change();
        order(&early);
        ping_pong().await;
        other_vcpu().await;
        check!(
            either(sleep(2 * MILLISECOND), sleep(SECOND)).await == Either::First(()),
            "timers go on"
        );
    });
    reset();
    finish()
}

fn port() -> Port {
    let Ok(port) = Port::bind_ipi(VcpuId::BOOT) else {
        error(format_args!("no port"))
    };
    port
}

/// Changes the form, with events under way.
fn change() -> Port {
    let (open, closed) = (port(), port());
    let came = Arc::new(AtomicU32::new(0));
    let counter = Arc::clone(&came);
    let opened = open.set_handler(move || {
        counter.fetch_add(1, Ordering::SeqCst);
    });
    closed.notify();
    let masked = upcall::mask();
    open.notify();
    let changed = fifo::enable();
    check!(
        opened.is_ok() && changed.is_ok(),
        "the domain changes to FIFO events ({changed:?})"
    );
    check!(came.load(Ordering::SeqCst) == 0, "upcalls are masked");
    drop(masked);
    check!(
        came.load(Ordering::SeqCst) == 1,
        "what was pending in an open port is delivered"
    );
    let counter = Arc::clone(&came);
    let opened = closed.set_handler(move || {
        counter.fetch_add(10, Ordering::SeqCst);
    });
    check!(
        opened.is_ok() && came.load(Ordering::SeqCst) == 11,
        "and what was pending in a closed one when it opens"
    );
    open.notify();
    check!(came.load(Ordering::SeqCst) == 12, "new events come");
    open
}

fn order(early: &Port) {
    let ports: Vec<Port> = (0..6).map(|_| port()).collect();
    for (index, port) in (0..).zip(&ports) {
        let opened = port.set_handler(move || ORDER.lock().push(index));
        let set = event::set_priority(port.number(), [7, 3, 7, 0, 15, 7][index as usize]);
        check!(opened.is_ok() && set.is_ok(), "port {index} is ready");
    }
    let masked = upcall::mask();
    for port in &ports {
        port.notify();
        port.notify();
    }
    early.notify();
    check!(ORDER.lock().is_empty(), "upcalls are masked");
    drop(masked);
    let order = core::mem::take(&mut *ORDER.lock());
    check!(
        order == [3, 1, 0, 2, 5, 4],
        "events come once each, by priority, then in order: {order:?}"
    );
    let masked = upcall::mask();
    ports[5].notify();
    ports[0].notify();
    drop(masked);
    let order = core::mem::take(&mut *ORDER.lock());
    check!(
        order == [5, 0],
        "the last of a queue may be the first next time"
    );
}

/// Two tasks that wake each other.
async fn ping_pong() {
    const ROUNDS: u32 = 5000;
    let Ok(left) = Port::alloc_unbound(RawDomId::SELF) else {
        error(format_args!("no port"))
    };
    let Ok(right) = Port::bind_interdomain(RawDomId::SELF, left.number()) else {
        error(format_args!("no other end"))
    };
    let (Ok(left_signal), Ok(right_signal)) = (left.signal(), right.signal()) else {
        error(format_args!("no handlers"))
    };
    left_signal.take();
    check!(right_signal.take(), "a new end looks at once");
    task::spawn(async move {
        for _ in 0..ROUNDS {
            right_signal.wait().await;
            right.notify();
        }
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
}

/// A port that wanders between two vCPUs.
async fn other_vcpu() {
    let Some(second) = smp::possible().nth(1) else {
        return;
    };
    check!(smp::up(second).await.is_ok(), "a second vCPU starts");
    let came = Arc::new(AtomicU32::new(0));
    let counter = Arc::clone(&came);
    let Ok(far) = Port::alloc_unbound(RawDomId::SELF) else {
        error(format_args!("no port"))
    };
    let Ok(near) = Port::bind_interdomain(RawDomId::SELF, far.number()) else {
        error(format_args!("no other end"))
    };
    let opened = far.set_handler(move || {
        counter.fetch_add(1, Ordering::SeqCst);
    });
    let mut lost = u32::from(opened.is_err());
    for round in 0..200 {
        let home = if round % 2 == 0 { second } else { VcpuId::BOOT };
        lost += u32::from(far.move_to(home).is_err());
        let before = came.load(Ordering::SeqCst);
        near.notify();
        let deadline = now() + SECOND;
        while came.load(Ordering::SeqCst) == before && now() < deadline {
            hypercall::sched::yield_now();
        }
        lost += u32::from(came.load(Ordering::SeqCst) == before);
    }
    check!(
        lost == 0,
        "200 events of a port that changes its vCPU, {lost} lost"
    );
}

/// The library's own ports go too, so this is the last thing.
fn reset() {
    let _masked = upcall::mask();
    check!(event::reset().is_ok(), "a reset closes all ports");
    let status = event::status(RawPort(1)).map(|status| status.status);
    check!(status == Ok(EVTCHNSTAT_CLOSED), "port 1 is free");
    let port = event::bind_virq(VIRQ_DEBUG, 0);
    check!(port == Ok(RawPort(1)), "and is given out again");
    check!(
        event::set_priority(RawPort(1), 0) == Err(Errno::ENOSYS),
        "the domain has bitmaps again"
    );
}
