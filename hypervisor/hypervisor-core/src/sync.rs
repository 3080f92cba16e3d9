//! Locks with ranks that the compiler checks, and the only names of `spin` and of atomics in this crate.
//!
//! Who enters the hypervisor makes one [`Held<0>`](Held::enter). Taking a lock needs the token of the highest rank held
//! and gives the token of the lock's own rank; the first is borrowed meanwhile, so that a lock of a lower or equal rank
//! beside a held one does not compile. docs/locks.md has the ranks.
//!
//! A CPU that spins must go on serving flush requests of others, or two CPUs could wait for each other forever: every turn
//! of a spin loop calls [`relax`], which runs the hook that the machine installed at boot.
//!
//! A lower rank under a higher one does not compile:
//!
//! ```compile_fail
//! use hypervisor_core::sync::{Held, Ranked};
//! let (low, high) = (Ranked::<10, u8>::new(0), Ranked::<20, u8>::new(0));
//! let mut held = Held::enter();
//! let (_high, mut held) = high.lock(&mut held);
//! let (_low, _held) = low.lock(&mut held);
//! ```
//!
//! Nor does a second lock beside the first with the token of none:
//!
//! ```compile_fail
//! use hypervisor_core::sync::{Held, Ranked};
//! let (low, high) = (Ranked::<10, u8>::new(0), Ranked::<20, u8>::new(0));
//! let mut held = Held::enter();
//! let (low, _) = low.lock(&mut held);
//! let (_high, _) = high.lock(&mut held);
//! drop(low);
//! ```

use core::fmt;
use core::marker::PhantomData;
use core::ops::{Deref, DerefMut};
#[cfg(not(feature = "shuttle"))]
pub use core::sync::atomic::{
    AtomicBool, AtomicU8, AtomicU16, AtomicU32, AtomicU64, AtomicUsize, Ordering, fence,
};
#[cfg(feature = "shuttle")]
pub use shuttle::sync::atomic::{
    AtomicBool, AtomicU8, AtomicU16, AtomicU32, AtomicU64, AtomicUsize, Ordering, fence,
};

pub use spin::Once;

/// Ranks, lowest taken first. docs/locks.md says what each guards.
pub mod rank {
    /// The recount under way.
    pub const AUDIT: u8 = 5;
    /// The table of domains.
    pub const DOMAIN_TABLE: u8 = 10;
    /// A domain's life.
    pub const DOMAIN_LIFE: u8 = 20;
    /// A domain's grant table.
    pub const GRANT_TABLE: u8 = 30;
    /// What a domain has mapped of other domains' grants.
    pub const GRANT_HANDLES: u8 = 35;
    /// A domain's page tables.
    pub const PAGE_TABLES: u8 = 40;
    /// A domain's event channel ports.
    pub const PORTS: u8 = 50;
    /// A domain's queues of FIFO events.
    pub const EVENT_QUEUES: u8 = 55;
    /// A parked vCPU.
    pub const VCPU: u8 = 60;
    /// The scheduler.
    pub const RUN_QUEUE: u8 = 70;
    /// A CPU's timers.
    pub const TIMERS: u8 = 80;
    /// The pool of free frames.
    pub const FRAME_POOL: u8 = 90;
    /// Taking memory of the heap.
    pub const HEAP: u8 = 95;
    /// What a recount has counted so far.
    pub const TALLY: u8 = 97;
    /// The console.
    pub const CONSOLE: u8 = 100;
}

static RELAX: Once<fn()> = Once::new();

/// Installs what a spinning CPU does at each turn. The first call counts; boot makes it before a second CPU runs.
pub fn install_relax(hook: fn()) {
    RELAX.call_once(|| hook);
}

/// One turn of a spin loop: serves the requests of other CPUs, then pauses.
pub fn relax() {
    if let Some(hook) = RELAX.get() {
        hook();
    }
    #[cfg(feature = "shuttle")]
    shuttle::hint::spin_loop();
    core::hint::spin_loop();
}

/// The token of the highest rank that this CPU holds.
#[derive(Debug)]
pub struct Held<'a, const TOP: u8>(PhantomData<&'a mut ()>);

impl Held<'static, 0> {
    /// The token of a CPU that holds no lock: made once per entry into the hypervisor.
    #[must_use]
    pub const fn enter() -> Self {
        Self(PhantomData)
    }
}

/// A value behind a spin lock of rank `RANK`.
pub struct Ranked<const RANK: u8, T>(spin::Mutex<T>);

/// Access to the value of a [`Ranked`] lock; unlocks when dropped.
pub struct Guard<'a, T>(spin::MutexGuard<'a, T>);

impl<const RANK: u8, T> Ranked<RANK, T> {
    /// An unlocked lock.
    pub const fn new(value: T) -> Self {
        Self(spin::Mutex::new(value))
    }

