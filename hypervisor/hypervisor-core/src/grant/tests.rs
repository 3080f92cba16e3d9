//! Grants between two domains on the fake machine: pins, flags, references, and how they end.

use std::rc::Rc;
use std::vec::Vec;

use hypercall_abi::grant::{
    GNTCOPY_DEST_GREF, GNTCOPY_SOURCE_GREF, GNTMAP_DEVICE_MAP, GNTMAP_READONLY, GNTST_BAD_COPY_ARG,
    GNTST_BAD_DEV_ADDR, GNTST_BAD_DOMAIN, GNTST_BAD_GNTREF, GNTST_BAD_HANDLE, GNTST_BAD_PAGE,
    GNTST_EAGAIN, GNTST_GENERAL_ERROR, GNTST_NO_SPACE, GNTST_OKAY, GNTST_PERMISSION_DENIED,
    GTF_PERMIT_ACCESS, GTF_READING, GTF_READONLY, GTF_WRITING, GrantCopy, GrantCopySide,
    MapGrantRef, UnmapGrantRef,
};
use hypercall_abi::ids::{RawDomId, RawGrantRef};

use super::status::Status;
use super::unmap::{self, GROUP};
use super::world::Member;
use super::{GrantCall, GrantTable, World, copy, map};
use crate::domain::account::DomainMemory;
use crate::fake::FakeMachine;
use crate::frame::{FrameRange, FrameTable, FrameType, Layout, Ram};
use crate::ids::{Frames, Mfn, Place};
use crate::machine::Machine;
use crate::paging::VcpuMemory;
use crate::sync::Held;

const SELF: u16 = 0x7ff0;

struct Domain {
    domid: u16,
    memory: DomainMemory,
    grants: GrantTable,
    page: Mfn,
}

impl Member for Domain {
    fn domid(&self) -> u16 {
        self.domid
    }

    fn serial(&self) -> u64 {
        u64::from(self.domid) + 100
    }

    fn grants(&self) -> &GrantTable {
        &self.grants
    }

    fn memory(&self) -> &DomainMemory {
        &self.memory
    }
}

struct Pair {
    own: Rc<Domain>,
    all: Vec<Rc<Domain>>,
}

impl World for Pair {
    type Domain = Domain;
    type Peer = Rc<Domain>;

    fn own(&self) -> &Domain {
        &self.own
    }

    fn find(&self, domid: u16, _: &mut Held<'_, 0>) -> Option<Rc<Domain>> {
        self.all.iter().find(|d| d.domid == domid).map(Rc::clone)
    }

    fn controls(&self, _: u16) -> bool {
        false
    }
}

struct Bench {
    machine: FakeMachine,
    frames: FrameTable,
    vcpu: VcpuMemory,
}

impl Bench {
    fn new() -> Self {
        let pool = [FrameRange {
            start: 0x10,
            end: 0x110,
        }];
        let machine = FakeMachine::new(&pool, 1);
        let layout = Layout {
            pool: &pool,
            withheld: &[],
            address_bits: 40,
            no_execute: true,
            max_domains: 4,
        };
        let frames = FrameTable::new(&machine, &layout).unwrap();
        Self {
            machine,
            frames,
            vcpu: VcpuMemory::new(),
        }
    }

