//! Event channels through hypercalls of the first domain, and between two domains.

use alloc::sync::Arc;

use hypercall_abi::event::*;
use hypercall_abi::table::prelude::RegisterArgument;
use hypercall_abi::{Errno, RawDomId, RawPort, number};
use zerocopy::{FromBytes, Immutable, IntoBytes};

use super::*;

mod queues;

use crate::domain::DomId;
use crate::domain::create::{self, Request};
use crate::effects::Effects;
use crate::fake::bench::{Bench, DATA};
use crate::ids::{CpuSet, Frames, Place, VcpuId};
use crate::machine::DeviceLine;
use crate::sched::Share;
use crate::sync::Held;

/// Runs an operation on a structure; gives the structure as it is afterwards, or the error.
fn op<T: FromBytes + IntoBytes + Immutable + Copy>(
    bench: &mut Bench,
    operation: u32,
    argument: T,
) -> Result<T, Errno> {
    bench.write(DATA, &argument);
    let result = bench.result(number::EVENT_CHANNEL_OP, [operation.to_register(), DATA, 0]);
    Errno::from_register(result).map(|_| bench.read(DATA))
}

fn unbound(bench: &mut Bench, remote: RawDomId) -> Result<RawPort, Errno> {
    let request = EvtchnAllocUnbound {
        dom: RawDomId::SELF,
        remote_dom: remote,
        port: RawPort(0),
    };
    op(bench, EVTCHNOP_ALLOC_UNBOUND, request).map(|answer| answer.port)
}

fn connect(bench: &mut Bench, remote: RawDomId, port: RawPort) -> Result<RawPort, Errno> {
    let request = EvtchnBindInterdomain {
        remote_dom: remote,
        remote_port: port,
        ..EvtchnBindInterdomain::default()
    };
    op(bench, EVTCHNOP_BIND_INTERDOMAIN, request).map(|answer| answer.local_port)
}

fn send(bench: &mut Bench, port: RawPort) -> Result<(), Errno> {
    op(bench, EVTCHNOP_SEND, EvtchnSend { port }).map(drop)
}

fn close(bench: &mut Bench, port: RawPort) -> Result<(), Errno> {
    op(bench, EVTCHNOP_CLOSE, EvtchnClose { port }).map(drop)
}

fn status(bench: &mut Bench, port: RawPort) -> Result<EvtchnStatus, Errno> {
    let request = EvtchnStatus {
        dom: RawDomId::SELF,
        port,
        ..EvtchnStatus::default()
    };
    op(bench, EVTCHNOP_STATUS, request)
}

fn virq(bench: &mut Bench, virq: u32, vcpu: u32) -> Result<RawPort, Errno> {
    op(
        bench,
        EVTCHNOP_BIND_VIRQ,
        EvtchnBindVirq {
            virq,
            vcpu,
            port: RawPort(0),
        },
    )
    .map(|answer| answer.port)
}

fn ipi(bench: &mut Bench, vcpu: u32) -> Result<RawPort, Errno> {
    op(
        bench,
        EVTCHNOP_BIND_IPI,
        EvtchnBindIpi {
            vcpu,
            port: RawPort(0),
        },
    )
    .map(|answer| answer.port)
}

fn own(bench: &Bench) -> Arc<Domain> {
    bench
        .hv
        .domains
        .get(DomId::FIRST, &mut Held::enter())
        .unwrap()
}

fn is_set(bench: &Bench, domain: &Domain, port: RawPort) -> bool {
    is_pending(&bench.hv, domain, port.0, &mut Held::enter()).unwrap()
}

/// The guest has seen the port.
fn clear(bench: &Bench, domain: &Domain, port: RawPort) {
    two_level::clear_pending(
        bench.hv.machine(),
        domain.shared_info(),
        Port::new(port.0).unwrap(),
    );
}

fn set_mask(bench: &Bench, domain: &Domain, bits: u64) {
    bench
        .hv
        .machine()
        .store_u64(domain.shared_info(), 0xa00, bits);
}

/// The byte that says whether an upcall is due, and the word that says where to look.
fn upcall(bench: &Bench, domain: &Domain, vcpu: usize) -> (u8, u64) {
    let info = domain.vcpus()[vcpu].info().unwrap();
    let machine = bench.hv.machine();
    (
        machine.swap_u8(Place::new(info.frame(), info.offset()), 0),
        machine.fetch_and_u64(info.frame(), info.offset() + 8, 0),
    )
}

