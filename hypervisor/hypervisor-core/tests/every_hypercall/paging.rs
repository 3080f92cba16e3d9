//! `mmu_update` and `mmuext_op`, on frames of the second domain where tables are made.

use hypercall_abi::mmu::*;
use hypercall_abi::number;
use hypervisor_core::fake::bench::{Bench, DATA};
use zerocopy::FromZeros;

use super::Arguments;
use super::setting::{LIST, PAGE, SELF, call, create_with};

/// Tables and the frames that they map are the second domain's.
const BOTH: u64 = 4 << 16 | 3;
const PRESENT: u64 = 7;

/// A pinned L1 of the second domain, and a frame that it may map.
fn table(bench: &mut Bench) -> [u64; 2] {
    let frames = create_with(bench, 3);
    pin(bench, MMUEXT_PIN_L1_TABLE, frames[0]);
    [frames[0], frames[1]]
}

fn request(cmd: u32, arg1: u64, arg2: u64) -> MmuextOp {
    MmuextOp {
        cmd,
        arg1,
        arg2,
        ..MmuextOp::new_zeroed()
    }
}

pub(crate) fn pin(bench: &mut Bench, cmd: u32, frame: u64) {
    bench.write(DATA, &request(cmd, frame, 0));
    call(bench, number::MMUEXT_OP, [DATA, 1, 0, 3, 0]);
}

pub(crate) fn prepare(
    bench: &mut Bench,
    call: u32,
    operation: u32,
    variant: u8,
) -> Option<Arguments> {
    if call == number::MMU_UPDATE {
        updates(bench, operation, variant)
    } else {
        extended(bench, operation, variant)
    }
}

fn updates(bench: &mut Bench, operation: u32, variant: u8) -> Option<Arguments> {
    if variant > 0 || operation > 3 {
        return None;
    }
    if operation == 1 {
        // Numbers of one's own frames.
        let frame = bench.frame_at(PAGE);
        let request = |val| MmuUpdate {
            ptr: (frame << 12) + 1,
            val,
        };
        bench.write(DATA, &[request(77), request(78)]);
        return Some([DATA, 2, LIST, SELF, 0]);
    }
    let [table, target] = table(bench);
    let kind = u64::from(operation);
    let element = |index: u64, val| MmuUpdate {
        ptr: (table << 12) + 8 * index + kind,
        val,
    };
    let requests = [
        element(1, (target << 12) + PRESENT),
        element(2, (target << 12) + PRESENT),
        element(1, 0),
    ];
    bench.write(DATA, &requests);
    Some([DATA, 3, LIST, BOTH, 0])
}

fn extended(bench: &mut Bench, operation: u32, variant: u8) -> Option<Arguments> {
    let first = match (operation, variant) {
        (
            MMUEXT_PIN_L1_TABLE | MMUEXT_PIN_L2_TABLE | MMUEXT_PIN_L3_TABLE | MMUEXT_PIN_L4_TABLE,
            0,
        ) => {
            let frames = create_with(bench, 3);
            let requests = [0, 1].map(|n| request(operation, frames[n], 0));
            bench.write(DATA, &requests);
            return Some([DATA, 2, LIST, 3, 0]);
        }
        (MMUEXT_UNPIN_TABLE, 0) => {
            let [table, _] = table(bench);
            bench.write(DATA, &request(operation, table, 0));
            return Some([DATA, 1, LIST, 3, 0]);
        }
        (MMUEXT_NEW_BASEPTR | MMUEXT_NEW_USER_BASEPTR, 0) => request(operation, bench.root(), 0),
        (MMUEXT_TLB_FLUSH_MULTI | MMUEXT_INVLPG_MULTI, 0) => {
            bench.write(LIST + 0x100, &3_u64);
            request(operation, PAGE, LIST + 0x100)
        }
        (MMUEXT_INVLPG_LOCAL | MMUEXT_INVLPG_ALL, 0) => request(operation, PAGE, 0),
        (MMUEXT_SET_LDT, 0) => request(operation, PAGE, 8),
        (MMUEXT_CLEAR_PAGE | MMUEXT_COPY_PAGE, 0) => {
            let frame = bench.frame_at(PAGE);
            request(operation, frame, frame)
        }
        (
            MMUEXT_TLB_FLUSH_LOCAL
            | MMUEXT_TLB_FLUSH_ALL
            | MMUEXT_FLUSH_CACHE
            | MMUEXT_FLUSH_CACHE_GLOBAL
            | MMUEXT_MARK_SUPER
            | MMUEXT_UNMARK_SUPER,
            0,
        ) => request(operation, 0, 0),
        _ => return None,
    };
    bench.write(DATA, &[first, request(MMUEXT_TLB_FLUSH_LOCAL, 0, 0)]);
    Some([DATA, 2, LIST, SELF, 0])
}