    fn ram(&self) -> Ram<'_, FakeMachine> {
        Ram {
            machine: &self.machine,
            frames: &self.frames,
        }
    }

    fn domain(&self, domid: u16) -> Rc<Domain> {
        let memory = DomainMemory::new(self.ram(), domid, Frames::new(8)).unwrap();
        let grants = GrantTable::new(self.ram(), &memory, 0).unwrap();
        let page = self
            .ram()
            .allocate_for(memory.owner(), 0, u64::MAX)
            .unwrap();
        Rc::new(Domain {
            domid,
            memory,
            grants,
            page,
        })
    }

    /// A granter 1 and a grantee 2, as the grantee sees it.
    fn pair(&self) -> (Rc<Domain>, Pair) {
        let (granter, grantee) = (self.domain(1), self.domain(2));
        let all = [&granter, &grantee].map(Rc::clone).to_vec();
        (granter, Pair { own: grantee, all })
    }

    fn call<'a>(&'a self, world: &'a Pair) -> GrantCall<'a, FakeMachine, Pair> {
        GrantCall {
            ram: self.ram(),
            vcpu: &self.vcpu,
            world,
        }
    }

    /// Writes entry `reference` of a granter as that does.
    fn grant(&self, granter: &Domain, reference: usize, flags: u16, domid: u16, frame: Mfn) {
        let table = granter.grants.frame(0, &mut Held::enter()).unwrap();
        let frame = u32::try_from(frame.get()).unwrap();
        self.machine.store_u32(table, reference * 8 + 4, frame);
        self.machine.store_u16(table, reference * 8 + 2, domid);
        self.machine.store_u16(table, reference * 8, flags);
    }

    fn flags(&self, granter: &Domain, reference: usize) -> u16 {
        let table = granter.grants.frame(0, &mut Held::enter()).unwrap();
        self.machine.load_u16(Place::new(table, reference * 8))
    }

    fn map(&self, world: &Pair, reference: u32, flags: u32) -> MapGrantRef {
        let mut request = MapGrantRef {
            flags,
            gref: RawGrantRef(reference),
            dom: RawDomId(1),
            ..MapGrantRef::default()
        };
        map::map(self.call(world), &mut request, &mut Held::enter());
        request
    }

    fn unmap(&self, world: &Pair, handle: u32, dev_bus_addr: u64) -> i16 {
        let mut request = UnmapGrantRef {
            handle,
            dev_bus_addr,
            ..UnmapGrantRef::default()
        };
        let mut group = [const { None }; GROUP];
        let mut held = Held::enter();
        group[0] = unmap::begin(self.call(world), &mut request, &mut held);
        unmap::finish(self.call(world), &mut group, &mut held);
        request.status
    }

    fn count(&self, mfn: Mfn) -> u32 {
        self.frames.holding(mfn).count
    }
}

#[test]
fn a_device_mapping_pins_the_entry_and_holds_the_frame_until_it_is_unmapped() {
    let bench = Bench::new();
    let (granter, world) = bench.pair();
    bench.grant(&granter, 9, GTF_PERMIT_ACCESS, 2, granter.page);
    let mapped = bench.map(&world, 9, GNTMAP_DEVICE_MAP);
    assert_eq!(mapped.status, GNTST_OKAY);
    assert_eq!(mapped.dev_bus_addr, granter.page.address());
    let in_use = GTF_PERMIT_ACCESS | GTF_READING | GTF_WRITING;
    assert_eq!(bench.flags(&granter, 9), in_use);
    assert_eq!(bench.count(granter.page), 2);
    let state = bench.frames.type_state(granter.page);
    assert_eq!((state.kind, state.count), (FrameType::Writable, 1));

    let wrong = mapped.dev_bus_addr + 4096;
    assert_eq!(
        bench.unmap(&world, mapped.handle, wrong),
        GNTST_BAD_DEV_ADDR
    );
    // With both addresses zero it succeeds and does nothing.
    assert_eq!(bench.unmap(&world, mapped.handle, 0), GNTST_OKAY);
    assert_eq!(bench.count(granter.page), 2);
    assert_eq!(
        bench.unmap(&world, mapped.handle, mapped.dev_bus_addr),
        GNTST_OKAY
    );
    assert_eq!(bench.count(granter.page), 1);
    assert_eq!(bench.flags(&granter, 9), GTF_PERMIT_ACCESS);
    assert_eq!(
        bench.unmap(&world, mapped.handle, mapped.dev_bus_addr),
        GNTST_BAD_HANDLE
    );
}

#[test]
fn an_entry_beyond_the_first_few_gets_its_record_when_it_is_used() {
    let bench = Bench::new();
    let (granter, world) = bench.pair();
    let kept = || granter.grants.overhead(&mut Held::enter()).get();
    for reference in [0, 511] {
        bench.grant(&granter, reference, GTF_PERMIT_ACCESS, 2, granter.page);
    }
    let all: Vec<_> = core::iter::from_fn(|| bench.ram().allocate(0, u64::MAX).ok()).collect();
    assert_eq!(bench.map(&world, 0, GNTMAP_DEVICE_MAP).status, GNTST_OKAY);
    let mapped = bench.map(&world, 511, GNTMAP_DEVICE_MAP);
    assert_eq!((mapped.status, kept()), (GNTST_NO_SPACE, 0));
    assert_eq!(bench.flags(&granter, 511), GTF_PERMIT_ACCESS);

    drop(all);
    let mapped = bench.map(&world, 511, GNTMAP_DEVICE_MAP);
    assert_eq!((mapped.status, kept()), (GNTST_OKAY, 1));
    assert_eq!(bench.count(granter.page), 3);
    let unmapped = bench.unmap(&world, mapped.handle, mapped.dev_bus_addr);
    assert_eq!((unmapped, bench.count(granter.page)), (GNTST_OKAY, 2));
}

