//! Ends and pauses of domains that other CPUs are busy with.

use alloc::sync::Arc;

use super::create::{self, Request};
use super::{DomId, Domain};
use crate::cpu::tests::Bench;
use crate::effects::Effects;
use crate::ids::{CpuSet, Frames, Nanos, PhysCpu};
use crate::sched::{Halt, Share};
use crate::sync::Held;

/// A domain of one vCPU that is up, unpaused.
fn second(bench: &Bench) -> Arc<Domain> {
    let request = Request {
        id: DomId::new(3),
        vcpus: 1,
        max_frames: Frames::new(64),
        uuid: [0; 16],
        share: Share {
            weight: 256,
            cap_percent: 0,
            affinity: CpuSet::from_bits(1),
        },
    };
    let mut held = Held::enter();
    let domain = create::create(&bench.hv, &request, &mut held).unwrap();
    let entity = domain.vcpus()[0].entity().unwrap();
    let now = Nanos::new(0);
    bench
        .hv
        .scheduler
        .lock(&mut held)
        .0
        .resume(entity, Halt::Down, now);
    assert!(bench.hv.unpause(&domain, &mut Effects::new(), &mut held));
    domain
}

#[test]
fn a_vcpu_that_a_cpu_is_about_to_put_on_is_somewhere() {
    let bench = Bench::new();
    let domain = second(&bench);
    let mut held = Held::enter();
    assert!(!bench.hv.is_somewhere(&domain, &mut held));
    let cpu = PhysCpu::new(1).unwrap();
    let share = Share {
        weight: 256,
        cap_percent: 0,
        affinity: CpuSet::from_bits(2),
    };
    let (mut scheduler, _) = bench.hv.scheduler.lock(&mut held);
    scheduler.set_share(domain.group().unwrap(), share);
    let given = scheduler.schedule(cpu, Nanos::new(0));
    scheduler.pause(domain.group().unwrap(), Nanos::new(0));
    drop(scheduler);
    assert!(given.next.is_some());
    assert!(bench.hv.is_somewhere(&domain, &mut held));
    bench
        .hv
        .scheduler
        .lock(&mut held)
        .0
        .schedule(cpu, Nanos::new(0));
    assert!(!bench.hv.is_somewhere(&domain, &mut held));
}