fn second_domain(bench: &Bench) -> Arc<Domain> {
    let share = Share {
        weight: 256,
        cap_percent: 0,
        affinity: CpuSet::from_bits(1),
    };
    let request = Request {
        id: DomId::new(5),
        vcpus: 1,
        max_frames: Frames::new(16),
        uuid: [0; 16],
        share,
    };
    create::create(&bench.hv, &request, &mut Held::enter()).unwrap()
}

#[test]
fn the_lowest_ports_come_first_and_each_says_what_it_is() {
    let mut bench = Bench::new();
    assert_eq!(unbound(&mut bench, RawDomId(7)), Ok(RawPort(1)));
    assert_eq!(virq(&mut bench, VIRQ_TIMER, 1), Ok(RawPort(2)));
    assert_eq!(ipi(&mut bench, 1), Ok(RawPort(3)));
    let told = |answer: EvtchnStatus| (answer.status, answer.vcpu, answer.detail);
    assert_eq!(
        status(&mut bench, RawPort(1)).map(told),
        Ok((EVTCHNSTAT_UNBOUND, 0, 7))
    );
    assert_eq!(
        status(&mut bench, RawPort(2)).map(told),
        Ok((EVTCHNSTAT_VIRQ, 1, VIRQ_TIMER))
    );
    assert_eq!(
        status(&mut bench, RawPort(3)).map(told),
        Ok((EVTCHNSTAT_IPI, 1, 0))
    );
    assert_eq!(
        status(&mut bench, RawPort(4)).map(told),
        Ok((EVTCHNSTAT_CLOSED, 0, 0))
    );
    assert_eq!(close(&mut bench, RawPort(2)), Ok(()));
    assert_eq!(virq(&mut bench, VIRQ_TIMER, 1), Ok(RawPort(2)));
}

#[test]
fn bad_arguments_have_the_errors_of_the_abi() {
    let mut bench = Bench::new();
    for port in [RawPort(0), RawPort(4096), RawPort(u32::MAX)] {
        assert_eq!(send(&mut bench, port), Err(Errno::EINVAL));
        assert_eq!(close(&mut bench, port), Err(Errno::EINVAL));
    }
    // Ports come in groups of 64; port 0 is there and nobody's.
    for port in [RawPort(64), RawPort(4096), RawPort(u32::MAX)] {
        assert_eq!(status(&mut bench, port).map(drop), Err(Errno::EINVAL));
    }
    let reserved = status(&mut bench, RawPort(0)).map(|answer| answer.status);
    assert_eq!(reserved, Ok(EVTCHNSTAT_CLOSED));
    assert_eq!(close(&mut bench, RawPort(9)), Err(Errno::EINVAL));
    assert_eq!(virq(&mut bench, 24, 0), Err(Errno::EINVAL));
    assert_eq!(virq(&mut bench, VIRQ_DOM_EXC, 1), Err(Errno::EINVAL));
    assert_eq!(virq(&mut bench, VIRQ_TIMER, 2), Err(Errno::ENOENT));
    assert_eq!(ipi(&mut bench, 2), Err(Errno::ENOENT));
    assert_eq!(virq(&mut bench, VIRQ_TIMER, 0), Ok(RawPort(1)));
    assert_eq!(virq(&mut bench, VIRQ_TIMER, 0), Err(Errno::EEXIST));
    assert_eq!(send(&mut bench, RawPort(1)), Err(Errno::EINVAL));
    assert_eq!(
        connect(&mut bench, RawDomId(9), RawPort(1)),
        Err(Errno::ESRCH)
    );
    assert_eq!(
        connect(&mut bench, RawDomId::SELF, RawPort(1)),
        Err(Errno::EINVAL)
    );
    let request = EvtchnBindVcpu {
        port: RawPort(1),
        vcpu: 1,
    };
    assert_eq!(
        op(&mut bench, EVTCHNOP_BIND_VCPU, request).map(drop),
        Err(Errno::EINVAL)
    );
    let result = bench.result(number::EVENT_CHANNEL_OP, [EVTCHNOP_SEND.into(), 1 << 47, 0]);
    assert_eq!(result, Errno::EFAULT.to_register());
}

