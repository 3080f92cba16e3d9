//! Balloon and vCPUs: reached, refused before anything changed, or not reached with the reason.

use super::{Bench, code, named};
use crate::{
    DomId,
    xenstore::{Kind, Message, Path},
};
use dom0_protocol::{
    ErrorCode, Reply, Request, StreamId,
    request::{Balloon, Vcpus},
    wait::{Otherwise, Wait},
};

const SECOND: u64 = 1_000_000_000;
const MIB: u64 = 1 << 20;

fn wait(otherwise: Otherwise) -> Wait {
    Wait::UntilReached {
        timeout_ms: 60_000,
        otherwise,
    }
}

fn balloon(target: u64, wait: Wait) -> Request {
    Request::Balloon(Balloon {
        domain: named("a"),
        target_bytes: target,
        wait,
    })
}

/// The guest's driver sets its watch.
fn drive(bench: &mut Bench, id: u16, path: &str) {
    let request = Message::request(Kind::Watch, alloc::format!("{path}\0t\0").as_bytes());
    bench
        .manager
        .store
        .handle(DomId::new(id).expect("a domain"), &request);
}

fn target(bench: &Bench, id: u16) -> alloc::vec::Vec<u8> {
    let node = Path::home(DomId::new(id).expect("a domain")).below("memory/target");
    bench.manager.store.value(&node).expect("there").to_vec()
}

fn begin(bench: &mut Bench, request: Request) -> StreamId {
    let id = bench.open(request);
    bench.settle();
    assert!(bench.end_of(id).is_none(), "it waits");
    id
}

#[test]
fn a_balloon_that_the_guest_follows_is_reached() {
    let mut bench = Bench::new();
    let domain = bench.create("a");
    drive(&mut bench, domain, "memory/target");
    let id = begin(&mut bench, balloon(8 * MIB, wait(Otherwise::Keep)));
    assert_eq!(target(&bench, domain), b"8192");
    bench.host().domain(domain).record.frames = 3000;
    bench.pass(SECOND / 10);
    assert!(bench.end_of(id).is_none());
    bench.host().domain(domain).record.frames = 2048;
    bench.pass(SECOND / 10);
    match bench.end_of(id) {
        Some(Ok(Reply::Ballooned(done))) => {
            assert_eq!(
                (done.previous_bytes, done.memory_bytes),
                (16 * MIB, 8 * MIB)
            );
        }
        other => panic!("{other:?}"),
    }
}

#[test]
fn refusals_change_nothing() {
    let mut bench = Bench::new();
    let domain = bench.create("a");
    for (bytes, expected) in [
        (0, ErrorCode::InvalidArgument),
        (MIB, ErrorCode::BelowMinimum),
        (33 * MIB, ErrorCode::OverMaximum),
        (1 << 40, ErrorCode::OverMaximum),
    ] {
        assert_eq!(
            code(bench.ask(balloon(bytes, Wait::No))),
            expected,
            "{bytes}"
        );
        assert_eq!(target(&bench, domain), b"16384");
    }
    let vcpus = |target| {
        Request::Vcpus(Vcpus {
            domain: named("a"),
            target,
            wait: Wait::No,
        })
    };
    assert_eq!(code(bench.ask(vcpus(0))), ErrorCode::InvalidArgument);
    assert_eq!(code(bench.ask(vcpus(5))), ErrorCode::OverMaximum);
}

#[test]
fn growth_that_the_machine_has_not_is_refused_and_promises_count() {
    let mut bench = Bench::new();
    bench.create("a");
    // All but a few frames go to a domain that exists for the hypervisor only.
    let free = bench.host().free();
    bench.host().domain(1).record.frames += free - 1024 - 2000;
    bench.create_fails_for_want_of_memory();
}

impl Bench {
    fn create_fails_for_want_of_memory(&mut self) {
        let request = Request::Create(alloc::boxed::Box::new(super::wish("b")));
        let error = self.ask(request).expect_err("refused");
        assert_eq!(error.code, ErrorCode::InsufficientMemory);
        let amounts = error.amounts.expect("told");
        assert!(amounts.needed > amounts.available);
    }
}

#[test]
fn without_a_driver_the_deadline_says_so_and_the_target_follows() {
    let mut bench = Bench::new();
    let domain = bench.create("a");
    let id = begin(&mut bench, balloon(8 * MIB, wait(Otherwise::Keep)));
    bench.pass(61 * SECOND);
    assert_eq!(bench.end_of(id).map(code), Some(ErrorCode::NoDriver));
    assert_eq!(target(&bench, domain), b"16384");
}

#[test]
fn a_guest_under_pressure_keeps_what_it_reached_or_rolls_back() {
    for (otherwise, expected) in [
        (Otherwise::Keep, &b"12000"[..]),
        (Otherwise::RollBack, b"16384"),
    ] {
        let mut bench = Bench::new();
        let domain = bench.create("a");
        drive(&mut bench, domain, "memory/target");
        let id = begin(&mut bench, balloon(8 * MIB, wait(otherwise)));
        bench.host().domain(domain).record.frames = 3000;
        bench.pass(SECOND);
        bench.pass(60 * SECOND);
        let error = bench.end_of(id).expect("over").expect_err("not reached");
        assert_eq!(error.code, ErrorCode::GuestUnderPressure);
        let reached = error.reached.expect("told");
        assert_eq!((reached.reached, reached.wanted), (3000 * 4096, 8 * MIB));
        assert_eq!(target(&bench, domain), expected);
    }
}

#[test]
fn a_newer_wish_supersedes_an_older_one() {
    let mut bench = Bench::new();
    bench.create("a");
    let first = begin(&mut bench, balloon(8 * MIB, wait(Otherwise::Keep)));
    let second = bench.open(balloon(12 * MIB, wait(Otherwise::Keep)));
    assert_eq!(bench.end_of(first).map(code), Some(ErrorCode::Superseded));
    bench.settle();
    assert!(bench.end_of(second).is_none());
}

#[test]
fn vcpus_are_reached_by_the_hypervisors_count() {
    let mut bench = Bench::new();
    let domain = bench.create("a");
    drive(&mut bench, domain, "cpu");
    let request = Request::Vcpus(Vcpus {
        domain: named("a"),
        target: 3,
        wait: wait(Otherwise::Keep),
    });
    let id = begin(&mut bench, request);
    let node = Path::home(DomId::new(domain).expect("a domain")).below("cpu/2/availability");
    assert_eq!(bench.manager.store.value(&node), Some(&b"online"[..]));
    bench.host().domain(domain).record.vcpus_online = 3;
    bench.pass(SECOND);
    match bench.end_of(id) {
        Some(Ok(Reply::Vcpus(done))) => assert_eq!((done.previous, done.vcpus_online), (1, 3)),
        other => panic!("{other:?}"),
    }
}

#[test]
fn a_guests_own_minimum_is_respected() {
    let mut bench = Bench::new();
    let domain = bench.create("a");
    let report = b"data/balloon\0{\"state\":\"reached\",\"minimum_kib\":10240}";
    let who = DomId::new(domain).expect("a domain");
    bench
        .manager
        .store
        .handle(who, &Message::request(Kind::Write, report));
    let error = bench.ask(balloon(8 * MIB, Wait::No)).expect_err("below");
    assert_eq!(error.code, ErrorCode::BelowMinimum);
    assert_eq!(error.amounts.map(|amounts| amounts.needed), Some(10 * MIB));
    assert!(bench.ask(balloon(10 * MIB, Wait::No)).is_ok());
}
