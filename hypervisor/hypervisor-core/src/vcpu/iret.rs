//! The `iret` hypercall: how a guest kernel returns from a bounce frame, to itself or to its user mode (pv-abi 5.8).

use super::context::{is_canonical, rflags, selector};
use super::state::{Mode, VcpuState};
use crate::entry::ExitPath;

/// Words of `struct iret_context`, which lies at the guest's RSP.
pub const WORDS: usize = 9;
/// Flag of the context: leave by SYSRET.
const IN_SYSCALL: u64 = 0x100;

/// `struct iret_context`, copied in once.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct IretContext {
    rax: u64,
    r11: u64,
    rcx: u64,
    flags: u64,
    rip: u64,
    cs: u64,
    rflags: u64,
    rsp: u64,
    ss: u64,
}

impl From<[u64; WORDS]> for IretContext {
    fn from([rax, r11, rcx, flags, rip, cs, rflags, rsp, ss]: [u64; WORDS]) -> Self {
        Self {
            rax,
            r11,
            rcx,
            flags,
            rip,
            cs,
            rflags,
            rsp,
            ss,
        }
    }
}

impl IretContext {
    /// The mode returned to.
    #[must_use]
    pub const fn target(&self) -> Mode {
        if self.cs & selector::RPL == 3 {
            Mode::User
        } else {
            Mode::Kernel
        }
    }

    /// The event mask to be set: the inverse of IF.
    #[must_use]
    pub const fn masks_events(&self) -> bool {
        self.rflags & rflags::IF == 0
    }

    /// Loads the registers, and the virtual IOPL where the assist makes it part of RFLAGS. Says how to leave.
    pub fn load(&self, state: &mut VcpuState, architectural_iopl: bool) -> ExitPath {
        if architectural_iopl {
            let [low, ..] = ((self.rflags & rflags::IOPL) >> rflags::IOPL_SHIFT).to_le_bytes();
            state.iopl = low;
        }
        let registers = &mut state.registers;
        registers.rax = self.rax;
        registers.rip = self.rip;
        registers.rsp = self.rsp;
        registers.rflags = rflags::for_guest(self.rflags);
        registers.cs = (self.cs & 0xffff) | selector::RPL;
        registers.ss = (self.ss & 0xffff) | selector::RPL;
        if self.flags & IN_SYSCALL == 0 {
            registers.rcx = self.rcx;
            registers.r11 = self.r11;
            return ExitPath::Iret;
        }
        // At once, not at the exit: an event taken now must not hand kernel values of these registers to the user.
        registers.rcx = registers.rip;
        registers.r11 = registers.rflags;
        if !is_canonical(registers.rip) {
            return ExitPath::Iret;
        }
        registers.ss = selector::DATA;
        if registers.cs == selector::CODE32 {
            return ExitPath::Iret;
        }
        registers.cs = selector::CODE64;
        ExitPath::Sysret
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn context() -> IretContext {
        IretContext::from([1, 2, 3, 0, 0x4000, 0xe030, 0x202, 0x5000, 0x18])
    }

    #[test]
    fn the_privilege_level_of_cs_says_which_mode() {
        for (cs, mode) in [
            (0xe030, Mode::Kernel),
            (0xe031, Mode::Kernel),
            (0xe032, Mode::Kernel),
            (0x33, Mode::User),
        ] {
            assert_eq!(IretContext { cs, ..context() }.target(), mode);
        }
    }

    #[test]
    fn a_plain_return_restores_every_register_and_forces_privilege() {
        let mut state = VcpuState::new();
        let path = IretContext {
            rflags: u64::MAX,
            ..context()
        }
        .load(&mut state, false);
        let registers = state.registers;
        assert_eq!(path, ExitPath::Iret);
        assert_eq!((registers.rax, registers.r11, registers.rcx), (1, 2, 3));
        assert_eq!((registers.rip, registers.rsp), (0x4000, 0x5000));
        assert_eq!((registers.cs, registers.ss), (0xe033, 0x1b));
        assert_eq!(registers.rflags, rflags::for_guest(u64::MAX));
        assert_eq!(state.iopl, 0);
    }

    #[test]
    fn a_return_by_sysret_leaks_no_kernel_register() {
        let mut state = VcpuState::new();
        let path = IretContext {
            flags: IN_SYSCALL,
            cs: 0x33,
            ..context()
        }
        .load(&mut state, false);
        assert_eq!(path, ExitPath::Sysret);
        assert_eq!((state.registers.rcx, state.registers.r11), (0x4000, 0x202));
        assert_eq!((state.registers.cs, state.registers.ss), (0xe033, 0xe02b));
    }

    #[test]
    fn sysret_never_goes_to_an_address_that_is_not_canonical() {
        let mut state = VcpuState::new();
        let bad = IretContext {
            flags: IN_SYSCALL,
            rip: 1 << 47,
            cs: 0x33,
            ..context()
        };
        assert_eq!(bad.load(&mut state, false), ExitPath::Iret);
        assert_eq!(state.registers.cs, 0x33);
    }

    #[test]
    fn iopl_is_taken_only_with_the_assist() {
        let mut state = VcpuState::new();
        let wanted = IretContext {
            rflags: 0x202 | 3 << 12,
            ..context()
        };
        let _: ExitPath = wanted.load(&mut state, false);
        assert_eq!(state.iopl, 0);
        let _: ExitPath = wanted.load(&mut state, true);
        assert_eq!(state.iopl, 3);
        assert_eq!(state.registers.rflags & rflags::IOPL, 0);
    }

    #[test]
    fn the_mask_is_the_inverse_of_the_interrupt_flag() {
        assert!(!context().masks_events());
        assert!(
            IretContext {
                rflags: 2,
                ..context()
            }
            .masks_events()
        );
    }
}
