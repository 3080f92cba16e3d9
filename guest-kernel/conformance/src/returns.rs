//! The call `iret` under test: frames of the suite's making that return to kernel mode, right behind the call.

use core::arch::asm;

use guest_kernel::trap::{Fault, probe};
use hypercall_abi::number::{IRET, MULTICALL};
use hypercall_abi::trap::{FLAT_KERNEL_CS, FLAT_KERNEL_SS};

use crate::instruction::Outcome;
use crate::multicall::Entry;
use crate::sabotage::{self, Act};
use crate::{address_of, asked, sabotaged};

/// What a frame says, and what is found where it returns to.
#[repr(C)]
#[derive(Clone, Copy, Debug)]
pub struct Return {
    /// RAX.
    pub rax: u64,
    /// R11.
    pub r11: u64,
    /// RCX.
    pub rcx: u64,
    /// `VGCF_*`.
    pub flags: u64,
    /// What is changed in the address of the landing place; afterwards that address.
    pub rip: u64,
    /// Code segment.
    pub cs: u64,
    /// Flags.
    pub rflags: u64,
    /// Stack segment.
    pub ss: u64,
    /// How far RSP is from where it was to be.
    pub rsp_off: u64,
    /// R8, which is in no frame; it was 0x88.
    pub r8: u64,
}

impl Default for Return {
    /// A frame that is fine.
    fn default() -> Self {
        Self {
            rax: 1,
            r11: 2,
            rcx: 3,
            flags: 0,
            rip: 0,
            // Level 3 would be user mode.
            cs: u64::from(FLAT_KERNEL_CS) & !3,
            rflags: 0x202,
            ss: u64::from(FLAT_KERNEL_SS),
            rsp_off: u64::MAX,
            r8: 0,
        }
    }
}

/// Returns by the frame at this address, and writes there what is found behind it.
extern "C" fn land(at: u64) {
    // SAFETY: every register that the landing place may change is told to the compiler; a fault on the way is caught. The
    // frame's stack is the own one.
    unsafe {
        asm!(
            "push rbx", "push rbp",
            "mov rbx, rdi", "mov rbp, rsp",
            "push qword ptr [rbx + 56]", "push rbp", "push qword ptr [rbx + 48]", "push qword ptr [rbx + 40]",
            "lea rax, [rip + 2f]", "xor rax, [rbx + 32]", "push rax",
            "push qword ptr [rbx + 24]", "push qword ptr [rbx + 16]", "push qword ptr [rbx + 8]", "push qword ptr [rbx]",
            "mov r8d, 0x88",
            "mov eax, {iret}", "syscall", "ud2",
            "2:",
            "mov [rbx], rax", "mov [rbx + 8], r11", "mov [rbx + 16], rcx",
            "pushfq", "pop qword ptr [rbx + 48]", "push 0x202", "popfq",
            "mov eax, cs", "mov [rbx + 40], rax", "mov eax, ss", "mov [rbx + 56], rax",
            "lea rax, [rip + 2b]", "mov [rbx + 32], rax",
            "mov rax, rsp", "sub rax, rbp", "mov [rbx + 64], rax", "mov [rbx + 72], r8",
            "pop rbp", "pop rbx",
            iret = const IRET,
            inout("rdi") at => _,
            out("rax") _, out("rcx") _, out("rdx") _, out("rsi") _, out("r8") _, out("r9") _, out("r10") _, out("r11") _,
        );
    }
}

/// Returns by a frame.
///
/// # Errors
/// The exception that came instead.
pub fn return_by(mut frame: Return) -> Result<Return, Fault> {
    match sabotage::act() {
        Act::Answer(0) => {
            return Ok(Return {
                rax: 0x5a5a,
                rcx: 0x5a5a,
                r11: 0x5a5a,
                rflags: 0x5a5a,
                cs: 0x5a5a,
                ss: 0x5a5a,
                ..frame
            });
        }
        Act::Answer(_) => {
            return Err(Fault {
                vector: 255,
                error_code: 0,
                rip: 0,
                address: 0,
            });
        }
        Act::Carry => {}
    }
    asked::note(IRET.into(), &[], 0);
    let at = core::ptr::from_mut(&mut frame).expose_provenance() as u64;
    probe(land, at)?;
    Ok(frame)
}

/// Returns by a frame: something of what is found behind it, or the exception.
pub fn returned(frame: Return, pick: impl FnOnce(Return) -> u64) -> Outcome {
    match return_by(frame) {
        Ok(found) => Outcome::Gives(pick(found)),
        Err(fault) => Outcome::Raises(fault.vector, fault.error_code),
    }
}

/// Makes the calls of a list while a frame for `iret` is on the stack, which leads behind the call; RAX is 1 there.
#[must_use]
pub fn return_in_list(list: &[Entry; 2]) -> i64 {
    if let Some(instead) = sabotaged() {
        return instead;
    }
    let result: u64;
    // SAFETY: the frame returns behind the call, where the stack is taken back; the list is the caller's.
    unsafe {
        asm!(
            "mov r12, rsp",
            "push 0xe02b", "push r12", "push 0x202", "push 0xe030",
            "lea rax, [rip + 2f]", "push rax",
            "push 0", "push 0", "push 0", "push 1",
            "mov eax, {multicall}", "mov rsi, 2", "syscall",
            "2: mov rsp, r12",
            multicall = const MULTICALL,
            in("rdi") address_of(list),
            out("rax") result, out("r12") _, out("rcx") _, out("r11") _, out("rsi") _, out("rdx") _, out("r8") _,
            out("r9") _, out("r10") _,
        );
    }
    asked::note(MULTICALL.into(), &[address_of(list), 2], 0);
    result.cast_signed()
}
