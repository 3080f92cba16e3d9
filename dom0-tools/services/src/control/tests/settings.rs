//! Shares, maxima, names and keys.

use super::{Bench, code, named};
use crate::{
    DomId,
    xenstore::{Kind, Message, Path},
};
use dom0_protocol::{
    DomainName, ErrorCode, Reply, Request,
    reply::Usable,
    request::{Balloon, MaxMemory, Rename, Sched, Sysrq},
    wait::Wait,
};

const MIB: u64 = 1 << 20;
const SECOND: u64 = 1_000_000_000;

fn sched(domain: &str) -> Sched {
    Sched {
        domain: named(domain),
        weight: None,
        cap_percent: None,
        affinity: None,
    }
}

fn max_memory(bytes: u64) -> Request {
    Request::MaxMemory(MaxMemory {
        domain: named("a"),
        max_memory_bytes: bytes,
    })
}

fn balloon(bytes: u64) -> Request {
    Request::Balloon(Balloon {
        domain: named("a"),
        target_bytes: bytes,
        wait: Wait::No,
    })
}

fn rename(from: &str, to: &str) -> Request {
    Request::Rename(Rename {
        domain: named(from),
        name: DomainName::new(to).expect("a name"),
    })
}

fn says(bench: &mut Bench, id: u16, kind: Kind, text: &[u8]) {
    let who = DomId::new(id).expect("a domain");
    let message = Message::request(kind, text);
    bench.manager.store.handle(who, &message);
}

#[test]
fn a_share_is_shown_and_changed_in_part() {
    let mut bench = Bench::new();
    bench.create("a");
    let change = Sched {
        weight: Some(512),
        affinity: Some(0b10),
        ..sched("a")
    };
    for request in [change, sched("a")] {
        match bench.ask(Request::Sched(request)) {
            Ok(Reply::Sched(now)) => {
                assert_eq!((now.weight, now.cap_percent), (512, 0));
                assert_eq!(now.cpus, [1]);
            }
            other => panic!("{other:?}"),
        }
    }
    let wrong = |weight, affinity| {
        Request::Sched(Sched {
            weight,
            affinity,
            ..sched("a")
        })
    };
    for (request, expected) in [
        (wrong(Some(0), None), ErrorCode::InvalidArgument),
        (wrong(Some(65_536), None), ErrorCode::InvalidArgument),
        (wrong(None, Some(0b1100)), ErrorCode::InsufficientCpu),
    ] {
        assert_eq!(code(bench.ask(request)), expected);
    }
    assert_eq!(
        code(bench.ask(Request::Sched(sched("nobody")))),
        ErrorCode::NoSuchDomain
    );
}

#[test]
fn a_maximum_is_used_by_guests_that_say_they_can() {
    let mut bench = Bench::new();
    let id = bench.create("a");
    match bench.ask(max_memory(64 * MIB)) {
        Ok(Reply::MaxMemory(set)) => {
            assert_eq!(
                (set.previous_bytes, set.max_memory_bytes),
                (32 * MIB, 64 * MIB)
            );
            assert_eq!(set.usable, Usable::AfterRestart);
        }
        other => panic!("{other:?}"),
    }
    assert_eq!(code(bench.ask(balloon(48 * MIB))), ErrorCode::OverMaximum);
    assert!(bench.ask(balloon(32 * MIB)).is_ok());
    says(
        &mut bench,
        id,
        Kind::Write,
        b"data/balloon\0{\"maximum_kib\":49152}",
    );
    assert!(bench.ask(balloon(48 * MIB)).is_ok());
    assert_eq!(code(bench.ask(balloon(64 * MIB))), ErrorCode::OverMaximum);
}

#[test]
fn a_maximum_below_what_is_wanted_or_above_the_machines_is_refused() {
    let mut bench = Bench::new();
    bench.create("a");
    assert_eq!(
        code(bench.ask(max_memory(8 * MIB))),
        ErrorCode::BelowMinimum
    );
    assert_eq!(
        code(bench.ask(max_memory(1 << 40))),
        ErrorCode::InsufficientMemory
    );
    assert!(bench.ask(max_memory(16 * MIB)).is_ok());
    assert_eq!(code(bench.ask(balloon(17 * MIB))), ErrorCode::OverMaximum);
}

#[test]
fn a_name_changes_everywhere_and_stays_unique() {
    let mut bench = Bench::new();
    let id = bench.create("a");
    bench.create("b");
    for taken in ["b", "dom0"] {
        assert_eq!(code(bench.ask(rename("a", taken))), ErrorCode::NameTaken);
    }
    match bench.ask(rename("a", "c")) {
        Ok(Reply::Renamed(renamed)) => {
            assert_eq!(
                (renamed.previous.as_str(), renamed.name.as_str()),
                ("a", "c")
            );
        }
        other => panic!("{other:?}"),
    }
    assert!(bench.state("a").is_none() && bench.state("c").is_some());
    let node = Path::home(DomId::new(id).expect("a domain")).below("name");
    assert_eq!(bench.manager.store.value(&node), Some(&b"c"[..]));
    assert!(bench.ask(rename("c", "c")).is_ok(), "harmless");
    for name in ["b", "c"] {
        bench.ask(Request::Destroy(named(name))).expect("there");
    }
    bench.assert_empty();
}

#[test]
fn a_key_is_taken_or_taken_back() {
    let mut bench = Bench::new();
    let id = bench.create("a");
    let key = |key| {
        Request::Sysrq(Sysrq {
            domain: named("a"),
            key,
            timeout_ms: 1000,
        })
    };
    assert_eq!(code(bench.ask(key('\n'))), ErrorCode::InvalidArgument);
    let stream = bench.open(key('h'));
    bench.pass(2 * SECOND);
    assert_eq!(bench.end_of(stream).map(code), Some(ErrorCode::NoDriver));
    says(&mut bench, id, Kind::Watch, b"control/sysrq\0t\0");
    let stream = bench.open(key('h'));
    bench.pass(2 * SECOND);
    assert_eq!(
        bench.end_of(stream).map(code),
        Some(ErrorCode::GuestRefuses)
    );
    let stream = bench.open(key('h'));
    bench.settle();
    let node = Path::home(DomId::new(id).expect("a domain")).below("control/sysrq");
    assert_eq!(bench.manager.store.value(&node), Some(&b"h"[..]));
    says(&mut bench, id, Kind::Write, b"control/sysrq\0");
    bench.pass(SECOND / 10);
    assert!(matches!(bench.end_of(stream), Some(Ok(Reply::Acted(_)))));
}
