//! Rule tested: an exception of kernel mode reaches the kernel's handler with the right vector, error code, address and
//! return point, and returning from it leaves nothing behind.
#![no_std]
#![no_main]

use core::arch::asm;

use guest_kernel::event::upcall;
use guest_kernel::paging::{AREA_BASE, AREA_SIZE};
use guest_kernel::start::Boot;
use guest_kernel::trap::{Fault, open_gate, probe};
use guest_kernels::{check, finish};

guest_kernel::entry!(main);

/// An address that nothing is mapped at.
const UNMAPPED: u64 = (AREA_BASE + AREA_SIZE - 4096) as u64;

extern "C" fn undefined(_: u64) {
    // SAFETY: the exception is caught.
    unsafe { asm!("ud2") }
}

extern "C" fn breakpoint(_: u64) {
    // SAFETY: the exception is caught.
    unsafe { asm!("int3") }
}

extern "C" fn divide(divisor: u64) {
    // SAFETY: the exception is caught; the registers are scratch.
    unsafe {
        asm!("xor edx, edx", "mov eax, 1", "div {}", in(reg) divisor, out("rax") _, out("rdx") _)
    }
}

extern "C" fn read(address: u64) {
    // SAFETY: the exception is caught; where there is none, a read changes nothing.
    unsafe { asm!("mov {0}, [{0}]", inout(reg) address => _, options(readonly, nostack)) }
}

extern "C" fn write(address: u64) {
    // SAFETY: the exception is caught; the caller gives read-only or unmapped addresses only.
    unsafe { asm!("mov qword ptr [{0}], 1", in(reg) address, options(nostack)) }
}

extern "C" fn execute(address: u64) {
    // SAFETY: the exception is caught; what lies there is a return instruction.
    unsafe { asm!("call {0}", in(reg) address, clobber_abi("C")) }
}

extern "C" fn halt(_: u64) {
    // SAFETY: the exception is caught.
    unsafe { asm!("hlt", options(nomem, nostack)) }
}

extern "C" fn software_interrupt(_: u64) {
    // SAFETY: the exception is caught.
    unsafe { asm!("int 0x80") }
}

extern "C" fn nothing(_: u64) {}

fn vector(result: Result<(), Fault>) -> Option<u64> {
    result.err().map(|fault| fault.vector)
}

/// A return instruction, in a section that is not executable.
static RETURN: [u8; 16] = [0xc3; 16];

fn main(_: &'static Boot) {
    check!(probe(nothing, 0).is_ok(), "code without exceptions returns");
    check!(vector(probe(undefined, 0)) == Some(6), "UD2 is #UD");
    check!(
        vector(probe(divide, 0)) == Some(0),
        "a division by zero is #DE"
    );
    check!(vector(probe(breakpoint, 0)) == Some(3), "INT3 is #BP");
    let fault = probe(halt, 0).err();
    check!(
        fault.is_some_and(|f| f.vector == 13 && f.error_code == 0),
        "HLT is #GP(0)"
    );
    check!(
        vector(probe(read, 1 << 63 >> 12)) == Some(13),
        "a non-canonical address is #GP"
    );

    let fault = probe(read, UNMAPPED).err();
    check!(
        fault.is_some_and(|f| f.vector == 14 && f.error_code == 0 && f.address == UNMAPPED),
        "reading an unmapped page is #PF(0) with its address: {fault:x?}"
    );
    let fault = probe(write, UNMAPPED + 8).err();
    check!(
        fault.is_some_and(|f| f.vector == 14 && f.error_code == 2 && f.address == UNMAPPED + 8),
        "writing there is #PF(2)"
    );
    let text = (nothing as *const ()).addr() as u64;
    let fault = probe(write, text).err();
    check!(
        fault.is_some_and(|f| f.vector == 14 && f.error_code == 3 && f.address == text),
        "writing the kernel's text is #PF(3)"
    );
    let data = RETURN.as_ptr().addr() as u64;
    let fault = probe(execute, data).err();
    check!(
        fault.is_some_and(|f| f.vector == 14 && f.error_code & 0x13 == 0x11 && f.rip == data),
        "executing data is #PF for an instruction: {fault:x?}"
    );

    check!(
        open_gate(0x80).is_ok(),
        "a gate for INT 0x80 can be registered"
    );
    check!(
        vector(probe(software_interrupt, 0)) == Some(0x80),
        "INT 0x80 arrives there"
    );
    check!(
        open_gate(0x10).is_err(),
        "an exception's entry cannot be replaced by a gate"
    );

    let masked = upcall::mask();
    let inside = probe(undefined, 0);
    drop(masked);
    check!(inside.is_err(), "exceptions come with upcalls masked too");

    let caught = (0..20_000)
        .filter(|_| probe(breakpoint, 0).is_err())
        .count();
    check!(caught == 20_000, "20000 exceptions in a row come and go");
    finish()
}