#[test]
fn what_the_granter_did_not_permit_is_refused_and_leaves_no_mark() {
    let bench = Bench::new();
    let (granter, world) = bench.pair();
    let foreign = world.own.page;
    let device = GNTMAP_DEVICE_MAP;
    bench.grant(&granter, 8, 0, 2, granter.page);
    bench.grant(&granter, 9, GTF_PERMIT_ACCESS, 3, granter.page);
    bench.grant(
        &granter,
        10,
        GTF_PERMIT_ACCESS | GTF_READONLY,
        2,
        granter.page,
    );
    bench.grant(&granter, 11, GTF_PERMIT_ACCESS, 2, foreign);
    for (reference, flags, status) in [
        (8, device, GNTST_GENERAL_ERROR),
        (9, device, GNTST_GENERAL_ERROR),
        (10, device, GNTST_GENERAL_ERROR),
        (10, device | GNTMAP_READONLY, GNTST_OKAY),
        (11, device, GNTST_BAD_PAGE),
        (512, device, GNTST_BAD_GNTREF),
        (10, 0, GNTST_BAD_GNTREF),
    ] {
        assert_eq!(
            bench.map(&world, reference, flags).status,
            status,
            "{reference}"
        );
    }
    assert_eq!(bench.flags(&granter, 8), 0);
    assert_eq!(bench.flags(&granter, 9), GTF_PERMIT_ACCESS);
    assert_eq!(bench.flags(&granter, 11), GTF_PERMIT_ACCESS);
    assert_eq!(bench.count(foreign), 1);
    let mut nobody = MapGrantRef {
        flags: device,
        dom: RawDomId(SELF),
        ..MapGrantRef::default()
    };
    map::map(bench.call(&world), &mut nobody, &mut Held::enter());
    assert_eq!(nobody.status, GNTST_BAD_DOMAIN);
}

#[test]
fn the_frame_of_a_pinned_entry_stays_the_one_that_was_pinned() {
    let bench = Bench::new();
    let (granter, world) = bench.pair();
    let ram = bench.ram();
    let other = ram
        .allocate_for(granter.memory.owner(), 0, u64::MAX)
        .unwrap();
    bench.grant(&granter, 9, GTF_PERMIT_ACCESS, 2, granter.page);
    let readonly = GNTMAP_DEVICE_MAP | GNTMAP_READONLY;
    let first = bench.map(&world, 9, readonly);
    bench.grant(&granter, 9, GTF_PERMIT_ACCESS, 2, other);
    let second = bench.map(&world, 9, readonly);
    assert_eq!(second.dev_bus_addr, first.dev_bus_addr);
    assert_eq!(bench.count(other), 1);
}

#[test]
fn a_table_is_no_writable_grant() {
    let bench = Bench::new();
    let (granter, world) = bench.pair();
    bench.grant(&granter, 9, GTF_PERMIT_ACCESS, 2, granter.page);
    let taken = bench.ram().take_type(granter.page, FrameType::Descriptor);
    assert!(taken.is_ok());
    let mapped = bench.map(&world, 9, GNTMAP_DEVICE_MAP);
    assert_eq!(mapped.status, GNTST_GENERAL_ERROR);
    assert_eq!(bench.flags(&granter, 9), GTF_PERMIT_ACCESS);
    assert_eq!(bench.count(granter.page), 1);
    let readonly = bench.map(&world, 9, GNTMAP_DEVICE_MAP | GNTMAP_READONLY);
    assert_eq!(readonly.status, GNTST_OKAY);
}

#[test]
fn a_domain_that_ends_gives_back_what_it_has_mapped() {
    let bench = Bench::new();
    let (granter, world) = bench.pair();
    bench.grant(&granter, 9, GTF_PERMIT_ACCESS, 2, granter.page);
    for _ in 0..3 {
        assert_eq!(bench.map(&world, 9, GNTMAP_DEVICE_MAP).status, GNTST_OKAY);
    }
    assert_eq!(bench.count(granter.page), 4);
    let mut held = Held::enter();
    while unmap::end_one(bench.ram(), &world, &world.own, &mut held) {}
    assert_eq!(bench.count(granter.page), 1);
    assert_eq!(bench.flags(&granter, 9), GTF_PERMIT_ACCESS);
    assert_ne!(bench.map(&world, 9, GNTMAP_DEVICE_MAP).status, GNTST_OKAY);
}

