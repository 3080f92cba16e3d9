//! What becomes of a domain that ends by itself, and who waits for it.

use super::{Bench, code, lives::ends, named, wish};
use alloc::boxed::Box;
use dom0_protocol::{
    ErrorCode, Reply, Request, StreamId,
    domain::DomainState,
    ending::{Awaited, EndAction, OnEnd},
    request::{Await, Create},
};
use hypercall_abi::{
    control::domain::{DOMAIN_STATE_CRASHED, DOMAIN_STATE_SHUTDOWN},
    sched::{SHUTDOWN_CRASH, SHUTDOWN_POWEROFF, SHUTDOWN_SUSPEND},
};

const SECOND: u64 = 1_000_000_000;

fn create(bench: &mut Bench, on_end: OnEnd) -> u16 {
    let wish = Create {
        on_end,
        ..wish("a")
    };
    match bench.ask(Request::Create(Box::new(wish))) {
        Ok(Reply::Created(created)) => created.id.expect("made"),
        other => panic!("{other:?}"),
    }
}

fn wait_for(bench: &mut Bench, state: Awaited) -> StreamId {
    let stream = bench.open(Request::Wait(Await {
        domain: named("a"),
        state,
        timeout_ms: Some(20_000),
    }));
    bench.settle();
    stream
}

fn crash(bench: &mut Bench, id: u16) {
    ends(bench, id, DOMAIN_STATE_CRASHED, SHUTDOWN_CRASH);
}

fn id_of(bench: &mut Bench) -> u16 {
    let records = bench.list();
    let found = records.iter().find(|record| record.name.as_str() == "a");
    found.expect("there").id
}

#[test]
fn a_crash_can_restart_or_destroy() {
    let mut bench = Bench::new();
    let restart = OnEnd {
        crash: EndAction::Restart,
        ..OnEnd::default()
    };
    let id = create(&mut bench, restart);
    crash(&mut bench, id);
    bench.pass(2 * SECOND);
    assert_eq!(bench.state("a"), Some(DomainState::Running));
    assert_ne!(id_of(&mut bench), id);
    bench.ask(Request::Destroy(named("a"))).expect("there");
    let destroy = OnEnd {
        crash: EndAction::Destroy,
        ..OnEnd::default()
    };
    let id = create(&mut bench, destroy);
    crash(&mut bench, id);
    bench.assert_empty();
}

#[test]
fn a_poweroff_can_be_kept_to_look_at() {
    let mut bench = Bench::new();
    let keep = OnEnd {
        poweroff: EndAction::Preserve,
        ..OnEnd::default()
    };
    let id = create(&mut bench, keep);
    ends(&mut bench, id, DOMAIN_STATE_SHUTDOWN, SHUTDOWN_POWEROFF);
    assert_eq!(bench.state("a"), Some(DomainState::Shutdown));
    bench.ask(Request::Destroy(named("a"))).expect("there");
    bench.assert_empty();
}

#[test]
fn a_storm_of_restarts_ends_with_the_domain_kept() {
    let mut bench = Bench::new();
    let restart = OnEnd {
        crash: EndAction::Restart,
        ..OnEnd::default()
    };
    create(&mut bench, restart);
    for round in 1..=5 {
        assert_eq!(bench.state("a"), Some(DomainState::Running), "{round}");
        let id = id_of(&mut bench);
        crash(&mut bench, id);
        bench.pass(2 * SECOND);
    }
    assert_eq!(bench.state("a"), Some(DomainState::Crashed));
    bench.pass(100 * SECOND);
    assert_eq!(bench.state("a"), Some(DomainState::Crashed));
}

#[test]
fn a_long_life_ends_the_count_of_short_ones() {
    let mut bench = Bench::new();
    let restart = OnEnd {
        crash: EndAction::Restart,
        ..OnEnd::default()
    };
    create(&mut bench, restart);
    for round in 0..20 {
        bench.pass(if round % 4 == 3 { 11 * SECOND } else { SECOND });
        let id = id_of(&mut bench);
        crash(&mut bench, id);
        bench.pass(2 * SECOND);
        assert_eq!(bench.state("a"), Some(DomainState::Running), "{round}");
    }
}

#[test]
fn who_waits_for_an_end_hears_of_it_whatever_becomes_of_the_domain() {
    for action in [EndAction::Destroy, EndAction::Restart, EndAction::Preserve] {
        let mut bench = Bench::new();
        let on_end = OnEnd {
            crash: action,
            ..OnEnd::default()
        };
        let id = create(&mut bench, on_end);
        let stream = wait_for(&mut bench, Awaited::Crashed);
        assert!(bench.end_of(stream).is_none());
        crash(&mut bench, id);
        assert!(
            matches!(bench.end_of(stream), Some(Ok(Reply::Acted(_)))),
            "{action:?}"
        );
    }
}

#[test]
fn states_are_waited_for_until_they_come_or_cannot_come_any_more() {
    let mut bench = Bench::new();
    let id = create(&mut bench, OnEnd::default());
    let stream = wait_for(&mut bench, Awaited::Running);
    assert!(matches!(bench.end_of(stream), Some(Ok(_))), "it runs");
    let stream = wait_for(&mut bench, Awaited::Paused);
    assert!(bench.end_of(stream).is_none());
    bench.ask(Request::Pause(named("a"))).expect("it runs");
    let again = wait_for(&mut bench, Awaited::Paused);
    match bench.end_of(again) {
        Some(Ok(Reply::Acted(acted))) => assert_eq!(acted.state, Some(DomainState::Paused)),
        other => panic!("{other:?}"),
    }
    bench.ask(Request::Unpause(named("a"))).expect("paused");
    let stream = wait_for(&mut bench, Awaited::Blocked);
    crash(&mut bench, id);
    assert_eq!(bench.end_of(stream).map(code), Some(ErrorCode::GuestGone));
}

#[test]
fn waiting_has_an_end() {
    let mut bench = Bench::new();
    create(&mut bench, OnEnd::default());
    let stream = wait_for(&mut bench, Awaited::Gone);
    bench.pass(21 * SECOND);
    assert_eq!(bench.end_of(stream).map(code), Some(ErrorCode::Deadline));
    let gone = wait_for(&mut bench, Awaited::Gone);
    let running = wait_for(&mut bench, Awaited::Crashed);
    let destroy = bench.open(Request::Destroy(named("a")));
    let answers = bench.answers();
    let end = |id| answers.iter().rfind(|(from, _)| *from == id);
    assert!(matches!(
        end(gone),
        Some((_, dom0_protocol::ServerMessage::Done(_)))
    ));
    assert!(matches!(
        end(running),
        Some((_, dom0_protocol::ServerMessage::Error(_)))
    ));
    assert!(end(destroy).is_some());
}

#[test]
fn a_domain_that_suspends_itself_goes_on_when_it_is_unpaused() {
    let mut bench = Bench::new();
    let id = create(&mut bench, OnEnd::default());
    ends(&mut bench, id, DOMAIN_STATE_SHUTDOWN, SHUTDOWN_SUSPEND);
    assert_eq!(bench.state("a"), Some(DomainState::Shutdown));
    bench.ask(Request::Unpause(named("a"))).expect("it waits");
    assert_eq!(bench.state("a"), Some(DomainState::Running));
    // Its end is one like any other.
    ends(&mut bench, id, DOMAIN_STATE_SHUTDOWN, SHUTDOWN_POWEROFF);
    bench.assert_empty();
}
