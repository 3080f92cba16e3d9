//! Rule tested: breakpoints on code, data and ports, single steps and NMIs reach the kernel, and nothing that would reach the
//! hypervisor can be set.
//!
//! This kernel contains privileged instructions on purpose.
#![no_std]
#![no_main]

use core::arch::asm;
use core::sync::atomic::{AtomicU64, Ordering};

use guest_kernel::hypercall::{Errno, hypercall, physdev};
use guest_kernel::start::Boot;
use guest_kernel::trap::{Fault, probe};
use guest_kernels::{check, finish};
use hypercall_abi::GuestPtr;
use hypercall_abi::number::{CALLBACK_OP, GET_DEBUGREG, PHYSDEV_OP, SET_DEBUGREG, VCPU_OP};
use hypercall_abi::physdev::PhysdevSetIobitmap;

guest_kernel::entry!(main);

const DR6_DEFAULT: u64 = 0xffff_0ff0;
const DR7_DEFAULT: u64 = 0x400;
const STEP: u64 = 1 << 14;
const DE: u64 = 1 << 3;

/// What a data breakpoint watches.
static WATCHED: AtomicU64 = AtomicU64::new(0);
/// A bit for each port, set where it is closed.
static BITMAP: [AtomicU64; 1024] = [const { AtomicU64::new(u64::MAX) }; 1024];

fn issue(number: u32, arguments: [u64; 5]) -> Result<u64, Errno> {
    // SAFETY: debug registers and ports of this vCPU, and a bitmap that lives for ever.
    unsafe { hypercall(u64::from(number), arguments) }
}

fn set(register: u64, value: u64) -> Result<u64, Errno> {
    issue(SET_DEBUGREG, [register, value, 0, 0, 0])
}

fn get(register: u64) -> Result<u64, Errno> {
    issue(GET_DEBUGREG, [register, 0, 0, 0, 0])
}

extern "C" fn nothing(_: u64) {
    // SAFETY: does nothing.
    unsafe { asm!("nop", options(nomem, nostack)) }
}

extern "C" fn write(_: u64) {
    WATCHED.store(1, Ordering::SeqCst);
}

extern "C" fn step(_: u64) {
    // SAFETY: the exception is caught, and the probe's end clears TF.
    unsafe { asm!("pushfq", "or qword ptr [rsp], 0x100", "popfq", "nop", "nop") }
}

/// A step over a hypercall: `xen_version(0)`.
extern "C" fn step_over_call(_: u64) {
    // SAFETY: as `step`; the call asks for a number.
    unsafe {
        asm!("pushfq", "or qword ptr [rsp], 0x100", "popfq", "syscall", "nop", "nop",
            inout("rax") 17_u64 => _, inout("rdi") 0_u64 => _, inout("rsi") 0_u64 => _,
            out("rcx") _, out("r11") _)
    }
}

/// A step over an instruction that the hypervisor carries out: CPUID behind its prefix.
extern "C" fn step_over_emulated(_: u64) {
    // SAFETY: as `step`; RBX is kept.
    unsafe {
        asm!("push rbx", "pushfq", "or qword ptr [rsp], 0x100", "popfq",
            "ud2", ".byte 0x78, 0x65, 0x6e", "cpuid", "nop", "nop", "pop rbx",
            inout("rax") 0_u64 => _, out("rcx") _, out("rdx") _)
    }
}

extern "C" fn write_cr4(value: u64) {
    // SAFETY: only bits that are the guest's are taken.
    unsafe { asm!("mov cr4, {}", in(reg) value, options(nostack)) }
}

extern "C" fn port_out(port: u64) {
    // SAFETY: no domain owns the ports that are used here.
    unsafe { asm!("xor eax, eax", "out dx, al", in("rdx") port, out("rax") _, options(nostack)) }
}

extern "C" fn string_out(address: u64) {
    // SAFETY: a port that nobody owns; a fault is caught.
    unsafe { asm!("outsb", in("dx") 0x81_u16, inout("rsi") address => _, options(nostack)) }
}

extern "C" fn send_nmi(_: u64) {
    let sent = issue(VCPU_OP, [11, 0, 0, 0, 0]);
    NMI_SENT.store(u64::from(sent == Ok(0)), Ordering::SeqCst);
}

/// Whether a call that sent an NMI returned with success.
static NMI_SENT: AtomicU64 = AtomicU64::new(0);

fn is_debug(result: Result<(), Fault>) -> bool {
    result.is_err_and(|fault| fault.vector == 1)
}

/// DR6 since the last time, without what is always set.
fn take_reasons() -> u64 {
    let reasons = get(6).unwrap_or(0) & !DR6_DEFAULT;
    if set(6, DR6_DEFAULT).is_err() {
        return u64::MAX;
    }
    reasons
}

fn main(_: &'static Boot) {
    registers();
    breakpoints();
    steps();
    ports();
    nmi();
    finish()
}

fn registers() {
    check!(get(6) == Ok(DR6_DEFAULT), "DR6 at start");
    check!(get(7) == Ok(DR7_DEFAULT), "DR7 at start");
    for (register, value, expected) in [
        (0, 0xffff_8000_0000_0000, Err(Errno::EPERM)),
        (3, 0xffff_87ff_ffff_ffff, Err(Errno::EPERM)),
        (3, 0xffff_8800_0000_0000, Ok(0)),
        (2, 1 << 47, Err(Errno::EPERM)),
        (6, 1 << 32, Err(Errno::EINVAL)),
        (7, 1 << 32, Err(Errno::EINVAL)),
        (7, 1 << 13, Err(Errno::EPERM)),
        (7, 2 << 16 | 1, Err(Errno::EPERM)),
        (8, 0, Err(Errno::ENODEV)),
        (4, DR6_DEFAULT, Ok(0)),
        (3, 0, Ok(0)),
    ] {
        let result = set(register, value);
        check!(
            result == expected,
            "debug register {register} := {value:#x}: {result:?}"
        );
    }
    check!(get(8) == Err(Errno::ENODEV), "there is no register 8");
    check!(get(5) == get(7), "5 is another name of 7");
}

