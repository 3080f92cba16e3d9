//! Hypercall 56.

use hypercall_abi::control::ControlArgument;
use hypercall_abi::ids::RawGrantRef;
use hypercall_abi::mmu::MMUEXT_PIN_L4_TABLE;
use hypercall_abi::sched::{SCHEDOP_REMOTE_SHUTDOWN, SHUTDOWN_SUSPEND};
use hypercall_abi::table::prelude::*;
use hypercall_abi::{Errno, GuestLayout, GuestPtr, Layout, RawDomId, RawMfn, number};
use hypervisor_core::fake::bench::{Bench, DATA, Ended};
use hypervisor_core::fake::snapshot::Snapshot;

use super::paging::pin;
use super::setting::{BIG, LIST, SECOND, call, create, create_with};
use super::vcpus::write_context;
use super::{Arguments, End, variants};

/// Frames of the second domain, listed at [`LIST`].
fn listed(bench: &mut Bench) -> GuestPtr<RawMfn> {
    create_with(bench, 2);
    GuestPtr::new(LIST)
}

pub(crate) fn prepare(bench: &mut Bench, operation: u32, variant: u8) -> Option<Arguments> {
    if variant > 0 {
        return None;
    }
    let asked = match operation {
        Query::OPERATION => bench.ask(|r: &mut Query| r.topic = 2),
        HostInfo::OPERATION => bench.ask(|_: &mut HostInfo| {}),
        CpuInfo::OPERATION => bench.ask(|_: &mut CpuInfo| {}),
        LogRead::OPERATION => bench.ask(|r: &mut LogRead| {
            (r.buffer, r.len) = (GuestPtr::new(LIST), 0x700);
        }),
        SetWallclock::OPERATION => bench.ask(|r: &mut SetWallclock| r.wallclock_ns = 1 << 60),
        Audit::OPERATION => {
            create(bench);
            bench.ask(|_: &mut Audit| {})
        }
        HostPromises::OPERATION => {
            create(bench);
            bench.ask(|_: &mut HostPromises| {})
        }
        AuditBreach::OPERATION => bench.ask(|r: &mut AuditBreach| r.invariant = 2),
        DomainCreate::OPERATION => bench.ask(|r: &mut DomainCreate| {
            (r.domid, r.max_vcpus) = (SECOND, 2);
            (r.max_frames, r.weight) = (64, 256);
        }),
        DomainDestroy::OPERATION => {
            create_with(bench, 4);
            bench.ask(|r: &mut DomainDestroy| r.domid = SECOND)
        }
        DomainInfo::OPERATION => bench.ask(|r: &mut DomainInfo| r.first = RawDomId(0)),
        DomainPause::OPERATION => {
            create(bench);
            bench.ask(|r: &mut DomainPause| r.domid = SECOND)
        }
        DomainUnpause::OPERATION => {
            create(bench);
            bench.ask(|r: &mut DomainUnpause| r.domid = SECOND)
        }
        DomainResume::OPERATION => {
            create(bench);
            let suspend = SchedRemoteShutdown {
                domain_id: SECOND,
                reason: SHUTDOWN_SUSPEND,
                ..SchedRemoteShutdown::default()
            };
            bench.write(DATA, &suspend);
            let arguments = [SCHEDOP_REMOTE_SHUTDOWN.into(), DATA, 0, 0, 0];
            call(bench, number::SCHED_OP, arguments);
            bench.ask(|r: &mut DomainResume| r.domid = SECOND)
        }
        DomainSetMax::OPERATION => {
            create(bench);
            bench.ask(|r: &mut DomainSetMax| {
                (r.domid, r.max_frames) = (SECOND, 99);
            })
        }
        DomainSetLimit::OPERATION => {
            create(bench);
            bench.ask(|r: &mut DomainSetLimit| {
                (r.domid, r.limit_frames) = (SECOND, 33);
            })
        }
        DomainCounters::OPERATION => bench.ask(|_: &mut DomainCounters| {}),
        MemoryWrite::OPERATION => {
            let frames = listed(bench);
            bench.ask(|r: &mut MemoryWrite| {
                (r.domid, r.count, r.frames) = (SECOND, 2, frames);
                r.data = GuestPtr::new(BIG);
            })
        }
        MemoryRead::OPERATION => {
            let frames = listed(bench);
            bench.ask(|r: &mut MemoryRead| {
                (r.domid, r.count, r.frames) = (SECOND, 2, frames);
                r.data = GuestPtr::new(BIG);
            })
        }
        VcpuSetContext::OPERATION => {
            let root = create_with(bench, 1)[0];
            pin(bench, MMUEXT_PIN_L4_TABLE, root);
            write_context(bench, root);
            bench.ask(|r: &mut VcpuSetContext| {
                (r.domid, r.vcpu, r.context) = (SECOND, 1, GuestPtr::new(BIG));
            })
        }
        VcpuRecord::OPERATION => bench.ask(|_: &mut VcpuRecord| {}),
        SchedSet::OPERATION => {
            create(bench);
            bench.ask(|r: &mut SchedSet| {
                (r.domid, r.weight) = (SECOND, 512);
            })
        }
        SchedGet::OPERATION => bench.ask(|_: &mut SchedGet| {}),
        GrantSeed::OPERATION => {
            let frame = create_with(bench, 1)[0];
            bench.ask(|r: &mut GrantSeed| {
                (r.domid, r.gref, r.mfn) = (SECOND, RawGrantRef(1), RawMfn(frame));
            })
        }
        PciRead::OPERATION => bench.ask(|r: &mut PciRead| r.width = 4),
        PciWrite::OPERATION => bench.ask(|r: &mut PciWrite| (r.width, r.register) = (2, 4)),
        MsixBind::OPERATION => bench.ask(|_: &mut MsixBind| {}),
        _ => return None,
    };
    assert_eq!(asked, operation, "the structure of another operation");
    Some([operation.into(), DATA, 0, 0, 0])
}

macro_rules! layouts {
    ($($(#[doc = $doc:literal])* $number:literal $name:ident($argument:ident: InOut<$type:ident>)
        since $since:literal by $who:ident;)*) => {
        /// The structure of each operation.
        const LAYOUTS: &[(u32, Layout)] = &[$(($number, <$type as GuestLayout>::LAYOUT)),*];
    };
}
hypercall_abi::for_each_control_operation!(layouts);

#[test]
fn what_is_reserved_must_be_zero() {
    let mut tried = 0;
    for (operation, layout) in LAYOUTS {
        let reserved = |name: &str| name.starts_with("reserved");
        for field in layout.fields.iter().filter(|field| reserved(field.name)) {
            for (scenario, mut bench, arguments) in variants(number::PARAVANE_OP, Some(*operation))
            {
                let at = DATA + u64::try_from(field.offset).unwrap();
                bench.write(at, &1_u8);
                let before = Snapshot::of(&bench);
                let end = scenario.run(&mut bench, arguments);
                let refused = End::Call(Ended::Result(Errno::EINVAL.to_register()));
                assert_eq!(end, refused, "{}.{}", layout.name, field.name);
                assert!(before == Snapshot::of(&bench), "{}", layout.name);
                tried += 1;
            }
        }
    }
    assert!(tried > 20, "only {tried} reserved fields");
}
