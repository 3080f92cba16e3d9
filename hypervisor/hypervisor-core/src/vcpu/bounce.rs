//! The bounce frame: how an exception, an event or a guest system call reaches the guest kernel (pv-abi 5.4, 5.12).
//!
//! Everything here is a pure function of the vCPU's state; the caller has switched to kernel mode before, stores the frame
//! with one checked copy and crashes the domain where that faults: there is no answer left without a stack.

use super::context::{Registers, rflags, selector};
use super::state::{Mode, Segments, VcpuState};

/// Where a handler is entered and what entry does to the event mask and the flags.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Target {
    /// The handler's address.
    pub address: u64,
    /// Whether events are masked on entry.
    pub masks_events: bool,
    /// Whether DF is cleared too: for the syscall callbacks only.
    pub clears_direction: bool,
}

/// What the frame of an interruption without error code holds, lowest address first: RCX, R11, RIP, CS, RFLAGS, RSP, SS.
pub type Words = [u64; 7];

/// Adds an error code to the words of a frame.
#[must_use]
pub fn with_error([rcx, r11, rip, cs, flags, rsp, ss]: Words, error: u32) -> [u64; 8] {
    [rcx, r11, error.into(), rip, cs, flags, rsp, ss]
}

/// Adds the selectors that a frame of the failsafe callback shows.
#[must_use]
pub fn with_segments([rcx, r11, rip, cs, flags, rsp, ss]: Words, wanted: Segments) -> [u64; 11] {
    let Segments { ds, es, fs, gs, .. } = wanted;
    let [ds, es, fs, gs] = [ds, es, fs, gs].map(u64::from);
    [rcx, r11, ds, es, fs, gs, rip, cs, flags, rsp, ss]
}

/// The guest's situation as a frame shows it.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct View {
    /// `evtchn_upcall_mask` before the event, the whole byte.
    pub upcall_mask: u8,
    /// Whether frames carry the virtual IOPL (assist `architectural_iopl`).
    pub shows_iopl: bool,
    /// The mode that is interrupted.
    pub from: Mode,
}

/// The words of the frame for the interrupted `state`.
#[must_use]
#[inline(always)]
pub fn compose(state: &VcpuState, view: View) -> Words {
    let Registers {
        rcx,
        r11,
        rip,
        cs,
        rflags,
        rsp,
        ss,
        ..
    } = state.registers;
    let ring = match view.from {
        Mode::User => selector::RPL,
        Mode::Kernel => 0,
    };
    let cs = cs & (0xffff & !selector::RPL | ring) | u64::from(view.upcall_mask) << 32;
    let flags = shown_flags(rflags, state.iopl, view);
    [rcx, r11, rip, cs, flags, rsp, ss & 0xffff]
}

/// Where a frame of so many words begins: on the stack of the interrupted mode's kernel. Any address at all.
#[must_use]
#[inline(always)]
pub fn place(state: &VcpuState, from: Mode, words: usize) -> u64 {
    let top = match from {
        Mode::User => state.kernel_sp,
        Mode::Kernel => state.registers.rsp,
    };
    let size = u64::try_from(words.saturating_mul(8)).unwrap_or(0);
    (top & !0xf).wrapping_sub(size)
}

/// Enters the handler: sets RIP, RSP, selectors and flags as the handler finds them.
///
/// RCX and R11 are what SYSRET would leave there, whichever way the exit takes.
#[inline(always)]
pub fn enter(registers: &mut Registers, frame: u64, target: Target) {
    let mut flags = registers.rflags & !(rflags::CLEARED_ON_ENTRY | rflags::IOPL);
    if target.clears_direction {
        flags &= !rflags::DF;
    }
    registers.rflags = flags | rflags::IF | rflags::ONE;
    registers.rip = target.address;
    registers.rsp = frame;
    registers.cs = selector::CODE64;
    registers.ss = selector::DATA;
    registers.rcx = registers.rip;
    registers.r11 = registers.rflags;
}

