//! Pause, shutdown, reboot, crash and destroy, and who hears of them.

use super::{Bench, code, named, wish};
use alloc::boxed::Box;
use dom0_protocol::{
    DomainSelector, ErrorCode, Reply, Request,
    domain::DomainState,
    request::{Create, Shutdown, Start},
    wait::{Otherwise, Wait},
};
use hypercall_abi::{
    control::domain::{DOMAIN_STATE_CRASHED, DOMAIN_STATE_SHUTDOWN},
    sched::{SHUTDOWN_CRASH, SHUTDOWN_POWEROFF, SHUTDOWN_REBOOT},
};

const SECOND: u64 = 1_000_000_000;

pub(super) fn ends(bench: &mut Bench, id: u16, state: u32, reason: u32) {
    let record = &mut bench.host().domain(id).record;
    record.state = state;
    record.shutdown_reason = reason;
    bench.manager.domain_event();
    bench.settle();
}

fn shutdown(name: &str) -> Shutdown {
    Shutdown {
        domain: named(name),
        wait: Wait::UntilReached {
            timeout_ms: 60_000,
            otherwise: Otherwise::Keep,
        },
    }
}

#[test]
fn states_follow_the_hypervisors_record() {
    let mut bench = Bench::new();
    let id = bench.create("a");
    assert_eq!(bench.state("a"), Some(DomainState::Running));
    bench.host().domain(id).record.vcpus_blocked = 1;
    assert_eq!(bench.state("a"), Some(DomainState::Blocked));
    bench.ask(Request::Pause(named("a"))).expect("it runs");
    assert_eq!(bench.state("a"), Some(DomainState::Paused));
    bench.ask(Request::Pause(named("a"))).expect("harmless");
    bench
        .ask(Request::Unpause(named("a")))
        .expect("it is paused");
    assert_eq!(bench.state("a"), Some(DomainState::Blocked));
    bench.host().domain(id).record.cpu_time_ns = 0;
    bench.host().domain(id).record.vcpus_blocked = 0;
    assert_eq!(bench.state("a"), Some(DomainState::Starting));
    assert_eq!(bench.state("dom0"), Some(DomainState::Running));
}

#[test]
fn a_domain_created_paused_waits_for_its_unpause() {
    let mut bench = Bench::new();
    let paused = Create {
        start: Start::Paused,
        ..wish("a")
    };
    bench.ask(Request::Create(Box::new(paused))).expect("room");
    assert_eq!(bench.state("a"), Some(DomainState::Paused));
    bench.ask(Request::Unpause(named("a"))).expect("it waits");
    assert_eq!(bench.state("a"), Some(DomainState::Running));
}

#[test]
fn a_domain_that_powers_off_is_reaped() {
    let mut bench = Bench::new();
    let id = bench.create("a");
    let stream = bench.open(Request::Shutdown(shutdown("a")));
    bench.settle();
    assert!(bench.end_of(stream).is_none());
    ends(&mut bench, id, DOMAIN_STATE_SHUTDOWN, SHUTDOWN_POWEROFF);
    match bench.end_of(stream) {
        Some(Ok(Reply::Acted(acted))) => assert_eq!((acted.id, acted.state), (id, None)),
        other => panic!("{other:?}"),
    }
    bench.assert_empty();
}

#[test]
fn a_guest_that_does_not_listen_is_told_of() {
    let mut bench = Bench::new();
    bench.create("a");
    let stream = bench.open(Request::Shutdown(shutdown("a")));
    bench.settle();
    bench.pass(61 * SECOND);
    assert_eq!(bench.end_of(stream).map(code), Some(ErrorCode::NoDriver));
}

#[test]
fn a_reboot_keeps_the_name_and_gives_a_new_number() {
    let mut bench = Bench::new();
    let id = bench.create("a");
    let stream = bench.open(Request::Reboot(shutdown("a")));
    bench.settle();
    ends(&mut bench, id, DOMAIN_STATE_SHUTDOWN, SHUTDOWN_REBOOT);
    assert!(bench.end_of(stream).is_none(), "not before its time");
    assert_eq!(bench.state("a"), Some(DomainState::Starting));
    bench.pass(2 * SECOND);
    match bench.end_of(stream) {
        Some(Ok(Reply::Acted(acted))) => {
            assert_eq!((acted.id, acted.state), (id, Some(DomainState::Running)));
        }
        other => panic!("{other:?}"),
    }
    let records = bench.list();
    let record = records
        .iter()
        .find(|record| record.name.as_str() == "a")
        .expect("there");
    assert_ne!(record.id, id);
    bench.ask(Request::Destroy(named("a"))).expect("there");
    bench.assert_empty();
}

