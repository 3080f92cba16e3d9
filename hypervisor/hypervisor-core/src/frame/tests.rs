//! The pool, the tokens and the M2P views together, on the fake machine.

use std::vec::Vec;

use super::*;
use crate::domain::account::DomainMemory;
use crate::fake::{Access, FakeMachine, next_random};
use crate::ids::{EntryIndex, Frames, Mfn, Pfn};
use crate::machine::{Machine, RootFlush};

const POOL: [FrameRange; 2] = [
    FrameRange {
        start: 0x10,
        end: 0x60,
    },
    FrameRange {
        start: 0x8100,
        end: 0x8200,
    },
];
const FRAMES: u64 = 0x50 + 0x100;
const ANYWHERE: u64 = u64::MAX;

pub(crate) struct World {
    pub(crate) machine: FakeMachine,
    pub(crate) frames: FrameTable,
}

impl World {
    pub(crate) fn new() -> Self {
        Self::of(&POOL)
    }

    /// A pool of so many frames, the defaults of views counted.
    pub(crate) fn with(frames: u64) -> Self {
        Self::of(&[FrameRange {
            start: 0x10,
            end: 0x10 + frames,
        }])
    }

    fn of(pool: &[FrameRange]) -> Self {
        let machine = FakeMachine::new(pool, 2);
        let layout = Layout {
            pool,
            withheld: &[FrameRange {
                start: 0,
                end: 0x10,
            }],
            address_bits: 40,
            no_execute: true,
            max_domains: 4,
        };
        let frames = FrameTable::new(&machine, &layout).unwrap();
        Self { machine, frames }
    }

    pub(crate) fn ram(&self) -> Ram<'_, FakeMachine> {
        Ram {
            machine: &self.machine,
            frames: &self.frames,
        }
    }

    pub(crate) fn domain(&self, domid: u16, maximum: u64) -> DomainMemory {
        DomainMemory::new(self.ram(), domid, Frames::new(maximum)).unwrap()
    }

    fn allocate(&self, domain: &DomainMemory, order: u8) -> Result<Mfn, AllocError> {
        loop {
            match self.ram().allocate_for(domain.owner(), order, ANYWHERE) {
                Err(AllocError::NotYet) => {}
                done => return done,
            }
        }
    }
}

#[test]
fn memory_that_boot_needed_joins_the_pool_later_and_once() {
    let world = World::new();
    let boot = FrameRange {
        start: 0x60,
        end: 0x70,
    };
    let unknown = FrameRange {
        start: 0x40_0000,
        end: 0x40_0010,
    };
    assert_eq!(world.frames.lookup(0x60), None);
    assert!(world.frames.is_device_memory(0x60));
    world.frames.admit(&[boot, unknown, boot]);
    assert_eq!(world.frames.total(), Frames::new(FRAMES + 0x10));
    assert_eq!(world.frames.free(), Frames::new(FRAMES + 0x10 - 3));
    assert!(world.frames.lookup(0x60).is_some());
    assert_eq!(world.frames.lookup(0x40_0000), None);
}

#[test]
fn all_frames_but_the_view_defaults_are_free_at_start() {
    let world = World::new();
    assert_eq!(world.frames.free(), Frames::new(FRAMES - 3));
    assert_eq!(world.frames.total(), Frames::new(FRAMES));
}

#[test]
fn only_numbers_of_the_pool_are_frames() {
    let world = World::new();
    for number in [0, 0xf, 0x60, 0x80ff, 0x8200, u64::MAX] {
        assert_eq!(world.frames.lookup(number), None, "{number:#x}");
    }
    assert_eq!(world.frames.lookup(0x81ff).map(Mfn::get), Some(0x81ff));
    assert_eq!(world.frames.next_frame(0x60).map(Mfn::get), Some(0x8100));
    assert_eq!(world.frames.next_frame(0x8200), None);
}

