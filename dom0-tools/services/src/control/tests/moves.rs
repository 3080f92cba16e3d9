//! Memory from one domain to another: all of it, or none, whatever happens on the way.

use super::{Bench, code, lives::ends, named, wish};
use crate::{
    DomId,
    xenstore::{Kind, Message, Path},
};
use alloc::boxed::Box;
use dom0_protocol::{
    ClientMessage, ErrorCode, ErrorReply, Reply, Request, StreamId,
    ending::{EndAction, OnEnd},
    reply::Moved,
    request::{Balloon, Create, Move},
    wait::Wait,
};
use hypercall_abi::{
    control::domain::{DOMAIN_STATE_CRASHED, DOMAIN_STATE_SHUTDOWN},
    sched::{SHUTDOWN_CRASH, SHUTDOWN_POWEROFF},
};

const MIB: u64 = 1 << 20;
/// Frames of a MiB.
const FRAMES: u64 = 256;
const SECOND: u64 = 1_000_000_000;

/// Two domains of 16 MiB with drivers, and a move of 4 MiB from the first to the second under way.
struct Scene {
    bench: Bench,
    from: u16,
    to: u16,
    stream: StreamId,
}

fn moving(from: &str, to: &str, bytes: u64) -> Request {
    Request::Move(Move {
        from: named(from),
        to: named(to),
        bytes,
        timeout_ms: 20_000,
    })
}

fn domains() -> (Bench, u16, u16) {
    let mut bench = Bench::new();
    let keep = OnEnd {
        poweroff: EndAction::Preserve,
        ..OnEnd::default()
    };
    let wish = Create {
        on_end: keep,
        ..wish("a")
    };
    bench.ask(Request::Create(Box::new(wish))).expect("room");
    let (from, to) = (1, bench.create("b"));
    for id in [from, to] {
        let who = DomId::new(id).expect("a domain");
        let watch = Message::request(Kind::Watch, b"memory/target\0t\0");
        bench.manager.store.handle(who, &watch);
    }
    (bench, from, to)
}

impl Scene {
    fn new() -> Self {
        let (mut bench, from, to) = domains();
        let stream = bench.open(moving("a", "b", 4 * MIB));
        bench.settle();
        Self {
            bench,
            from,
            to,
            stream,
        }
    }

    /// The same, with the giver's part done.
    fn half_way() -> Self {
        let mut scene = Self::new();
        scene.has(scene.from, 12);
        scene.bench.pass(SECOND);
        assert_eq!(scene.target(scene.to), 20);
        scene
    }

    /// A guest does what it wants to: it owns so many MiB now.
    fn has(&mut self, id: u16, mib: u64) {
        self.bench.host().domain(id).record.frames = mib * FRAMES;
    }

    fn owns(&mut self, id: u16) -> u64 {
        self.bench.host().domain(id).record.frames / FRAMES
    }

    /// Both guests do what they are told.
    fn obey(&mut self) {
        for id in [self.from, self.to] {
            if self.bench.host().domains.contains_key(&id) {
                let target = self.target(id);
                self.has(id, target);
            }
        }
        self.bench.pass(SECOND);
    }

    fn target(&self, id: u16) -> u64 {
        let node = Path::home(DomId::new(id).expect("a domain")).below("memory/target");
        let value = self.bench.manager.store.value(&node).expect("there");
        core::str::from_utf8(value)
            .ok()
            .and_then(|text| text.parse::<u64>().ok())
            .expect("a number")
            / 1024
    }

    #[track_caller]
    fn error(&mut self) -> ErrorReply {
        let end = self.bench.end_of(self.stream).expect("an answer");
        assert!(self.bench.manager.moves.is_empty(), "it is over");
        end.expect_err("turned back")
    }

    fn available(&self) -> u64 {
        self.bench.manager.ledger().expect("no faults").available() / FRAMES
    }
}

#[test]
fn memory_goes_from_one_to_the_other() {
    let mut scene = Scene::new();
    assert_eq!((scene.target(scene.from), scene.target(scene.to)), (12, 16));
    let before = scene.available();
    scene.has(scene.from, 14);
    scene.bench.pass(SECOND);
    assert_eq!(scene.target(scene.to), 16, "not before all of it is there");
    assert_eq!(scene.available(), before, "what was given is nobody else's");
    scene.has(scene.from, 12);
    scene.bench.pass(SECOND);
    assert_eq!(scene.target(scene.to), 20);
    assert_eq!(scene.available(), before);
    scene.obey();
    match scene.bench.end_of(scene.stream) {
        Some(Ok(Reply::Moved(Moved {
            moved_bytes,
            from_memory_bytes,
            to_memory_bytes,
            ..
        }))) => assert_eq!(
            (moved_bytes, from_memory_bytes, to_memory_bytes),
            (4 * MIB, 12 * MIB, 20 * MIB)
        ),
        other => panic!("{other:?}"),
    }
    assert_eq!(scene.available(), before);
}

