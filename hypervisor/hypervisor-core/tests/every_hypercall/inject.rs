//! Each guest copy, each request to the heap and each frame from the pool fails in turn.
//!
//! A call is made once to count its points, then once for each of them. After the fault all frames, ports and grants are
//! recounted; what is counted is as before, or the call is listed in [`STAYS`] with the reason; then it is repeated without
//! the fault and must end as it does where nothing ever failed.

use hypercall_abi::{Errno, number};
use hypervisor_core::fake::bench::{Bench, Ended};
use hypervisor_core::fake::snapshot::Snapshot;
use hypervisor_core::fake::{fail_heap, heap_requests};

use super::{Arguments, Clean, End, Scenario, all, clean};

/// When something of a call may stay though it fails.
#[derive(Clone, Copy, PartialEq, Eq)]
enum Stays {
    /// What was done before the fault, wherever that is.
    Before,
    /// All of it, where nothing failed but the last copy, which tells the caller.
    Untold,
}

/// Calls of which something stays when they fail later, and what; all operations of a call, or one.
const STAYS: &[(u32, Option<u32>, Stays, &str)] = &[
    (
        number::SET_TRAP_TABLE,
        None,
        Stays::Before,
        "entries before a failing one",
    ),
    (
        number::MMU_UPDATE,
        Some(0),
        Stays::Before,
        "elements before a failing one",
    ),
    (
        number::MMUEXT_OP,
        Some(0),
        Stays::Before,
        "elements before a failing one",
    ),
    (
        number::MEMORY_OP,
        Some(0),
        Stays::Before,
        "extents before a failing one",
    ),
    (
        number::MEMORY_OP,
        Some(1),
        Stays::Before,
        "extents before a failing one",
    ),
    (
        number::MEMORY_OP,
        Some(6),
        Stays::Before,
        "extents before a failing one, tables of the M2P view",
    ),
    (
        number::MEMORY_OP,
        Some(11),
        Stays::Before,
        "an exchange whose new frames could not be told",
    ),
    (
        number::MULTICALL,
        None,
        Stays::Before,
        "calls before a failing one",
    ),
    (
        number::GRANT_TABLE_OP,
        Some(0),
        Stays::Before,
        "elements before a failing one, told or not",
    ),
    (
        number::GRANT_TABLE_OP,
        Some(1),
        Stays::Before,
        "elements before a failing one, told or not",
    ),
    (
        number::GRANT_TABLE_OP,
        Some(7),
        Stays::Before,
        "elements before a failing one, told or not",
    ),
    (
        number::GRANT_TABLE_OP,
        Some(11),
        Stays::Untold,
        "the exchange",
    ),
    (
        number::GRANT_TABLE_OP,
        Some(2),
        Stays::Before,
        "a table grows before its frames are told",
    ),
    (
        number::EVENT_CHANNEL_OP,
        None,
        Stays::Untold,
        "the port, or the control block",
    ),
    (number::PARAVANE_OP, None, Stays::Untold, "what was done"),
];

impl Scenario {
    /// What may stay of the call; `told`: more failed than the last copy.
    fn stays(self, told: bool) -> Option<&'static str> {
        let mut listed = STAYS.iter();
        listed
            .find(|(call, operation, stays, _)| {
                let operation = operation.is_none() || *operation == self.operation;
                *call == self.call && operation && (*stays == Stays::Before || !told)
            })
            .map(|(.., why)| *why)
    }
}

