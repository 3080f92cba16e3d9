//! Async tasks: each vCPU runs its own, in turn, and sleeps in the hypervisor while none can go on.
//!
//! A task stays on the vCPU that it was spawned on. A wake puts it into that vCPU's queue; from another vCPU it is
//! followed by an interrupt, since the sleeper would not look. Tasks are cooperative: one that computes for long gives
//! way by [`yield_now`].
//!
//! No wake-up is lost, because each side first writes what the other looks at, and only then looks. Who wakes queues the
//! task, then raises the event. Who sleeps masks upcalls, then looks at its queue, then blocks, which opens upcalls: an
//! event that was handled before the mask has its task in the queue, a later one is pending and ends the sleep. A task
//! that is about to be polled is first marked as not queued: a wake from then on queues it again.

mod queue;
mod race;
mod signal;

use alloc::boxed::Box;
use alloc::sync::Arc;
use alloc::task::Wake;
use core::future::Future;
use core::pin::Pin;
use core::sync::atomic::{AtomicBool, Ordering};
use core::task::{Context, Poll, Waker};

pub(crate) use queue::{accept_kicks, kick};
pub use race::{Either, either};
pub use signal::Signal;

use crate::event::upcall;
use crate::hypercall::sched;
use crate::smp::{self, VcpuId};
use crate::sync::Lock;

type Work = Pin<Box<dyn Future<Output = ()> + Send>>;

/// A future and where it runs.
pub(crate) struct Task {
    vcpu: VcpuId,
    /// True from a wake until the task is polled.
    queued: AtomicBool,
    /// Empty while it is polled and when it has ended.
    work: Lock<Option<Work>>,
}

impl Wake for Task {
    fn wake(self: Arc<Self>) {
        if !self.queued.swap(true, Ordering::AcqRel) {
            queue::push(self.vcpu, self);
        }
    }
}

impl Task {
    fn poll(self: Arc<Self>) {
        // Reads what it replaces: who found the task queued wrote, before that, what the poll is to see.
        self.queued.swap(false, Ordering::AcqRel);
        let Some(mut work) = self.work.lock().take() else {
            return;
        };
        let waker = Waker::from(Arc::clone(&self));
        // The lock is open while the task runs, so that it may be woken and may take as long as it likes.
        if work
            .as_mut()
            .poll(&mut Context::from_waker(&waker))
            .is_pending()
        {
            *self.work.lock() = Some(work);
        }
    }
}

/// Runs a future on this vCPU, beside its other tasks.
pub fn spawn(work: impl Future<Output = ()> + Send + 'static) {
    spawn_on(smp::current(), work);
}

/// Runs a future on a vCPU; on one that is down, from when it is up.
pub fn spawn_on(vcpu: VcpuId, work: impl Future<Output = ()> + Send + 'static) {
    let task = Arc::new(Task {
        vcpu,
        queued: AtomicBool::new(true),
        work: Lock::new(Some(Box::pin(work))),
    });
    queue::push(vcpu, task);
}

/// True when another task of this vCPU can go on. With upcalls masked, only this vCPU and others' wakes change that,
/// and the latter bring an interrupt.
pub(crate) fn is_waiting() -> bool {
    !queue::is_empty()
}

/// Runs this vCPU's tasks for ever.
pub(crate) fn run() -> ! {
    upcall::unmask();
    loop {
        step(|| false);
    }
}

/// Runs one task; without one, sleeps until there may be one, unless `is_busy` says that something else is to do.
fn step(is_busy: impl Fn() -> bool) {
    smp::leave_if_asked();
    if let Some(task) = queue::pop() {
        task.poll();
        return;
    }
    // From the look at the queue to the sleep no upcall may come in: it would fill the queue and be over.
    let masked = upcall::mask();
    if queue::is_empty() && !smp::asked_to_leave() && !is_busy() {
        sched::block();
        // The hypervisor has opened upcalls.
        upcall::keep_masked(masked);
    }
}

/// Runs this vCPU's tasks until `future` is ready. For a kernel's `main`; not inside a task.
pub fn block_on<F: Future>(future: F) -> F::Output {
    /// Wakes nothing but the loop below, which looks again after every step.
    struct Main {
        woken: AtomicBool,
        vcpu: VcpuId,
    }
    impl Wake for Main {
        fn wake(self: Arc<Self>) {
            self.woken.store(true, Ordering::Release);
            kick(self.vcpu);
        }
    }
    upcall::unmask();
    let main = Arc::new(Main {
        woken: AtomicBool::new(true),
        vcpu: smp::current(),
    });
    let waker = Waker::from(Arc::clone(&main));
    let mut future = core::pin::pin!(future);
    loop {
        if main.woken.swap(false, Ordering::AcqRel)
            && let Poll::Ready(output) = future.as_mut().poll(&mut Context::from_waker(&waker))
        {
            return output;
        }
        // One other task in turn, so that neither keeps the other from running.
        step(|| main.woken.load(Ordering::Acquire));
    }
}

/// Lets the vCPU's other tasks run once before the caller goes on.
pub async fn yield_now() {
    let mut yielded = false;
    core::future::poll_fn(|context| {
        if core::mem::replace(&mut yielded, true) {
            return Poll::Ready(());
        }
        context.waker().wake_by_ref();
        Poll::Pending
    })
    .await;
}
