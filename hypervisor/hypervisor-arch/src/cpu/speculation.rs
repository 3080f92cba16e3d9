//! Carries the policy's plan against speculation out: bits that stay set on each CPU, what is done between domains, and the
//! code at entry and exit, which boot changes once, before anything else runs it.

use crate::cpu::msr;
use crate::entry::frame;
use core::arch::asm;
use core::sync::atomic::Ordering;
use hypervisor_core::speculation::{Facts, Mode, Plan};
use spin::Once;
use x86_64::registers::model_specific::Efer;

const SPEC_CTRL: u32 = 0x48;
const PRED_CMD: u32 = 0x49;
const IBPB: u64 = 1;
const FLUSH_CMD: u32 = 0x10b;
const L1D_FLUSH: u64 = 1;
/// Zen's DE_CFG, and the bit that serves Zenbleed.
const DE_CFG: u32 = 0xc001_1029;
const ZENBLEED: u64 = 1 << 9;
/// EFER.AIBRSE.
const AUTOMATIC_IBRS: u64 = 1 << 21;

const CALL: u8 = 0xe8;
const JUMP: u8 = 0xe9;

static PLAN: Once<Plan> = Once::new();

unsafe extern "C" {
    static mut exit_iret: [u8; 5];
    static mut exit_sysretq: [u8; 5];
    static mut call_on_guest: [u8; 5];
    static mut call_on_syscall: [u8; 5];
    static mut version_sysretq: [u8; 5];
    static mut call_on_version: [u8; 5];
    static mut call_on_own_stack: [u8; 5];
    static exit_iret_cleared: u8;
    static exit_sysretq_cleared: u8;
    static on_guest_restricted: u8;
    static on_syscall_restricted: u8;
    static on_version_restricted: u8;
    static on_own_stack_restricted: u8;
}

/// Decides what is done, and changes the code at entry and exit for it.
///
/// # Safety
/// Only the boot CPU may run, on the boot tables, by which our code can be written.
pub(crate) unsafe fn decide(mode: Mode) {
    let facts = Facts::read(
        |leaf, subleaf| {
            let result = core::arch::x86_64::__cpuid_count(leaf, subleaf);
            [result.eax, result.ebx, result.ecx, result.edx]
        },
        msr::read_safely,
    );
    let plan = PLAN.call_once(|| Plan::of(&facts, mode));
    if plan.verw_at_exit {
        let sites = [
            (&raw mut exit_iret, &raw const exit_iret_cleared),
            (&raw mut exit_sysretq, &raw const exit_sysretq_cleared),
            (&raw mut version_sysretq, &raw const exit_sysretq_cleared),
        ];
        for (site, target) in sites {
            // SAFETY: the caller's promise; five bytes have been left there for this.
            unsafe { lead(site, JUMP, target) };
        }
    }
    if plan.write_at_entry {
        frame::SPEC_CTRL.store(plan.spec_ctrl as u32, Ordering::Relaxed);
        let sites = [
            (&raw mut call_on_guest, &raw const on_guest_restricted),
            (&raw mut call_on_syscall, &raw const on_syscall_restricted),
            (&raw mut call_on_version, &raw const on_version_restricted),
            (
                &raw mut call_on_own_stack,
                &raw const on_own_stack_restricted,
            ),
        ];
        for (site, target) in sites {
            // SAFETY: the caller's promise; a call of five bytes stands there.
            unsafe { lead(site, CALL, target) };
        }
    }
}

/// Puts a call or a jump to `target` at `site`.
///
/// # Safety
/// The five bytes can be written and are code that nobody runs now.
unsafe fn lead(site: *mut [u8; 5], opcode: u8, target: *const u8) {
    let behind = site.addr() + size_of::<[u8; 5]>();
    let distance = target.addr().wrapping_sub(behind) as u32;
    let [a, b, c, d] = distance.to_le_bytes();
    // SAFETY: the caller's promise. CR3 is loaded before the code runs, which no CPU's prefetch outlives.
    unsafe { site.write_volatile([opcode, a, b, c, d]) };
}

/// Tells what is done and what is left open.
pub(crate) fn report() {
    let plan = plan();
    struct Measures(Plan);
    impl core::fmt::Display for Measures {
        fn fmt(&self, f: &mut core::fmt::Formatter<'_>) -> core::fmt::Result {
            let mut measures = self.0.measures();
            f.write_str(measures.next().unwrap_or("nothing is done"))?;
            measures.try_for_each(|measure| write!(f, ", {measure}"))
        }
    }
    log::info!("speculation: {}", Measures(plan));
    log::warn!("speculation: not covered on this CPU: {}", plan.open);
}

fn plan() -> Plan {
    *PLAN.get().expect("boot decides first")
}

/// Sets this CPU's registers.
pub(crate) fn configure() {
    let plan = plan();
    if plan.spec_ctrl != 0 && !msr::write_safely(SPEC_CTRL, plan.spec_ctrl) {
        log::error!("speculation: SPEC_CTRL refuses {:#x}", plan.spec_ctrl);
    }
    if plan.automatic_ibrs {
        let value = Efer::read_raw() | AUTOMATIC_IBRS;
        // SAFETY: the CPU has the bit, which changes what predictions are used and nothing else.
        unsafe { Efer::write_raw(value) };
    }
    if plan.zenbleed_bit {
        let set = msr::read_safely(DE_CFG)
            .is_some_and(|value| msr::write_safely(DE_CFG, value | ZENBLEED));
        if !set {
            log::error!("speculation: DE_CFG cannot be set, Zenbleed stays open");
        }
    }
}

/// Another domain than before runs on this CPU from now on.
pub(crate) fn separate_domains() {
    let Some(plan) = PLAN.get() else { return };
    if plan.prediction_barrier {
        msr::write_safely(PRED_CMD, IBPB);
    }
    if plan.flush_l1d {
        msr::write_safely(FLUSH_CMD, L1D_FLUSH);
    }
    if plan.fill_returns {
        fill_returns();
    }
}

/// Fills the return stack with the address of a trap for whoever speculates there.
fn fill_returns() {
    // SAFETY: 32 calls to the next instruction but one, whose return addresses are taken off the stack again. There is room:
    // 256 bytes, below what the compiler uses, as the block is not `nostack`.
    unsafe {
        asm!(
            ".rept 32",
            "call 2f",
            "3: pause",
            "lfence",
            "jmp 3b",
            "2:",
            ".endr",
            "add rsp, 256",
        );
    }
}