/// Judges a call that met a fault, and repeats it without one.
fn judge(
    scenario: Scenario,
    (what, point, points): (&str, u64, u64),
    bench: &mut Bench,
    arguments: Arguments,
    (before, failed, clean): (&Snapshot, End, &Clean),
) {
    let name = format!("{} at {what} {point} of {points}", scenario.name());
    let stays = scenario.stays(what != COPY || point + 1 != points);
    if failed == End::Off {
        // Only what ends the machine anyway, or a domain that cannot go on without what could not be read.
        let may = clean.end == End::Off || scenario.call == number::IRET;
        assert!(may, "{name}: the machine ended");
        return;
    }
    bench.recount();
    let after = Snapshot::of(bench);
    let idle = matches!(failed, End::Call(Ended::Idle));
    if let End::Call(Ended::Result(result)) = failed
        && Errno::from_register(result).is_ok()
        && failed != clean.end
    {
        assert!(stays.is_some(), "{name}: {result} is not an error");
    }
    let changed = after != *before;
    if changed && failed != clean.end {
        assert!(
            stays.is_some(),
            "{name}: {failed:?}\n{}",
            before.difference(&after)
        );
    }
    if idle || failed == clean.end {
        return;
    }
    let again = scenario.run(bench, arguments);
    if again != End::Off {
        bench.recount();
    }
    // The first thing that can fail does so before anything is done.
    if point == 0 || stays.is_none() {
        assert_eq!(again, clean.end, "{name}, again");
        if let Some(wanted) = &clean.after {
            let now = Snapshot::of(bench);
            assert!(now == *wanted, "{name}, again: {}", wanted.difference(&now));
        }
    }
}

const COPY: &str = "copy";

/// Makes each call with a fault at each of its points: `points` tells how many it has, `order` makes one fail, or none.
fn fail_each(what: &str, points: fn(&Clean) -> u64, order: fn(&Bench, Option<u64>)) {
    let mut all_points = 0;
    for (scenario, mut bench, arguments) in all() {
        let clean = clean(scenario, &mut bench, arguments);
        for point in 0..points(&clean) {
            let (mut bench, arguments) = scenario.prepare().expect("it was there before");
            let before = Snapshot::of(&bench);
            order(&bench, Some(point));
            let failed = scenario.run(&mut bench, arguments);
            order(&bench, None);
            judge(
                scenario,
                (what, point, points(&clean)),
                &mut bench,
                arguments,
                (&before, failed, &clean),
            );
            all_points += 1;
        }
    }
    println!("{all_points} times {what}");
}

#[test]
fn every_guest_copy_may_fail() {
    fail_each(
        COPY,
        |clean| clean.copies,
        |bench, point| {
            bench.hv.machine().order(|orders| {
                // The copy itself, and the second try that a spurious fault would get.
                orders.fail_copies = point.map_or(0..0, |point| {
                    let first = orders.copies + point;
                    first..first + 2
                });
            });
        },
    );
}

#[test]
fn every_request_to_the_heap_may_fail() {
    fail_each(
        "request",
        |clean| clean.requests,
        |_, point| fail_heap(point.map(|point| heap_requests() + point)),
    );
}

#[test]
fn the_pool_may_end_at_every_frame() {
    /// More frames than any scenario takes.
    const MOST: u64 = 40;
    let mut points = 0;
    for (scenario, mut bench, arguments) in all() {
        let free = bench.hv.frames().free();
        let clean = clean(scenario, &mut bench, arguments);
        if bench.hv.frames().free() >= free && scenario.call != number::MEMORY_OP {
            // What takes frames and gives them back is in `memory_op`.
            continue;
        }
        for left in 0..MOST {
            let (mut bench, arguments) = scenario.prepare().unwrap();
            bench.leave_free(left);
            let before = Snapshot::of(&bench);
            let failed = scenario.run(&mut bench, arguments);
            if failed == clean.end {
                break;
            }
            let what = format!("{left} frames");
            assert_ne!(failed, End::Off, "{} at {what}", scenario.name());
            bench.recount();
            let after = Snapshot::of(&bench);
            assert!(
                after == before || scenario.stays(true).is_some(),
                "{} at {what}: {failed:?}\n{}",
                scenario.name(),
                before.difference(&after)
            );
            points += 1;
        }
    }
    println!("{points} frames were not there");
}