#[test]
fn a_granter_that_ends_keeps_its_frame_until_the_mapping_goes() {
    let bench = Bench::new();
    let (granter, mut world) = bench.pair();
    bench.grant(&granter, 9, GTF_PERMIT_ACCESS, 2, granter.page);
    let mapped = bench.map(&world, 9, GNTMAP_DEVICE_MAP);
    let owner = granter.memory.owner();
    granter
        .grants
        .end_sharing(bench.ram(), owner, &mut Held::enter());
    let ended = bench.ram().end_allocation(owner, granter.page.get());
    assert!(ended.is_ok());
    world.all.retain(|domain| domain.domid != 1);
    assert_eq!(bench.count(granter.page), 1);
    let free = bench.frames.free();
    assert_eq!(
        bench.unmap(&world, mapped.handle, mapped.dev_bus_addr),
        GNTST_OKAY
    );
    assert_eq!(bench.frames.free().get(), free.get() + 1);
}

fn side(reference: u64, domid: u16, offset: u16) -> GrantCopySide {
    GrantCopySide {
        reference,
        domid: RawDomId(domid),
        offset,
        pad0: 0,
    }
}

#[test]
fn a_copy_moves_bytes_between_a_grant_and_an_own_frame() {
    let bench = Bench::new();
    let (granter, world) = bench.pair();
    bench.grant(
        &granter,
        9,
        GTF_PERMIT_ACCESS | GTF_READONLY,
        2,
        granter.page,
    );
    bench.machine.write_frame(granter.page, 100, &[7; 1000]);
    let own = world.own.page;
    let copy = |source, dest, len, flags| {
        let mut request = GrantCopy {
            source,
            dest,
            len,
            flags,
            ..GrantCopy::default()
        };
        copy::copy(bench.call(&world), &mut request, &mut Held::enter());
        request.status
    };
    let grant = side(9, 1, 100);
    let frame = side(own.get(), SELF, 3000);
    assert_eq!(copy(grant, frame, 1000, GNTCOPY_SOURCE_GREF), GNTST_OKAY);
    let mut bytes = [0; 1002];
    bench.machine.read_frame(own, 2999, &mut bytes);
    assert_eq!((bytes[0], bytes[1], bytes[1000], bytes[1001]), (0, 7, 7, 0));

    assert_eq!(
        copy(frame, grant, 8, GNTCOPY_DEST_GREF),
        GNTST_GENERAL_ERROR
    );
    assert_eq!(
        copy(grant, frame, 1097, GNTCOPY_SOURCE_GREF),
        GNTST_BAD_COPY_ARG
    );
    assert_eq!(copy(grant, frame, 8, 0), GNTST_PERMISSION_DENIED);
    let foreign = side(granter.page.get(), SELF, 0);
    assert_eq!(copy(foreign, frame, 8, 0), GNTST_BAD_PAGE);
    assert_eq!(copy(foreign, frame, 0, 0), GNTST_BAD_PAGE);
    assert_eq!(copy(grant, frame, 0, GNTCOPY_SOURCE_GREF), GNTST_OKAY);
    let unused = GTF_PERMIT_ACCESS | GTF_READONLY;
    assert_eq!(bench.flags(&granter, 9), unused);
    assert_eq!((bench.count(granter.page), bench.count(own)), (1, 1));
}

#[test]
fn entries_are_swapped_whole_and_only_while_nobody_uses_them() {
    let bench = Bench::new();
    let (granter, world) = bench.pair();
    bench.grant(&granter, 8, GTF_PERMIT_ACCESS, 2, granter.page);
    bench.grant(&granter, 9, 0, 7, granter.page);
    let swap = |a, b| {
        let mut held = Held::enter();
        let (mut shared, _) = granter.grants.shared.lock(&mut held);
        shared.swap(bench.ram(), a, b)
    };
    assert_eq!(swap(8, 512), Err(Status::BadReference));
    assert_eq!(swap(512, 8), Err(Status::BadReference));
    assert_eq!(swap(8, 8), Ok(()));
    assert_eq!(swap(8, 9), Ok(()));
    assert_eq!(bench.flags(&granter, 9), GTF_PERMIT_ACCESS);
    let mapped = bench.map(&world, 9, GNTMAP_DEVICE_MAP);
    assert_eq!(mapped.status, GNTST_OKAY);
    assert_eq!(swap(8, 9), Err(Status::Busy));
    assert_eq!(swap(9, 8), Err(Status::Busy));
    assert_eq!(Status::Busy.number(), GNTST_EAGAIN);
}
