//! Ends and pauses of domains that other CPUs are busy with.

use alloc::sync::Arc;

use hypercall_abi::control::ControlArgument;
use hypercall_abi::control::domain::DomainDestroy;
use hypercall_abi::table::prelude::RegisterArgument;
use hypercall_abi::{RawDomId, number};
use zerocopy::{FromZeros, IntoBytes};

use super::create::{self, Request};
use super::life::Life;
use super::{DomId, Domain};
use crate::cpu::tests::{Bench, DATA};
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

/// Asks for the end of the second domain, once.
fn destroy(bench: &mut Bench) -> u64 {
    let mut request = DomainDestroy::new_zeroed();
    request.as_mut_bytes()[..8].copy_from_slice(DomainDestroy::HEADER.as_bytes());
    request.domid = RawDomId(3);
    bench.write(DATA, &request);
    bench.result(
        number::PARAVANE_OP,
        [DomainDestroy::OPERATION.to_register(), DATA, 0],
    )
}

#[test]
fn an_end_that_another_cpu_is_at_is_not_overtaken() {
    let mut bench = Bench::new();
    let domain = second(&bench);
    let at_it = domain.teardown.try_lock().unwrap();
    let rip = bench.state().registers.rip;
    assert_eq!(destroy(&mut bench), number::PARAVANE_OP.into());
    assert_eq!(
        bench.state().registers.rip,
        rip,
        "the call is to be repeated"
    );
    let state = domain.life.lock(&mut Held::enter()).0.state;
    assert_eq!(state, Life::Building);
    drop(at_it);
    drop(domain);
    assert_eq!(destroy(&mut bench), 0);
}
