//! The end of a domain's memory while somebody on another CPU still works on it.

use hypervisor_core::domain::account::DomainMemory;
use hypervisor_core::fake::FakeMachine;
use hypervisor_core::frame::{FrameRange, FrameTable, Layout, Ram};
use hypervisor_core::ids::{Frames, Pfn};
use hypervisor_core::paging::{Remains, Teardown, VcpuMemory};
use hypervisor_core::sync::Held;

const POOL: [FrameRange; 1] = [FrameRange {
    start: 0x100,
    end: 0x140,
}];

fn table(machine: &FakeMachine, pool: &[FrameRange]) -> FrameTable {
    let layout = Layout {
        pool,
        withheld: &[],
        address_bits: 40,
        no_execute: true,
        max_domains: 2,
    };
    FrameTable::new(machine, &layout).expect("a layout")
}

#[test]
fn a_frame_that_comes_back_behind_the_walk_is_found_by_the_next_one() {
    let machine = FakeMachine::new(&POOL, 1);
    let frames = table(&machine, &POOL);
    let ram = Ram {
        machine: &machine,
        frames: &frames,
    };
    let before = frames.free();
    let domain = DomainMemory::new(ram, 3, Frames::new(8)).expect("memory");
    let frame = ram.allocate_for(domain.owner(), 0, u64::MAX);
    let number = frame.expect("a frame").get();
    // An exchange on another CPU has the frame in hand when the domain begins to die, and then fails.
    let stolen = ram.steal(domain.owner(), number).expect("an idle frame");
    domain.account(&frames).expect("an account").set_dying();
    let mut teardown = Teardown::new();
    let mut step = || {
        let vcpus: [&VcpuMemory; 0] = [];
        teardown.step(ram, &domain, vcpus.into_iter(), &mut Held::enter())
    };
    assert_eq!(step(), Remains::Others);
    drop(stolen);
    assert_eq!(step(), Remains::Nothing);
    assert!(frames.close_account(domain.owner()));
    assert_eq!(frames.free(), before);
}

#[test]
fn the_end_of_a_small_domain_does_not_walk_a_large_machine() {
    const LARGE: [FrameRange; 1] = [FrameRange {
        start: 0x100,
        end: 0x8000,
    }];
    let machine = FakeMachine::new(&LARGE, 1);
    let frames = table(&machine, &LARGE);
    let ram = Ram {
        machine: &machine,
        frames: &frames,
    };
    let before = frames.free();
    let domain = DomainMemory::new(ram, 3, Frames::new(8)).expect("memory");
    let owner = domain.owner();
    for (number, pfn) in (0..8).map(|pfn| (ram.allocate_for(owner, 0, u64::MAX), pfn)) {
        let mfn = number.expect("a frame");
        ram.set_pfn(owner, mfn, Pfn::new(pfn)).expect("a place");
    }
    domain.account(&frames).expect("an account").set_dying();
    machine.order(|orders| orders.questions = 0);
    let (mut teardown, vcpus): (_, [&VcpuMemory; 0]) = (Teardown::new(), []);
    let remains = teardown.step(ram, &domain, vcpus.into_iter(), &mut Held::enter());
    assert_eq!(remains, Remains::Nothing);
    // One question for each 256 frames looked at, and one for each table of the view.
    let asked = machine.orders().questions;
    assert!(asked < 8, "{asked} parts of work for eight frames");
    assert!(frames.close_account(owner));
    assert_eq!(frames.free(), before);
}
