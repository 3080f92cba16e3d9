//! Model specific registers that are set once per CPU: the system call entry and the page attribute table.

use crate::cpu::{features::Features, gdt};
use crate::mem::fixup::fixup;
use crate::mem::layout::CpuArea;
use core::arch::asm;
use x86_64::registers::model_specific::{Efer, EferFlags, Msr};

const PAT: u32 = 0x277;
/// WB, WT, UC-, UC, WC, WP, UC, UC: part of the guest ABI (pv-abi 6.6).
const PAT_VALUE: u64 = 0x0000_0501_0007_0406;
const STAR: u32 = 0xc000_0081;
const LSTAR: u32 = 0xc000_0082;
const CSTAR: u32 = 0xc000_0083;
const SFMASK: u32 = 0xc000_0084;
const SYSENTER_CS: u32 = 0x174;
const SYSENTER_ESP: u32 = 0x175;
const SYSENTER_EIP: u32 = 0x176;
/// CF to OF but reserved ones, with TF, IF, DF, IOPL, NT, RF, VM, AC: `syscall` enters with clean flags.
const SYSCALL_MASK: u64 = 0x0007_7fd5 & !2;

unsafe extern "C" {
    static stub_page: u8;
    static stub_syscall: u8;
    static stub_syscall32: u8;
    static stub_sysenter: u8;
}

/// Physical address of the stubs' frame.
pub(crate) fn stub_frame() -> u64 {
    (&raw const stub_page).addr() as u64 - crate::mem::layout::IMAGE
}

/// Sets the registers of this CPU, whose area has this index.
pub(crate) fn configure(index: usize, features: Features) {
    let stub = |symbol: *const u8| {
        let offset = symbol.addr() - (&raw const stub_page).addr();
        CpuArea::page(index, CpuArea::STUB) + offset as u64
    };
    let star = u64::from(gdt::USER_CODE32) << 48 | u64::from(gdt::CODE) << 32;
    write(PAT, PAT_VALUE);
    write(STAR, star);
    write(LSTAR, stub(&raw const stub_syscall));
    write(CSTAR, stub(&raw const stub_syscall32));
    write(SFMASK, SYSCALL_MASK);
    if features.sysenter {
        write(SYSENTER_CS, u64::from(gdt::CODE));
        write(SYSENTER_ESP, 0);
        write(SYSENTER_EIP, stub(&raw const stub_sysenter));
    }
    // SAFETY: the system call entry has been set just now.
    unsafe { Efer::update(|flags| flags.insert(EferFlags::SYSTEM_CALL_EXTENSIONS)) };
}

/// Writes one of the registers above, which every CPU has, with a value that it takes.
fn write(register: u32, value: u64) {
    // SAFETY: called for this module's constants only.
    unsafe { Msr::new(register).write(value) };
}

/// Reads any register; `None` if the CPU refuses.
pub(crate) fn read_safely(register: u32) -> Option<u64> {
    let (low, high): (u32, u32);
    let failed: u32;
    // SAFETY: reading a register that exists changes nothing; one that does not exist goes on at label 3.
    unsafe {
        asm!(
            "2: rdmsr",
            "jmp 4f",
            "3: mov {failed:e}, 1",
            "4:",
            fixup!("2b", "3b"),
            failed = inout(reg) 0_u32 => failed,
            in("ecx") register,
            out("eax") low,
            out("edx") high,
            options(nostack),
        );
    }
    (failed == 0).then(|| u64::from(high) << 32 | u64::from(low))
}

/// Writes a register of which CPUID says that it exists; false if the CPU refuses nevertheless.
pub(crate) fn write_safely(register: u32, value: u64) -> bool {
    let failed: u32;
    // SAFETY: called for registers that steer speculation only; a fault goes on at label 3.
    unsafe {
        asm!(
            "2: wrmsr",
            "jmp 4f",
            "3: mov {failed:e}, 1",
            "4:",
            fixup!("2b", "3b"),
            failed = inout(reg) 0_u32 => failed,
            in("ecx") register,
            in("eax") value as u32,
            in("edx") (value >> 32) as u32,
            options(nostack),
        );
    }
    failed == 0
}
