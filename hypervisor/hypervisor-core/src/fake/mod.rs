//! The fake machine: pool frames, CPUs with stale translations, and faults to order, for tests under plain `cargo test`.
//!
//! It is stricter than hardware. Each CPU keeps every translation and every table on the way to it until a flush removes
//! it, and uses the stale one; [`FakeMachine::cached`] shows them to a test's judge. Fresh frames hold poison, frames
//! outside the pool panic, and reading one guest address twice within a call panics where a test asks for that.

pub mod bench;
mod heap;
#[cfg(all(test, feature = "shuttle"))]
mod interleave;
mod machine;
pub mod pci;
mod ram;
pub mod snapshot;
mod tlb;

use std::cell::Cell;
use std::collections::BTreeSet;
use std::sync::Mutex;
use std::vec::Vec;

pub(crate) use self::heap::refused;
pub use self::heap::{fail_heap, heap_requests};
pub use self::ram::FakeRam;
pub use self::tlb::{Access, Cached, CachedUse, FakeCpu};

use crate::frame::FrameRange;
use crate::ids::{CpuSet, Mfn, PhysCpu};
use crate::sync::{AtomicU64, Ordering};

/// When `preempt_due` says yes.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum Preempt {
    /// Never.
    #[default]
    Never,
    /// At each question.
    Always,
    /// At the question of this number only, counted from 0.
    At(u64),
    /// At one question in so many, by a generator that `FakeMachine::seed` starts.
    OneIn(u64),
}

/// Faults to order, and what was counted meanwhile.
#[derive(Clone, Debug, Default)]
pub struct Orders {
    /// When to ask for preemption.
    pub preempt: Preempt,
    /// Which guest copies fail, counted from 0. One alone is spurious where the tables permit the access: it is tried again.
    pub fail_copies: core::ops::Range<u64>,
    /// Guest copies so far.
    pub copies: u64,
    /// Preemption questions so far.
    pub questions: u64,
    /// Whether a guest address may be read once only until [`FakeMachine::begin_call`].
    pub fetch_once: bool,
    /// A word of 2 bytes that the guest writes anew before each time the hypervisor looks at it.
    pub rewritten: Option<(Mfn, usize, u16)>,
    fetched: BTreeSet<u64>,
    random: u64,
}

std::thread_local! {
    /// The CPU that this thread is. A test without threads of its own moves from CPU to CPU.
    static CURRENT: Cell<u8> = const { Cell::new(0) };
}

/// The machine.
#[derive(Debug)]
pub struct FakeMachine {
    ram: FakeRam,
    cpus: Vec<Mutex<FakeCpu>>,
    nanos: AtomicU64,
    orders: Mutex<Orders>,
    console: Mutex<Vec<u8>>,
    flushes: AtomicU64,
    kicked: AtomicU64,
    device: Mutex<pci::FakeDevice>,
}

impl FakeMachine {
    /// A machine with RAM in `pool` and `cpus` CPUs, the first of which is the current one.
    #[must_use]
    pub fn new(pool: &[FrameRange], cpus: u8) -> Self {
        CURRENT.set(0);
        Self {
            ram: FakeRam::new(pool),
            cpus: (0..cpus).map(|_| Mutex::default()).collect(),
            nanos: AtomicU64::new(0),
            orders: Mutex::default(),
            console: Mutex::default(),
            flushes: AtomicU64::new(0),
            kicked: AtomicU64::new(0),
            device: Mutex::default(),
        }
    }

    /// Which CPU executes what this thread does next.
    pub fn set_cpu(&self, cpu: u8) {
        assert!(usize::from(cpu) < self.cpus.len(), "no such CPU");
        CURRENT.set(cpu);
    }

    /// The one device.
    pub fn with_device<T>(&self, look: impl FnOnce(&mut pci::FakeDevice) -> T) -> T {
        look(&mut self.device.lock().expect("not poisoned"))
    }

