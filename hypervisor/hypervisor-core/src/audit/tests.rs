//! Each breach is planted once and found under its name.

use super::*;
use crate::domain::account::DomainMemory;
use crate::fake::FakeMachine;
use crate::frame::{FrameRange, FrameRef, FrameTable, FrameType, Layout, OwnerId, Ram};
use crate::ids::{EntryIndex, Frames, Level, Mfn, Pfn};
use crate::machine::Machine;
use crate::paging::descriptor::Shown;
use crate::paging::{Step, Tables, VcpuMemory};
use crate::sync::Held;

const POOL: [FrameRange; 1] = [FrameRange {
    start: 0x10,
    end: 0x60,
}];

/// A machine with two domains; the first has a vCPU, and its first frame is pinned as L1.
struct World {
    machine: FakeMachine,
    frames: FrameTable,
    domains: [DomainMemory; 2],
    vcpu: VcpuMemory,
    own: [Mfn; 4],
}

impl Holders for World {
    fn for_each_vcpu(&self, found: &mut dyn FnMut(&VcpuMemory)) {
        found(&self.vcpu);
    }

    fn for_each_hold(&self, _found: &mut dyn FnMut(Mfn, Hold)) {}

    fn records(&self, _: OwnerId) -> Frames {
        Frames::new(0)
    }

    fn with_memory(&self, owner: OwnerId, work: &mut dyn FnMut(&DomainMemory)) {
        let found = self.domains.iter().find(|memory| memory.owner() == owner);
        found.map(work);
    }

    fn stand_still(&self, work: &mut dyn FnMut()) {
        work();
    }
}

impl World {
    fn new() -> Self {
        let machine = FakeMachine::new(&POOL, 1);
        let layout = Layout {
            pool: &POOL,
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
        let domains = [1, 2].map(|id| DomainMemory::new(ram, id, Frames::new(20)).unwrap());
        let own = [0; 4].map(|_| ram.allocate_for(domains[0].owner(), 0, u64::MAX).unwrap());
        let world = Self {
            machine,
            frames,
            domains,
            vcpu: VcpuMemory::new(),
            own,
        };
        world.tables(|tables| assert_eq!(tables.pin(own[0].get(), Level::L1), Ok(Step::Done(()))));
        assert_eq!(world.found(), None);
        world
    }

    fn ram(&self) -> Ram<'_, FakeMachine> {
        Ram {
            machine: &self.machine,
            frames: &self.frames,
        }
    }

    fn tables(&self, work: impl FnOnce(Tables<'_, FakeMachine>)) {
        work(Tables::lock(self.ram(), &self.domains[0], &self.vcpu, &mut Held::enter()).0);
    }

    fn write(&self, table: Mfn, index: u16, value: u64) {
        self.machine
            .write_entry(table, EntryIndex::new(index).unwrap(), value);
    }

    fn reference(&self, mfn: Mfn) -> FrameRef<'_, FakeMachine> {
        self.ram()
            .reference(self.domains[0].owner(), mfn.get())
            .unwrap()
    }

    /// The id of the first breach.
    fn found(&self) -> Option<&'static str> {
        audit(self.ram(), self)
            .unwrap()
            .first
            .map(|breach| breach.id())
    }
}

#[test]
fn a_type_on_a_free_frame_is_found() {
    let world = World::new();
    let free = world.ram().allocate_one().unwrap().first();
    assert!(world.ram().take_type(free, FrameType::Writable).is_ok());
    world.ram().finish_change(free);
    assert_eq!(world.found(), Some("I-01 free-frame"));
}

#[test]
fn a_forgotten_reference_is_found() {
    let world = World::new();
    world.reference(world.own[1]).record();
    assert_eq!(world.found(), Some("I-02 general-count"));
}

#[test]
fn a_reference_given_back_twice_is_found() {
    let world = World::new();
    world.ram().give_back(world.own[0]);
    assert_eq!(world.found(), Some("I-02 general-count"));
}

#[test]
fn a_forgotten_type_reference_is_found() {
    let world = World::new();
    assert!(
        world
            .ram()
            .take_type(world.own[0], FrameType::Table(Level::L1))
            .is_ok()
    );
    assert_eq!(world.found(), Some("I-03 type-count"));
}

#[test]
fn a_writable_mapping_of_a_table_is_found() {
    let world = World::new();
    world.write(world.own[0], 3, world.own[0].address() | 7 | 1 << 52);
    assert_eq!(world.found(), Some("I-02 general-count"));
    world.reference(world.own[0]).record();
    assert_eq!(world.found(), Some("I-04 type-conflict"));
}

#[test]
fn a_frame_left_between_two_types_is_found() {
    let world = World::new();
    assert!(
        world
            .ram()
            .take_type(world.own[1], FrameType::Table(Level::L1))
            .is_ok()
    );
    assert_eq!(world.found(), Some("I-05 changing"));
    world.ram().clear_type(world.own[1]);
    assert_eq!(world.found(), None);
}

#[test]
fn an_entry_that_no_check_has_passed_is_found() {
    let world = World::new();
    for value in [0x0050_0000_0001, world.own[1].address() | 0x95] {
        world.write(world.own[0], 3, value);
        assert_eq!(world.found(), Some("I-06 entry"), "{value:#x}");
    }
}

#[test]
fn a_foreign_hypervisor_slot_is_found() {
    let world = World::new();
    world.tables(|t| assert_eq!(t.pin(world.own[1].get(), Level::L4), Ok(Step::Done(()))));
    assert_eq!(world.found(), None);
    world.write(world.own[1], 270, 7);
    assert_eq!(world.found(), Some("I-07 hypervisor-slot"));
}

#[test]
fn a_gate_in_a_descriptor_page_is_found() {
    let world = World::new();
    let gdt = [world.own[1].get()];
    world.tables(|t| assert_eq!(t.set_gdt(&world.vcpu, &gdt, 512, Shown::Nowhere), Ok(())));
    assert_eq!(world.found(), None);
    world.write(world.own[1], 9, 0x0000_ec00_0000_0000);
    assert_eq!(world.found(), Some("I-08 descriptor"));
}

#[test]
fn an_uncharged_frame_is_found() {
    let world = World::new();
    world
        .ram()
        .allocate_one()
        .unwrap()
        .assign(world.domains[1].owner());
    assert_eq!(world.found(), Some("I-09 account"));
}

#[test]
fn a_frame_that_nobody_accounts_for_is_found() {
    let world = World::new();
    world
        .ram()
        .allocate_one()
        .unwrap()
        .assign(OwnerId::HYPERVISOR);
    assert_eq!(world.found(), Some("I-10 conservation"));
}

#[test]
fn a_number_for_somebody_elses_frame_is_found() {
    let world = World::new();
    assert_eq!(
        world
            .ram()
            .set_pfn(world.domains[1].owner(), world.own[0], Pfn::new(1)),
        Ok(())
    );
    assert_eq!(world.found(), Some("I-11 view"));
}
