//! Memory operations on the fake machine, with a guest whose memory is a map of bytes.

use std::cell::RefCell;
use std::collections::BTreeMap;
use std::ops::Deref;
use std::rc::Rc;
use std::vec::Vec;

use hypercall_abi::ids::RawDomId;
use hypercall_abi::memory::{
    E820Entry, MachphysMapping, MemoryDomain, MemoryExchange, MemoryMap, MemoryReservation,
    XENMEM_CURRENT_RESERVATION, XENMEM_DECREASE_RESERVATION, XENMEM_EXCHANGE,
    XENMEM_INCREASE_RESERVATION, XENMEM_MACHPHYS_MAPPING, XENMEM_MAXIMUM_RESERVATION,
    XENMEM_MEMORY_MAP, XENMEM_POPULATE_PHYSMAP, XENMEMF_EXACT_NODE_REQUEST,
};
use hypercall_abi::{Errno, GuestPtr};
use zerocopy::{FromBytes, Immutable, IntoBytes};

use super::{MemoryOutcome, Requester, memory_op};
use crate::domain::account::DomainMemory;
use crate::fake::{FakeMachine, Preempt};
use crate::frame::{FrameRange, FrameTable, Layout, Ram};
use crate::ids::{Frames, Pfn};

const SELF: u16 = 0x7ff0;
const ARGUMENT: u64 = 0x1000;
const LIST: u64 = 0x10_0000;

struct Shared(Rc<DomainMemory>);

impl Deref for Shared {
    type Target = DomainMemory;

    fn deref(&self) -> &DomainMemory {
        &self.0
    }
}

struct World {
    machine: FakeMachine,
    frames: FrameTable,
    own: Rc<DomainMemory>,
    bytes: RefCell<BTreeMap<u64, u8>>,
    read_only: Option<u64>,
}

impl World {
    fn new(maximum: u64) -> Self {
        let pool = [FrameRange {
            start: 0x10,
            end: 0x410,
        }];
        let machine = FakeMachine::new(&pool, 1);
        let layout = Layout {
            pool: &pool,
            withheld: &[],
            address_bits: 40,
            no_execute: true,
            max_domains: 2,
        };
        let frames = FrameTable::new(&machine, &layout).unwrap();
        let ram = Ram {
            machine: &machine,
            frames: &frames,
        };
        let own = Rc::new(DomainMemory::new(ram, 1, Frames::new(maximum)).unwrap());
        Self {
            machine,
            frames,
            own,
            bytes: RefCell::default(),
            read_only: None,
        }
    }

    fn put<T: IntoBytes + Immutable>(&self, at: u64, value: &T) {
        let mut bytes = self.bytes.borrow_mut();
        bytes.extend((at..).zip(value.as_bytes().iter().copied()));
    }

    fn get<T: FromBytes>(&self, at: u64) -> T {
        let bytes = self.bytes.borrow();
        let raw: Vec<u8> = (at..)
            .take(size_of::<T>())
            .map(|a| bytes.get(&a).copied().unwrap_or(0))
            .collect();
        T::read_from_bytes(&raw).unwrap()
    }

    fn list(&self, values: &[u64]) {
        for (value, at) in values.iter().zip((LIST..).step_by(8)) {
            self.put(at, value);
        }
    }

    fn listed(&self, count: u64) -> Vec<u64> {
        (0..count).map(|i| self.get(LIST + i * 8)).collect()
    }

    fn reservation(&self, count: u64, order: u32) -> MemoryReservation {
        MemoryReservation {
            extent_start: GuestPtr::new(LIST),
            nr_extents: count,
            extent_order: order,
            domid: RawDomId(SELF),
            ..MemoryReservation::default()
        }
    }

    fn call(&mut self, command: u64) -> MemoryOutcome {
        memory_op::<FakeMachine, Self>(self, command, ARGUMENT)
    }

    /// The call, repeated as a guest does until it ends.
    fn run(&mut self, operation: u32) -> MemoryOutcome {
        let mut command = u64::from(operation);
        loop {
            match self.call(command) {
                MemoryOutcome::Again(next) => command = next,
                done @ (MemoryOutcome::Done(_) | MemoryOutcome::Refused(_)) => return done,
            }
        }
    }

    fn total(&self) -> u64 {
        self.own.account(&self.frames).unwrap().total().get()
    }

    fn populate(&mut self, pfns: &[u64], order: u32) -> MemoryOutcome {
        self.list(pfns);
        let count = u64::try_from(pfns.len()).unwrap();
        self.put(ARGUMENT, &self.reservation(count, order));
        self.run(XENMEM_POPULATE_PHYSMAP)
    }

