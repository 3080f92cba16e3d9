//! The instruction that enters the hypervisor, and the few others that a PV kernel needs of its processor.

use core::arch::asm;

use hypercall_abi::Errno;

/// Issues hypercall `number`; unused arguments are 0.
///
/// # Safety
/// The call may change memory or mappings that Rust relies on: the caller answers for what this number does with these
/// arguments.
///
/// # Errors
/// Whatever the call answers.
#[inline]
pub unsafe fn hypercall(number: u64, arguments: [u64; 5]) -> Result<u64, Errno> {
    let result: u64;
    let [first, second, third, fourth, fifth] = arguments;
    // SAFETY: `syscall` from kernel mode is the ABI's way in: the result in rax, rcx and r11 lost, argument registers
    // possibly lost, all else kept. No red zone on this target, and the stack is not used.
    unsafe {
        asm!(
            "syscall",
            inlateout("rax") number => result,
            inlateout("rdi") first => _,
            inlateout("rsi") second => _,
            inlateout("rdx") third => _,
            inlateout("r10") fourth => _,
            inlateout("r8") fifth => _,
            lateout("rcx") _,
            lateout("r11") _,
            options(nostack),
        );
    }
    Errno::from_register(result)
}

/// The time-stamp counter. PV kernels read it directly (CR4.TSD is clear); the fence keeps it from being read early.
#[inline]
#[must_use]
pub fn time_stamp() -> u64 {
    // SAFETY: LFENCE has no effect but order; SSE2 is part of x86-64.
    unsafe { core::arch::x86_64::_mm_lfence() };
    // SAFETY: RDTSC reads a counter and is not privileged here.
    unsafe { core::arch::x86_64::_rdtsc() }
}

/// CPUID as the hypervisor wants a kernel to see it: behind the prefix that makes it emulate the instruction.
/// Returns EAX, EBX, ECX, EDX.
#[must_use]
pub fn cpuid(leaf: u32, subleaf: u32) -> [u32; 4] {
    let (eax, ebx, ecx, edx): (u32, u64, u32, u32);
    // SAFETY: UD2 with these bytes behind it is emulated as CPUID and skipped; RBX is restored, as LLVM reserves it.
    unsafe {
        asm!(
            "mov {saved}, rbx",
            ".byte 0x0f, 0x0b, 0x78, 0x65, 0x6e, 0x0f, 0xa2",
            "xchg {saved}, rbx",
            saved = out(reg) ebx,
            inlateout("eax") leaf => eax,
            inlateout("ecx") subleaf => ecx,
            lateout("edx") edx,
            options(nomem, nostack),
        );
    }
    #[expect(clippy::cast_possible_truncation, reason = "CPUID gives the low half")]
    let ebx = ebx as u32;
    [eax, ebx, ecx, edx]
}

/// A word of the block at this vCPU's GS base.
///
/// # Safety
/// The kernel's GS base points to a block with a word at `OFFSET`.
#[inline]
pub(crate) unsafe fn read_gs<const OFFSET: usize>() -> u64 {
    let value;
    // SAFETY: the caller says that the word is there; reading changes nothing.
    unsafe {
        asm!("mov {}, gs:[{}]", out(reg) value, const OFFSET, options(nostack, readonly, preserves_flags));
    }
    value
}
