//! The part of a vCPU that every CPU may look at: where its `vcpu_info` is, what it runs on, what waits for it.
//!
//! Its registers are elsewhere: in the parked [`VcpuState`], or with the CPU that runs it. Who changes a field here is said
//! at the field; all are single words, so no lock is needed beside the one of `parked`.

use alloc::boxed::Box;

use super::counts::Counts;
use super::state::VcpuState;
use crate::ids::{Mfn, PhysCpu, Place, VcpuId};
use crate::machine::Machine;
use crate::paging::VcpuMemory;
use crate::sched::EntityId;
use crate::sync::{AtomicBool, AtomicU8, AtomicU32, AtomicU64, Once, Ordering, Ranked, rank};
use crate::time::timer::{self, Alarm};

const NOWHERE: u8 = u8::MAX;

/// Offsets in `vcpu_info` (pv-abi 2.3).
mod offset {
    pub(super) const PENDING: u64 = 0;
    pub(super) const MASK: u64 = 1;
    pub(super) const SELECTOR: u64 = 8;
    pub(super) const CR2: u64 = 0x10;
    pub(super) const TIME: u64 = 0x20;
}

/// Where a `vcpu_info` is: a frame that stays writable data as long as the vCPU exists, and the offset in it.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct InfoPlace(Place);

impl InfoPlace {
    /// At `offset` of `frame`: a multiple of 8, at most 4032.
    #[must_use]
    pub fn new(frame: Mfn, offset: usize) -> Self {
        Self(Place::new(frame, offset))
    }

    /// The frame.
    #[must_use]
    pub const fn frame(self) -> Mfn {
        self.0.frame()
    }

    /// Offset in the frame of the record of system time.
    #[must_use]
    pub fn time(self) -> usize {
        self.0.plus(offset::TIME).offset()
    }

    /// Where it begins in the frame.
    #[must_use]
    pub fn offset(self) -> usize {
        self.0.offset()
    }
}

/// What a vCPU polls for.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Polling {
    /// Nothing.
    No,
    /// Any port of its domain.
    Any,
    /// This port.
    Port(u32),
}

/// A vCPU as others see it.
#[derive(Debug)]
pub struct Vcpu {
    id: VcpuId,
    entity: Once<EntityId>,
    /// Registers, while it does not run.
    pub parked: Ranked<{ rank::VCPU }, Option<Box<VcpuState>>>,
    /// Machine address of its `vcpu_info`, 0 for none. Set at creation and once by registration.
    info: AtomicU64,
    registered: AtomicBool,
    running_on: AtomicU8,
    ran_on: AtomicU8,
    /// Set by itself before it blocks, cleared by whoever wakes it.
    waiting: AtomicBool,
    polling: AtomicU32,
    /// Its domain counts it as one that polls.
    counted: AtomicBool,
    nmi: AtomicBool,
    initialised: AtomicBool,
    /// One CPU is giving it a context.
    starting: AtomicBool,
    /// What it has asked for.
    pub counts: Counts,
    /// Roots and descriptor tables.
    pub memory: VcpuMemory,
    /// Its one-shot timer, the deadline of its poll, and on vCPU 0 the domain's watchdogs.
    pub alarms: [Alarm; timer::KINDS],
    /// Period of the periodic timer in nanoseconds, 0 for none.
    pub period: AtomicU64,
    /// When the periodic timer fired last.
    pub last_tick: AtomicU64,
    /// Guest address of the runstate area, 0 for none.
    pub runstate_area: AtomicU64,
    /// Guest address of the second time record, 0 for none.
    pub time_area: AtomicU64,
    /// When the time record was written last.
    pub time_written: AtomicU64,
}

