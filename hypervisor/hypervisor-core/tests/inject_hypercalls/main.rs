//! Every hypercall of the table, with each guest copy, each request to the heap and each frame from the pool failing in turn.
//!
//! A scenario prepares a machine and names one call. It is run once to count its points, then once for each of them on a
//! machine of its own. After the fault all frames, ports and grants are recounted; what is counted is as before, or the
//! scenario is listed in [`STAYS`] with the reason; then the call is repeated without the fault and must end as it does
//! where nothing ever failed. The scenarios are found by the table, so an operation without one fails here.

mod control;
mod events;
mod grants;
mod memory;
mod paging;
mod plain;
mod setting;
mod vcpus;

use std::any::Any;
use std::panic::{AssertUnwindSafe, catch_unwind, resume_unwind, set_hook, take_hook};
use std::sync::Once;

use hypercall_abi::control::ControlArgument;
use hypercall_abi::control::audit::AuditBreach;
use hypercall_abi::control::device::{MsixBind, PciWrite};
use hypercall_abi::event::EVTCHNOP_BIND_PIRQ;
use hypercall_abi::grant::GNTTABOP_TRANSFER;
use hypercall_abi::memory::*;
use hypercall_abi::mmu::{MMUEXT_MARK_SUPER, MMUEXT_UNMARK_SUPER};
use hypercall_abi::sched::SCHEDOP_PIN_OVERRIDE;
use hypercall_abi::vcpu::VCPUOP_GET_PHYSID;
use hypercall_abi::{Errno, number, table};
use hypervisor_core::fake::bench::{Bench, Ended};
use hypervisor_core::fake::snapshot::Snapshot;
use hypervisor_core::fake::{Preempt, fail_heap, heap_requests};

/// Registers of a call.
type Arguments = [u64; 5];

/// A call that is prepared on a machine.
#[derive(Clone, Copy)]
struct Scenario {
    call: u32,
    operation: Option<u32>,
    /// Which of several.
    variant: u8,
}

/// What is always refused, or has nothing to act on in the fake machine, which has no device.
const REFUSED: &[(u32, Option<u32>)] = &[
    (number::PLATFORM_OP, None),
    (number::MEMORY_OP, Some(XENMEM_MACHPHYS_MFN_LIST)),
    (number::MEMORY_OP, Some(XENMEM_ADD_TO_PHYSMAP)),
    (number::MEMORY_OP, Some(XENMEM_SET_MEMORY_MAP)),
    (number::MEMORY_OP, Some(XENMEM_REMOVE_FROM_PHYSMAP)),
    (number::MEMORY_OP, Some(XENMEM_ADD_TO_PHYSMAP_BATCH)),
    (number::MEMORY_OP, Some(XENMEM_MACHPHYS_COMPAT_MFN_LIST)),
    (number::MEMORY_OP, Some(XENMEM_GET_VNUMAINFO)),
    (number::XEN_VERSION, Some(10)),
    (number::GRANT_TABLE_OP, Some(GNTTABOP_TRANSFER)),
    (number::VCPU_OP, Some(VCPUOP_GET_PHYSID)),
    (number::MMUEXT_OP, Some(MMUEXT_MARK_SUPER)),
    (number::MMUEXT_OP, Some(MMUEXT_UNMARK_SUPER)),
    (number::SCHED_OP, Some(SCHEDOP_PIN_OVERRIDE)),
    (number::EVENT_CHANNEL_OP, Some(EVTCHNOP_BIND_PIRQ)),
    (number::SYSCTL, None),
    (number::DOMCTL, None),
    (number::KEXEC_OP, None),
    (number::XENPMU_OP, None),
    (number::MCA, None),
    (number::PARAVANE_OP, Some(AuditBreach::OPERATION)),
    (number::PARAVANE_OP, Some(PciWrite::OPERATION)),
    (number::PARAVANE_OP, Some(MsixBind::OPERATION)),
];

/// How a call ended.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum End {
    Call(Ended),
    /// The machine was switched off, by the domain or because it could not go on.
    Off,
}

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
        number::PARAVANE_OP,
        None,
        "what was done before the structure could not be written back",
    ),
];

impl Scenario {
    fn name(self) -> String {
        let row = table::hypercall(self.call.into()).expect("of the table");
        let operation = self.operation.map_or("", |wanted| {
            let mut rows = row.operations.iter();
            rows.find(|row| row.number == wanted)
                .expect("of the table")
                .name
        });
        format!("{} {operation} {}", row.name, self.variant)
    }

