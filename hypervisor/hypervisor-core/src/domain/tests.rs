//! Ends and pauses of domains that other CPUs are busy with.

mod storm;

use alloc::sync::Arc;

use hypercall_abi::control::ControlArgument;
use hypercall_abi::control::domain::{DomainDestroy, DomainResume, DomainUnpause};
use hypercall_abi::table::prelude::RegisterArgument;
use hypercall_abi::{Errno, RawDomId, number};
use zerocopy::IntoBytes;

use super::create::{self, Request};
use super::life::{Life, ShutdownReason};
use super::stop;
use super::{DomId, Domain};
use crate::effects::Effects;
use crate::fake::bench::{Bench, DATA};
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

/// Runs an operation on the second domain, once; gives the register.
fn op<T: ControlArgument>(bench: &mut Bench, set_domid: impl FnOnce(&mut T)) -> u64 {
    let mut request = T::new_zeroed();
    request.as_mut_bytes()[..8].copy_from_slice(T::HEADER.as_bytes());
    set_domid(&mut request);
    bench.write(DATA, &request);
    bench.result(number::PARAVANE_OP, [T::OPERATION.to_register(), DATA, 0])
}

fn destroy(bench: &mut Bench) -> u64 {
    op(bench, |request: &mut DomainDestroy| {
        request.domid = RawDomId(3);
    })
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

#[test]
fn a_domain_that_has_stopped_cannot_be_unpaused() {
    let mut bench = Bench::new();
    let domain = second(&bench);
    let (mut held, mut effects) = (Held::enter(), Effects::new());
    domain.life.lock(&mut held).0.start();
    let reason = ShutdownReason::POWEROFF;
    stop::shut_down(&bench.hv, &domain, reason, &mut effects, &mut held);
    let unpaused = op(&mut bench, |request: &mut DomainUnpause| {
        request.domid = RawDomId(3);
    });
    assert_eq!(unpaused, Errno::EINVAL.to_register());
    let group = domain.group().unwrap();
    assert_eq!(bench.hv.scheduler.lock(&mut held).0.pauses(group), 1);
}

#[test]
fn a_suspended_domain_goes_on_and_no_other_does() {
    let mut bench = Bench::new();
    let domain = second(&bench);
    let (mut held, mut effects) = (Held::enter(), Effects::new());
    let resume = |bench: &mut Bench| {
        op(bench, |request: &mut DomainResume| {
            request.domid = RawDomId(3);
        })
    };
    assert_eq!(resume(&mut bench), Errno::EINVAL.to_register());
    domain.life.lock(&mut held).0.start();
    let group = domain.group().unwrap();
    let pauses = |bench: &Bench| bench.hv.scheduler.lock(&mut Held::enter()).0.pauses(group);
    let before = pauses(&bench);
    let suspend = ShutdownReason::SUSPEND;
    stop::shut_down(&bench.hv, &domain, suspend, &mut effects, &mut held);
    assert_eq!(pauses(&bench), before + 1);
    assert_eq!(resume(&mut bench), 0);
    assert_eq!(pauses(&bench), before);
    let state = domain.life.lock(&mut held).0.state;
    assert_eq!(state, Life::Running);
    assert_eq!(resume(&mut bench), Errno::EINVAL.to_register());
}