    fn pfn_of(&self, number: u64) -> Pfn {
        let mfn = self.frames.lookup(number).unwrap();
        self.ram().pfn(self.own.owner(), mfn)
    }
}

impl Requester<FakeMachine> for World {
    type Target = Shared;

    fn ram(&self) -> Ram<'_, FakeMachine> {
        Ram {
            machine: &self.machine,
            frames: &self.frames,
        }
    }

    fn own(&self) -> &DomainMemory {
        &self.own
    }

    fn is_control(&self) -> bool {
        false
    }

    fn target(&mut self, named: RawDomId) -> Result<Shared, Errno> {
        match named.0 {
            SELF | 1 => Ok(Shared(Rc::clone(&self.own))),
            _ => Err(Errno::ESRCH),
        }
    }

    fn announced_pfns(&mut self, named: RawDomId) -> Result<u64, Errno> {
        self.target(named).map(|_| 0x1234)
    }

    fn read<T: FromBytes + IntoBytes>(&self, from: GuestPtr<T>) -> Result<T, Errno> {
        if self.bytes.borrow().contains_key(&from.address()) {
            Ok(self.get(from.address()))
        } else {
            Err(Errno::EFAULT)
        }
    }

    fn write<T: IntoBytes + Immutable>(&self, to: GuestPtr<T>, value: &T) -> Result<(), Errno> {
        if self.read_only == Some(to.address()) {
            return Err(Errno::EFAULT);
        }
        self.put(to.address(), value);
        Ok(())
    }

    fn machine_map(&self) -> &[E820Entry] {
        &[]
    }
}

#[test]
fn populated_frames_are_counted_named_and_listed() {
    let mut world = World::new(16);
    assert_eq!(world.populate(&[7, 9], 1), MemoryOutcome::Done(2));
    assert_eq!(world.total(), 4);
    let [a, b] = world.listed(2)[..] else {
        panic!()
    };
    assert_eq!(world.pfn_of(a), Pfn::new(7));
    assert_eq!(world.pfn_of(a + 1), Pfn::new(8));
    assert_eq!(world.pfn_of(b + 1), Pfn::new(10));
}

#[test]
fn populating_stops_at_the_maximum_and_tells_how_far_it_got() {
    let mut world = World::new(3);
    assert_eq!(world.populate(&[0, 1, 2, 3, 4], 0), MemoryOutcome::Done(3));
    assert_eq!(world.total(), 3);
    assert_eq!(world.listed(5)[3..], [3, 4]);
}

#[test]
fn an_element_that_cannot_be_written_costs_no_frame() {
    let mut world = World::new(16);
    world.read_only = Some(LIST + 8);
    let free = world.frames.free();
    assert_eq!(world.populate(&[0, 1, 2], 0), MemoryOutcome::Done(1));
    assert_eq!(world.total(), 1);
    let given = free.get() - world.frames.free().get();
    let overhead = world.own.account(&world.frames).unwrap().overhead().get() - 1;
    assert_eq!(given, 1 + overhead);
}

#[test]
fn counted_calls_never_fail() {
    let mut world = World::new(16);
    for (order, domid, count) in [(0, 5, 1), (10, SELF, 1), (0, SELF, 1 << 26)] {
        let mut raw = world.reservation(count, order);
        raw.domid = RawDomId(domid);
        world.list(&[0]);
        world.put(ARGUMENT, &raw);
        for operation in [
            XENMEM_POPULATE_PHYSMAP,
            XENMEM_INCREASE_RESERVATION,
            XENMEM_DECREASE_RESERVATION,
        ] {
            assert_eq!(world.run(operation), MemoryOutcome::Done(0));
        }
    }
    world.bytes.borrow_mut().clear();
    assert_eq!(world.run(XENMEM_POPULATE_PHYSMAP), MemoryOutcome::Done(0));
    assert_eq!(world.total(), 0);
}

#[test]
fn a_preempted_call_goes_on_where_it_stopped() {
    let mut world = World::new(16);
    world
        .machine
        .order(|orders| orders.preempt = Preempt::Always);
    world.list(&[0, 1, 2]);
    world.put(ARGUMENT, &world.reservation(3, 0));
    let populate = u64::from(XENMEM_POPULATE_PHYSMAP);
    assert_eq!(
        world.call(populate),
        MemoryOutcome::Again(populate | 1 << 6)
    );
    assert_eq!(world.total(), 1);
    assert_eq!(
        world.call(populate | 1 << 6),
        MemoryOutcome::Again(populate | 2 << 6)
    );
    assert_eq!(world.call(populate | 2 << 6), MemoryOutcome::Done(3));
    assert_eq!(world.total(), 3);
}

