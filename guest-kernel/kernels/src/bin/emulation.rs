//! Rule tested: privileged instructions of the kernel are emulated as the ABI says, and those that have no meaning for a
//! PV kernel fault.
//!
//! This kernel contains privileged instructions on purpose.
#![no_std]
#![no_main]

use core::arch::asm;
use core::sync::atomic::{AtomicU64, Ordering};

use guest_kernel::hypercall::{cpuid, physdev};
use guest_kernel::paging::root;
use guest_kernel::start::Boot;
use guest_kernel::trap::{Fault, probe};
use guest_kernels::{check, finish};
use hypercall_abi::cpuid::{
    XEN_CPUID_FIRST_LEAF, XEN_CPUID_SIGNATURE_EBX, XEN_CPUID_SIGNATURE_ECX,
    XEN_CPUID_SIGNATURE_EDX, XEN_CPUID_VERSION_LEAF,
};

guest_kernel::entry!(main);

/// What the last instruction under test gave.
static RESULT: AtomicU64 = AtomicU64::new(0);
/// Second operand of the instruction under test.
static OPERAND: AtomicU64 = AtomicU64::new(0);

/// Defines a function that runs one instruction on RAX (in and out).
macro_rules! instruction {
    ($name:ident, $($line:literal),+) => {
        extern "C" fn $name(argument: u64) {
            let mut value = OPERAND.load(Ordering::Relaxed);
            // SAFETY: a fault is caught; where there is none, the check that calls this restores what it changed.
            unsafe {
                asm!($($line),+, inout("rax") value, inout("rcx") argument => _, out("rdx") _, options(nostack));
            }
            RESULT.store(value, Ordering::Relaxed);
        }
    };
}

instruction!(read_cr0, "mov rax, cr0");
instruction!(write_cr0, "mov cr0, rax");
instruction!(read_cr2, "mov rax, cr2");
instruction!(read_cr3, "mov rax, cr3");
instruction!(read_cr4, "mov rax, cr4");
instruction!(write_cr4, "mov cr4, rax");
instruction!(read_cr8, "mov rax, cr8");
instruction!(clear_ts, "clts");
instruction!(read_msr, "rdmsr", "shl rdx, 32", "or rax, rdx");
instruction!(write_msr, "mov rdx, rax", "shr rdx, 32", "wrmsr");
instruction!(read_dr7, "mov rax, dr7");
instruction!(interrupts_off, "cli");
instruction!(port_in, "mov edx, ecx", "in al, dx");
instruction!(invalidate, "invlpg [rcx]");
instruction!(load_idt, "lidt [rcx]");
instruction!(return_from_mode, "sysretq");
instruction!(swap_gs, "swapgs");
instruction!(use_fpu, "fnop");

/// Runs one and gives its result.
fn value(instruction: extern "C" fn(u64), argument: u64) -> Result<u64, Fault> {
    probe(instruction, argument)?;
    Ok(RESULT.load(Ordering::Relaxed))
}

/// Runs one with an operand.
fn run(instruction: extern "C" fn(u64), argument: u64, operand: u64) -> Result<(), Fault> {
    OPERAND.store(operand, Ordering::Relaxed);
    probe(instruction, argument)
}

fn faults(result: Result<u64, Fault>) -> bool {
    result.is_err_and(|fault| fault.vector == 13 && fault.error_code == 0)
}

fn main(_: &'static Boot) {
    identification();
    control_registers();
    model_specific_registers();
    refused();
    ports();
    finish()
}

fn identification() {
    let [highest, ebx, ecx, edx] = cpuid(XEN_CPUID_FIRST_LEAF, 0);
    check!(
        (ebx, ecx, edx)
            == (
                XEN_CPUID_SIGNATURE_EBX,
                XEN_CPUID_SIGNATURE_ECX,
                XEN_CPUID_SIGNATURE_EDX
            ),
        "the forced CPUID shows the hypervisor's signature"
    );
    check!(
        highest >= XEN_CPUID_FIRST_LEAF + 2,
        "with at least two leaves behind it ({highest:#x})"
    );
    let [version, ..] = cpuid(XEN_CPUID_VERSION_LEAF, 0);
    check!(version >> 16 == 4, "and version 4.x");
    let [_, _, features, more] = cpuid(1, 0);
    check!(
        features >> 31 == 1,
        "leaf 1 says that there is a hypervisor"
    );
    check!(
        more & (1 << 3) == 0 && more & (1 << 13) == 0,
        "and hides large and global pages"
    );
    let [_, _, extended, _] = cpuid(7, 0);
    check!(extended & (1 << 3) == 0, "protection keys are hidden");
    let [_, protection, _, _] = cpuid(7, 0);
    check!(protection & (1 << 7 | 1 << 20) == 0, "so are SMEP and SMAP");
    check!(
        cpuid(0x3fff_ffff, 0) == [0; 4],
        "a leaf out of range is zero"
    );
}

