//! The bounce frame: how an exception, an event or a guest system call reaches the guest kernel (pv-abi 5.4, 5.12).
//!
//! Everything here is a pure function of the vCPU's state; the caller has switched to kernel mode before, stores the frame
//! with one checked copy and crashes the domain where that faults: there is no answer left without a stack.

use super::context::{Registers, rflags, selector};
use super::state::{Mode, Segments, VcpuState};

/// The words of the longest frame, the failsafe callback's.
const WORDS: usize = 11;
const HYPERVISOR_START: u64 = 0xffff_8000_0000_0000;
const HYPERVISOR_END: u64 = 0xffff_8800_0000_0000;

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

/// What stands between R11 and RIP in the frame.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Extra {
    /// Nothing.
    None,
    /// An error code.
    Error(u32),
    /// DS, ES, FS, GS as wanted: the failsafe frame.
    Segments,
}

/// A frame to be stored at `address`.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Frame {
    /// RSP at entry.
    pub address: u64,
    words: [u64; WORDS],
    used: usize,
}

impl Frame {
    /// The words, lowest address first.
    #[must_use]
    pub fn words(&self) -> &[u64] {
        self.words.get(..self.used).unwrap_or(&[])
    }
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

/// Composes the frame for the interrupted `state`, on the stack of the interrupted mode's kernel.
///
/// False: the stack lies in the hypervisor's range, or so close above that the frame would reach in.
#[must_use]
#[inline]
pub fn compose(frame: &mut Frame, state: &VcpuState, view: View, extra: Extra) -> bool {
    let registers = &state.registers;
    let (top, cs) = match view.from {
        Mode::User => (state.kernel_sp, registers.cs & 0xffff),
        Mode::Kernel => (registers.rsp, registers.cs & 0xffff & !selector::RPL),
    };
    let Registers {
        rcx,
        r11,
        rip,
        rflags,
        rsp,
        ss,
        ..
    } = *registers;
    let cs = cs | u64::from(view.upcall_mask) << 32;
    let (flags, ss) = (shown_flags(rflags, state.iopl, view), ss & 0xffff);
    let size: u64;
    match extra {
        Extra::None => {
            frame.words = [rcx, r11, rip, cs, flags, rsp, ss, 0, 0, 0, 0];
            (frame.used, size) = (7, 7 * 8);
        }
        Extra::Error(code) => {
            frame.words = [rcx, r11, code.into(), rip, cs, flags, rsp, ss, 0, 0, 0];
            (frame.used, size) = (8, 8 * 8);
        }
        Extra::Segments => {
            let Segments { ds, es, fs, gs, .. } = state.segments;
            let [ds, es, fs, gs] = [ds, es, fs, gs].map(u64::from);
            frame.words = [rcx, r11, ds, es, fs, gs, rip, cs, flags, rsp, ss];
            (frame.used, size) = (11, 11 * 8);
        }
    }
    let base = top & !0xf;
    frame.address = base.wrapping_sub(size);
    base <= HYPERVISOR_START || base >= HYPERVISOR_END.wrapping_add(size)
}

/// Enters the handler: sets RIP, RSP, selectors and flags as the handler finds them.
///
/// RCX and R11 are what SYSRET would leave there, whichever way the exit takes.
pub fn enter(registers: &mut Registers, frame: &Frame, target: Target) {
    let mut flags = registers.rflags & !(rflags::CLEARED_ON_ENTRY | rflags::IOPL);
    if target.clears_direction {
        flags &= !rflags::DF;
    }
    registers.rflags = flags | rflags::IF | rflags::ONE;
    registers.rip = target.address;
    registers.rsp = frame.address;
    registers.cs = selector::CODE64;
    registers.ss = selector::DATA;
    registers.rcx = registers.rip;
    registers.r11 = registers.rflags;
}

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

    fn frame(state: &VcpuState, view: View, extra: Extra) -> Option<Frame> {
        let mut frame = Frame::default();
        compose(&mut frame, state, view, extra).then_some(frame)
    }

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
        let frame = frame(&interrupted(), KERNEL, Extra::None).unwrap();
        assert_eq!(frame.address, 0xffff_ffff_8000_0ff0 - 0x38);
        assert_eq!(
            frame.words(),
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
        assert_eq!(frame.address % 16, 8);
    }

    #[test]
    fn a_frame_from_user_mode_is_on_the_kernel_stack() {
        let view = View {
            upcall_mask: 2,
            shows_iopl: false,
            from: Mode::User,
        };
        let frame = frame(&interrupted(), view, Extra::Error(0x202)).unwrap();
        assert_eq!(frame.address, 0xffff_ffff_9000_0000 - 0x40);
        assert_eq!(frame.words()[2], 0x202);
        assert_eq!(frame.words()[4], 0xe033 | 2 << 32);
        assert_eq!(frame.words()[5] & rflags::IF, 0);
    }

    #[test]
    fn virtual_iopl_shows_only_with_the_assist() {
        let mut state = interrupted();
        state.iopl = 3;
        let view = View {
            shows_iopl: true,
            ..KERNEL
        };
        assert_eq!(
            frame(&state, view, Extra::None).unwrap().words()[4] & rflags::IOPL,
            3 << 12
        );
        assert_eq!(
            frame(&state, KERNEL, Extra::None).unwrap().words()[4] & rflags::IOPL,
            0
        );
    }

    #[test]
    fn a_stack_that_would_reach_into_the_hypervisor_is_refused() {
        let mut state = interrupted();
        for (rsp, fits) in [
            (0xffff_8000_0000_0000_u64, true),
            (0xffff_8000_0000_0010, false),
            (0xffff_8800_0000_0030, false),
            (0xffff_8800_0000_0040, true),
            (0x0000_7fff_ffff_f000, true),
        ] {
            state.registers.rsp = rsp;
            assert_eq!(
                frame(&state, KERNEL, Extra::Error(0)).is_some(),
                fits,
                "{rsp:#x}"
            );
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
        let frame = frame(&state, KERNEL, Extra::Segments).unwrap();
        assert_eq!(frame.words().len(), 11);
        assert_eq!(frame.words()[2..6], [1, 2, 3, 4]);
        assert_eq!(frame.words()[6], 0x1234);
    }

    #[test]
    fn the_handler_starts_with_flat_selectors_and_clean_flags() {
        let mut state = interrupted();
        let frame = frame(&state, KERNEL, Extra::None).unwrap();
        let target = Target {
            address: 0x4000,
            masks_events: false,
            clears_direction: false,
        };
        enter(&mut state.registers, &frame, target);
        let registers = state.registers;
        assert_eq!((registers.rip, registers.rsp), (0x4000, frame.address));
        assert_eq!(registers.rflags, 0x202 | rflags::DF);
        assert_eq!((registers.cs, registers.ss), (0xe033, 0xe02b));
        enter(
            &mut state.registers,
            &frame,
            Target {
                clears_direction: true,
                ..target
            },
        );
        assert_eq!(state.registers.rflags, 0x202);
    }
}