#[test]
fn frames_given_up_leave_the_total_and_the_view() {
    let mut world = World::new(16);
    assert_eq!(world.populate(&[3, 4], 0), MemoryOutcome::Done(2));
    let first = world.listed(1)[0];
    let mut raw = world.reservation(2, 0);
    raw.mem_flags = 0xdead_beef;
    world.put(ARGUMENT, &raw);
    assert_eq!(
        world.run(XENMEM_DECREASE_RESERVATION),
        MemoryOutcome::Done(2)
    );
    assert_eq!(world.total(), 0);
    assert_eq!(world.pfn_of(first), Pfn::NONE);
    assert_eq!(
        world.run(XENMEM_DECREASE_RESERVATION),
        MemoryOutcome::Done(0)
    );
}

#[test]
fn a_frame_in_use_stays_counted_until_its_last_use_ends() {
    let mut world = World::new(16);
    assert_eq!(world.populate(&[3], 0), MemoryOutcome::Done(1));
    let number = world.listed(1)[0];
    let mapping = world
        .ram()
        .reference(world.own.owner(), number)
        .unwrap()
        .record();
    assert_eq!(
        world.run(XENMEM_DECREASE_RESERVATION),
        MemoryOutcome::Done(1)
    );
    assert_eq!(
        world.run(XENMEM_DECREASE_RESERVATION),
        MemoryOutcome::Done(1)
    );
    assert_eq!(world.total(), 1);
    drop(crate::frame::FrameRef::adopt(world.ram(), mapping));
    assert_eq!(world.total(), 0);
}

#[test]
fn an_exchange_swaps_small_extents_for_a_large_one() {
    let mut world = World::new(16);
    assert_eq!(world.populate(&[0, 1, 2, 3], 0), MemoryOutcome::Done(4));
    let mut raw = MemoryExchange {
        input: world.reservation(4, 0),
        output: world.reservation(1, 2),
        nr_exchanged: 0,
    };
    let out = LIST + 0x1000;
    raw.output.extent_start = GuestPtr::new(out);
    world.put(out, &20_u64);
    world.put(ARGUMENT, &raw);
    assert_eq!(world.run(XENMEM_EXCHANGE), MemoryOutcome::Done(0));
    assert_eq!(world.get::<MemoryExchange>(ARGUMENT).nr_exchanged, 4);
    let first: u64 = world.get(out);
    assert_eq!(world.total(), 4);
    assert!((0..4).all(|i| world.pfn_of(first + i) == Pfn::new(20 + i)));
}

#[test]
fn an_exchange_of_a_frame_in_use_changes_nothing() {
    let mut world = World::new(16);
    assert_eq!(world.populate(&[0, 1], 0), MemoryOutcome::Done(2));
    let used = world.listed(2)[1];
    let held = world
        .ram()
        .reference(world.own.owner(), used)
        .unwrap()
        .record();
    let mut raw = MemoryExchange {
        input: world.reservation(2, 0),
        output: world.reservation(1, 1),
        nr_exchanged: 0,
    };
    let out = LIST + 0x1000;
    raw.output.extent_start = GuestPtr::new(out);
    world.put(out, &20_u64);
    world.put(ARGUMENT, &raw);
    assert_eq!(
        world.run(XENMEM_EXCHANGE),
        MemoryOutcome::Refused(Errno::EINVAL)
    );
    assert_eq!(world.total(), 2);
    assert_eq!(world.get::<u64>(out), 20);
    drop(crate::frame::FrameRef::adopt(world.ram(), held));
    assert_eq!(world.run(XENMEM_EXCHANGE), MemoryOutcome::Done(0));
}

#[test]
fn an_exchange_is_checked_as_a_whole_first() {
    let mut world = World::new(16);
    let good = MemoryExchange {
        input: world.reservation(2, 0),
        output: world.reservation(1, 1),
        nr_exchanged: 0,
    };
    type Spoil = fn(&mut MemoryExchange);
    let cases: [(Spoil, Errno); 5] = [
        (|e| e.input.extent_order = 10, Errno::EPERM),
        (|e| e.nr_exchanged = 3, Errno::EINVAL),
        (|e| e.output.domid = RawDomId(1), Errno::EINVAL),
        (|e| e.output.nr_extents = 2, Errno::EINVAL),
        (
            |e| (e.input.domid, e.output.domid) = (RawDomId(9), RawDomId(9)),
            Errno::ESRCH,
        ),
    ];
    for (spoil, errno) in cases {
        let mut raw = good;
        spoil(&mut raw);
        world.put(ARGUMENT, &raw);
        assert_eq!(world.run(XENMEM_EXCHANGE), MemoryOutcome::Refused(errno));
    }
}