impl Vcpu {
    /// A vCPU that is down and has never run; `info` is its place in `shared_info`, if it has one there.
    #[must_use]
    pub fn new(id: VcpuId, state: Box<VcpuState>, info: Option<InfoPlace>) -> Self {
        Self {
            id,
            entity: Once::new(),
            parked: Ranked::new(Some(state)),
            info: AtomicU64::new(info.map_or(0, |info| info.0.address())),
            registered: AtomicBool::new(false),
            running_on: AtomicU8::new(NOWHERE),
            ran_on: AtomicU8::new(NOWHERE),
            waiting: AtomicBool::new(false),
            polling: AtomicU32::new(0),
            counted: AtomicBool::new(false),
            nmi: AtomicBool::new(false),
            initialised: AtomicBool::new(false),
            starting: AtomicBool::new(false),
            counts: Counts::new(),
            memory: VcpuMemory::new(),
            alarms: Default::default(),
            period: AtomicU64::new(0),
            last_tick: AtomicU64::new(0),
            runstate_area: AtomicU64::new(0),
            time_area: AtomicU64::new(0),
            time_written: AtomicU64::new(0),
        }
    }

    /// Its number in the domain.
    #[must_use]
    pub const fn id(&self) -> VcpuId {
        self.id
    }

    /// The scheduler's number; none while the domain is being created.
    #[must_use]
    pub fn entity(&self) -> Option<EntityId> {
        self.entity.get().copied()
    }

    /// Tells the scheduler's number, once.
    pub fn set_entity(&self, entity: EntityId) {
        self.entity.call_once(|| entity);
    }

    /// Where it runs, if it does.
    #[must_use]
    pub fn running_on(&self) -> Option<PhysCpu> {
        // SeqCst: pairs with `set_running`; see `Hypervisor::notify`.
        PhysCpu::new(self.running_on.load(Ordering::SeqCst))
    }

    /// Where it runs, if that is another CPU than `here`.
    #[inline(always)]
    #[must_use]
    pub fn running_elsewhere(&self, here: PhysCpu) -> Option<PhysCpu> {
        match self.running_on.load(Ordering::SeqCst) {
            number if number == here.get() => None,
            number => PhysCpu::new(number),
        }
    }

    /// Where it runs or ran last.
    #[must_use]
    pub fn last_cpu(&self) -> Option<PhysCpu> {
        PhysCpu::new(self.ran_on.load(Ordering::SeqCst))
    }

    /// It runs there from now on, or nowhere. By the CPU that switches.
    pub fn set_running(&self, cpu: Option<PhysCpu>) {
        if let Some(cpu) = cpu {
            self.ran_on.store(cpu.get(), Ordering::SeqCst);
        }
        self.running_on
            .store(cpu.map_or(NOWHERE, PhysCpu::get), Ordering::SeqCst);
    }

    /// Whether it waits for an event.
    #[must_use]
    pub fn is_waiting(&self) -> bool {
        self.waiting.load(Ordering::SeqCst)
    }

    /// It waits, or does not any more. Gives what was before.
    pub fn set_waiting(&self, waiting: bool) -> bool {
        self.waiting.swap(waiting, Ordering::SeqCst)
    }

    /// What it polls for.
    #[must_use]
    pub fn polling(&self) -> Polling {
        match self.polling.load(Ordering::SeqCst) {
            0 => Polling::No,
            u32::MAX => Polling::Any,
            port => Polling::Port(port),
        }
    }

    /// Whether it polls for `port`, or for any.
    #[inline(always)]
    #[must_use]
    pub fn polls_for(&self, port: u16) -> bool {
        let word = self.polling.load(Ordering::SeqCst);
        word != 0 && (word == u32::MAX || word == u32::from(port))
    }

    /// It polls for something else. Port 0 does not exist and stands for nothing.
    pub fn set_polling(&self, polling: Polling) {
        let word = match polling {
            Polling::No => 0,
            Polling::Any => u32::MAX,
            Polling::Port(port) => port,
        };
        self.polling.store(word, Ordering::SeqCst);
    }

    /// Notes whether its domain counts it as one that polls; says whether it did.
    pub(crate) fn count_as_poller(&self, polls: bool) -> bool {
        self.counted.swap(polls, Ordering::Relaxed)
    }

    /// Latches an NMI.
    pub fn raise_nmi(&self) {
        // SeqCst, as the bits of events: see `Hypervisor::notify`.
        self.nmi.store(true, Ordering::SeqCst);
    }