#[test]
fn what_cannot_be_is_refused_before_anything_changes() {
    let (mut bench, ..) = domains();
    bench
        .ask(Request::Pause(named("b")))
        .expect("pausing is no obstacle to refusals");
    for (request, expected) in [
        (moving("a", "b", 17 * MIB), ErrorCode::BelowMinimum),
        (moving("a", "b", 1 << 50), ErrorCode::BelowMinimum),
        (moving("a", "a", MIB), ErrorCode::InvalidArgument),
        (moving("a", "b", 0), ErrorCode::InvalidArgument),
        (moving("a", "nobody", MIB), ErrorCode::NoSuchDomain),
        (moving("a", "dom0", MIB), ErrorCode::Protected),
    ] {
        assert_eq!(code(bench.ask(request)), expected);
    }
    bench.host().domain(1).record.frames = 40 * FRAMES;
    assert_eq!(
        code(bench.ask(moving("a", "b", 20 * MIB))),
        ErrorCode::OverMaximum
    );
}

#[test]
fn a_giver_that_does_not_comply_gets_its_own_again() {
    for (given, expected) in [
        (16, ErrorCode::GuestRefuses),
        (14, ErrorCode::GuestUnderPressure),
    ] {
        let mut scene = Scene::new();
        scene.has(scene.from, given);
        scene.bench.pass(SECOND);
        scene.bench.pass(20 * SECOND);
        scene.obey();
        assert_eq!(scene.error().code, expected);
        assert_eq!((scene.target(scene.from), scene.target(scene.to)), (16, 16));
        assert_eq!(scene.owns(scene.from), 16);
    }
}

#[test]
fn a_taker_that_does_not_comply_gives_back_what_it_took() {
    for took in [16, 18] {
        let mut scene = Scene::half_way();
        let before = scene.available();
        scene.has(scene.to, took);
        scene.bench.pass(SECOND);
        scene.bench.pass(20 * SECOND);
        assert_eq!(scene.target(scene.to), 16);
        scene.obey();
        assert_eq!(scene.available(), before, "it is kept for the giver");
        scene.obey();
        assert_eq!(scene.error().code.exit_code(), 5);
        assert_eq!((scene.owns(scene.from), scene.owns(scene.to)), (16, 16));
    }
}

#[test]
fn a_taker_that_neither_takes_all_nor_gives_back_keeps_what_it_has() {
    let mut scene = Scene::half_way();
    scene.has(scene.to, 18);
    scene.bench.pass(SECOND);
    scene.bench.pass(20 * SECOND);
    scene.bench.pass(11 * SECOND);
    assert_eq!((scene.target(scene.from), scene.target(scene.to)), (14, 18));
    scene.obey();
    let error = scene.error();
    assert!(error.message.contains("`b` has 18MiB"), "{}", error.message);
}

#[test]
fn an_interrupted_client_leaves_all_as_it_was() {
    for half_way in [false, true] {
        let mut scene = if half_way {
            Scene::half_way()
        } else {
            Scene::new()
        };
        scene.bench.say(scene.stream, &ClientMessage::Close);
        scene.bench.settle();
        scene.obey();
        scene.obey();
        assert!(scene.bench.manager.moves.is_empty());
        assert_eq!((scene.owns(scene.from), scene.owns(scene.to)), (16, 16));
    }
}

#[test]
fn either_domain_may_die_half_way() {
    for half_way in [false, true] {
        for giver_dies in [false, true] {
            let mut scene = if half_way {
                Scene::half_way()
            } else {
                Scene::new()
            };
            if half_way {
                scene.has(scene.to, 18);
            }
            let (dead, other) = if giver_dies {
                (scene.from, scene.to)
            } else {
                (scene.to, scene.from)
            };
            ends(&mut scene.bench, dead, DOMAIN_STATE_CRASHED, SHUTDOWN_CRASH);
            for _ in 0..3 {
                let target = scene.target(other);
                scene.has(other, target);
                scene.bench.pass(SECOND);
            }
            assert_eq!(scene.error().code, ErrorCode::GuestGone);
            assert_eq!(scene.target(other), 16);
        }
    }
}

#[test]
fn a_domain_that_is_destroyed_or_kept_after_its_end_ends_the_move() {
    let mut scene = Scene::half_way();
    ends(
        &mut scene.bench,
        1,
        DOMAIN_STATE_SHUTDOWN,
        SHUTDOWN_POWEROFF,
    );
    scene.bench.settle();
    scene.has(scene.to, 16);
    scene.bench.pass(SECOND);
    assert_eq!(scene.error().code, ErrorCode::GuestGone);
    let mut scene = Scene::half_way();
    let destroy = scene.bench.open(Request::Destroy(named("b")));
    scene.bench.settle();
    let answers = scene.bench.answers();
    assert!(answers.iter().any(|(id, _)| *id == destroy));
    scene.obey();
    assert!(scene.bench.manager.moves.is_empty());
    assert_eq!(scene.owns(scene.from), 16);
}

#[test]
fn another_target_for_one_of_them_turns_the_move_back() {
    for half_way in [false, true] {
        let mut scene = if half_way {
            Scene::half_way()
        } else {
            Scene::new()
        };
        let balloon = |name| {
            Request::Balloon(Balloon {
                domain: named(name),
                target_bytes: 10 * MIB,
                wait: Wait::No,
            })
        };
        let asked = scene.bench.open(balloon("b"));
        scene.bench.settle();
        let answers = scene.bench.answers();
        assert!(answers.iter().any(|(id, _)| *id == asked));
        scene.obey();
        assert!(scene.bench.manager.moves.is_empty());
        assert_eq!((scene.owns(scene.from), scene.owns(scene.to)), (16, 10));
    }
}
