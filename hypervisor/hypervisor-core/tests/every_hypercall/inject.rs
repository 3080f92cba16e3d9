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

/// What of a call stays when it fails later, and why; all operations of a call, or one.
const STAYS: &[(u32, Option<u32>, &str)] = &[
    (number::SET_TRAP_TABLE, None, "entries before a failing one"),
    (number::MMU_UPDATE, Some(0), "elements before a failing one"),
    (number::MMUEXT_OP, Some(0), "elements before a failing one"),
    (number::MEMORY_OP, Some(0), "extents before a failing one"),
    (number::MEMORY_OP, Some(1), "extents before a failing one"),
    (
        number::MEMORY_OP,
        Some(6),
        "extents before a failing one, tables of the M2P view",
    ),
    (
        number::MEMORY_OP,
        Some(11),
        "an exchange whose new frames could not be told",
    ),
    (number::MULTICALL, None, "calls before a failing one"),
    (
        number::GRANT_TABLE_OP,
        Some(0),
        "the mapping whose status could not be written",
    ),
    (
        number::GRANT_TABLE_OP,
        Some(1),
        "the end of a mapping whose status could not be written",
    ),
    (
        number::GRANT_TABLE_OP,
        Some(7),
        "the end of a mapping whose status could not be written",
    ),
    (
        number::GRANT_TABLE_OP,
        Some(11),
        "an exchange whose status could not be written",
    ),
    (
        number::GRANT_TABLE_OP,
        Some(2),
        "a table grows before its frames are told",
    ),
    (
        number::EVENT_CHANNEL_OP,
        Some(0),
        "the port whose number could not be written",
    ),
    (
        number::EVENT_CHANNEL_OP,
        Some(1),
        "the port whose number could not be written",
    ),
    (
        number::EVENT_CHANNEL_OP,
        Some(2),
        "the port whose number could not be written",
    ),
    (
        number::EVENT_CHANNEL_OP,
        Some(6),
        "the port whose number could not be written",
    ),
    (
        number::EVENT_CHANNEL_OP,
        Some(7),
        "the port whose number could not be written",
    ),
    (
        number::EVENT_CHANNEL_OP,
        Some(11),
        "the control block whose link bits could not be written",
    ),
    (
        number::PARAVANE_OP,
        None,
        "what was done before the structure could not be written back",
    ),
];

impl Scenario {
    fn stays(self) -> Option<&'static str> {
        let mut listed = STAYS.iter();
        listed
            .find(|(call, operation, _)| {
                *call == self.call && (operation.is_none() || *operation == self.operation)
            })
            .map(|(.., why)| *why)
    }
}

/// Judges a call that met a fault, and repeats it without one.
fn judge(
    scenario: Scenario,
    (what, point): (&str, u64),
    bench: &mut Bench,
    arguments: Arguments,
    (before, failed, clean): (&Snapshot, End, &Clean),
) {
    let name = format!("{} at {what}", scenario.name());
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
        assert!(
            scenario.stays().is_some(),
            "{name}: {result} is not an error"
        );
    }
    let changed = after != *before;
    if changed && failed != clean.end {
        let why = scenario.stays();
        assert!(
            why.is_some(),
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
    if point == 0 || scenario.stays().is_none() {
        assert_eq!(again, clean.end, "{name}, again");
        if let Some(wanted) = &clean.after {
            let now = Snapshot::of(bench);
            assert!(now == *wanted, "{name}, again: {}", wanted.difference(&now));
        }
    }
}

#[test]
fn every_guest_copy_may_fail() {
    let mut points = 0;
    for (scenario, mut bench, arguments) in all() {
        let clean = clean(scenario, &mut bench, arguments);
        for point in 0..clean.copies {
            let (mut bench, arguments) = scenario.prepare().unwrap();
            let before = Snapshot::of(&bench);
            // The copy itself, and the second try that a spurious fault would get.
            bench.hv.machine().order(|orders| {
                let first = orders.copies + point;
                orders.fail_copies = first..first + 2;
            });
            let failed = scenario.run(&mut bench, arguments);
            bench.hv.machine().order(|orders| orders.fail_copies = 0..0);
            let what = format!("copy {point} of {}", clean.copies);
            judge(
                scenario,
                (&what, point),
                &mut bench,
                arguments,
                (&before, failed, &clean),
            );
            points += 1;
        }
    }
    println!("{points} copies failed");
}

#[test]
fn every_request_to_the_heap_may_fail() {
    let mut points = 0;
    for (scenario, mut bench, arguments) in all() {
        let clean = clean(scenario, &mut bench, arguments);
        for point in 0..clean.requests {
            let (mut bench, arguments) = scenario.prepare().unwrap();
            let before = Snapshot::of(&bench);
            fail_heap(Some(heap_requests() + point));
            let failed = scenario.run(&mut bench, arguments);
            fail_heap(None);
            let what = format!("request {point} of {}", clean.requests);
            judge(
                scenario,
                (&what, point),
                &mut bench,
                arguments,
                (&before, failed, &clean),
            );
            points += 1;
        }
    }
    println!("{points} requests failed");
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
                after == before || scenario.stays().is_some(),
                "{} at {what}: {failed:?}\n{}",
                scenario.name(),
                before.difference(&after)
            );
            points += 1;
        }
    }
    println!("{points} frames were not there");
}
