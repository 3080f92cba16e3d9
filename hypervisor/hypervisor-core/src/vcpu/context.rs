//! A guest's register frame, and the constants that decide what a guest may find in it.
//!
//! The frame's order is the order in which the entry code saves: general registers, then one word with error code and
//! vector, then the five words that the CPU itself pushes. Selectors and flags are pv-abi 1.2 and 5.2: frozen into guests.

/// The registers of a guest at the moment it left guest mode; restored bit by bit when it goes on.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
#[repr(C)]
#[expect(missing_docs, reason = "each field is the register of its name")]
pub struct Registers {
    pub r15: u64,
    pub r14: u64,
    pub r13: u64,
    pub r12: u64,
    pub rbp: u64,
    pub rbx: u64,
    pub r11: u64,
    pub r10: u64,
    pub r9: u64,
    pub r8: u64,
    pub rax: u64,
    pub rcx: u64,
    pub rdx: u64,
    pub rsi: u64,
    pub rdi: u64,
    /// Scratch of the entry code: error code in the low half, vector in the high half.
    pub error_and_vector: u64,
    pub rip: u64,
    pub cs: u64,
    pub rflags: u64,
    pub rsp: u64,
    pub ss: u64,
}

/// Selectors that guests see (pv-abi 5.2). RPL is 3 in each.
pub mod selector {
    /// 64-bit code of guest kernel and user.
    pub const CODE64: u64 = 0xe033;
    /// 32-bit code of user programs.
    pub const CODE32: u64 = 0xe023;
    /// Flat data and stack.
    pub const DATA: u64 = 0xe02b;
    /// The requested privilege level's bits.
    pub const RPL: u64 = 3;
    /// The table indicator: set for selectors of the LDT.
    pub const TI: u64 = 4;
}

/// Bits of RFLAGS.
#[expect(missing_docs, reason = "each constant is the flag of its name")]
pub mod rflags {
    pub const CF: u64 = 1;
    pub const ONE: u64 = 1 << 1;
    pub const TF: u64 = 1 << 8;
    pub const IF: u64 = 1 << 9;
    pub const DF: u64 = 1 << 10;
    pub const IOPL: u64 = 3 << 12;
    pub const IOPL_SHIFT: u32 = 12;
    pub const NT: u64 = 1 << 14;
    pub const RF: u64 = 1 << 16;
    pub const VM: u64 = 1 << 17;
    pub const AC: u64 = 1 << 18;
    /// Bits that exist: CF, PF, AF, ZF, SF, TF, IF, DF, OF, IOPL, NT, RF, VM, AC, VIF, VIP, ID.
    pub const ARCHITECTURAL: u64 = 0x003f_7fd5;
    /// What the entry of a handler clears (pv-abi 5.4).
    pub const CLEARED_ON_ENTRY: u64 = AC | VM | RF | NT | TF;

    /// What a guest wants in RFLAGS, as the hardware may have it: IF 1, IOPL 0, VM 0 (pv-abi 1.2).
    #[must_use]
    pub const fn for_guest(wanted: u64) -> u64 {
        (wanted & ARCHITECTURAL & !(IOPL | VM)) | IF | ONE
    }
}

/// Exception vectors that the hypervisor itself has rules for.
#[expect(missing_docs, reason = "each constant is the exception of its name")]
pub mod vector {
    pub const DEBUG: u8 = 1;
    pub const NMI: u8 = 2;
    pub const BREAKPOINT: u8 = 3;
    pub const INVALID_OPCODE: u8 = 6;
    pub const DEVICE_NOT_AVAILABLE: u8 = 7;
    pub const NOT_PRESENT: u8 = 11;
    pub const STACK: u8 = 12;
    pub const GENERAL_PROTECTION: u8 = 13;
    pub const PAGE_FAULT: u8 = 14;

    /// Whether the CPU pushes an error code with this exception.
    #[must_use]
    pub const fn has_error_code(vector: u8) -> bool {
        matches!(vector, 8 | 10..=14 | 17 | 21 | 29 | 30)
    }
}

/// Whether `address` is canonical for 48-bit virtual addresses: bits 63..47 all equal.
#[must_use]
pub const fn is_canonical(address: u64) -> bool {
    let top = address >> 47;
    top == 0 || top == 0x1_ffff
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn guest_flags_always_have_interrupts_on_and_no_privilege() {
        let flags = rflags::for_guest(u64::MAX);
        assert_eq!(flags & rflags::IF, rflags::IF);
        assert_eq!(flags & (rflags::IOPL | rflags::VM), 0);
        assert_eq!(flags >> 22, 0);
        assert_eq!(rflags::for_guest(0), rflags::IF | rflags::ONE);
    }

    #[test]
    fn canonical_addresses_end_where_sign_extension_does() {
        assert!(is_canonical(0x0000_7fff_ffff_ffff));
        assert!(!is_canonical(0x0000_8000_0000_0000));
        assert!(!is_canonical(0xffff_7fff_ffff_ffff));
        assert!(is_canonical(0xffff_8000_0000_0000));
    }

    #[test]
    fn the_frame_has_no_padding() {
        assert_eq!(size_of::<Registers>(), 21 * 8);
    }
}