#[test]
fn queries_tell_the_accounts_numbers() {
    let mut world = World::new(16);
    assert_eq!(world.populate(&[0, 1], 0), MemoryOutcome::Done(2));
    world.put(
        ARGUMENT,
        &MemoryDomain {
            domid: RawDomId(SELF),
        },
    );
    assert_eq!(
        world.run(XENMEM_CURRENT_RESERVATION),
        MemoryOutcome::Done(2)
    );
    assert_eq!(
        world.run(XENMEM_MAXIMUM_RESERVATION),
        MemoryOutcome::Done(16)
    );
    assert_eq!(world.run(XENMEM_MACHPHYS_MAPPING), MemoryOutcome::Done(0));
    let mapping: MachphysMapping = world.get(ARGUMENT);
    assert_eq!(mapping.max_mfn, 0x40f);
}

#[test]
fn the_memory_map_reaches_to_the_maximum() {
    let mut world = World::new(16);
    world.put(
        ARGUMENT,
        &MemoryMap {
            nr_entries: 8,
            pad0: 0,
            buffer: GuestPtr::new(LIST),
        },
    );
    assert_eq!(world.run(XENMEM_MEMORY_MAP), MemoryOutcome::Done(0));
    assert_eq!(world.get::<MemoryMap>(ARGUMENT).nr_entries, 1);
    let (size, kind): (u64, u32) = (world.get(LIST + 8), world.get(LIST + 16));
    assert_eq!((size, kind), (16 << 12, 1));
}

#[test]
fn an_operation_that_does_not_continue_takes_no_extent() {
    let mut world = World::new(16);
    assert_eq!(
        world.call(u64::from(XENMEM_MEMORY_MAP) | 1 << 6),
        MemoryOutcome::Refused(Errno::EINVAL)
    );
    assert_eq!(world.call(8), MemoryOutcome::Refused(Errno::ENOSYS));
}

#[test]
fn an_exchange_that_is_done_looks_at_nothing_more() {
    let mut world = World::new(16);
    let mut raw = MemoryExchange {
        input: world.reservation(2, 0),
        output: world.reservation(1, 1),
        nr_exchanged: 2,
    };
    raw.input.domid = RawDomId(9);
    raw.output.domid = RawDomId(9);
    world.put(ARGUMENT, &raw);
    assert_eq!(world.run(XENMEM_EXCHANGE), MemoryOutcome::Done(0));
    raw.nr_exchanged = 0;
    raw.input.extent_start = GuestPtr::new(0xffff_8000_0000_0000);
    raw.output.mem_flags = XENMEMF_EXACT_NODE_REQUEST;
    world.put(ARGUMENT, &raw);
    let refused = world.run(XENMEM_EXCHANGE);
    assert_eq!(refused, MemoryOutcome::Refused(Errno::EFAULT));
    raw.input.extent_start = GuestPtr::new(LIST);
    world.put(ARGUMENT, &raw);
    let refused = world.run(XENMEM_EXCHANGE);
    assert_eq!(
        refused,
        MemoryOutcome::Refused(Errno::EINVAL),
        "before the domain"
    );
}

#[test]
fn refused_operations_check_their_arguments_first() {
    let mut world = World::new(16);
    let refused = |error| MemoryOutcome::Refused(error);
    for operation in [13, 14, 15, 24, 26, 28] {
        assert_eq!(world.call(operation), refused(Errno::EFAULT), "{operation}");
    }
    let named = |domid| MemoryDomain {
        domid: RawDomId(domid),
    };
    world.put(ARGUMENT, &[0_u8; 64]);
    world.put(ARGUMENT, &named(9));
    for operation in [13, 14, 15, 26, 28] {
        assert_eq!(world.call(operation), refused(Errno::ESRCH), "{operation}");
    }
    assert_eq!(world.call(24), refused(Errno::EINVAL));
    world.put(ARGUMENT, &named(1));
    for (operation, error) in [
        (13, Errno::EPERM),
        (15, Errno::EACCES),
        (26, Errno::EOPNOTSUPP),
    ] {
        assert_eq!(world.call(operation), refused(error), "{operation}");
    }
    assert_eq!(world.call(14), MemoryOutcome::Done(0x1233));
    // Padding, and a claim with a list.
    world.put(ARGUMENT, &[1_u16, 1, 0, 0]);
    assert_eq!(world.call(26), refused(Errno::EINVAL));
    assert_eq!(world.call(24), refused(Errno::EINVAL));
    world.put(ARGUMENT + 12, &1_u32);
    assert_eq!(world.call(28), refused(Errno::EINVAL));
}
