//! Locks that keep upcalls out, and values that each vCPU has one of.
//!
//! Upcall handlers take the same locks as ordinary code, so a holder must not be interrupted on its own vCPU: taking a
//! [`Lock`] masks upcalls until it is released. The holder's vCPU may lose its processor meanwhile; who waits for long
//! therefore yields to the hypervisor instead of burning its slice.

use core::fmt;
use core::ops::{Deref, DerefMut};

use crate::event::upcall::{self, Masked};
use crate::hypercall::sched;
use crate::smp::{self, MAX_VCPUS, VcpuId};

/// Tries before a waiter offers its processor to others.
const SPINS_BEFORE_YIELD: u32 = 256;

/// A lock for data shared between vCPUs and with upcall handlers.
pub struct Lock<T> {
    inner: spin::Mutex<T>,
}

impl<T> Lock<T> {
    /// A lock around `value`.
    pub const fn new(value: T) -> Self {
        Self {
            inner: spin::Mutex::new(value),
        }
    }

    /// Takes the lock; upcalls stay masked on this vCPU while the guard lives.
    pub fn lock(&self) -> Guard<'_, T> {
        let masked = upcall::mask();
        let mut tries = 0;
        loop {
            if let Some(inner) = self.inner.try_lock() {
                return Guard {
                    inner,
                    _masked: masked,
                };
            }
            core::hint::spin_loop();
            tries += 1;
            if tries == SPINS_BEFORE_YIELD {
                tries = 0;
                sched::yield_now();
            }
        }
    }

    /// Takes the lock if nobody holds it. For output on the way down, which must not wait for a dead holder.
    pub fn try_lock(&self) -> Option<Guard<'_, T>> {
        let masked = upcall::mask();
        self.inner.try_lock().map(|inner| Guard {
            inner,
            _masked: masked,
        })
    }
}

impl<T> fmt::Debug for Lock<T> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("Lock")
    }
}

/// Access to the data of a [`Lock`]. Fields are dropped in order: first the lock opens, then upcalls may come again.
pub struct Guard<'a, T> {
    inner: spin::MutexGuard<'a, T>,
    _masked: Masked,
}

impl<T> Deref for Guard<'_, T> {
    type Target = T;
    fn deref(&self) -> &T {
        &self.inner
    }
}

impl<T> DerefMut for Guard<'_, T> {
    fn deref_mut(&mut self) -> &mut T {
        &mut self.inner
    }
}

impl<T> fmt::Debug for Guard<'_, T> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("Guard")
    }
}

/// One `T` for each vCPU.
#[derive(Debug)]
pub struct PerVcpu<T>([T; MAX_VCPUS]);

impl<T> PerVcpu<T> {
    /// From the values of all vCPUs, in order.
    pub const fn new(values: [T; MAX_VCPUS]) -> Self {
        Self(values)
    }

    /// The value of the vCPU that runs this code.
    pub fn here(&self) -> &T {
        self.of(smp::current())
    }

    /// The value of any vCPU.
    pub fn of(&self, vcpu: VcpuId) -> &T {
        &self.0[vcpu.index()]
    }
}
