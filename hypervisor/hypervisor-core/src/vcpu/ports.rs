//! IN, OUT and their string forms: permission by IOPL and bitmap, then ports that nobody owns (pv-abi 6.4).

use hypercall_abi::Errno;

use super::context::vector;
use super::deliver;
use super::privileged::{Did, advance, debug_exception, low, retire};
use super::state::Mode;
use super::trap::copy_fault;
use crate::caller::{Caller, is_guest_range};
use crate::domain::Assist;
use crate::domain::crash::CrashReason;
use crate::emulate::control::CR4_DE;
use crate::emulate::decode::{Direction, Port, Segment, StringPort, Width};
use crate::emulate::port::{self, Latches};
use crate::machine::{GuestBase, Machine};
use crate::sync::Ordering;

/// Elements of a string instruction that one entry does at most.
const BATCH: u32 = 512;

/// Whether the domain has the assist that makes IOPL part of the guest's flags.
pub(super) fn architectural_iopl<M: Machine>(caller: &Caller<'_, M>) -> bool {
    caller.domain.assists(Assist::ArchitecturalIopl)
}

/// IN or OUT.
pub(super) fn access<M: Machine>(
    caller: &mut Caller<'_, M>,
    direction: Direction,
    width: Width,
    port: Port,
) -> Did {
    let number = match port {
        Port::Immediate(number) => number.into(),
        Port::Dx => dx(caller),
    };
    if !permitted(caller, number, width) {
        return Did::Fault;
    }
    match direction {
        Direction::Out => write(caller, number, width, low(caller.state.registers.rax)),
        Direction::In => {
            let value = read(caller, number, width);
            let rax = &mut caller.state.registers.rax;
            *rax = match width {
                Width::One => *rax & !0xff | u64::from(value),
                Width::Two => *rax & !0xffff | u64::from(value),
                Width::Four => value.into(),
            };
        }
    }
    if meets_breakpoint(caller, number, width) {
        Did::Hit
    } else {
        Did::Done
    }
}

/// Whether an access meets I/O breakpoints; DR6 has them then.
fn meets_breakpoint<M: Machine>(caller: &mut Caller<'_, M>, number: u16, width: Width) -> bool {
    let state = &mut caller.state;
    let extensions = state.control.cr4 & CR4_DE != 0;
    let hits = state.debug.io_hits(number, width.bytes(), extensions);
    state.debug.dr6 |= hits;
    hits != 0
}

/// INS or OUTS: element by element, so that a fault in the middle keeps what is done.
pub(super) fn string<M: Machine>(
    caller: &mut Caller<'_, M>,
    string: StringPort,
    length: u8,
) -> Result<Did, CrashReason> {
    let number = dx(caller);
    if !permitted(caller, number, string.width) {
        return Ok(Did::Fault);
    }
    let mask = if string.wide { u64::MAX } else { 0xffff_ffff };
    let mut budget = BATCH;
    loop {
        if string.repeat && caller.state.registers.rcx & mask == 0 {
            break;
        }
        if budget == 0 || caller.machine().preempt_due() {
            // RIP stays: the guest goes on with the instruction.
            return Ok(Did::Handled);
        }
        budget = budget.saturating_sub(1);
        if let Err(fault) = element(caller, string, number, mask) {
            deliver_fault(caller, fault)?;
            return Ok(Did::Handled);
        }
        let registers = &mut caller.state.registers;
        if string.repeat {
            registers.rcx = registers.rcx.wrapping_sub(1) & mask;
        }
        let over = !string.repeat || registers.rcx & mask == 0;
        if meets_breakpoint(caller, number, string.width) {
            // Between two elements RIP stays: the guest goes on with the instruction.
            if over {
                advance(caller, length);
            }
            debug_exception(caller)?;
            return Ok(Did::Handled);
        }
        if over {
            break;
        }
    }
    retire(caller, length)?;
    Ok(Did::Handled)
}

/// Why an element was not moved.
#[derive(Clone, Copy)]
enum ElementFault {
    /// The page is absent or read-only.
    Page { address: u64, write: bool },
    /// The address is no guest's.
    Address(Segment),
}

