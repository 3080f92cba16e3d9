//! `event_channel_op`.

use hypercall_abi::event::*;
use hypercall_abi::ids::RawPort;
use hypercall_abi::{RawDomId, RawMfn, number};
use hypervisor_core::fake::bench::{Bench, DATA};
use zerocopy::FromZeros;

use super::Arguments;
use super::setting::{BIG, PAGE, SECOND, call, create};

/// A port that waits for the first domain.
pub(crate) fn alloc(bench: &mut Bench, dom: RawDomId) -> RawPort {
    let request = EvtchnAllocUnbound {
        dom,
        remote_dom: RawDomId(0),
        port: RawPort(0),
    };
    bench.write(DATA, &request);
    let arguments = [EVTCHNOP_ALLOC_UNBOUND.into(), DATA, 0, 0, 0];
    call(bench, number::EVENT_CHANNEL_OP, arguments);
    let answer: EvtchnAllocUnbound = bench.read(DATA);
    answer.port
}

/// A port of the first domain, joined with one of the second.
fn channel(bench: &mut Bench) -> RawPort {
    create(bench);
    let remote_port = alloc(bench, SECOND);
    let request = EvtchnBindInterdomain {
        remote_dom: SECOND,
        remote_port,
        ..EvtchnBindInterdomain::new_zeroed()
    };
    bench.write(DATA, &request);
    let arguments = [EVTCHNOP_BIND_INTERDOMAIN.into(), DATA, 0, 0, 0];
    call(bench, number::EVENT_CHANNEL_OP, arguments);
    let answer: EvtchnBindInterdomain = bench.read(DATA);
    answer.local_port
}

fn control_block(bench: &mut Bench) -> EvtchnInitControl {
    EvtchnInitControl {
        control_gfn: RawMfn(bench.frame_at(PAGE)),
        ..EvtchnInitControl::default()
    }
}

/// Changes the first domain to FIFO events.
fn queues(bench: &mut Bench) {
    let request = control_block(bench);
    bench.write(DATA, &request);
    let arguments = [EVTCHNOP_INIT_CONTROL.into(), DATA, 0, 0, 0];
    call(bench, number::EVENT_CHANNEL_OP, arguments);
}

pub(crate) fn prepare(bench: &mut Bench, operation: u32, variant: u8) -> Option<Arguments> {
    match (operation, variant) {
        (EVTCHNOP_ALLOC_UNBOUND, 0 | 1) => {
            create(bench);
            let request = EvtchnAllocUnbound {
                dom: [RawDomId::SELF, SECOND][usize::from(variant)],
                remote_dom: RawDomId(0),
                port: RawPort(0),
            };
            bench.write(DATA, &request);
        }
        (EVTCHNOP_BIND_INTERDOMAIN, 0) => {
            create(bench);
            let remote_port = alloc(bench, SECOND);
            let request = EvtchnBindInterdomain {
                remote_dom: SECOND,
                remote_port,
                ..EvtchnBindInterdomain::new_zeroed()
            };
            bench.write(DATA, &request);
        }
        (EVTCHNOP_BIND_VIRQ, 0) => {
            let request = EvtchnBindVirq {
                virq: VIRQ_DEBUG,
                ..EvtchnBindVirq::new_zeroed()
            };
            bench.write(DATA, &request);
        }
        (EVTCHNOP_BIND_PIRQ, 0) => {
            let request = EvtchnBindPirq {
                pirq: 3,
                ..EvtchnBindPirq::new_zeroed()
            };
            bench.write(DATA, &request);
        }
        (EVTCHNOP_BIND_IPI, 0) => bench.write(DATA, &EvtchnBindIpi::new_zeroed()),
        (EVTCHNOP_CLOSE | EVTCHNOP_SEND | EVTCHNOP_UNMASK, 0) => {
            let port = channel(bench);
            bench.write(DATA, &port);
        }
        (EVTCHNOP_STATUS, 0) => {
            let request = EvtchnStatus {
                dom: RawDomId::SELF,
                port: channel(bench),
                ..EvtchnStatus::new_zeroed()
            };
            bench.write(DATA, &request);
        }
        (EVTCHNOP_BIND_VCPU, 0) => {
            let request = EvtchnBindVcpu {
                port: channel(bench),
                vcpu: 1,
            };
            bench.write(DATA, &request);
        }
        (EVTCHNOP_INIT_CONTROL, 0) => {
            let request = control_block(bench);
            bench.write(DATA, &request);
        }
        (EVTCHNOP_EXPAND_ARRAY, 0) => {
            queues(bench);
            let array_gfn = RawMfn(bench.frame_at(BIG));
            bench.write(DATA, &EvtchnExpandArray { array_gfn });
        }
        (EVTCHNOP_SET_PRIORITY, 0) => {
            let port = channel(bench);
            queues(bench);
            bench.write(DATA, &EvtchnSetPriority { port, priority: 3 });
        }
        (EVTCHNOP_RESET, 1) => {
            queues(bench);
            let dom = RawDomId::SELF;
            bench.write(DATA, &EvtchnReset { dom });
        }
        (EVTCHNOP_RESET, 0) => {
            channel(bench);
            bench.write(DATA, &EvtchnReset { dom: SECOND });
        }
        _ => return None,
    }
    Some([operation.into(), DATA, 0, 0, 0])
}