    /// Whether an NMI is latched.
    #[must_use]
    pub fn nmi_pending(&self) -> bool {
        self.nmi.load(Ordering::SeqCst)
    }

    /// Takes the latched NMI.
    pub fn take_nmi(&self) -> bool {
        self.nmi.swap(false, Ordering::AcqRel)
    }

    /// Whether it was given a context.
    #[must_use]
    pub fn is_initialised(&self) -> bool {
        self.initialised.load(Ordering::Acquire)
    }

    /// It has a context.
    pub fn set_initialised(&self) {
        self.initialised.store(true, Ordering::Release);
    }

    /// Claims the right to give it a context: of two that try, one waits.
    pub(super) fn begin_start(&self) -> bool {
        !self.starting.swap(true, Ordering::AcqRel)
    }

    /// Gives the right back.
    pub(super) fn end_start(&self) {
        self.starting.store(false, Ordering::Release);
    }

    /// Where its `vcpu_info` is. None: a vCPU beyond 31 that has not registered one.
    #[inline(always)]
    #[must_use]
    pub fn info(&self) -> Option<InfoPlace> {
        match self.info.load(Ordering::Acquire) {
            0 => None,
            address => Some(InfoPlace(Place::known(address))),
        }
    }

    /// Whether a guest has moved it.
    #[must_use]
    pub fn has_registered_info(&self) -> bool {
        self.registered.load(Ordering::Acquire)
    }

    /// Claims the right to move it, once.
    pub fn claim_registration(&self) -> bool {
        !self.registered.swap(true, Ordering::AcqRel)
    }

    /// Gives the right back: the move did not happen, or its frame has been let go.
    pub fn drop_registration(&self) {
        self.registered.store(false, Ordering::Release);
    }

    /// Moves `vcpu_info`.
    pub fn set_info(&self, place: Option<InfoPlace>) {
        self.info.store(
            place.map_or(0, |place| place.0.address()),
            Ordering::Release,
        );
    }

    /// Whether an upcall is due: pending and not masked. Both bytes are read at once.
    #[inline(always)]
    #[must_use]
    pub fn upcall_due<M: Machine>(&self, machine: &M) -> bool {
        self.info().is_some_and(|info| {
            let word = machine.load_u16(info.0.plus(offset::PENDING));
            // The low byte is whether one is pending, the high one masks it.
            (1..=0xff).contains(&word)
        })
    }

    /// The event mask, the whole byte. Masked where there is no `vcpu_info`.
    #[inline(always)]
    #[must_use]
    pub fn upcall_mask<M: Machine>(&self, machine: &M) -> u8 {
        self.info()
            .map_or(1, |info| machine.load_u8(info.0.plus(offset::MASK)))
    }

    /// Sets the event mask.
    #[inline(always)]
    pub fn set_upcall_mask<M: Machine>(&self, machine: &M, mask: u8) {
        if let Some(info) = self.info() {
            machine.store_u8(info.0.plus(offset::MASK), mask);
        }
    }

    /// Shows the address of a page fault.
    #[inline(always)]
    pub fn set_cr2<M: Machine>(&self, machine: &M, address: u64) {
        if let Some(info) = self.info() {
            let place = info.0.plus(offset::CR2);
            machine.store_u64(place.frame(), place.offset(), address);
        }
    }

    /// Marks word `selector` of the pending bits as having news, and an upcall as pending. True if none was pending yet:
    /// the vCPU has to be notified.
    pub fn post<M: Machine>(&self, machine: &M, selector: u32) -> bool {
        self.post_all(machine, 1_u64.wrapping_shl(selector))
    }

    /// As [`Self::post`], for several words.
    pub fn post_all<M: Machine>(&self, machine: &M, selectors: u64) -> bool {
        let Some(info) = self.info() else {
            return false;
        };
        machine.fetch_or_u64(info.0.plus(offset::SELECTOR), selectors);
        machine.swap_u8(info.0.plus(offset::PENDING), 1) == 0
    }
}
