//! Watchdogs and timers as a guest sets them.

use hypercall_abi::event::{EVTCHNOP_BIND_VIRQ, EvtchnBindVirq};
use hypercall_abi::number;
use hypercall_abi::sched::{SCHEDOP_WATCHDOG, SchedWatchdog};
use hypercall_abi::vcpu::SetSingleshotTimer;
use hypercall_abi::{Errno, RawPort};

use super::*;
use crate::entry::{Entry, Interrupt};
use crate::fake::bench::{Bench, DATA};
use crate::sync::Held;

fn watchdog(bench: &mut Bench, id: u32, timeout: u32) -> Result<u64, Errno> {
    bench.write(DATA, &SchedWatchdog { id, timeout });
    let result = bench.result(number::SCHED_OP, [SCHEDOP_WATCHDOG.into(), DATA, 0]);
    Errno::from_register(result)
}

#[test]
fn a_domain_has_two_watchdogs_that_it_starts_over_and_gives_back() {
    let mut bench = Bench::new();
    for (id, timeout, answer) in [
        (3, 1, Err(Errno::EINVAL)),
        (1, 1, Err(Errno::EINVAL)),
        (0, 100, Ok(1)),
        (0, 100, Ok(2)),
        (0, 100, Err(Errno::ENOSPC)),
        (1, 200, Ok(0)),
        (1, 0, Ok(0)),
        (1, 0, Err(Errno::EINVAL)),
        (0, 1, Ok(1)),
        (1, 0, Ok(0)),
        (2, 0, Ok(0)),
    ] {
        assert_eq!(watchdog(&mut bench, id, timeout), answer, "{id} {timeout}");
    }
    bench.hv.machine().advance(300 * SECOND);
    bench.enter(Entry::Interrupt(Interrupt::Timer));
    assert_eq!(
        bench.result(number::XEN_VERSION, [0; 3]),
        0x40011,
        "it runs on"
    );
}

#[test]
#[should_panic(expected = "the machine ends: Reboot")]
fn a_watchdog_that_runs_out_ends_the_domain() {
    let mut bench = Bench::new();
    assert_eq!(watchdog(&mut bench, 0, 2), Ok(1));
    bench.hv.machine().advance(SECOND);
    bench.enter(Entry::Interrupt(Interrupt::Timer));
    assert_eq!(watchdog(&mut bench, 1, 2), Ok(0), "started over");
    bench.hv.machine().advance(SECOND + SECOND / 2);
    bench.enter(Entry::Interrupt(Interrupt::Timer));
    bench.hv.machine().advance(SECOND);
    bench.enter(Entry::Interrupt(Interrupt::Timer));
}

#[test]
fn a_single_shot_in_the_past_is_an_event_before_the_call_returns() {
    let mut bench = Bench::new();
    bench.write(DATA, &EvtchnBindVirq::default());
    let bind = [EVTCHNOP_BIND_VIRQ.into(), DATA, 0];
    assert_eq!(bench.result(number::EVENT_CHANNEL_OP, bind), 0);
    let port: RawPort = bench.read::<EvtchnBindVirq>(DATA).port;
    let domain = bench.domain();
    let is_pending =
        |bench: &Bench| event::is_pending(&bench.hv, &domain, port.0, &mut Held::enter());
    bench.hv.machine().advance(SECOND);
    let now = bench.hv.machine().now().get();
    for (timeout_abs_ns, pending) in [(now + SECOND, false), (now.saturating_sub(1), true)] {
        let timer = SetSingleshotTimer {
            timeout_abs_ns,
            ..SetSingleshotTimer::default()
        };
        bench.write(DATA, &timer);
        assert_eq!(bench.result(number::VCPU_OP, [8, 0, DATA]), 0);
        assert_eq!(is_pending(&bench), Some(pending));
    }
}