    /// Moves the clock.
    pub fn advance(&self, nanos: u64) {
        self.nanos.fetch_add(nanos, Ordering::Relaxed);
    }

    /// Gives faults to order.
    pub fn order(&self, change: impl FnOnce(&mut Orders)) {
        change(&mut self.orders.lock().expect("not poisoned"));
    }

    /// What was ordered and counted.
    #[must_use]
    pub fn orders(&self) -> Orders {
        self.orders.lock().expect("not poisoned").clone()
    }

    /// Starts the generator of [`Preempt::OneIn`].
    pub fn seed(&self, seed: u64) {
        self.order(|orders| orders.random = seed);
    }

    /// A new call begins: every address may be read again.
    pub fn begin_call(&self) {
        self.order(|orders| orders.fetched.clear());
    }

    /// The flushes of other or all CPUs so far.
    #[must_use]
    pub fn flush_count(&self) -> u64 {
        self.flushes.load(Ordering::Relaxed)
    }

    /// CPUs kicked since the last question.
    pub fn take_kicked(&self) -> CpuSet {
        CpuSet::from_bits(self.kicked.swap(0, Ordering::Relaxed))
    }

    /// What was written to the console.
    #[must_use]
    pub fn console(&self) -> Vec<u8> {
        self.console.lock().expect("not poisoned").clone()
    }

    /// The state of a CPU.
    pub fn with_cpu<T>(&self, cpu: u8, look: impl FnOnce(&mut FakeCpu) -> T) -> T {
        let cpu = self.cpus.get(usize::from(cpu)).expect("no such CPU");
        look(&mut cpu.lock().expect("not poisoned"))
    }

    /// All that the TLBs of all CPUs hold.
    #[must_use]
    pub fn cached(&self) -> Vec<(u8, Cached)> {
        let of_cpu = |cpu: u8| {
            self.with_cpu(cpu, |c| {
                c.cached().into_iter().map(|e| (cpu, e)).collect::<Vec<_>>()
            })
        };
        (0..self.cpus.len())
            .flat_map(|cpu| of_cpu(u8::try_from(cpu).expect("few CPUs")))
            .collect()
    }

    /// An access of the guest on the current CPU, through its TLB: the frame reached.
    #[must_use]
    pub fn access(&self, address: u64, how: Access) -> Option<Mfn> {
        self.with_cpu(CURRENT.get(), |c| c.access(&self.ram, address, how))
    }

    /// The frames.
    #[must_use]
    pub fn ram(&self) -> &FakeRam {
        &self.ram
    }

    fn all_cpus(&self) -> CpuSet {
        let cpus = (0..self.cpus.len()).filter_map(|n| PhysCpu::new(u8::try_from(n).ok()?));
        cpus.fold(CpuSet::EMPTY, CpuSet::with)
    }
}

impl Orders {
    /// Counts a copy, and says whether it is to fail.
    fn copy_fails(&mut self) -> bool {
        let number = self.copies;
        self.copies += 1;
        self.fail_copies.contains(&number)
    }

    /// Notes bytes read, and panics at the second time if a test wants that.
    fn fetch(&mut self, from: u64, length: usize) {
        if self.fetch_once {
            for address in (from..).take(length) {
                assert!(
                    self.fetched.insert(address),
                    "guest address {address:#x} was read twice"
                );
            }
        }
    }

    fn preempt_due(&mut self) -> bool {
        let number = self.questions;
        self.questions += 1;
        match self.preempt {
            Preempt::Never => false,
            Preempt::Always => true,
            Preempt::At(at) => number == at,
            Preempt::OneIn(n) => {
                self.random = next_random(self.random);
                (self.random >> 33).is_multiple_of(n.max(1))
            }
        }
    }
}

/// Knuth's 64-bit linear congruential generator: enough for tests, and the same everywhere.
#[must_use]
pub const fn next_random(state: u64) -> u64 {
    state
        .wrapping_mul(6_364_136_223_846_793_005)
        .wrapping_add(1_442_695_040_888_963_407)
}
