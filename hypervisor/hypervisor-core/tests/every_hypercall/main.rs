//! Every hypercall of the table, on machines of its own: with faults, interrupted, and with hostile arguments.
//!
//! A scenario prepares a machine and names one call. The scenarios are found by the table, so an operation without one fails
//! here.

mod attack;
mod control;
mod events;
mod grants;
mod inject;
mod memory;
mod paging;
mod plain;
mod preempt;
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
use hypervisor_core::fake::heap_requests;
use hypervisor_core::fake::snapshot::Snapshot;

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
    (number::MEMORY_OP, Some(XENMEM_CLAIM_PAGES)),
    (number::MEMORY_OP, Some(XENMEM_ACQUIRE_RESOURCE)),
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
