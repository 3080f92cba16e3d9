//! A domain's ports: given out lowest first, changed under the lock of the ports, read without it.

use alloc::boxed::Box;
use alloc::vec::Vec;

use hypercall_abi::Errno;
use hypercall_abi::event::{EVTCHN_2L_NR_CHANNELS, NR_VIRQS};

use super::fifo::Fifo;
use super::port::{Binding, Port, Record, VirqNumber};
use crate::domain::DomId;
use crate::heap;
use crate::ids::VcpuId;
use crate::machine::Machine;
use crate::sync::{
    AtomicBool, AtomicU16, AtomicU32, AtomicU64, Guard, Held, Ordering, Ranked, rank,
};

/// Ports of the first domain, which has an end of everybody's channels.
pub const FIRST_DOMAIN_PORTS: u32 = EVTCHN_2L_NR_CHANNELS;
/// Ports of any other domain.
pub const DOMAIN_PORTS: u32 = 1024;

/// The ports that one vCPU's virtual interrupts are bound to; 0 = none.
type VirqPorts = [AtomicU16; VIRQS];

/// The queues of a domain, if it has them.
pub(super) type Queues = Option<Box<Fifo>>;

/// Ports come into being in groups of so many, as in Xen: one of a group that never was needed is no port.
const GROUP: u32 = 64;

const VIRQS: usize = 24;
const _: () = assert!(NR_VIRQS == 24, "as many as the ABI has");

/// Ports of a domain.
#[derive(Debug)]
pub struct EventTable {
    /// Records, by port. Written under `allocation`'s lock; read by anyone.
    words: Vec<AtomicU64>,
    /// Ports below this one exist: as many groups as were ever needed.
    exist: AtomicU32,
    /// Whether there are queues: looked at on the way of every event, so that two-level ones need no lock.
    queued: AtomicBool,
    queues: Ranked<{ rank::EVENT_QUEUES }, Option<Box<Fifo>>>,
    /// By vCPU; those that are not per vCPU are in vCPU 0's.
    virqs: Vec<VirqPorts>,
    allocation: Ranked<{ rank::PORTS }, Allocation>,
}

#[derive(Debug)]
struct Allocation {
    /// No port below this one is free.
    lowest_free: u16,
    /// The domain is being taken apart: no port is given out any more.
    closed: bool,
}

/// The ports under their lock.
#[derive(Debug)]
pub(super) struct Ports<'a> {
    table: &'a EventTable,
    allocation: Guard<'a, Allocation>,
}

/// No port is free, or none is given out any more.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum NoPort {
    Full,
    Dying,
}

impl EventTable {
    /// A table of `ports` ports, port 0 counted, for a domain of `vcpus` vCPUs.
    ///
    /// # Errors
    /// `ENOMEM`.
    pub fn new(ports: u32, vcpus: usize) -> Result<Self, Errno> {
        let ports = usize::try_from(ports.min(EVTCHN_2L_NR_CHANNELS)).map_err(|_| Errno::EINVAL)?;
        let mut words = heap::list(ports)?;
        words.resize_with(ports, AtomicU64::default);
        let exist = u32::try_from(ports).unwrap_or(GROUP).min(GROUP);
        let mut virqs = heap::list(vcpus)?;
        virqs.resize_with(vcpus, VirqPorts::default);
        Ok(Self {
            words,
            exist: AtomicU32::new(exist),
            queued: AtomicBool::new(false),
            queues: Ranked::new(None),
            virqs,
            allocation: Ranked::new(Allocation {
                lowest_free: 1,
                closed: false,
            }),
        })
    }

    /// A port of this table, by the number that a guest gives.
    pub(super) fn port(&self, number: u32) -> Option<Port> {
        Port::new(number).filter(|_| number < self.exist.load(Ordering::Relaxed))
    }

    /// Whether the domain has FIFO events.
    pub(super) fn is_queued(&self) -> bool {
        // SeqCst: pairs with the change of form, see `queues`.
        self.queued.load(Ordering::SeqCst)
    }

    /// Works on the queues, if there are any.
    pub(super) fn with_queues<R, const TOP: u8>(
        &self,
        held: &mut Held<'_, TOP>,
        work: impl FnOnce(&mut Fifo) -> R,
    ) -> Option<R> {
        if !self.is_queued() {
            return None;
        }
        self.queues.lock(held).0.as_deref_mut().map(work)
    }

