//! Tasks that wait for a time.

use alloc::collections::BTreeMap;
use alloc::vec::Vec;
use core::future::Future;
use core::pin::Pin;
use core::sync::atomic::{AtomicU64, Ordering};
use core::task::{Context, Poll, Waker};

use hypercall_abi::event::VIRQ_TIMER;

use super::now;
use crate::event::Port;
use crate::hypercall::vcpu;
use crate::smp::{self, MAX_VCPUS, VcpuId};
use crate::sync::{Lock, PerVcpu};

/// When, and a number that tells sleepers of one moment apart.
type Key = (u64, u64);

static SLEEPERS: PerVcpu<Lock<BTreeMap<Key, Waker>>> =
    PerVcpu::new([const { Lock::new(BTreeMap::new()) }; MAX_VCPUS]);

static NEXT_NUMBER: AtomicU64 = AtomicU64::new(0);

/// Gives this vCPU its timer interrupt.
pub(crate) fn init_here() {
    let here = smp::current();
    // A hypervisor that starts vCPUs with a tick must not go on with it; one that does not has nothing to stop.
    let _stopped = vcpu::stop_periodic_timer(here.number());
    let bound = Port::bind_virq(VIRQ_TIMER, here).and_then(|port| {
        port.set_handler(expire)?;
        core::mem::forget(port);
        Ok(())
    });
    if let Err(error) = bound {
        log::error!("no timer on vCPU {}: {}", here.number(), error.name());
    }
}

/// Wakes this vCPU's sleepers whose time has come, and arms the timer for the next.
fn expire() {
    let due: Vec<Waker> = {
        let mut sleepers = SLEEPERS.here().lock();
        let later = sleepers.split_off(&(now().saturating_add(1), 0));
        let due = core::mem::replace(&mut *sleepers, later);
        arm(&sleepers);
        due.into_values().collect()
    };
    for waker in due {
        waker.wake();
    }
}

/// Arms this vCPU's timer for the first sleeper.
fn arm(sleepers: &BTreeMap<Key, Waker>) {
    if let Some((&(deadline, _), _)) = sleepers.first_key_value() {
        // Only for the calling vCPU, as here: it cannot fail.
        let _armed = vcpu::set_singleshot_timer(smp::current().number(), deadline);
    }
}

/// Brings a timer interrupt to this vCPU within `nanoseconds`, whether a task sleeps or not: for who is about to run what
/// gives way to nothing else.
pub(crate) fn interrupt_within(nanoseconds: u64) {
    let sleepers = SLEEPERS.here().lock();
    let first = sleepers
        .first_key_value()
        .map(|(&(deadline, _), _)| deadline);
    let latest = now().saturating_add(nanoseconds);
    let deadline = first.map_or(latest, |first| first.min(latest));
    // Only for the calling vCPU, as here: it cannot fail. The handler arms it for the first sleeper again.
    let _armed = vcpu::set_singleshot_timer(smp::current().number(), deadline);
}

/// A wait for a time; ready at once if that is past.
#[derive(Debug)]
pub struct Sleep {
    deadline: u64,
    /// Where it waits, once it does.
    waiting: Option<(VcpuId, u64)>,
}

impl Future for Sleep {
    type Output = ();

    fn poll(mut self: Pin<&mut Self>, context: &mut Context<'_>) -> Poll<()> {
        if now() >= self.deadline {
            return Poll::Ready(());
        }
        let here = smp::current();
        if self.waiting.is_some_and(|(vcpu, _)| vcpu != here) {
            self.cancel();
        }
        let number = match self.waiting {
            Some((_, number)) => number,
            None => NEXT_NUMBER.fetch_add(1, Ordering::Relaxed),
        };
        self.waiting = Some((here, number));
        let key = (self.deadline, number);
        let mut sleepers = SLEEPERS.here().lock();
        sleepers.insert(key, context.waker().clone());
        if sleepers
            .first_key_value()
            .is_some_and(|(first, _)| *first == key)
        {
            arm(&sleepers);
        }
        Poll::Pending
    }
}

impl Sleep {
    fn cancel(&mut self) {
        if let Some((vcpu, number)) = self.waiting.take() {
            // The timer stays armed: it then fires for nobody, once.
            let waker = SLEEPERS.of(vcpu).lock().remove(&(self.deadline, number));
            drop(waker);
        }
    }
}

impl Drop for Sleep {
    fn drop(&mut self) {
        self.cancel();
    }
}

/// Waits until system time `deadline` (ns).
#[must_use = "futures do nothing unless awaited"]
pub fn sleep_until(deadline: u64) -> Sleep {
    Sleep {
        deadline,
        waiting: None,
    }
}

/// Waits for `nanoseconds` from now.
#[must_use = "futures do nothing unless awaited"]
pub fn sleep(nanoseconds: u64) -> Sleep {
    sleep_until(now().saturating_add(nanoseconds))
}
