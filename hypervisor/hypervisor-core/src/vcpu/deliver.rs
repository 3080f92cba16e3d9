//! Entering the guest kernel: exceptions, callbacks, NMI and events, each by a bounce frame (pv-abi 5.3 to 5.7, 5.12).

use super::bounce::{self, Target, View, Words};
use super::callback::Callback;
use super::context::{rflags, selector, vector};
use super::state::{Mode, TrapGate};
use crate::caller::Caller;
use crate::domain::Assist;
use crate::domain::crash::CrashReason;
use crate::entry::ExitPath;
use crate::machine::Machine;

/// Stores a frame on the kernel's stack and enters the handler. `complete` makes the frame of the words that all frames have.
///
/// # Errors
/// The stack takes no frame: the domain cannot go on.
#[inline(always)]
fn bounce<M: Machine, const N: usize>(
    caller: &mut Caller<'_, M>,
    target: Target,
    complete: impl FnOnce(Words) -> [u64; N],
) -> Result<(), CrashReason> {
    let from = caller.state.mode;
    caller.to_kernel();
    let machine = caller.machine();
    let mask = caller.vcpu.upcall_mask(machine);
    let shows_iopl = caller.domain.assists(Assist::ArchitecturalIopl);
    let view = View {
        upcall_mask: mask,
        shows_iopl,
        from,
    };
    let frame = bounce::place(caller.state, from, N);
    let words = complete(bounce::compose(caller.state, view));
    caller
        .copy_out_words(frame, words)
        .map_err(|_| CrashReason::BadStack)?;
    bounce::enter(&mut caller.state.registers, frame, target);
    caller.state.exit = ExitPath::Sysret;
    if target.masks_events {
        caller.vcpu.set_upcall_mask(machine, mask | 1);
    }
    Ok(())
}

/// A frame that has no more than all frames.
const fn plain(words: Words) -> Words {
    words
}

/// Delivers an exception or software interrupt through the trap table.
///
/// # Errors
/// No handler, or a bad stack.
#[inline(never)]
pub fn exception<M: Machine>(
    caller: &mut Caller<'_, M>,
    number: u8,
    error: Option<u32>,
) -> Result<(), CrashReason> {
    exception_at_once(caller, number, error)
}

/// As [`exception`], for the ways that are walked often: a part of the caller's code.
///
/// # Errors
/// No handler, or a bad stack.
#[inline(always)]
pub(super) fn exception_at_once<M: Machine>(
    caller: &mut Caller<'_, M>,
    number: u8,
    error: Option<u32>,
) -> Result<(), CrashReason> {
    let gate = caller.state.gate(number);
    if gate.address == 0 {
        return Err(CrashReason::NoHandler {
            vector: number,
            error: error.unwrap_or(0),
        });
    }
    match error {
        None => bounce(caller, target_of(gate), plain),
        Some(error) => bounce(caller, target_of(gate), |words| {
            bounce::with_error(words, error)
        }),
    }
}

/// Delivers #GP with an error code.
///
/// # Errors
/// As [`exception`].
pub fn general_protection<M: Machine>(
    caller: &mut Caller<'_, M>,
    error: u32,
) -> Result<(), CrashReason> {
    exception(caller, vector::GENERAL_PROTECTION, Some(error))
}

/// Delivers #PF: the address goes to `vcpu_info` and CR2 before the frame is written.
///
/// # Errors
/// As [`exception`].
#[inline(never)]
pub fn page_fault<M: Machine>(
    caller: &mut Caller<'_, M>,
    address: u64,
    error: u32,
) -> Result<(), CrashReason> {
    page_fault_at_once(caller, address, error)
}

/// As [`page_fault`], for the way of most: a part of the caller's code.
///
/// # Errors
/// As [`exception`].
#[inline(always)]
pub(super) fn page_fault_at_once<M: Machine>(
    caller: &mut Caller<'_, M>,
    address: u64,
    error: u32,
) -> Result<(), CrashReason> {
    caller.state.control.cr2 = address;
    caller.vcpu.set_cr2(caller.machine(), address);
    exception_at_once(caller, vector::PAGE_FAULT, Some(error))
}