#[test]
fn a_shutdown_wins_over_a_reboot_that_is_on_its_way() {
    let mut bench = Bench::new();
    let id = bench.create("a");
    let rebooting = Shutdown {
        wait: Wait::No,
        ..shutdown("a")
    };
    bench
        .ask(Request::Reboot(rebooting.clone()))
        .expect("it runs");
    let stream = bench.open(Request::Shutdown(shutdown("a")));
    ends(&mut bench, id, DOMAIN_STATE_SHUTDOWN, SHUTDOWN_REBOOT);
    assert!(matches!(bench.end_of(stream), Some(Ok(Reply::Acted(acted))) if acted.state.is_none()));
    bench.assert_empty();
    let id = bench.create("b");
    bench
        .ask(Request::Reboot(Shutdown {
            domain: named("b"),
            ..rebooting
        }))
        .expect("it runs");
    ends(&mut bench, id, DOMAIN_STATE_SHUTDOWN, SHUTDOWN_REBOOT);
    assert_eq!(bench.state("b"), Some(DomainState::Starting));
    let ended = bench.ask(Request::Shutdown(shutdown("b")));
    assert!(matches!(ended, Ok(Reply::Acted(acted)) if acted.state.is_none()));
    bench.pass(2 * SECOND);
    bench.assert_empty();
}

#[test]
fn a_crashed_domain_is_kept_until_somebody_has_looked() {
    let mut bench = Bench::new();
    let id = bench.create("a");
    ends(&mut bench, id, DOMAIN_STATE_CRASHED, SHUTDOWN_CRASH);
    assert_eq!(bench.state("a"), Some(DomainState::Crashed));
    let crash = |bench: &mut Bench| match bench.ask(Request::Show(named("a"))) {
        Ok(Reply::Domain(shown)) => shown.detail.crash,
        other => panic!("{other:?}"),
    };
    assert_eq!(crash(&mut bench), None, "it was stopped from outside");
    let record = &mut bench.host().domain(id).record.crash;
    record.text[..4].copy_from_slice(b"why\0");
    record.rip = 0x1234;
    let shown = crash(&mut bench).expect("the hypervisor says why");
    assert_eq!((shown.reason.as_str(), shown.rip), ("why", 0x1234));
    assert_eq!(
        code(bench.ask(Request::Pause(named("a")))),
        ErrorCode::WrongState
    );
    assert_eq!(
        code(bench.ask(Request::Shutdown(shutdown("a")))),
        ErrorCode::WrongState
    );
    bench.ask(Request::Destroy(named("a"))).expect("there");
    bench.assert_empty();
}

#[test]
fn a_domain_destroyed_while_it_is_created_is_gone_for_all() {
    let mut bench = Bench::new();
    let creating = bench.open(Request::Create(Box::new(wish("a"))));
    bench.manager.work();
    let destroying = bench.open(Request::Destroy(named("a")));
    let answers = bench.answers();
    let of = |id| {
        answers
            .iter()
            .filter(move |(from, _)| *from == id)
            .map(|(_, message)| message)
    };
    assert!(of(creating).any(|message| {
        matches!(message, dom0_protocol::ServerMessage::Error(error) if error.code == ErrorCode::Superseded)
    }));
    assert!(of(destroying).any(|message| matches!(message, dom0_protocol::ServerMessage::Done(_))));
    bench.settle();
    bench.assert_empty();
}

#[test]
fn dom0_is_protected_and_strangers_are_unknown() {
    let mut bench = Bench::new();
    for request in [
        Request::Destroy(DomainSelector::Id(0)),
        Request::Pause(named("dom0")),
        Request::Shutdown(shutdown("dom0")),
    ] {
        assert_eq!(code(bench.ask(request)), ErrorCode::Protected);
    }
    assert_eq!(
        code(bench.ask(Request::Show(named("nobody")))),
        ErrorCode::NoSuchDomain
    );
    assert_eq!(
        code(bench.ask(Request::Destroy(DomainSelector::Id(77)))),
        ErrorCode::NoSuchDomain
    );
    assert!(bench.ask(Request::Show(DomainSelector::Id(0))).is_ok());
}

#[test]
fn who_starts_anew_on_a_full_machine_begins_with_what_it_had() {
    let mut bench = Bench::new();
    let id = bench.create("a");
    bench.create("b");
    let down = Request::Balloon(dom0_protocol::request::Balloon {
        domain: named("a"),
        target_bytes: 8 << 20,
        wait: Wait::No,
    });
    bench.ask(down).expect("room");
    bench.host().domain(id).record.frames = 2048;
    // The other takes nearly all that is left.
    let free = bench.host().free();
    bench.host().domain(id + 1).record.frames += free - 1500;
    ends(&mut bench, id, DOMAIN_STATE_SHUTDOWN, SHUTDOWN_REBOOT);
    bench.pass(2 * SECOND);
    let records = bench.list();
    let again = records.iter().find(|record| record.name.as_str() == "a");
    let again = again.expect("it starts anew");
    assert_eq!(
        (again.memory_bytes, again.target_memory_bytes),
        (8 << 20, 8 << 20)
    );
}