#[test]
fn device_memory_is_what_is_neither_ram_nor_withheld() {
    let world = World::new();
    assert!(world.frames.is_device_memory(0x60));
    assert!(!world.frames.is_device_memory(0x10));
    assert!(!world.frames.is_device_memory(0xf));
    assert!(world.frames.is_device_memory((1 << 28) - 1));
    assert!(!world.frames.is_device_memory(1 << 28));
}

#[test]
fn a_frame_comes_zeroed_and_goes_back() {
    let world = World::new();
    let domain = world.domain(1, 100);
    let free = world.frames.free();
    let mfn = world.allocate(&domain, 0).unwrap();
    assert!(EntryIndex::all().all(|i| world.machine.read_entry(mfn, i) == 0));
    assert_eq!(
        domain.account(&world.frames).unwrap().total(),
        Frames::new(1)
    );
    assert_eq!(
        world.ram().end_allocation(domain.owner(), mfn.get()),
        Ok(())
    );
    assert_eq!(
        domain.account(&world.frames).unwrap().total(),
        Frames::new(0)
    );
    assert_eq!(world.frames.free(), free);
    assert_eq!(world.frames.to_scrub(), Frames::new(1));
    assert!(world.ram().scrub_step());
    assert!(!world.ram().scrub_step());
    assert_eq!(world.frames.free(), free);
}

#[test]
fn a_frame_that_is_referred_to_is_freed_with_the_last_reference() {
    let world = World::new();
    let domain = world.domain(1, 100);
    let mfn = world.allocate(&domain, 0).unwrap();
    let reference = world.ram().reference(domain.owner(), mfn.get()).unwrap();
    let writable = reference.writable().unwrap();
    assert_eq!(
        world.ram().end_allocation(domain.owner(), mfn.get()),
        Ok(())
    );
    assert_eq!(
        world.ram().end_allocation(domain.owner(), mfn.get()),
        Ok(())
    );
    assert_eq!(
        domain.account(&world.frames).unwrap().total(),
        Frames::new(1)
    );
    drop(writable);
    assert_eq!(
        domain.account(&world.frames).unwrap().total(),
        Frames::new(0)
    );
    assert!(world.ram().reference(domain.owner(), mfn.get()).is_err());
}

#[test]
fn the_maximum_holds() {
    let world = World::new();
    let domain = world.domain(1, 3);
    assert!(world.allocate(&domain, 1).is_ok());
    let refused = Err(AllocError::Account(AccountError::OverMaximum));
    assert_eq!(world.allocate(&domain, 1), refused);
    assert!(world.allocate(&domain, 0).is_ok());
    assert_eq!(world.allocate(&domain, 0), refused);
}

#[test]
fn a_freed_frame_is_flushed_and_scrubbed_before_its_next_use() {
    let world = World::new();
    let domain = world.domain(1, 1000);
    let ram = world.ram();
    let [root, l3, l2, l1, page] = [0; 5].map(|_| world.allocate(&domain, 0).unwrap());
    let first = EntryIndex::new(0).unwrap();
    for (table, below) in [(root, l3), (l3, l2), (l2, l1), (l1, page)] {
        world.machine.write_entry(table, first, below.address() | 7);
    }
    domain
        .account(&world.frames)
        .unwrap()
        .set_dirty(world.machine.cpu_id());
    ram.load_root(root, RootFlush::All);
    assert_eq!(world.machine.access(0x123, Access::Write), Some(page));
    world.machine.write_entry(l1, first, 0);
    assert_eq!(ram.end_allocation(domain.owner(), page.get()), Ok(()));
    assert_eq!(
        world.machine.access(0x123, Access::Write),
        Some(page),
        "stale, as on hardware"
    );
    world.machine.ram().fill(page, 0xee);
    assert!(ram.scrub_step());
    assert_eq!(world.machine.access(0x123, Access::Write), None);
    assert!(EntryIndex::all().all(|i| world.machine.read_entry(page, i) == 0));
}

