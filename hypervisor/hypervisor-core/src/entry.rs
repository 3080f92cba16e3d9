//! What brings a CPU into the hypervisor, and what it is told to do when the hypervisor is done.

use crate::vcpu::context::is_canonical;

/// Why this CPU entered the hypervisor. The registers are in the running vCPU's state already.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Entry {
    /// `syscall` from 64-bit code: a hypercall, or a guest system call.
    Syscall,
    /// `syscall` from compatibility mode.
    Syscall32,
    /// `sysenter`.
    Sysenter,
    /// An exception or `INT n` of the guest.
    Exception {
        /// Its vector.
        vector: u8,
        /// Its error code, 0 where it has none.
        error: u32,
        /// CR2 of a page fault, DR6 of a #DB, else 0.
        cr2: u64,
    },
    /// The last instruction of an exit faulted: the guest's selectors or RIP are bad. The registers are those wanted.
    ExitFault {
        /// #GP, #NP, #SS or #PF.
        vector: u8,
        /// The error code.
        error: u32,
        /// CR2 of a page fault, else 0.
        cr2: u64,
    },
    /// An interrupt, in the guest or in the idle loop.
    Interrupt(Interrupt),
}

/// The interrupts that core knows.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Interrupt {
    /// This CPU's deadline has come.
    Timer,
    /// Another CPU wants this one to pass its exit loop.
    Kick,
    /// A device, by the slot that `bind_msix` gave.
    Device(u8),
    /// None after all.
    Spurious,
}

/// What the CPU does next.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Next {
    /// Return to the guest.
    Guest(ExitPath),
    /// Spend time on [`crate::Cpu::spare_step`] until there is an interrupt, then enter with it.
    Idle,
}

/// How to return to a guest (pv-abi 5.8).
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum ExitPath {
    /// All registers are the guest's: `iretq`.
    Iret,
    /// RCX and R11 are free, RIP is canonical, selectors are flat: `sysretq`.
    Sysret,
}

impl ExitPath {
    /// Whether the exit is really made by `sysretq`: it was asked for, and RIP is canonical. Intel's CPUs load RIP with the
    /// hypervisor's rights and fault there in ring 0, on the guest's stack, if it is not (XSA-7). Whoever leaves asks last, of
    /// the value that is loaded.
    #[must_use]
    #[inline]
    pub const fn is_by_sysret(self, rip: u64) -> bool {
        matches!(self, Self::Sysret) && is_canonical(rip)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn sysret_never_loads_an_address_that_is_not_canonical() {
        let edges = [
            (0, true),
            (0x7fff_ffff_efff, true),
            (0x7fff_ffff_ffff, true),
            // Behind a `syscall` that ends the lower half.
            (0x8000_0000_0000, false),
            (0x8000_0000_0001, false),
            (0x0000_ffff_ffff_ffff, false),
            (0x7fff_ffff_ffff_ffff, false),
            (0x8000_0000_0000_0000, false),
            (0xffff_7fff_ffff_ffff, false),
            (0xffff_8000_0000_0000, true),
            (u64::MAX, true),
        ];
        for (rip, canonical) in edges {
            assert_eq!(ExitPath::Sysret.is_by_sysret(rip), canonical, "{rip:#x}");
            assert!(!ExitPath::Iret.is_by_sysret(rip));
        }
        for bit in 47..64 {
            assert!(!ExitPath::Sysret.is_by_sysret(1 << bit), "bit {bit}");
        }
    }
}
