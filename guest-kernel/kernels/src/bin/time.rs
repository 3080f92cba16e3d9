//! Rule tested: the clock record is valid from the start and agrees with itself, the wall clock is later than this text,
//! and the time spent in each state adds up to the time that has passed.
#![no_std]
#![no_main]

use guest_kernel::event::upcall;
use guest_kernel::hypercall::{Errno, hypercall, sched, vcpu};
use guest_kernel::start::Boot;
use guest_kernel::task::block_on;
use guest_kernel::timer::{MILLISECOND, SECOND, now, sleep, wall_clock};
use guest_kernels::{check, error, finish};
use hypercall_abi::number::{SET_TIMER_OP, VCPU_OP};
use hypercall_abi::time::{RUNSTATE_RUNNING, VcpuRunstateInfo};
use hypercall_abi::vcpu::{SetPeriodicTimer, VCPUOP_GET_RUNSTATE_INFO, VCPUOP_SET_PERIODIC_TIMER};

guest_kernel::entry!(main);

/// The first of January 2026.
const THIS_YEAR: u64 = 1_767_225_600;

fn main(_: &'static Boot) {
    clock();
    timers();
    runstate();
    finish()
}

fn clock() {
    check!(now() > 0, "the clock runs from the first instruction on");
    let mut last = now();
    let mut steps_back = 0;
    for _ in 0..100_000 {
        let next = now();
        steps_back += u32::from(next < last);
        last = next;
    }
    check!(steps_back == 0, "100000 readings never go back");
    check!(
        wall_clock() / SECOND >= THIS_YEAR,
        "the wall clock tells {} s since 1970",
        wall_clock() / SECOND
    );
    let (first, before) = (wall_clock(), now());
    let drift = (wall_clock() - first).abs_diff(now() - before);
    check!(drift < MILLISECOND, "wall clock and system time go alike");
}

fn issue(number: u32, arguments: [u64; 5]) -> Result<u64, Errno> {
    // SAFETY: timers only, and a structure that the caller owns.
    unsafe { hypercall(u64::from(number), arguments) }
}

fn set_periodic(period_ns: u64) -> Result<u64, Errno> {
    let argument = SetPeriodicTimer { period_ns };
    let address = core::ptr::from_ref(&argument).addr() as u64;
    issue(
        VCPU_OP,
        [u64::from(VCPUOP_SET_PERIODIC_TIMER), 0, address, 0, 0],
    )
}

fn timers() {
    let start = now();
    block_on(sleep(20 * MILLISECOND));
    let slept = now() - start;
    check!(
        slept >= 20 * MILLISECOND,
        "a sleep of 20 ms takes {} us",
        slept / 1000
    );
    // An event before the block would be gone by then.
    let masked = upcall::mask();
    let deadline = now() + 5 * MILLISECOND;
    check!(
        issue(SET_TIMER_OP, [deadline, 0, 0, 0, 0]) == Ok(0),
        "set_timer_op arms the same timer"
    );
    sched::block();
    drop(masked);
    let woken = now();
    // A hypervisor may join timers that are close to each other.
    check!(
        woken + MILLISECOND / 10 >= deadline,
        "and wakes the vCPU then ({} us late)",
        woken.saturating_sub(deadline) / 1000
    );
    check!(issue(SET_TIMER_OP, [0; 5]) == Ok(0), "time 0 stops it");
    check!(
        vcpu::set_singleshot_timer(0, 1).is_ok(),
        "a time that is past is no error"
    );
    check!(
        vcpu::set_singleshot_timer(1, now()).is_err(),
        "another vCPU's timer is"
    );
    check!(
        set_periodic(999_999) == Err(Errno::EINVAL),
        "a period below a millisecond is refused"
    );
    check!(
        set_periodic(10 * MILLISECOND).is_ok(),
        "one of 10 ms is taken"
    );
    // It ticks only while the vCPU runs, so there is nothing to sleep for.
    let start = now();
    while now() - start < 30 * MILLISECOND {
        core::hint::spin_loop();
    }
    check!(vcpu::stop_periodic_timer(0).is_ok(), "until it is stopped");
    check!(
        vcpu::stop_singleshot_timer(0).is_ok(),
        "the one-shot timer can be stopped when it is not armed"
    );
}

fn runstate_of(vcpu: u64) -> Result<VcpuRunstateInfo, Errno> {
    let mut info = VcpuRunstateInfo::default();
    let address = core::ptr::from_mut(&mut info).addr() as u64;
    issue(
        VCPU_OP,
        [u64::from(VCPUOP_GET_RUNSTATE_INFO), vcpu, address, 0, 0],
    )?;
    Ok(info)
}

fn runstate() {
    let Ok(before) = runstate_of(0) else {
        error(format_args!("no runstate"))
    };
    check!(before.state == RUNSTATE_RUNNING, "who asks is running");
    let start = now();
    block_on(sleep(20 * MILLISECOND));
    let Ok(after) = runstate_of(0) else {
        error(format_args!("no runstate"))
    };
    let passed = now() - start;
    let blocked = after.time[2].saturating_sub(before.time[2]);
    check!(
        blocked > 10 * MILLISECOND,
        "a sleep of 20 ms is time blocked ({} us)",
        blocked / 1000
    );
    let total: u64 = after.time.iter().sum::<u64>() - before.time.iter().sum::<u64>();
    check!(
        total.abs_diff(passed) < 5 * MILLISECOND,
        "all states together are the time passed"
    );
    check!(
        runstate_of(100_000) == Err(Errno::ENOENT),
        "a vCPU that does not exist has none"
    );
}
