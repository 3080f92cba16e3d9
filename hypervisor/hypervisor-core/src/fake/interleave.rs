//! Two or three CPUs at once, in orders that shuttle chooses: what no lock decides.
//!
//! Each test runs many times from the same seeds, so a failure comes back. Every atomic access is a place where another CPU
//! may go on.

use std::sync::Arc;
use std::vec::Vec;

use shuttle::scheduler::{PctScheduler, RandomScheduler, Scheduler};
use shuttle::{Config, FailurePersistence, Runner, thread};

use hypercall_abi::number;

use super::FakeMachine;
use crate::caller::Caller;
use crate::dispatch;
use crate::domain::account::DomainMemory;
use crate::domain::create::{self, Request};
use crate::domain::{DomId, Domain};
use crate::effects::Effects;
use crate::frame::types::{Released, Taken};
use crate::frame::{
    FrameRange, FrameRef, FrameTable, FrameType, Layout, Ram, ReferenceError, WritableRef,
};
use crate::heap;
use crate::hypervisor::{BootInfo, Hypervisor, Options};
use crate::ids::{CpuSet, Frames, Level, Mfn, Nanos, PhysCpu, VcpuId};
use crate::sched::{Halt, Share};
use crate::sync::Held;
use crate::vcpu::VcpuState;
use crate::vcpu::shared::Vcpu;

/// How often each of two ways of choosing runs a test.
const RUNS: usize = 40;
const POOL: [FrameRange; 1] = [FrameRange {
    start: 0x10,
    end: 0x28,
}];

const LAYOUT: Layout<'static> = Layout {
    pool: &POOL,
    withheld: &[],
    address_bits: 40,
    no_execute: true,
    max_domains: 2,
};

fn explore(test: fn()) {
    fn run(scheduler: impl Scheduler + 'static, test: fn()) {
        let mut config = Config::new();
        config.silence_warnings = true;
        config.stack_size = 1 << 20;
        // The seeds bring a failure back; a schedule is megabytes long.
        config.failure_persistence = FailurePersistence::None;
        Runner::new(scheduler, config).run(test);
    }
    run(RandomScheduler::new_from_seed(1, RUNS), test);
    run(PctScheduler::new_from_seed(2, 3, RUNS), test);
}

/// A domain with one frame.
struct World {
    machine: FakeMachine,
    frames: FrameTable,
    memory: DomainMemory,
    frame: Mfn,
}

impl World {
    fn new() -> Arc<Self> {
        let machine = FakeMachine::new(&POOL, 1);
        let frames = FrameTable::new(&machine, &LAYOUT).unwrap();
        let ram = Ram {
            machine: &machine,
            frames: &frames,
        };
        let memory = DomainMemory::new(ram, 1, Frames::new(4)).unwrap();
        let frame = ram.allocate_for(memory.owner(), 0, u64::MAX).unwrap();
        Arc::new(Self {
            machine,
            frames,
            memory,
            frame,
        })
    }

    fn ram(&self) -> Ram<'_, FakeMachine> {
        Ram {
            machine: &self.machine,
            frames: &self.frames,
        }
    }

    fn reference(&self) -> Result<FrameRef<'_, FakeMachine>, ReferenceError> {
        self.ram().reference(self.memory.owner(), self.frame.get())
    }

    /// Runs each on a CPU of its own, to their ends.
    fn at_once(self: &Arc<Self>, each: &[fn(&Self)]) {
        let start = |&work: &fn(&Self)| {
            let world = Arc::clone(self);
            thread::spawn(move || work(&world))
        };
        let running: Vec<_> = each.iter().map(start).collect();
        for cpu in running {
            cpu.join().unwrap();
        }
    }
}

#[test]
fn a_frame_is_freed_once_by_whoever_lets_go_last() {
    explore(|| {
        let world = World::new();
        let free = world.frames.free().get();
        let borrow = |world: &World| {
            if let Ok(reference) = world.reference() {
                drop(FrameRef::adopt(world.ram(), reference.record()));
            }
        };
        let end = |world: &World| {
            let owner = world.memory.owner();
            assert_eq!(world.ram().end_allocation(owner, world.frame.get()), Ok(()));
        };
        world.at_once(&[borrow, end, borrow]);
        assert_eq!(world.frames.free().get(), free + 1);
        assert_eq!(world.frames.holding(world.frame).count, 0);
        let account = world.memory.account(&world.frames).unwrap();
        assert_eq!(account.total().get(), 0);
    });
}

/// Makes the frame a table, if it can be one, and takes it down again.
fn make_a_table(world: &World) {
    let Ok(reference) = world.reference() else {
        return;
    };
    let (ram, frame) = (world.ram(), reference.mfn());
    let kind = FrameType::Table(Level::L1);
    if let Ok(Taken::Begun { .. }) = ram.take_type(frame, kind) {
        // The CPU that changes it alone knows its entries.
        assert_eq!(world.frames.type_state(frame).kind, kind);
        ram.finish_change(frame);
        assert!(world.frames.type_state(frame).is_valid_table(Level::L1));
        if let Released::LastOfTable = ram.release_type(frame) {
            ram.clear_type(frame);
        }
    }
}