#[inline(always)]
fn shown_flags(rflags: u64, iopl: u8, view: View) -> u64 {
    let mut flags = rflags & 0xffff_ffff & !(rflags::IOPL | rflags::IF);
    if view.upcall_mask == 0 {
        flags |= rflags::IF;
    }
    if view.shows_iopl {
        flags |= u64::from(iopl) << rflags::IOPL_SHIFT;
    }
    flags
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::paging::layout::is_guest_range;

    fn interrupted() -> VcpuState {
        let mut state = VcpuState::new();
        state.registers.rip = 0x1234;
        state.registers.rsp = 0xffff_ffff_8000_0ff9;
        state.registers.rcx = 7;
        state.registers.r11 = 8;
        state.registers.rflags = 0x202 | rflags::TF | rflags::DF | rflags::IOPL;
        state.kernel_sp = 0xffff_ffff_9000_0000;
        state
    }

    const KERNEL: View = View {
        upcall_mask: 0,
        shows_iopl: false,
        from: Mode::Kernel,
    };

    #[test]
    fn a_frame_from_kernel_mode_is_on_the_current_stack_without_privilege_bits() {
        let state = interrupted();
        let address = place(&state, Mode::Kernel, 7);
        assert_eq!(address, 0xffff_ffff_8000_0ff0 - 0x38);
        assert_eq!(
            compose(&state, KERNEL),
            [
                7,
                8,
                0x1234,
                0xe030,
                0x202 | rflags::TF | rflags::DF,
                0xffff_ffff_8000_0ff9,
                0xe02b
            ]
        );
        assert_eq!(address % 16, 8);
    }

    #[test]
    fn a_frame_from_user_mode_is_on_the_kernel_stack() {
        let view = View {
            upcall_mask: 2,
            shows_iopl: false,
            from: Mode::User,
        };
        let state = interrupted();
        let words = with_error(compose(&state, view), 0x202);
        assert_eq!(place(&state, Mode::User, 8), 0xffff_ffff_9000_0000 - 0x40);
        assert_eq!(words[2], 0x202);
        assert_eq!(words[4], 0xe033 | 2 << 32);
        assert_eq!(words[5] & rflags::IF, 0);
    }

    #[test]
    fn virtual_iopl_shows_only_with_the_assist() {
        let mut state = interrupted();
        state.iopl = 3;
        let view = View {
            shows_iopl: true,
            ..KERNEL
        };
        assert_eq!(compose(&state, view)[4] & rflags::IOPL, 3 << 12);
        assert_eq!(compose(&state, KERNEL)[4] & rflags::IOPL, 0);
    }

    #[test]
    fn a_stack_that_would_reach_into_the_hypervisor_is_refused() {
        let mut state = interrupted();
        for (rsp, fits) in [
            (0x0000_8000_0000_0000_u64, true),
            (0x0000_8000_0000_0010, false),
            (0xffff_8000_0000_0000, false),
            (0xffff_8800_0000_0030, false),
            (0xffff_8800_0000_0040, true),
            (0x0000_7fff_ffff_f000, true),
        ] {
            state.registers.rsp = rsp;
            let address = place(&state, Mode::Kernel, 8);
            assert_eq!(is_guest_range(address, 64), fits, "{rsp:#x}");
        }
    }

    #[test]
    fn the_failsafe_frame_holds_the_selectors_wanted() {
        let mut state = interrupted();
        state.segments = Segments {
            ds: 1,
            es: 2,
            fs: 3,
            gs: 4,
            load_failed: true,
        };
        let words = with_segments(compose(&state, KERNEL), state.segments);
        assert_eq!(words[2..6], [1, 2, 3, 4]);
        assert_eq!(words[6], 0x1234);
    }

    #[test]
    fn the_handler_starts_with_flat_selectors_and_clean_flags() {
        let mut state = interrupted();
        let frame = place(&state, Mode::Kernel, 7);
        let target = Target {
            address: 0x4000,
            masks_events: false,
            clears_direction: false,
        };
        enter(&mut state.registers, frame, target);
        let registers = state.registers;
        assert_eq!((registers.rip, registers.rsp), (0x4000, frame));
        assert_eq!(registers.rflags, 0x202 | rflags::DF);
        assert_eq!((registers.cs, registers.ss), (0xe033, 0xe02b));
        enter(
            &mut state.registers,
            frame,
            Target {
                clears_direction: true,
                ..target
            },
        );
        assert_eq!(state.registers.rflags, 0x202);
    }
}
