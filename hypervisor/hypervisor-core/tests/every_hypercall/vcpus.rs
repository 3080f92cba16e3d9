//! `vcpu_op`.

use hypercall_abi::mmu::PAGE_SHIFT;
use hypercall_abi::vcpu::*;
use hypercall_abi::{RawMfn, number};
use hypervisor_core::fake::bench::{Bench, DATA, ENTRY, STACK};
use zerocopy::FromZeros;

use super::Arguments;
use super::setting::{BIG, PAGE, call};

/// A context with this root at [`BIG`].
pub(crate) fn write_context(bench: &mut Bench, root: u64) {
    let mut context = VcpuGuestContext::new_zeroed();
    context.flags = VGCF_IN_KERNEL;
    (context.user_regs.rip, context.user_regs.rsp) = (ENTRY, STACK);
    context.ctrlreg[3] = root << PAGE_SHIFT;
    bench.write(BIG, &context);
}

pub(crate) fn prepare(bench: &mut Bench, operation: u32, variant: u8) -> Option<Arguments> {
    let mut vcpu = 0;
    let mut argument = DATA;
    match (operation, variant) {
        (VCPUOP_INITIALISE | VCPUOP_UP | VCPUOP_DOWN, 0) => {
            vcpu = 1;
            let root = bench.root();
            write_context(bench, root);
            if operation == VCPUOP_INITIALISE {
                argument = BIG;
            } else {
                let arguments = [VCPUOP_INITIALISE.into(), 1, BIG, 0, 0];
                call(bench, number::VCPU_OP, arguments);
            }
            if operation == VCPUOP_DOWN {
                call(bench, number::VCPU_OP, [VCPUOP_UP.into(), 1, 0, 0, 0]);
            }
        }
        (VCPUOP_REGISTER_VCPU_INFO, 0) => {
            let request = RegisterVcpuInfo {
                mfn: RawMfn(bench.frame_at(PAGE)),
                offset: 64,
                rsvd: 0,
            };
            bench.write(DATA, &request);
        }
        (VCPUOP_REGISTER_RUNSTATE_MEMORY_AREA | VCPUOP_REGISTER_VCPU_TIME_MEMORY_AREA, 0) => {
            bench.write(DATA, &PAGE);
        }
        (VCPUOP_SET_PERIODIC_TIMER, 0) => bench.write(DATA, &10_000_000_u64),
        (VCPUOP_SET_SINGLESHOT_TIMER, 0) => {
            let request = SetSingleshotTimer {
                timeout_abs_ns: 1 << 40,
                ..SetSingleshotTimer::default()
            };
            bench.write(DATA, &request);
        }
        (
            VCPUOP_IS_UP
            | VCPUOP_GET_RUNSTATE_INFO
            | VCPUOP_STOP_PERIODIC_TIMER
            | VCPUOP_STOP_SINGLESHOT_TIMER
            | VCPUOP_GET_PHYSID,
            0,
        ) => {}
        (VCPUOP_SEND_NMI, 0) => argument = 0,
        _ => return None,
    }
    Some([operation.into(), vcpu, argument, 0, 0])
}
