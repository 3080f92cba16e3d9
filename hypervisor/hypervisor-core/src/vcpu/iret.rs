//! The `iret` hypercall: how a guest kernel returns from a bounce frame, to itself or to its user mode (pv-abi 5.8).

use hypercall_abi::trap::{IretContext, VGCF_IN_SYSCALL};
use zerocopy::transmute;

use super::context::{is_canonical, rflags, selector};
use super::state::{Mode, VcpuState};
use crate::caller::Caller;
use crate::domain::Assist;
use crate::domain::crash::CrashReason;
use crate::entry::ExitPath;
use crate::machine::Machine;

/// `iret`: returns to what the frame on the guest's stack says.
///
/// # Errors
/// The frame cannot be read, or there is no user page table to return on: the domain cannot go on.
#[inline(always)]
pub fn iret<M: Machine>(caller: &mut Caller<'_, M>) -> Result<(), CrashReason> {
    let context: [u64; size_of::<IretContext>() / 8] = caller
        .copy_in_words(caller.state.registers.rsp)
        .map_err(|_| CrashReason::BadIretFrame)?;
    let context: IretContext = transmute!(context);
    if target(&context) == Mode::User {
        caller.to_user().map_err(|_| CrashReason::NoUserRoot)?;
    }
    let architectural_iopl = caller.domain.assists(Assist::ArchitecturalIopl);
    caller.state.exit = load(&context, caller.state, architectural_iopl);
    if core::mem::take(&mut caller.state.nmi_masked) {
        caller.effects.pass_loop();
    }
    caller
        .vcpu
        .set_upcall_mask(caller.machine(), masks_events(&context).into());
    Ok(())
}

/// The mode returned to.
fn target(context: &IretContext) -> Mode {
    if context.cs & selector::RPL == 3 {
        Mode::User
    } else {
        Mode::Kernel
    }
}

/// The event mask to be set: the inverse of IF.
fn masks_events(context: &IretContext) -> bool {
    context.rflags & rflags::IF == 0
}

/// Loads the registers, and the virtual IOPL where the assist makes it part of RFLAGS. Says how to leave.
fn load(context: &IretContext, state: &mut VcpuState, architectural_iopl: bool) -> ExitPath {
    if architectural_iopl {
        let [low, ..] = ((context.rflags & rflags::IOPL) >> rflags::IOPL_SHIFT).to_le_bytes();
        state.iopl = low;
    }
    let registers = &mut state.registers;
    registers.rax = context.rax;
    registers.rip = context.rip;
    registers.rsp = context.rsp;
    registers.rflags = rflags::for_guest(context.rflags);
    registers.cs = (context.cs & 0xffff) | selector::RPL;
    registers.ss = (context.ss & 0xffff) | selector::RPL;
    if context.flags & VGCF_IN_SYSCALL == 0 {
        registers.rcx = context.rcx;
        registers.r11 = context.r11;
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

#[cfg(test)]
mod tests {
    use super::*;

    fn context() -> IretContext {
        IretContext {
            rax: 1,
            r11: 2,
            rcx: 3,
            flags: 0,
            rip: 0x4000,
            cs: 0xe030,
            rflags: 0x202,
            rsp: 0x5000,
            ss: 0x18,
        }
    }

    #[test]
    fn the_privilege_level_of_cs_says_which_mode() {
        for (cs, mode) in [
            (0xe030, Mode::Kernel),
            (0xe031, Mode::Kernel),
            (0xe032, Mode::Kernel),
            (0x33, Mode::User),
        ] {
            assert_eq!(target(&IretContext { cs, ..context() }), mode);
        }
    }

    #[test]
    fn a_plain_return_restores_every_register_and_forces_privilege() {
        let mut state = VcpuState::new();
        let path = load(
            &IretContext {
                rflags: u64::MAX,
                ..context()
            },
            &mut state,
            false,
        );
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
        let path = load(
            &IretContext {
                flags: VGCF_IN_SYSCALL,
                cs: 0x33,
                ..context()
            },
            &mut state,
            false,
        );
        assert_eq!(path, ExitPath::Sysret);
        assert_eq!((state.registers.rcx, state.registers.r11), (0x4000, 0x202));
        assert_eq!((state.registers.cs, state.registers.ss), (0xe033, 0xe02b));
    }

    #[test]
    fn sysret_never_goes_to_an_address_that_is_not_canonical() {
        let mut state = VcpuState::new();
        let bad = IretContext {
            flags: VGCF_IN_SYSCALL,
            rip: 1 << 47,
            cs: 0x33,
            ..context()
        };
        assert_eq!(load(&bad, &mut state, false), ExitPath::Iret);
        assert_eq!(state.registers.cs, 0x33);
    }

    #[test]
    fn iopl_is_taken_only_with_the_assist() {
        let mut state = VcpuState::new();
        let wanted = IretContext {
            rflags: 0x202 | 3 << 12,
            ..context()
        };
        let _: ExitPath = load(&wanted, &mut state, false);
        assert_eq!(state.iopl, 0);
        let _: ExitPath = load(&wanted, &mut state, true);
        assert_eq!(state.iopl, 3);
        assert_eq!(state.registers.rflags & rflags::IOPL, 0);
    }

    #[test]
    fn the_mask_is_the_inverse_of_the_interrupt_flag() {
        assert!(!masks_events(&context()));
        assert!(masks_events(&IretContext {
            rflags: 2,
            ..context()
        }));
    }
}
