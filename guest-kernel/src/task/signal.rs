//! A signal that tasks wait for and that anything sets, upcall handlers included.

use alloc::vec::Vec;
use core::fmt;
use core::task::{Poll, Waker};

use crate::sync::Lock;

/// Set by anyone, any number of times; a wait consumes it. Signals do not count: two sets before a wait are one.
pub struct Signal {
    state: Lock<State>,
}

struct State {
    set: bool,
    waiters: Vec<Waker>,
}

impl Signal {
    /// A signal that is not set.
    #[must_use]
    pub const fn new() -> Self {
        Self {
            state: Lock::new(State {
                set: false,
                waiters: Vec::new(),
            }),
        }
    }

    /// Sets it and wakes who waits.
    pub fn set(&self) {
        let waiters = {
            let mut state = self.state.lock();
            state.set = true;
            core::mem::take(&mut state.waiters)
        };
        for waiter in waiters {
            waiter.wake();
        }
    }

    /// Takes the signal if it is set.
    pub fn take(&self) -> bool {
        core::mem::take(&mut self.state.lock().set)
    }

    /// Waits until it is set, and takes it. Of several waiters one gets it, the others wait on.
    pub async fn wait(&self) {
        self.ready(|state| core::mem::take(&mut state.set)).await;
    }

    /// Waits until `holds`, which is asked now and after each set. It takes nothing, so that any number may wait thus.
    pub(crate) async fn until(&self, holds: impl Fn() -> bool) {
        self.ready(|_| holds()).await;
    }

    /// Asks under the lock: a set that `is_ready` does not see yet finds the waker.
    async fn ready(&self, is_ready: impl Fn(&mut State) -> bool) {
        core::future::poll_fn(|context| {
            let mut state = self.state.lock();
            if is_ready(&mut state) {
                return Poll::Ready(());
            }
            if !state
                .waiters
                .iter()
                .any(|waiter| waiter.will_wake(context.waker()))
            {
                state.waiters.push(context.waker().clone());
            }
            Poll::Pending
        })
        .await;
    }
}

impl Default for Signal {
    fn default() -> Self {
        Self::new()
    }
}

impl fmt::Debug for Signal {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("Signal")
    }
}
