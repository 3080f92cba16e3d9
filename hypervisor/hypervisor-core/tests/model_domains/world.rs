//! The machine, its domains and the dice.

use std::collections::BTreeMap;
use std::sync::Arc;

use hypercall_abi::control::domain::{DomainCreate, DomainDestroy};
use hypercall_abi::memory::{
    MemoryReservation, XENMEM_DECREASE_RESERVATION, XENMEM_POPULATE_PHYSMAP,
};
use hypercall_abi::{Errno, GuestPtr, RawDomId, number};
use hypervisor_core::domain::{DomId, Domain};
use hypervisor_core::fake::bench::{Bench, DATA};
use hypervisor_core::fake::next_random;
use hypervisor_core::sync::Held;
use zerocopy::{FromBytes, FromZeros, Immutable, IntoBytes};

use super::grants::Grants;

const LIST: u64 = DATA + 0x800;
/// Frames that a domain begins with.
const FRAMES: usize = 4;

/// The machine.
pub(crate) struct World {
    pub(crate) bench: Bench,
    random: u64,
    /// Those that can be found, dying ones too.
    pub(crate) domains: BTreeMap<u16, Arc<Domain>>,
    /// Those that end as soon as nobody maps their frames.
    pub(crate) dying: Vec<u16>,
    /// Frames of the ordinary domains.
    pub(crate) frames: BTreeMap<u16, Vec<u64>>,
}

impl World {
    pub(crate) fn new(seed: u64) -> Self {
        let bench = Bench::small();
        let first = bench.domain();
        let mut world = Self {
            bench,
            random: next_random(seed),
            domains: BTreeMap::from([(0, first)]),
            dying: Vec::new(),
            frames: BTreeMap::new(),
        };
        (1..4).for_each(|id| world.create(id));
        world
    }

    pub(crate) fn below(&mut self, limit: u64) -> u64 {
        self.random = next_random(self.random);
        (self.random >> 33) % limit
    }

    pub(crate) fn pick<T: Copy>(&mut self, from: &[T]) -> T {
        let index = self.below(u64::try_from(from.len()).expect("few"));
        from[usize::try_from(index).expect("few")]
    }

    /// Any number of a domain, often one that exists.
    pub(crate) fn any_domid(&mut self) -> u16 {
        self.pick(&[0, 1, 2, 3, 0, 1, 2, 3, 0x7ff0, 7, 0xffff])
    }

    /// A domain that can make a call.
    pub(crate) fn caller(&mut self) -> u16 {
        let able = |id: &&u16| !self.dying.contains(id);
        let able: Vec<u16> = self.domains.keys().filter(able).copied().collect();
        self.pick(&able)
    }

    /// Makes a call on a structure; its result and the structure afterwards.
    pub(crate) fn call<T: IntoBytes + FromBytes + FromZeros + Immutable>(
        &mut self,
        caller: u16,
        number: u32,
        operation: u32,
        argument: &T,
    ) -> (Result<u64, Errno>, T) {
        self.bench.write(DATA, argument);
        let arguments = [operation.into(), DATA, 1, 0, 0];
        let result = self
            .bench
            .call_as(&self.domains[&caller], number, arguments);
        (Errno::from_register(result), self.bench.read(DATA))
    }

    pub(crate) fn create(&mut self, id: u16) {
        let made = self.bench.control(|request: &mut DomainCreate| {
            (request.domid, request.max_vcpus) = (RawDomId(id), 2);
            (request.max_frames, request.weight) = (8, 256);
        });
        made.expect("there is room");
        let id_of = DomId::new(id).expect("an ordinary number");
        let domain = self.bench.hv.domains.get(id_of, &mut Held::enter());
        self.domains.insert(id, domain.expect("it was made"));
        self.frames.insert(id, Vec::new());
        (0..FRAMES).for_each(|_| self.give(id));
    }

    /// True if it is gone, false if it is still in use.
    pub(crate) fn destroy(&mut self, id: u16) -> bool {
        // Whoever knows it is waited for.
        self.domains.remove(&id);
        let ended = self
            .bench
            .control(|request: &mut DomainDestroy| request.domid = RawDomId(id));
        match ended.map(drop) {
            Ok(()) => {
                self.dying.retain(|dying| *dying != id);
                self.frames.remove(&id);
                true
            }
            Err(error) => {
                assert_eq!(error, Errno::EBUSY);
                let id_of = DomId::new(id).expect("an ordinary number");
                let domain = self.bench.hv.domains.get(id_of, &mut Held::enter());
                self.domains.insert(id, domain.expect("it is still there"));
                if !self.dying.contains(&id) {
                    self.dying.push(id);
                }
                false
            }
        }
    }

    fn reservation(&mut self, operation: u32, id: u16, number: u64) -> u64 {
        self.bench.write(LIST, &number);
        let request = MemoryReservation {
            extent_start: GuestPtr::new(LIST),
            nr_extents: 1,
            domid: RawDomId(id),
            ..MemoryReservation::default()
        };
        let (done, _) = self.call(0, number::MEMORY_OP, operation, &request);
        assert_eq!(done, Ok(1));
        self.bench.read(LIST)
    }

    fn give(&mut self, id: u16) {
        let page = self.frames[&id].len();
        let page = u64::try_from(page).expect("few");
        let frame = self.reservation(XENMEM_POPULATE_PHYSMAP, id, page);
        self.frames.get_mut(&id).expect("it exists").push(frame);
    }

    /// Gives a domain a frame, or takes one that nobody maps.
    pub(crate) fn give_or_take(&mut self, grants: &Grants) -> String {
        let id = self.caller();
        let Some(frames) = self.frames.get(&id) else {
            return "nothing".into();
        };
        if frames.len() < FRAMES {
            self.give(id);
            return format!("d{id} gets a frame");
        }
        let frame = frames[0];
        if grants.uses(frame) {
            return "nothing".into();
        }
        self.reservation(XENMEM_DECREASE_RESERVATION, id, frame);
        self.frames.get_mut(&id).expect("it exists").remove(0);
        format!("d{id} gives {frame:#x} back")
    }
}