    /// Waits for the lock.
    pub fn lock<'a, const TOP: u8>(
        &'a self,
        held: &'a mut Held<'_, TOP>,
    ) -> (Guard<'a, T>, Held<'a, RANK>) {
        const { assert!(TOP < RANK, "lock order: see docs/locks.md") };
        let _ = held;
        (self.acquire(), Held(PhantomData))
    }

    /// As [`Self::lock`]; `waiting` counts those who find it taken.
    pub fn lock_noted<'a, const TOP: u8>(
        &'a self,
        held: &'a mut Held<'_, TOP>,
        waiting: &AtomicU32,
    ) -> (Guard<'a, T>, Held<'a, RANK>) {
        const { assert!(TOP < RANK, "lock order: see docs/locks.md") };
        let _ = held;
        let guard = self.try_lock().unwrap_or_else(|| {
            waiting.fetch_add(1, Ordering::Relaxed);
            let guard = self.acquire();
            waiting.fetch_sub(1, Ordering::Relaxed);
            guard
        });
        (guard, Held(PhantomData))
    }

    /// Takes the lock if it is free. No order is needed: who does not wait cannot be part of a cycle.
    pub fn try_lock(&self) -> Option<Guard<'_, T>> {
        self.0.try_lock().map(Guard)
    }

    /// Waits for a lock of the highest use: one under which no other lock is ever taken, and for so short that a token
    /// would only be carried through everything. The frame pool and the console are of this kind.
    pub fn lock_leaf(&self) -> Guard<'_, T> {
        const { assert!(RANK >= rank::FRAME_POOL, "only leaves: see docs/locks.md") };
        self.acquire()
    }

    /// Waits for two locks of this rank, the lower `id` first; the guards come back in the order of the arguments. `None`
    /// if the ids are equal: then it is one lock, and `lock` is what takes it.
    pub fn lock_pair<'a, const TOP: u8>(
        a: (&'a Self, u64),
        b: (&'a Self, u64),
        held: &'a mut Held<'_, TOP>,
    ) -> Option<(Guard<'a, T>, Guard<'a, T>, Held<'a, RANK>)> {
        const { assert!(TOP < RANK, "lock order: see docs/locks.md") };
        let _ = held;
        let (guard_a, guard_b) = match a.1.cmp(&b.1) {
            core::cmp::Ordering::Less => {
                let first = a.0.acquire();
                (first, b.0.acquire())
            }
            core::cmp::Ordering::Equal => return None,
            core::cmp::Ordering::Greater => {
                let first = b.0.acquire();
                (a.0.acquire(), first)
            }
        };
        Some((guard_a, guard_b, Held(PhantomData)))
    }

    /// The value, through a borrow that proves that nobody else has one.
    pub fn get_mut(&mut self) -> &mut T {
        self.0.get_mut()
    }

    fn acquire(&self) -> Guard<'_, T> {
        loop {
            if let Some(guard) = self.0.try_lock() {
                return Guard(guard);
            }
            while self.0.is_locked() {
                relax();
            }
        }
    }
}

impl<const RANK: u8, T: Default> Default for Ranked<RANK, T> {
    fn default() -> Self {
        Self::new(T::default())
    }
}

impl<T> Deref for Guard<'_, T> {
    type Target = T;

    fn deref(&self) -> &T {
        &self.0
    }
}

impl<T> DerefMut for Guard<'_, T> {
    fn deref_mut(&mut self) -> &mut T {
        &mut self.0
    }
}

impl<const RANK: u8, T> fmt::Debug for Ranked<RANK, T> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_tuple("Ranked").field(&RANK).finish()
    }
}

impl<T> fmt::Debug for Guard<'_, T> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("Guard")
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_lock_is_free_again_when_its_guard_is_gone() {
        let (low, high) = (Ranked::<10, u8>::new(1), Ranked::<20, u8>::new(2));
        let mut held = Held::enter();
        {
            let (mut a, mut held) = low.lock(&mut held);
            let (b, _) = high.lock(&mut held);
            *a += *b;
            assert!(low.try_lock().is_none());
        }
        assert_eq!(*low.lock(&mut held).0, 3);
    }

    #[test]
    fn a_pair_comes_back_in_the_order_of_the_arguments() {
        let (x, y) = (Ranked::<10, u8>::new(1), Ranked::<10, u8>::new(2));
        let mut held = Held::enter();
        let (a, b, _) = Ranked::lock_pair((&y, 7), (&x, 3), &mut held).unwrap();
        assert_eq!((*a, *b), (2, 1));
    }

    #[test]
    fn a_lock_is_not_paired_with_itself() {
        let x = Ranked::<10, u8>::new(1);
        assert!(Ranked::lock_pair((&x, 1), (&x, 1), &mut Held::enter()).is_none());
        assert!(x.try_lock().is_some());
    }
}