fn breakpoints() {
    let code = (nothing as extern "C" fn(u64) as *const ()).addr() as u64;
    check!(
        set(0, code).is_ok() && set(7, 1).is_ok(),
        "a breakpoint on code"
    );
    let result = probe(nothing, 0);
    check!(
        is_debug(result) && result.is_err_and(|fault| fault.rip == code),
        "is an exception before it: {result:x?}"
    );
    check!(take_reasons() & 15 == 1, "with its number in DR6");
    check!(
        set(7, 0).is_ok() && probe(nothing, 0).is_ok(),
        "until it is cleared"
    );
    let watched = WATCHED.as_ptr().addr() as u64;
    check!(
        set(1, watched).is_ok() && set(7, 1 << 20 | 2 << 22 | 4).is_ok(),
        "one on writes of 8 bytes"
    );
    check!(is_debug(probe(write, 0)), "is an exception");
    check!(
        take_reasons() & 15 == 2 && WATCHED.load(Ordering::SeqCst) == 1,
        "behind the write"
    );
    check!(
        set(7, 0).is_ok() && probe(write, 0).is_ok(),
        "until it is cleared"
    );
}

fn steps() {
    for (code, what) in [
        (step as extern "C" fn(u64), "an instruction"),
        (step_over_call, "a hypercall"),
        (step_over_emulated, "an instruction that is emulated"),
    ] {
        take_reasons();
        check!(is_debug(probe(code, 0)), "a step over {what}");
        check!(take_reasons() & STEP != 0, "is noted in DR6");
    }
    check!(probe(nothing, 0).is_ok(), "then the kernel runs on");
}

fn ports() {
    check!(physdev::set_iopl(1).is_ok(), "ports are open");
    check!(probe(write_cr4, DE).is_ok(), "with CR4.DE");
    check!(
        set(2, 0x81).is_ok() && set(7, 2 << 24 | 0x10).is_ok(),
        "a breakpoint can be set on a port"
    );
    check!(
        get(7) == Ok(DR7_DEFAULT | 2 << 24 | 0x10),
        "and is read back"
    );
    check!(
        set(5, 0) == Err(Errno::ENODEV),
        "registers 4 and 5 do not exist then"
    );
    check!(
        probe(port_out, 0x80).is_ok(),
        "another port does not meet it"
    );
    take_reasons();
    check!(is_debug(probe(port_out, 0x81)), "the port does");
    check!(take_reasons() & 15 == 4, "with its number in DR6");
    check!(
        set(7, 0).is_ok() && probe(port_out, 0x81).is_ok(),
        "until it is cleared"
    );
    check!(probe(write_cr4, 0).is_ok(), "CR4 as it was");
    let vector = |result: Result<(), Fault>| result.err().map(|fault| fault.vector);
    check!(
        vector(probe(string_out, 1 << 47)) == Some(13),
        "OUTS from an address that is none is #GP"
    );
    let fault = probe(string_out, 0xffff_9008_0000_0000).err();
    check!(
        fault.is_some_and(|fault| fault.vector == 14 && fault.address == 0xffff_9008_0000_0000),
        "from one where nothing is mapped #PF"
    );
    check!(physdev::set_iopl(0).is_ok(), "ports are closed");
    bitmap();
}

fn bitmap() {
    let open = |nr_ports| {
        let mut argument = PhysdevSetIobitmap {
            bitmap: GuestPtr::new(BITMAP.as_ptr().addr() as u64),
            nr_ports,
            ..PhysdevSetIobitmap::default()
        };
        let at = core::ptr::from_mut(&mut argument).addr() as u64;
        issue(PHYSDEV_OP, [7, at, 0, 0, 0])
    };
    check!(open(65_537) == Err(Errno::EINVAL), "there are 65536 ports");
    check!(open(65_536) == Ok(0), "a bitmap of them");
    check!(
        probe(port_out, 0x81).is_err(),
        "closes a port whose bit is set"
    );
    BITMAP[2].fetch_and(!2, Ordering::SeqCst);
    check!(
        probe(port_out, 0x81).is_ok(),
        "opens one whose bit is clear"
    );
    check!(probe(port_out, 0x82).is_err(), "and no other");
    check!(open(0x81) == Ok(0), "a shorter one");
    check!(probe(port_out, 0x81).is_err(), "closes what is beyond it");
}

fn nmi() {
    let result = probe(send_nmi, 0);
    check!(
        result.is_err_and(|fault| fault.vector == 2),
        "an NMI to oneself comes with the call's return: {result:x?}"
    );
    let again = probe(send_nmi, 0);
    check!(
        again.is_err_and(|fault| fault.vector == 2),
        "the next one after the handler's return"
    );
    let mut kind = [4_u16, 0];
    let at = kind.as_mut_ptr().addr() as u64;
    check!(
        issue(CALLBACK_OP, [1, at, 0, 0, 0]) == Ok(0),
        "its handler can be taken away"
    );
    check!(
        probe(send_nmi, 0).is_ok() && NMI_SENT.load(Ordering::SeqCst) == 1,
        "then it is lost in silence"
    );
}