/// Delivers an event: an upcall.
///
/// # Errors
/// No callback, or a bad stack.
#[inline(always)]
pub fn event<M: Machine>(caller: &mut Caller<'_, M>) -> Result<(), CrashReason> {
    let address = caller.state.callbacks.event;
    if address == 0 {
        return Err(CrashReason::NoEventCallback);
    }
    bounce(
        caller,
        Target {
            address,
            masks_events: true,
            clears_direction: false,
        },
        plain,
    )
}

/// Delivers the latched NMI, or drops it where the guest has no handler: false then.
///
/// # Errors
/// A bad stack.
pub fn nmi<M: Machine>(caller: &mut Caller<'_, M>) -> Result<bool, CrashReason> {
    caller.vcpu.take_nmi();
    let gate = caller.state.gate(vector::NMI);
    if gate.address == 0 {
        return Ok(false);
    }
    caller.state.nmi_masked = true;
    bounce(caller, target_of(gate), plain)?;
    Ok(true)
}

/// Enters the failsafe callback: a data segment could not be loaded. Without a callback the guest runs into address 0.
///
/// # Errors
/// A bad stack.
pub fn failsafe<M: Machine>(caller: &mut Caller<'_, M>) -> Result<(), CrashReason> {
    let Callback {
        address,
        masks_events,
    } = caller.state.callbacks.failsafe;
    let wanted = caller.state.segments;
    bounce(
        caller,
        Target {
            address,
            masks_events,
            clears_direction: false,
        },
        |words| bounce::with_segments(words, wanted),
    )?;
    caller.state.segments.load_failed = false;
    Ok(())
}

/// Delivers `syscall` of 64-bit user code; #UD where the guest has no callback.
///
/// # Errors
/// No handler, or a bad stack.
#[inline(always)]
pub fn syscall<M: Machine>(caller: &mut Caller<'_, M>) -> Result<(), CrashReason> {
    let callback = caller.state.callbacks.syscall;
    let registers = &mut caller.state.registers;
    (registers.cs, registers.ss) = (selector::CODE64, selector::DATA);
    call_back(caller, callback)
}

/// Delivers `syscall` of 32-bit code, from either mode.
///
/// # Errors
/// No handler, or a bad stack.
pub fn syscall32<M: Machine>(caller: &mut Caller<'_, M>) -> Result<(), CrashReason> {
    let callback = caller.state.callbacks.syscall32;
    let registers = &mut caller.state.registers;
    (registers.cs, registers.ss) = (selector::CODE32, selector::DATA);
    call_back(caller, callback)
}

/// Delivers `sysenter`: nothing is known of who did it. #GP(0) where the guest has no callback.
///
/// # Errors
/// No handler, or a bad stack.
pub fn sysenter<M: Machine>(caller: &mut Caller<'_, M>) -> Result<(), CrashReason> {
    let Callback {
        address,
        masks_events,
    } = caller.state.callbacks.sysenter;
    let registers = &mut caller.state.registers;
    (registers.rip, registers.rsp) = (0, 0);
    (registers.cs, registers.ss) = (selector::RPL, selector::DATA);
    // The single step pending at the instruction hit the hypervisor; it is swallowed.
    registers.rflags = (registers.rflags | rflags::IF) & !rflags::TF;
    if address == 0 {
        return general_protection(caller, 0);
    }
    bounce(
        caller,
        Target {
            address,
            masks_events,
            clears_direction: false,
        },
        plain,
    )
}

#[inline(always)]
fn call_back<M: Machine>(
    caller: &mut Caller<'_, M>,
    callback: Callback,
) -> Result<(), CrashReason> {
    if callback.address == 0 {
        caller.state.registers.rip = caller.state.registers.rip.wrapping_sub(2);
        return exception(caller, vector::INVALID_OPCODE, None);
    }
    let target = Target {
        address: callback.address,
        masks_events: callback.masks_events,
        clears_direction: true,
    };
    bounce(caller, target, plain)
}

fn target_of(gate: TrapGate) -> Target {
    Target {
        address: gate.address,
        masks_events: gate.masks_events,
        clears_direction: false,
    }
}

/// The U/S bit that a page fault's error code has for a mode.
#[must_use]
pub const fn user_bit(mode: Mode) -> u32 {
    match mode {
        Mode::Kernel => 0,
        Mode::User => 1 << 2,
    }
}
