//! Rule tested: every vCPU of the domain can be started, works beside the others, can be taken down and comes up where
//! it left.
#![no_std]
#![no_main]
#![deny(unsafe_code)]

extern crate alloc;

use alloc::sync::Arc;
use alloc::vec::Vec;
use core::sync::atomic::{AtomicU64, Ordering};

use guest_kernel::hypercall::{Errno, vcpu};
use guest_kernel::smp::{self, State, VcpuId};
use guest_kernel::start::Boot;
use guest_kernel::sync::Lock;
use guest_kernel::task::{self, Either, Signal, block_on, either};
use guest_kernel::timer::{MILLISECOND, SECOND, now, sleep};
use guest_kernels::{check, finish, skip};

guest_kernel::entry!(main);

fn main(_: &'static Boot) {
    let vcpus: Vec<VcpuId> = smp::possible().collect();
    if vcpus.len() < 2 {
        skip(format_args!("the domain has one vCPU"));
    }
    block_on(async {
        start(&vcpus).await;
        identity(&vcpus).await;
        contention(&vcpus).await;
        clocks(&vcpus).await;
        against_each_other(vcpus[1]).await;
        down_and_up(vcpus[1]).await;
    });
    finish()
}

async fn start(vcpus: &[VcpuId]) {
    let beyond = u32::try_from(vcpus.len()).unwrap_or(u32::MAX);
    check!(
        vcpu::is_up(beyond) == Err(Errno::ENOENT),
        "vCPU {beyond} does not exist"
    );
    check!(
        vcpu::up(1) == Err(Errno::EINVAL),
        "a vCPU without a context does not start"
    );
    for &id in &vcpus[1..] {
        check!(
            vcpu::is_up(id.number()) == Ok(false),
            "vCPU {} is down at first",
            id.number()
        );
        check!(smp::up(id).await.is_ok(), "it comes up");
        check!(
            vcpu::is_up(id.number()) == Ok(true),
            "and the hypervisor says so"
        );
        check!(smp::up(id).await.is_err(), "it cannot be started twice");
    }
}

/// Runs `work` on every vCPU and waits for all.
async fn on_all(vcpus: &[VcpuId], work: impl Fn(VcpuId) + Send + Sync + 'static) {
    let work = Arc::new(work);
    for &id in vcpus {
        let (work, done) = (Arc::clone(&work), Arc::new(Signal::new()));
        let finished = Arc::clone(&done);
        task::spawn_on(id, async move {
            work(id);
            finished.set();
        });
        done.wait().await;
    }
}

async fn identity(vcpus: &[VcpuId]) {
    let wrong = Arc::new(AtomicU64::new(0));
    let counter = Arc::clone(&wrong);
    on_all(vcpus, move |id| {
        counter.fetch_add(u64::from(smp::current() != id), Ordering::SeqCst);
    })
    .await;
    check!(
        wrong.load(Ordering::SeqCst) == 0,
        "a task runs on the vCPU that it was given to"
    );
}

/// All vCPUs count under one lock at the same time.
async fn contention(vcpus: &[VcpuId]) {
    const ROUNDS: u64 = 20_000;
    let total = Arc::new(Lock::new(0_u64));
    let done = Arc::new(Signal::new());
    let left = Arc::new(AtomicU64::new(vcpus.len() as u64));
    for &id in vcpus {
        let (total, done, left) = (Arc::clone(&total), Arc::clone(&done), Arc::clone(&left));
        task::spawn_on(id, async move {
            for round in 0..ROUNDS {
                *total.lock() += 1;
                if round % 1000 == 0 {
                    task::yield_now().await;
                }
            }
            if left.fetch_sub(1, Ordering::SeqCst) == 1 {
                done.set();
            }
        });
    }
    done.wait().await;
    let counted = *total.lock();
    check!(
        counted == ROUNDS * vcpus.len() as u64,
        "{counted} increments under one lock, none lost"
    );
}

/// Time never goes back from one vCPU to the next.
async fn clocks(vcpus: &[VcpuId]) {
    let latest = Arc::new(AtomicU64::new(0));
    let steps_back = Arc::new(AtomicU64::new(0));
    for _ in 0..50 {
        let (latest, steps_back) = (Arc::clone(&latest), Arc::clone(&steps_back));
        on_all(vcpus, move |_| {
            let now = now();
            if latest.swap(now, Ordering::SeqCst) > now {
                steps_back.fetch_add(1, Ordering::SeqCst);
            }
        })
        .await;
    }
    check!(
        steps_back.load(Ordering::SeqCst) == 0,
        "time does not go back between vCPUs"
    );
}

/// Two tasks take a vCPU down and bring it up, each as soon as the other's change shows: no call waits for ever.
async fn against_each_other(id: VcpuId) {
    const ROUNDS: u32 = 50;
    let ups = Arc::new(Signal::new());
    let finished = Arc::clone(&ups);
    let refused = Arc::new(AtomicU64::new(0));
    let counter = Arc::clone(&refused);
    task::spawn(async move {
        for _ in 0..ROUNDS {
            while smp::state(id) != State::Offline {
                task::yield_now().await;
            }
            counter.fetch_add(u64::from(smp::up(id).await.is_err()), Ordering::SeqCst);
        }
        finished.set();
    });
    let downs = async {
        for _ in 0..ROUNDS {
            while smp::state(id) != State::Online {
                task::yield_now().await;
            }
            refused.fetch_add(u64::from(smp::down(id).await.is_err()), Ordering::SeqCst);
        }
        ups.wait().await;
    };
    let in_time = either(downs, sleep(30 * SECOND)).await == Either::First(());
    check!(
        in_time && refused.load(Ordering::SeqCst) == 0 && smp::state(id) == State::Online,
        "two tasks take a vCPU down and up against each other, {ROUNDS} times"
    );
}

async fn down_and_up(id: VcpuId) {
    check!(smp::down(VcpuId::BOOT).await.is_err(), "vCPU 0 stays");
    let ticks = Arc::new(AtomicU64::new(0));
    let counter = Arc::clone(&ticks);
    task::spawn_on(id, async move {
        loop {
            sleep(MILLISECOND).await;
            counter.fetch_add(1, Ordering::SeqCst);
        }
    });
    let mut stopped = true;
    let mut went_on = true;
    for _ in 0..10 {
        if smp::down(id).await.is_err() {
            check!(false, "vCPU {} goes down", id.number());
            return;
        }
        stopped &= vcpu::is_up(id.number()) == Ok(false) && smp::state(id) == State::Offline;
        let before = ticks.load(Ordering::SeqCst);
        sleep(5 * MILLISECOND).await;
        stopped &= ticks.load(Ordering::SeqCst) == before;
        if smp::up(id).await.is_err() {
            check!(false, "vCPU {} comes up again", id.number());
            return;
        }
        // As long as a busy host may take.
        let deadline = now() + 5 * SECOND;
        while ticks.load(Ordering::SeqCst) == before && now() < deadline {
            sleep(MILLISECOND).await;
        }
        went_on &= ticks.load(Ordering::SeqCst) > before;
    }
    check!(stopped, "a vCPU that is down does nothing, ten times");
    check!(went_on, "coming up it goes on with its tasks, ten times");
}