#[test]
fn an_idle_cpu_scrubs_what_boot_left_and_then_has_nothing_to_do() {
    let world = World::new();
    let (ram, free) = (world.ram(), world.frames.free());
    // The one block of 2^7 frames.
    let block = (0x8180..0x8200).map(Mfn::new);
    for mfn in block.clone() {
        world.machine.ram().fill(mfn, 0xee);
    }
    let steps = (0..FRAMES).take_while(|_| ram.clean_step()).count();
    assert!(steps > 0 && !ram.clean_step());
    assert_eq!(world.frames.free(), free, "frames stay where they are");
    let taken = ram.allocate(7, ANYWHERE).map(|block| block.first().get());
    assert_eq!(taken, Ok(0x8180), "nothing is left to do first");
    for mfn in block {
        assert!(EntryIndex::all().all(|i| world.machine.read_entry(mfn, i) == 0));
    }
}

#[test]
fn frames_that_an_idle_cpu_scrubs_are_missing_nowhere_and_the_others_are_to_be_had() {
    let world = World::new();
    let (ram, frames, free) = (world.ram(), &world.frames, world.frames.free());
    let part = frames.take_dirty_part().unwrap();
    assert_eq!(
        (frames.free(), frames.to_scrub().get()),
        (free, 1 << part.1)
    );
    assert!(ram.allocate(0, ANYWHERE).is_ok());
    // The one block of 2^7 frames is no block meanwhile.
    assert_eq!(ram.allocate(7, ANYWHERE).err(), Some(AllocError::NotYet));
    frames.give_back_part(part);
    assert_eq!((frames.free(), frames.to_scrub().get()), (free, 0));
}

#[test]
fn random_allocation_keeps_every_frame_accounted_for() {
    let world = World::new();
    let domain = world.domain(1, FRAMES);
    let free = world.frames.free().get();
    let mut state = 7;
    let mut held: Vec<(Mfn, u8)> = Vec::new();
    for _ in 0..5000 {
        state = next_random(state);
        let order = u8::try_from(state >> 60).unwrap() % 6;
        if state >> 40 & 1 == 0 || held.is_empty() {
            if let Ok(first) = world.allocate(&domain, order) {
                assert!(first.get().is_multiple_of(1 << order));
                held.push((first, order));
            }
        } else {
            let at = usize::try_from(state >> 45).unwrap() % held.len();
            let (first, order) = held.swap_remove(at);
            for number in first.get()..first.get() + (1 << order) {
                assert_eq!(world.ram().end_allocation(domain.owner(), number), Ok(()));
            }
        }
        let used: u64 = held.iter().map(|&(_, order)| 1 << order).sum();
        assert_eq!(world.frames.free().get() + used, free);
        let mut frames: Vec<u64> = held
            .iter()
            .flat_map(|&(first, order)| first.get()..first.get() + (1 << order))
            .collect();
        frames.sort_unstable();
        frames.dedup();
        assert_eq!(frames.len(), usize::try_from(used).unwrap());
    }
}

#[test]
fn an_address_limit_is_honoured() {
    let world = World::new();
    let low = world.ram().allocate(3, 0x20).unwrap();
    assert!(low.first().get() < 0x20);
    let block = world.ram().allocate(5, 0x40).unwrap();
    assert_eq!(
        world.ram().allocate(5, 0x40).unwrap_err(),
        AllocError::NoMemory
    );
    drop(block);
    assert!(world.ram().allocate(5, 0x40).is_ok());
    assert!(world.ram().allocate(0, 0x10).is_err());
    assert!(world.ram().allocate(0, 0).is_err());
}