fn control_registers() {
    let cr0 = value(read_cr0, 0);
    check!(
        cr0.is_ok_and(|cr0| cr0 & 0x8000_0001 == 0x8000_0001),
        "CR0 shows paging and protection"
    );
    check!(
        value(read_cr3, 0) == Ok(root().map_or(0, |root| root.0 << 12)),
        "CR3 shows the kernel's root"
    );
    check!(value(read_cr2, 0).is_ok(), "CR2 can be read");
    let cr4 = value(read_cr4, 0);
    check!(cr4.is_ok_and(|cr4| cr4 & (1 << 5) != 0), "CR4 shows PAE");
    check!(
        cr4.is_ok_and(|cr4| run(write_cr4, 0, cr4).is_ok()),
        "CR4 can be written as it was"
    );
    let with_ts = cr0.unwrap_or(0) | 1 << 3;
    check!(run(write_cr0, 0, with_ts).is_ok(), "CR0.TS can be set");
    let fault = probe(use_fpu, 0).err();
    check!(
        fault.is_some_and(|fault| fault.vector == 7),
        "the next FPU instruction is #NM"
    );
    check!(probe(use_fpu, 0).is_ok(), "which has cleared TS");
    check!(
        run(write_cr0, 0, with_ts).is_ok() && probe(clear_ts, 0).is_ok(),
        "CLTS clears it"
    );
    check!(probe(use_fpu, 0).is_ok(), "and the FPU is there");
    check!(faults(value(read_cr8, 0)), "CR8 is #GP");
}

/// MSRs by number.
const APIC_BASE: u64 = 0x1b;
const PAT: u64 = 0x277;
const EFER: u64 = 0xc000_0080;
const LSTAR: u64 = 0xc000_0082;
const FS_BASE: u64 = 0xc000_0100;
const KERNEL_GS_BASE: u64 = 0xc000_0102;

fn model_specific_registers() {
    check!(
        value(read_msr, PAT) == Ok(0x0000_0501_0007_0406),
        "PAT is the ABI's"
    );
    check!(
        value(read_msr, EFER).is_ok_and(|efer| efer & 0x501 == 0x501),
        "EFER shows long mode and SYSCALL"
    );
    check!(
        value(read_msr, APIC_BASE).is_ok_and(|base| base >> 12 == 0xfee00),
        "APIC_BASE is that of an xAPIC"
    );
    check!(
        run(write_msr, FS_BASE, 0x1234_5000).is_ok(),
        "FS_BASE can be written"
    );
    check!(value(read_msr, FS_BASE) == Ok(0x1234_5000), "and read back");
    check!(
        run(write_msr, FS_BASE, 1 << 62).is_err(),
        "but not with a non-canonical address"
    );
    check!(run(write_msr, FS_BASE, 0).is_ok(), "and cleared");
    check!(
        run(write_msr, KERNEL_GS_BASE, 0x7000).is_ok(),
        "KERNEL_GS_BASE is the base of user mode"
    );
    check!(
        value(read_msr, KERNEL_GS_BASE) == Ok(0x7000),
        "and reads so"
    );
    check!(run(write_msr, KERNEL_GS_BASE, 0).is_ok(), "and is cleared");
    check!(faults(value(read_msr, LSTAR)), "LSTAR is #GP");
    check!(run(write_msr, LSTAR, 0).is_err(), "to write too");
    check!(
        faults(value(read_msr, 0xdead_0000)),
        "an MSR that does not exist is #GP"
    );
}

fn refused() {
    for (instruction, what) in [
        (load_idt as extern "C" fn(u64), "LIDT"),
        (swap_gs, "SWAPGS"),
        (return_from_mode, "SYSRET"),
        (invalidate, "INVLPG"),
    ] {
        let fault = probe(instruction, 0).err();
        check!(
            fault.is_some_and(|fault| matches!(fault.vector, 6 | 13 | 14)),
            "{what} faults"
        );
    }
    check!(probe(read_dr7, 0).is_ok(), "DR7 can be read");
}

fn ports() {
    check!(
        faults(value(interrupts_off, 0)),
        "without I/O privilege CLI is #GP"
    );
    check!(faults(value(port_in, 0x80)), "so is IN");
    check!(physdev::set_iopl(4).is_err(), "level 4 does not exist");
    check!(physdev::set_iopl(1).is_ok(), "level 1 can be set");
    check!(probe(interrupts_off, 0).is_ok(), "then CLI is nothing");
    check!(probe(port_in, 0x80).is_ok(), "and IN gives something");
    check!(physdev::set_iopl(0).is_ok(), "level 0 comes back");
    check!(faults(value(interrupts_off, 0)), "and CLI faults again");
}