    /// Locks the queues, to make them or to take them away: `queued` has to follow.
    pub(super) fn lock_queues<'a, const TOP: u8>(
        &'a self,
        held: &'a mut Held<'_, TOP>,
    ) -> Guard<'a, Queues> {
        self.queues.lock(held).0
    }

    /// Notes whether there are queues; under their lock.
    pub(super) fn set_queued(&self, queued: bool) {
        self.queued.store(queued, Ordering::SeqCst);
    }

    /// How many ports there can be, port 0 counted, and how many vCPUs are told of them.
    pub(super) fn size(&self) -> (usize, usize) {
        (self.words.len(), self.virqs.len())
    }

    /// What a port is now; a claim again as soon as it was read, unless the ports are locked.
    #[must_use]
    pub fn record(&self, port: Port) -> Record {
        Record::unpack(self.word(port))
    }

    #[inline(always)]
    fn word(&self, port: Port) -> u64 {
        // Acquire: pairs with the release of `set`.
        self.words
            .get(usize::from(port.get()))
            .map_or(0, |word| word.load(Ordering::Acquire))
    }

    /// The other end of `port`, if it is a port of `domain`.
    #[inline]
    pub(super) fn peer_in(&self, port: Port, domain: DomId) -> Option<Port> {
        Record::peer_in(self.word(port), domain)
    }

    /// The vCPU to be told of `port`, if its other end is `far_port` of `far`.
    #[inline]
    pub(super) fn end_of(&self, port: Port, far: DomId, far_port: Port) -> Option<VcpuId> {
        Record::end_of(self.word(port), far, far_port)
    }

    /// The port that a vCPU's virtual interrupt is bound to.
    pub(crate) fn virq_port(&self, vcpu: VcpuId, virq: VirqNumber) -> Option<Port> {
        Port::new(self.virq_slot(vcpu, virq)?.load(Ordering::Acquire).into())
    }

    /// The ports that virtual interrupts are bound to.
    pub(crate) fn virqs(&self) -> impl Iterator<Item = (VirqNumber, Port)> {
        let slots = self.virqs.iter().flat_map(|ports| (0_u32..).zip(ports));
        slots.filter_map(|(number, slot)| {
            let port = Port::new(slot.load(Ordering::Acquire).into())?;
            Some((VirqNumber::new(number)?, port))
        })
    }

    /// A free port below those that are looked at when one is wanted: there should be none.
    pub(crate) fn forgotten_port(&self, held: &mut Held<'_, 0>) -> Option<Port> {
        let lowest_free = self.lock(held).0.allocation.lowest_free;
        let ports = (1..lowest_free).filter_map(|number| Port::new(number.into()));
        ports
            .into_iter()
            .find(|&port| self.record(port).binding == Binding::Free)
    }

    /// Binds the last port to itself under a number that is not its own, or frees it.
    #[cfg(any(test, feature = "breach"))]
    pub(crate) fn breach(&self, domain: DomId, plant: bool, held: &mut Held<'_, 0>) -> u64 {
        let last = u32::try_from(self.words.len()).unwrap_or(0).wrapping_sub(1);
        let (port, other) = (Port::new(last), Port::new(last.wrapping_sub(1)));
        let (Some(port), Some(other)) = (port, other) else {
            return 0;
        };
        let binding = if plant {
            Binding::Interdomain(domain, other)
        } else {
            Binding::Free
        };
        let vcpu = VcpuId::FIRST;
        self.lock(held).0.set(port, Record { binding, vcpu });
        port.get().into()
    }

    /// All ports that are in use, ascending.
    pub fn used(&self) -> impl Iterator<Item = (Port, Record)> {
        let numbers = 0..self.exist.load(Ordering::Relaxed);
        let ports = numbers
            .filter_map(Port::new)
            .map(|port| (port, self.record(port)));
        ports.filter(|(_, record)| record.binding != Binding::Free)
    }

    /// Locks the ports.
    pub(super) fn lock<'a, const TOP: u8>(
        &'a self,
        held: &'a mut Held<'_, TOP>,
    ) -> (Ports<'a>, Held<'a, { rank::PORTS }>) {
        let (allocation, held) = self.allocation.lock(held);
        (
            Ports {
                table: self,
                allocation,
            },
            held,
        )
    }

    /// Locks the ports of two domains, given with different numbers to order them by.
    pub(super) fn lock_pair<'a, const TOP: u8>(
        a: (&'a Self, u64),
        b: (&'a Self, u64),
        held: &'a mut Held<'_, TOP>,
    ) -> Option<(Ports<'a>, Ports<'a>, Held<'a, { rank::PORTS }>)> {
        let (first, second, held) =
            Ranked::lock_pair((&a.0.allocation, a.1), (&b.0.allocation, b.1), held)?;
        Some((
            Ports {
                table: a.0,
                allocation: first,
            },
            Ports {
                table: b.0,
                allocation: second,
            },
            held,
        ))
    }

    fn virq_slot(&self, vcpu: VcpuId, virq: VirqNumber) -> Option<&AtomicU16> {
        let vcpu = if virq.is_per_vcpu() {
            vcpu
        } else {
            VcpuId::FIRST
        };
        self.virqs
            .get(usize::from(vcpu.get()))?
            .get(usize::from(virq.get()))
    }
}