fn write_to_it(world: &World) {
    if let Ok(writable) = world.reference().and_then(FrameRef::writable) {
        let state = world.frames.type_state(writable.mfn());
        assert_eq!(state.kind, FrameType::Writable);
        assert_ne!(state.count, 0);
        drop(WritableRef::adopt(world.ram(), writable.record()));
    }
}

#[test]
fn a_frame_is_never_a_table_and_writable() {
    explore(|| {
        let world = World::new();
        world.at_once(&[make_a_table, write_to_it, write_to_it]);
        assert_eq!(world.frames.type_state(world.frame).count, 0);
        assert_eq!(world.frames.holding(world.frame).count, 1);
    });
}

#[test]
fn a_frame_that_is_let_go_while_it_changes_its_type_is_freed_whole() {
    explore(|| {
        let world = World::new();
        let free = world.frames.free().get();
        let end = |world: &World| {
            let owner = world.memory.owner();
            assert_eq!(world.ram().end_allocation(owner, world.frame.get()), Ok(()));
        };
        world.at_once(&[make_a_table, end, write_to_it]);
        assert_eq!(world.frames.holding(world.frame).count, 0);
        assert_eq!(world.frames.free().get(), free + 1);
    });
}

/// A hypervisor with a domain whose one vCPU runs.
fn running() -> (Arc<Hypervisor<FakeMachine>>, Arc<Domain>) {
    let boot = BootInfo {
        layout: LAYOUT,
        machine_map: &[],
        cpus: CpuSet::from_bits(1),
        options: Options {
            first_domain_memory: 0,
            first_domain_vcpus: 1,
            slice: Nanos::new(5_000_000),
            max_domains: 2,
        },
        wallclock: Nanos::new(0),
        tsc_stable: true,
    };
    let hv = Hypervisor::new(FakeMachine::new(&POOL, 1), &boot).unwrap();
    let request = Request {
        id: DomId::new(1),
        vcpus: 1,
        max_frames: Frames::new(4),
        uuid: [0; 16],
        share: Share {
            weight: 256,
            cap_percent: 0,
            affinity: CpuSet::from_bits(1),
        },
    };
    let mut held = Held::enter();
    let domain = create::create(&hv, &request, &mut held).unwrap();
    let vcpu = domain.vcpu(VcpuId::FIRST).unwrap();
    let (now, entity) = (Nanos::new(1), vcpu.entity().unwrap());
    {
        let (mut scheduler, _) = hv.scheduler.lock(&mut held);
        scheduler.unpause(domain.group().unwrap(), now).unwrap();
        scheduler.resume(entity, Halt::Down, now);
        let _decision = scheduler.schedule(PhysCpu::new(0).unwrap(), now);
    }
    vcpu.set_running(PhysCpu::new(0));
    (Arc::new(hv), domain)
}

/// `SCHEDOP_block` of the domain's vCPU.
fn block(hv: &Hypervisor<FakeMachine>, domain: &Arc<Domain>) {
    let mut state = heap::boxed(VcpuState::new()).unwrap();
    let mut caller = Caller {
        hv,
        domain,
        vcpu: domain.vcpu(VcpuId::FIRST).unwrap(),
        state: &mut state,
        cpu: PhysCpu::new(0).unwrap(),
        effects: Effects::new(),
        held: Held::enter(),
        in_multicall: false,
    };
    let mut arguments = [hypercall_abi::sched::SCHEDOP_BLOCK.into(), 0, 0, 0, 0];
    let _done = dispatch::call(&mut caller, number::SCHED_OP.into(), &mut arguments);
}

/// Something done with a vCPU.
type Deed = fn(&Hypervisor<FakeMachine>, &Vcpu);

/// Blocks a vCPU while another CPU does `tell`; then `judge` looks at what became of it.
fn block_beside(tell: Deed, judge: Deed) {
    let (hv, domain) = running();
    let teller = {
        let (hv, domain) = (Arc::clone(&hv), Arc::clone(&domain));
        thread::spawn(move || tell(&hv, domain.vcpu(VcpuId::FIRST).unwrap()))
    };
    block(&hv, &domain);
    teller.join().unwrap();
    judge(&hv, domain.vcpu(VcpuId::FIRST).unwrap());
}

#[test]
fn a_vcpu_that_blocks_while_it_is_told_of_an_event_does_not_sleep() {
    explore(|| {
        let tell: Deed = |hv, vcpu| {
            if vcpu.post(hv.machine(), 3) {
                hv.notify(vcpu, &mut Effects::new(), &mut Held::enter());
            }
        };
        block_beside(tell, |hv, vcpu| {
            assert!(vcpu.upcall_due(hv.machine()));
            assert!(!vcpu.is_waiting(), "it sleeps over an event");
            let mut held = Held::enter();
            let (scheduler, _) = hv.scheduler.lock(&mut held);
            assert!(!scheduler.is_blocked(vcpu.entity().unwrap()));
        });
    });
}

#[test]
fn a_vcpu_that_blocks_while_it_gets_an_nmi_does_not_sleep() {
    explore(|| {
        let tell: Deed = |hv, vcpu| {
            vcpu.raise_nmi();
            hv.notify(vcpu, &mut Effects::new(), &mut Held::enter());
        };
        block_beside(tell, |_, vcpu| {
            assert!(!vcpu.is_waiting(), "it sleeps over an NMI");
        });
    });
}
