//! The FPU state of guests, saved and loaded whole at each switch of vCPUs.
//!
//! With XSAVE, both happen under the widest XCR0 that guests may have, whatever the vCPU's own is: what a guest has
//! hidden by narrowing XCR0 is its own still, and must not be there for the next one.

use crate::cpu::features;
use core::arch::asm;
use core::arch::x86_64::__cpuid_count;
use hypervisor_core::vcpu::fpu::{FPU_AREA, FpuArea};
use spin::Once;
use x86_64::registers::xcontrol::XCr0;

/// x87, SSE, AVX and the three parts of AVX-512: what fits the area.
const SAVED: u64 = 0xe7;

/// The widest XCR0 for guests.
fn widest() -> u64 {
    static WIDEST: Once<u64> = Once::new();
    *WIDEST.call_once(|| {
        let leaf = __cpuid_count(0xd, 0);
        let supported = u64::from(leaf.edx) << 32 | u64::from(leaf.eax);
        supported & SAVED
    })
}

/// Sets XCR0, if there is one.
pub(crate) fn set_xcr0(value: u64) {
    if features::get().xsave && XCr0::read_raw() != value {
        // SAFETY: policy checks a guest's wish against what the CPU supports; `widest` is supported.
        unsafe { XCr0::write_raw(value) };
    }
}

/// Loads a guest's state. CR0.TS must be clear.
pub(crate) fn load(area: &FpuArea) {
    clear_exception_pointers();
    let area = area.0.as_ptr();
    if features::get().xsave {
        set_xcr0(widest());
        // SAFETY: 64-byte aligned by its type, and made by `save` or by policy with valid MXCSR and header.
        unsafe {
            asm!("xrstor64 [{}]", in(reg) area, in("eax") u32::MAX, in("edx") u32::MAX, options(nostack, readonly));
        }
    } else {
        // SAFETY: as above.
        unsafe { asm!("fxrstor64 [{}]", in(reg) area, options(nostack, readonly)) };
    }
}

/// Saves a guest's state. CR0.TS must be clear.
pub(crate) fn save(area: &mut FpuArea) {
    let place = area.0.as_mut_ptr();
    if features::get().xsave {
        set_xcr0(widest());
        // SAFETY: the area holds all components of `SAVED` (asserted below), 64-byte aligned by its type.
        unsafe {
            asm!("xsave64 [{}]", in(reg) place, in("eax") u32::MAX, in("edx") u32::MAX, options(nostack));
        }
    } else {
        // SAFETY: as above.
        unsafe { asm!("fxsave64 [{}]", in(reg) place, options(nostack)) };
    }
}

/// AMD's FXRSTOR leaves the last exception's pointers of whoever was here before, unless an exception is pending
/// (CVE-2006-1056): a load from our own memory overwrites them.
fn clear_exception_pointers() {
    static ZERO: u32 = 0;
    // SAFETY: what this changes of the FPU is overwritten by the load that follows.
    unsafe {
        asm!("fnclex", "emms", "fild dword ptr [{}]", in(reg) &raw const ZERO, options(nostack, readonly));
    }
}

/// The legacy region, the header, AVX and AVX-512.
const _: () = assert!(FPU_AREA >= 2688);