#[test]
fn ports_end_with_enospc_and_reset_frees_them_all() {
    let mut bench = Bench::new();
    let mut last = Ok(RawPort(0));
    for expected in 1..4096 {
        last = unbound(&mut bench, RawDomId::SELF);
        assert_eq!(last, Ok(RawPort(expected)));
    }
    assert_eq!(last, Ok(RawPort(4095)));
    assert_eq!(unbound(&mut bench, RawDomId::SELF), Err(Errno::ENOSPC));
    assert_eq!(
        op(
            &mut bench,
            EVTCHNOP_RESET,
            EvtchnReset {
                dom: RawDomId::SELF
            }
        )
        .map(drop),
        Ok(())
    );
    assert_eq!(own(&bench).events.used().count(), 0);
    assert_eq!(unbound(&mut bench, RawDomId::SELF), Ok(RawPort(1)));
}

#[test]
fn an_ipi_sets_its_bit_and_tells_its_vcpu_once() {
    let mut bench = Bench::new();
    let domain = own(&bench);
    let port = ipi(&mut bench, 1).unwrap();
    send(&mut bench, port).unwrap();
    assert!(is_set(&bench, &domain, port));
    assert_eq!(upcall(&bench, &domain, 1), (1, 1));
    send(&mut bench, port).unwrap();
    assert_eq!(upcall(&bench, &domain, 1), (0, 0), "it was pending already");
    clear(&bench, &domain, port);
    send(&mut bench, port).unwrap();
    assert_eq!(upcall(&bench, &domain, 1), (1, 1));
    assert_eq!(upcall(&bench, &domain, 0), (0, 0));
}

#[test]
fn a_masked_port_waits_for_its_unmask() {
    let mut bench = Bench::new();
    let domain = own(&bench);
    let port = ipi(&mut bench, 0).unwrap();
    set_mask(&bench, &domain, u64::MAX);
    send(&mut bench, port).unwrap();
    assert!(is_set(&bench, &domain, port));
    assert_eq!(upcall(&bench, &domain, 0), (0, 0));
    op(&mut bench, EVTCHNOP_UNMASK, EvtchnUnmask { port }).unwrap();
    assert_eq!(upcall(&bench, &domain, 0), (1, 1));
    assert_eq!(
        bench.hv.machine().load_u64(domain.shared_info(), 0xa00),
        !(1 << port.0)
    );
    op(&mut bench, EVTCHNOP_UNMASK, EvtchnUnmask { port }).unwrap();
    assert_eq!(
        upcall(&bench, &domain, 0),
        (0, 0),
        "it was not masked any more"
    );
}

#[test]
fn a_loop_within_a_domain_connects_sends_and_waits_again() {
    let mut bench = Bench::new();
    let domain = own(&bench);
    let far = unbound(&mut bench, RawDomId::SELF).unwrap();
    assert_eq!(send(&mut bench, far), Ok(()), "dropped, not refused");
    let near = connect(&mut bench, RawDomId::SELF, far).unwrap();
    assert!(is_set(&bench, &domain, near), "a new end looks at once");
    send(&mut bench, near).unwrap();
    assert!(is_set(&bench, &domain, far));
    close(&mut bench, near).unwrap();
    let answer = status(&mut bench, far).unwrap();
    assert_eq!((answer.status, answer.detail), (EVTCHNSTAT_UNBOUND, 0));
    assert_eq!(connect(&mut bench, RawDomId::SELF, far), Ok(near));
}

#[test]
fn a_freed_port_is_quiet_when_it_is_given_out_again() {
    let mut bench = Bench::new();
    let domain = own(&bench);
    let port = ipi(&mut bench, 0).unwrap();
    send(&mut bench, port).unwrap();
    close(&mut bench, port).unwrap();
    let pending = is_pending(&bench.hv, &domain, port.0, &mut Held::enter());
    assert_eq!(pending, None);
    assert_eq!(ipi(&mut bench, 0), Ok(port));
    assert!(!is_set(&bench, &domain, port));
}