    fn stays(self) -> Option<&'static str> {
        let mut listed = STAYS.iter();
        listed
            .find(|(call, operation, _)| {
                *call == self.call && (operation.is_none() || *operation == self.operation)
            })
            .map(|(.., why)| *why)
    }

    /// A machine on which the call can be made, and its registers. `None`: there is no such scenario.
    fn prepare(self) -> Option<(Bench, Arguments)> {
        let mut bench = Bench::small();
        let (operation, variant) = (self.operation.unwrap_or(0), self.variant);
        let arguments = match self.call {
            number::MEMORY_OP => memory::prepare(&mut bench, operation, variant),
            number::GRANT_TABLE_OP => grants::prepare(&mut bench, operation, variant),
            number::EVENT_CHANNEL_OP => events::prepare(&mut bench, operation, variant),
            number::VCPU_OP => vcpus::prepare(&mut bench, operation, variant),
            number::PARAVANE_OP => control::prepare(&mut bench, operation, variant),
            number::MMU_UPDATE | number::MMUEXT_OP => {
                paging::prepare(&mut bench, self.call, operation, variant)
            }
            _ => plain::prepare(&mut bench, self.call, operation, variant),
        };
        Some((bench, arguments?))
    }

    #[expect(clippy::disallowed_methods, reason = "a test's box")]
    fn run(self, bench: &mut Bench, arguments: Arguments) -> End {
        static QUIET: Once = Once::new();
        QUIET.call_once(|| {
            let usual = take_hook();
            set_hook(Box::new(move |panic| {
                if !is_off(panic.payload()) {
                    usual(panic);
                }
            }));
        });
        match catch_unwind(AssertUnwindSafe(|| bench.hypercall(self.call, arguments))) {
            Ok(ended) => End::Call(ended),
            Err(panic) if is_off(&*panic) => End::Off,
            Err(panic) => resume_unwind(panic),
        }
    }
}

/// Whether the fake machine was switched off.
fn is_off(panic: &dyn Any) -> bool {
    let text = panic.downcast_ref::<String>();
    text.is_some_and(|text| text.starts_with("the machine ends"))
}

/// All scenarios of an operation, the first of which must be there.
fn variants(
    call: u32,
    operation: Option<u32>,
) -> impl Iterator<Item = (Scenario, Bench, Arguments)> {
    (0..).map_while(move |variant| {
        let scenario = Scenario {
            call,
            operation,
            variant,
        };
        let prepared = scenario.prepare();
        assert!(
            variant > 0 || prepared.is_some(),
            "{} has no scenario",
            scenario.name()
        );
        prepared.map(|(bench, arguments)| (scenario, bench, arguments))
    })
}

fn all() -> impl Iterator<Item = (Scenario, Bench, Arguments)> {
    table::operations()
        .flat_map(|(call, operation)| variants(call.number, operation.map(|row| row.number)))
}

/// What a scenario does where nothing fails.
struct Clean {
    end: End,
    after: Option<Snapshot>,
    copies: u64,
    requests: u64,
}

fn clean(scenario: Scenario, bench: &mut Bench, arguments: Arguments) -> Clean {
    let (copies, requests) = (bench.hv.machine().orders().copies, heap_requests());
    let end = scenario.run(bench, arguments);
    let (copies, requests) = (
        bench.hv.machine().orders().copies - copies,
        heap_requests() - requests,
    );
    let after = (end != End::Off).then(|| {
        bench.recount();
        Snapshot::of(bench)
    });
    Clean {
        end,
        after,
        copies,
        requests,
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
fn every_call_that_is_not_refused_for_ever_succeeds_when_nothing_fails() {
    for (scenario, mut bench, arguments) in all() {
        let clean = clean(scenario, &mut bench, arguments);
        if let End::Call(Ended::Result(result)) = clean.end {
            let refused = Errno::from_register(result).is_err();
            let listed = REFUSED.contains(&(scenario.call, scenario.operation));
            assert_eq!(refused, listed, "{}: {result:#x}", scenario.name());
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
fn every_call_ends_the_same_when_it_is_interrupted() {
    let mut points = 0;
    for (scenario, mut bench, arguments) in all() {
        let questions = bench.hv.machine().orders().questions;
        let clean = clean(scenario, &mut bench, arguments);
        let questions = bench.hv.machine().orders().questions - questions;
        // At each question alone, and at all of them.
        for when in (0..questions)
            .map(Some)
            .chain((questions > 0).then_some(None))
        {
            let (mut bench, arguments) = scenario.prepare().unwrap();
            bench.hv.machine().order(|orders| {
                let asked = orders.questions;
                orders.preempt = when.map_or(Preempt::Always, |n| Preempt::At(asked + n));
            });
            let end = scenario.run(&mut bench, arguments);
            let name = scenario.name();
            assert_eq!(end, clean.end, "{name} interrupted: {when:?}");
            bench.recount();
            let now = Snapshot::of(&bench);
            if let Some(wanted) = &clean.after {
                let difference = wanted.difference(&now);
                assert!(now == *wanted, "{name} interrupted: {when:?}: {difference}");
            }
            points += 1;
        }
    }
    println!("{points} interruptions");
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