impl Ports<'_> {
    /// The lowest free port. It stays free until it is set. One whose word is still in a queue is passed over: the guest has
    /// to take it out first.
    pub(super) fn free_port<M: Machine>(
        &mut self,
        machine: &M,
        held: &mut Held<'_, { rank::PORTS }>,
    ) -> Result<Port, NoPort> {
        if self.allocation.closed {
            return Err(NoPort::Dying);
        }
        let mut lowest = None;
        for number in self.allocation.lowest_free.. {
            let port = Port::new(number.into())
                .filter(|port| usize::from(port.get()) < self.table.words.len())
                .ok_or(NoPort::Full)?;
            if self.record(port).binding != Binding::Free {
                continue;
            }
            self.allocation.lowest_free = *lowest.get_or_insert(number);
            let linked = self
                .table
                .with_queues(held, |fifo| fifo.is_linked(machine, port));
            if linked != Some(true) {
                return Ok(port);
            }
        }
        Err(NoPort::Full)
    }

    /// What a port is, for as long as the lock is held.
    pub(super) fn record(&self, port: Port) -> Record {
        self.table.record(port)
    }

    /// Makes a port something else.
    pub(super) fn set(&mut self, port: Port, record: Record) {
        if let Some(word) = self.table.words.get(usize::from(port.get())) {
            // Release: who sees the record sees the pending bit that was cleared before.
            word.store(record.pack(), Ordering::Release);
        }
        let group_end = u32::from(port.get())
            .saturating_add(1)
            .next_multiple_of(GROUP);
        let exist = group_end.min(u32::try_from(self.table.words.len()).unwrap_or(0));
        self.table.exist.fetch_max(exist, Ordering::Relaxed);
        if record.binding == Binding::Free {
            self.allocation.lowest_free = self.allocation.lowest_free.min(port.get());
        }
    }

    /// Binds a virtual interrupt to a port, or to none.
    pub(super) fn set_virq(&mut self, vcpu: VcpuId, virq: VirqNumber, port: Option<Port>) {
        if let Some(slot) = self.table.virq_slot(vcpu, virq) {
            slot.store(port.map_or(0, Port::get), Ordering::Release);
        }
    }

    /// Gives out no port any more.
    pub(super) fn close(&mut self) {
        self.allocation.closed = true;
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::fake::FakeMachine;

    fn ipi() -> Record {
        Record {
            binding: Binding::Ipi,
            vcpu: VcpuId::FIRST,
        }
    }

    #[test]
    fn the_lowest_free_port_is_given_until_none_is_left() {
        let table = EventTable::new(4, 1).unwrap();
        let machine = FakeMachine::new(&[], 1);
        let mut held = Held::enter();
        let (mut ports, mut held) = table.lock(&mut held);
        let mut free = |ports: &mut Ports<'_>| ports.free_port(&machine, &mut held);
        for expected in 1..4 {
            let port = free(&mut ports).unwrap();
            assert_eq!(port.get(), expected);
            ports.set(port, ipi());
        }
        assert_eq!(free(&mut ports), Err(NoPort::Full));
        ports.set(Port::new(2).unwrap(), Record::free());
        assert_eq!(free(&mut ports), Ok(Port::new(2).unwrap()));
        ports.close();
        assert_eq!(free(&mut ports), Err(NoPort::Dying));
        drop(ports);
        assert!(table.used().map(|(port, _)| port.get()).eq([1, 3]));
    }

    #[test]
    fn global_virqs_are_vcpu_0s() {
        let table = EventTable::new(8, 2).unwrap();
        let (timer, debug) = (VirqNumber::new(0).unwrap(), VirqNumber::new(3).unwrap());
        let (second, port) = (VcpuId::new(1), Port::new(5));
        let mut held = Held::enter();
        let (mut ports, _held) = table.lock(&mut held);
        ports.set_virq(second, timer, port);
        ports.set_virq(second, debug, port);
        assert_eq!(table.virq_port(VcpuId::FIRST, timer), None);
        assert_eq!(table.virq_port(second, timer), port);
        assert_eq!(table.virq_port(VcpuId::FIRST, debug), port);
    }
}