#[test]
fn two_domains_notify_each_other_until_one_closes() {
    let mut bench = Bench::new();
    let (first, second) = (own(&bench), second_domain(&bench));
    let request = EvtchnAllocUnbound {
        dom: RawDomId(5),
        remote_dom: RawDomId(0),
        port: RawPort(0),
    };
    let theirs = op(&mut bench, EVTCHNOP_ALLOC_UNBOUND, request)
        .unwrap()
        .port;
    let ours = connect(&mut bench, RawDomId(5), theirs).unwrap();
    send(&mut bench, ours).unwrap();
    assert!(is_set(&bench, &second, theirs));
    assert_eq!(upcall(&bench, &second, 0), (1, 1));
    assert_eq!(
        connect(&mut bench, RawDomId(5), theirs),
        Err(Errno::EINVAL),
        "it is taken"
    );

    let (mut effects, mut held) = (Effects::new(), Held::enter());
    assert!(close_some(&bench.hv, &second, 64, Last::Yes, &mut held));
    let answer = status(&mut bench, ours).unwrap();
    assert_eq!((answer.status, answer.detail), (EVTCHNSTAT_UNBOUND, 5));
    assert_eq!(send(&mut bench, ours), Ok(()));
    assert_eq!(
        op(&mut bench, EVTCHNOP_ALLOC_UNBOUND, request).map(drop),
        Err(Errno::EINVAL),
        "it gives out no port"
    );
    send_virq(
        &bench.hv,
        &second,
        VcpuId::FIRST,
        Virq::Timer,
        &mut effects,
        &mut held,
    );
    assert_eq!(first.events.used().count(), 1);
}

#[test]
fn a_virq_reaches_its_port_and_is_dropped_without_one() {
    let mut bench = Bench::new();
    let domain = own(&bench);
    let (mut effects, mut held) = (Effects::new(), Held::enter());
    send_virq(
        &bench.hv,
        &domain,
        VcpuId::FIRST,
        Virq::DomExc,
        &mut effects,
        &mut held,
    );
    let port = virq(&mut bench, VIRQ_DOM_EXC, 0).unwrap();
    op(
        &mut bench,
        EVTCHNOP_BIND_VCPU,
        EvtchnBindVcpu { port, vcpu: 1 },
    )
    .unwrap();
    send_virq(
        &bench.hv,
        &domain,
        VcpuId::FIRST,
        Virq::DomExc,
        &mut effects,
        &mut held,
    );
    assert!(is_set(&bench, &domain, port));
    assert_eq!(
        (upcall(&bench, &domain, 0).0, upcall(&bench, &domain, 1).0),
        (0, 1)
    );
    close(&mut bench, port).unwrap();
    assert_eq!(
        virq(&mut bench, VIRQ_DOM_EXC, 0),
        Ok(port),
        "a global one that was moved is free again"
    );
}

#[test]
fn a_devices_line_is_the_first_domains_once_it_is_claimed() {
    let mut bench = Bench::new();
    let domain = own(&bench);
    let request = EvtchnBindPirq {
        pirq: 3,
        ..EvtchnBindPirq::default()
    };
    assert_eq!(
        op(&mut bench, EVTCHNOP_BIND_PIRQ, request).map(drop),
        Err(Errno::EPERM)
    );
    bench.hv.lines().claim(DeviceLine(3));
    let port = op(&mut bench, EVTCHNOP_BIND_PIRQ, request).unwrap().port;
    assert_eq!(
        op(&mut bench, EVTCHNOP_BIND_PIRQ, request).map(drop),
        Err(Errno::EEXIST)
    );
    device_interrupt(&bench.hv, DeviceLine(3), &mut Effects::new());
    assert!(is_set(&bench, &domain, port));
    close(&mut bench, port).unwrap();
    device_interrupt(&bench.hv, DeviceLine(3), &mut Effects::new());
    assert_eq!(
        op(&mut bench, EVTCHNOP_BIND_PIRQ, request).map(|answer| answer.port),
        Ok(port)
    );
}

#[test]
fn the_first_domain_is_told_once_of_new_text_in_the_log() {
    let mut bench = Bench::new();
    let domain = own(&bench);
    let port = virq(&mut bench, VIRQ_CON_RING, 0).unwrap();
    clear(&bench, &domain, port);
    crate::console::LOG.lock_leaf().write(b"news\n");
    assert_eq!(status(&mut bench, port).map(drop), Ok(()));
    assert!(is_set(&bench, &domain, port));
}