#[test]
fn a_limited_allocation_fails_only_if_nothing_below_the_limit_is_free() {
    let world = World::with(0x3f0);
    let is_own = |&n: &u64| world.frames.holding(Mfn::new(n)).owner == OwnerId::HYPERVISOR;
    let own = (0..0x10).chain((0x10..0x400).filter(is_own));
    let mut state = 3;
    let mut held: Vec<(Allocation<'_, _>, u8)> = Vec::new();
    let allocate = |order, below| loop {
        match world.ram().allocate(order, below) {
            Err(AllocError::NotYet) => {}
            done => break done.ok(),
        }
    };
    // Few stay free at first, then more, each alone: long lists of single frames above every limit.
    while let Some(frame) = allocate(0, ANYWHERE) {
        held.push((frame, 0));
    }
    for _ in 0..4000 {
        state = next_random(state);
        let (order, bits) = (u8::try_from(state >> 62).unwrap(), 4 + (state >> 40) % 7);
        let below = 1 << bits;
        if state >> 50 & 1 == 0 {
            let in_use = held
                .iter()
                .flat_map(|(block, order)| block.first().get()..block.first().get() + (1 << order));
            let taken: Vec<u64> = own.clone().chain(in_use).collect();
            let is_free = |first: u64| !taken.iter().any(|&n| n >> order == first >> order);
            let expected = (0..below).step_by(1 << order).any(is_free);
            let given = allocate(order, below);
            assert_eq!(given.is_some(), expected, "order {order} below {below:#x}");
            held.extend(given.map(|block| (block, order)));
        } else if !held.is_empty() {
            let at = usize::try_from(state >> 20).unwrap() % held.len();
            held.swap_remove(at);
        }
    }
}

#[test]
fn each_domain_sees_only_its_own_numbers() {
    let world = World::new();
    let (a, b) = (world.domain(1, 100), world.domain(2, 100));
    let mfn = world.allocate(&a, 0).unwrap();
    assert_eq!(world.ram().pfn(a.owner(), mfn), Pfn::NONE);
    assert_eq!(world.ram().set_pfn(a.owner(), mfn, Pfn::new(42)), Ok(()));
    assert_eq!(world.ram().pfn(a.owner(), mfn), Pfn::new(42));
    assert_eq!(world.ram().pfn(b.owner(), mfn), Pfn::NONE);
    assert_ne!(
        world.frames.view_slot(a.owner()),
        world.frames.view_slot(b.owner())
    );
    assert_eq!(world.ram().end_allocation(a.owner(), mfn.get()), Ok(()));
    assert_eq!(world.ram().pfn(a.owner(), mfn), Pfn::NONE);
}

#[test]
fn a_view_is_read_by_guests_and_written_by_none() {
    let world = World::new();
    let a = world.domain(1, 100);
    let root = world.allocate(&a, 0).unwrap();
    let mfn = world.allocate(&a, 0).unwrap();
    let slot = EntryIndex::new(256).unwrap();
    world
        .machine
        .write_entry(root, slot, world.frames.view_slot(a.owner()));
    world.ram().load_root(root, RootFlush::All);
    let base = 0xffff_8000_0000_0000;
    let mut bytes = [0; 8];
    assert_eq!(
        world.machine.copy_in(base + mfn.get() * 8, &mut bytes),
        Ok(())
    );
    assert_eq!(bytes, [0xff; 8]);
    a.account(&world.frames)
        .unwrap()
        .set_dirty(world.machine.cpu_id());
    assert_eq!(world.ram().set_pfn(a.owner(), mfn, Pfn::new(9)), Ok(()));
    assert_eq!(
        world.machine.copy_in(base + mfn.get() * 8, &mut bytes),
        Ok(())
    );
    assert_eq!(u64::from_le_bytes(bytes), 9);
    assert!(
        world
            .machine
            .copy_out(base + mfn.get() * 8, &bytes)
            .is_err()
    );
}

#[test]
fn a_view_is_freed_whole() {
    let world = World::new();
    let free = world.frames.free();
    let a = world.domain(1, 1000);
    let mfns = [0; 40].map(|_| world.allocate(&a, 0).unwrap());
    for mfn in mfns {
        assert_eq!(world.ram().set_pfn(a.owner(), mfn, Pfn::new(1)), Ok(()));
    }
    assert!(!world.frames.close_account(a.owner()));
    for mfn in mfns {
        assert_eq!(world.ram().end_allocation(a.owner(), mfn.get()), Ok(()));
    }
    assert!(a.account(&world.frames).unwrap().overhead() > Frames::new(1));
    while !world.ram().drop_view_step(a.owner()) {}
    assert!(world.frames.close_account(a.owner()));
    assert_eq!(world.frames.free(), free);
}

#[test]
fn special_pages_end_once_and_are_no_ordinary_ram() {
    let world = World::new();
    let a = world.domain(1, 1);
    let free = world.frames.free();
    let page = world.ram().allocate_special(a.owner()).unwrap();
    assert!(world.ram().end_allocation(a.owner(), page.get()).is_err());
    assert!(world.ram().steal(a.owner(), page.get()).is_err());
    assert_eq!(a.account(&world.frames).unwrap().total(), Frames::new(0));
    assert!(world.ram().end_sharing(a.owner(), page));
    assert!(!world.ram().end_sharing(a.owner(), page));
    assert_eq!(world.frames.free(), free);
}

#[test]
fn a_stolen_frame_is_given_back_unless_it_is_freed() {
    let world = World::new();
    let a = world.domain(1, 10);
    let mfn = world.allocate(&a, 0).unwrap();
    let account = a.account(&world.frames).unwrap();
    drop(world.ram().steal(a.owner(), mfn.get()).unwrap());
    assert_eq!(world.frames.holding(mfn).owner, a.owner());
    world.ram().steal(a.owner(), mfn.get()).unwrap().free();
    assert_eq!(world.frames.holding(mfn).count, 0);
    assert_eq!(
        account.total(),
        Frames::new(1),
        "the charge waits for the replacement"
    );
}

#[test]
fn a_large_block_from_boot_is_scrubbed_in_steps_and_only_once() {
    // Poison in every frame: what is given out without having been scrubbed is seen.
    let world = World::of(&[FrameRange {
        start: 0x400,
        end: 0x800,
    }]);
    let ram = world.ram();
    let mut steps = 1;
    let first = loop {
        match ram.allocate(8, 0x800) {
            Err(AllocError::NotYet) => steps += 1,
            done => break done.unwrap(),
        }
        // Somebody else takes frames in between, clean ones too.
        let other = ram.allocate_one().unwrap();
        assert_eq!(
            world
                .machine
                .read_entry(other.first(), EntryIndex::new(9).unwrap()),
            0
        );
    };
    assert_eq!(steps, 4, "256 frames, 64 at a time");
    for number in 0..256 {
        let mfn = Mfn::new(first.first().get() + number);
        assert_eq!(
            world.machine.read_entry(mfn, EntryIndex::new(511).unwrap()),
            0
        );
    }
    drop(first);
    assert!(ram.allocate(8, 0x800).is_ok(), "it is clean now");
}

#[test]
fn what_boot_left_in_frames_is_given_to_nobody() {
    for seed in 1..20 {
        let world = World::of(&[FrameRange {
            start: 0x400,
            end: 0x800,
        }]);
        let (ram, mut random) = (world.ram(), next_random(seed));
        let mut held = Vec::new();
        for _ in 0..400 {
            random = next_random(random);
            let order = u8::try_from(random >> 40 & 7).unwrap();
            if random >> 50 & 3 == 0 && !held.is_empty() {
                let at = usize::try_from(random >> 33).unwrap() % held.len();
                drop(held.swap_remove(at));
            } else if let Ok(block) = ram.allocate(order, ANYWHERE) {
                for number in 0..1_u64 << order {
                    let mfn = Mfn::new(block.first().get() + number);
                    for index in EntryIndex::all() {
                        assert_eq!(world.machine.read_entry(mfn, index), 0, "seed {seed}");
                    }
                }
                held.push(block);
            }
        }
        drop(held);
        assert_eq!(world.frames.free().get(), 0x400 - 3);
    }
}