fn deliver_fault<M: Machine>(
    caller: &mut Caller<'_, M>,
    fault: ElementFault,
) -> Result<(), CrashReason> {
    match fault {
        ElementFault::Page { address, write } => copy_fault(caller, address, write, Errno::EFAULT),
        ElementFault::Address(Segment::Stack) => deliver::exception(caller, vector::STACK, Some(0)),
        ElementFault::Address(Segment::Flat | Segment::Fs | Segment::Gs) => {
            deliver::general_protection(caller, 0)
        }
    }
}

/// One element.
fn element<M: Machine>(
    caller: &mut Caller<'_, M>,
    string: StringPort,
    number: u16,
    mask: u64,
) -> Result<(), ElementFault> {
    let size = string.width.bytes();
    let mut bytes = [0; 4];
    let used = bytes.get_mut(..size.into()).unwrap_or(&mut []);
    match string.direction {
        Direction::In => {
            let address = caller.state.registers.rdi & mask;
            let value = read(caller, number, string.width).to_le_bytes();
            used.copy_from_slice(value.get(..size.into()).unwrap_or(&[]));
            if !is_guest_range(address, used.len()) {
                return Err(ElementFault::Address(Segment::Flat));
            }
            let written = caller.copy_out_bytes(address, used);
            written.map_err(|_| ElementFault::Page {
                address,
                write: true,
            })?;
            step(
                &mut caller.state.registers.rdi,
                caller.state.registers.rflags,
                size,
                mask,
            );
        }
        Direction::Out => {
            let base = match string.segment {
                Segment::Flat | Segment::Stack => 0,
                Segment::Fs => caller.machine().guest_base(GuestBase::Fs),
                Segment::Gs => caller.machine().guest_base(GuestBase::GsActive),
            };
            let address = base.wrapping_add(caller.state.registers.rsi & mask);
            if !is_guest_range(address, used.len()) {
                return Err(ElementFault::Address(string.segment));
            }
            let read = caller.copy_in_bytes(address, used);
            read.map_err(|_| ElementFault::Page {
                address,
                write: false,
            })?;
            write(caller, number, string.width, u32::from_le_bytes(bytes));
            step(
                &mut caller.state.registers.rsi,
                caller.state.registers.rflags,
                size,
                mask,
            );
        }
    }
    Ok(())
}

fn step(register: &mut u64, flags: u64, size: u8, mask: u64) {
    let next = if flags & super::context::rflags::DF == 0 {
        register.wrapping_add(size.into())
    } else {
        register.wrapping_sub(size.into())
    };
    *register = next & mask;
}

fn permitted<M: Machine>(caller: &mut Caller<'_, M>, number: u16, width: Width) -> bool {
    let state = &caller.state;
    if port::iopl_permits(state.iopl, state.mode, architectural_iopl(caller)) {
        return true;
    }
    let (bitmap, ports) = state.io_bitmap;
    if !port::within_bitmap(number, width, ports) {
        return false;
    }
    let Some(address) = bitmap.checked_add(u64::from(number >> 3)) else {
        return false;
    };
    // The bitmap is in the kernel's address space.
    let from = state.mode;
    caller.to_kernel();
    let mut bytes = [0xff; 2];
    let readable = caller.copy_in_bytes(address, &mut bytes).is_ok();
    if from == Mode::User && caller.to_user().is_err() {
        return false;
    }
    readable && port::bitmap_permits(bytes, number, width)
}

fn read<M: Machine>(caller: &Caller<'_, M>, number: u16, width: Width) -> u32 {
    port::read(latches(caller), number, width)
}

fn write<M: Machine>(caller: &Caller<'_, M>, number: u16, width: Width, value: u32) {
    let mut latches = latches(caller);
    port::write(&mut latches, number, width, value);
    let word = u64::from(latches.rtc_index) << 32 | u64::from(latches.pci_address);
    caller.domain.latch_word().store(word, Ordering::Relaxed);
}

fn latches<M: Machine>(caller: &Caller<'_, M>) -> Latches {
    let word = caller.domain.latch_word().load(Ordering::Relaxed);
    let [_, _, _, _, rtc_index, ..] = word.to_le_bytes();
    Latches {
        pci_address: low(word),
        rtc_index,
    }
}

fn dx<M: Machine>(caller: &Caller<'_, M>) -> u16 {
    let [a, b, ..] = caller.state.registers.rdx.to_le_bytes();
    u16::from_le_bytes([a, b])
}
