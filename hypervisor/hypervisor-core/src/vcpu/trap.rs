//! Exceptions of a guest: which are the hypervisor's, which are changed on the way, which go on as they came (pv-abi 5.3).

use hypercall_abi::Errno;
use hypercall_abi::control::counters::COUNTER_TABLE_WRITE;

use super::context::{is_canonical, rflags, vector};
use super::deliver;
use super::state::Mode;
use super::{fetch, privileged};
use crate::caller::Caller;
use crate::domain::Assist;
use crate::domain::crash::CrashReason;
use crate::emulate::decode::{LONGEST, Operation};
use crate::machine::Machine;
use crate::paging::layout::is_guest;
use crate::paging::{Call, Trap, WriteEnd, write_fault};
use crate::peers::Peers;

/// Error code bits of a page fault.
const PF_PRESENT: u32 = 1;
const PF_WRITE: u32 = 1 << 1;
const PF_USER: u32 = 1 << 2;
const PF_RESERVED: u32 = 1 << 3;
/// Error code bits of #GP and its like: external event, IDT.
const IDT: u32 = 1 << 1;
const EXTERNAL: u32 = 1;

/// An exception raised in guest mode.
///
/// # Errors
/// The domain cannot go on.
#[inline(always)]
pub fn exception<M: Machine>(
    caller: &mut Caller<'_, M>,
    number: u8,
    error: u32,
    cr2: u64,
) -> Result<(), CrashReason> {
    match number {
        vector::PAGE_FAULT => page_fault(caller, error, cr2),
        vector::GENERAL_PROTECTION => general_protection(caller, error),
        vector::INVALID_OPCODE => privileged::invalid_opcode(caller),
        _ => other_exception(caller, number, error, cr2),
    }
}

/// An exception without a rule of its own, or with one that nobody waits for.
#[inline(never)]
fn other_exception<M: Machine>(
    caller: &mut Caller<'_, M>,
    number: u8,
    error: u32,
    cr2: u64,
) -> Result<(), CrashReason> {
    match number {
        vector::DEVICE_NOT_AVAILABLE => {
            // The guest's own wish: cleared first, as ever.
            super::calls::set_task_switched(caller, false);
            deliver::exception(caller, number, None)
        }
        vector::DEBUG => {
            caller.state.debug.report(cr2);
            caller.machine().load_debug_registers(&caller.state.debug);
            deliver::exception(caller, number, None)
        }
        _ => deliver::exception(
            caller,
            number,
            vector::has_error_code(number).then_some(error),
        ),
    }
}

/// The last instruction of an exit faulted: the guest gets it at the target, whose registers these are. Where all that was
/// missing is a page of its LDT, the exit is tried again with that.
///
/// # Errors
/// The domain cannot go on.
pub fn exit_fault<M: Machine>(
    caller: &mut Caller<'_, M>,
    number: u8,
    error: u32,
    cr2: u64,
) -> Result<(), CrashReason> {
    caller.state.registers.rflags |= rflags::IF;
    if number == vector::PAGE_FAULT {
        return page_fault(caller, error, cr2);
    }
    deliver::exception(caller, number, Some(error))
}

#[inline(always)]
fn page_fault<M: Machine>(
    caller: &mut Caller<'_, M>,
    error: u32,
    cr2: u64,
) -> Result<(), CrashReason> {
    let shown = error & !PF_USER | deliver::user_bit(caller.state.mode);
    if error & PF_RESERVED != 0 || !is_guest(cr2) || is_table_write(caller, error) {
        return rare_page_fault(caller, error, cr2, shown);
    }
    deliver::page_fault_at_once(caller, cr2, shown)
}

/// A page fault that may be the hypervisor's to see to.
#[inline(never)]
fn rare_page_fault<M: Machine>(
    caller: &mut Caller<'_, M>,
    error: u32,
    cr2: u64,
    shown: u32,
) -> Result<(), CrashReason> {
    if error & PF_RESERVED != 0 {
        log::error!(
            "d{}v{}: reserved bit in a page table at {cr2:#x}",
            caller.domain.id().get(),
            caller.vcpu.id().get()
        );
        return Err(CrashReason::ReservedBit);
    }
    if let Some(offset) = super::descriptor::ldt_window_offset(caller, cr2) {
        if super::descriptor::fill_ldt(caller, offset) {
            return Ok(());
        }
        let address = super::descriptor::ldt_address(caller, offset);
        if !is_canonical(address) {
            // No page could be at fault: the selector is, with its table's bit.
            return deliver::general_protection(caller, privileged::low(offset) & !7 | 4);
        }
        return deliver::page_fault(caller, address, shown);
    }
    if is_table_write(caller, error) {
        return table_write(caller, cr2, shown);
    }
    deliver::page_fault(caller, cr2, shown)
}

/// Whether this may be the guest kernel's plain store into one of its L1 tables, with the assist for that on.
#[inline(always)]
fn is_table_write<M: Machine>(caller: &Caller<'_, M>, error: u32) -> bool {
    error & (PF_PRESENT | PF_WRITE) == PF_PRESENT | PF_WRITE
        && caller.state.mode == Mode::Kernel
        && caller.domain.assists(Assist::WritablePageTables)
}

fn table_write<M: Machine>(
    caller: &mut Caller<'_, M>,
    cr2: u64,
    shown: u32,
) -> Result<(), CrashReason> {
    let mut bytes = [0; LONGEST];
    let read = fetch::bytes_of_64_bit_code(caller, &mut bytes);
    let world = Peers::of(caller.hv, caller.domain);
    let call = Call {
        ram: caller.hv.ram(),
        domain: &caller.domain.memory,
        vcpu: &caller.vcpu.memory,
        world: &world,
    };
    let code = bytes.get(..read).unwrap_or(&[]);
    let registers = &mut caller.state.registers;
    match write_fault(call, registers, code, cr2, &mut caller.held) {
        WriteEnd::Done(step) => {
            caller.vcpu.counts.add(COUNTER_TABLE_WRITE);
            match step {
                Trap::None => Ok(()),
                Trap::SingleStep => privileged::single_step(caller),
            }
        }
        WriteEnd::Retry => Ok(()),
        WriteEnd::ReadFault(address) => deliver::page_fault(caller, address, 0),
        WriteEnd::Refused => deliver::page_fault(caller, cr2, shown),
    }
}

#[inline(never)]
fn general_protection<M: Machine>(
    caller: &mut Caller<'_, M>,
    error: u32,
) -> Result<(), CrashReason> {
    if error == 0 {
        return privileged::emulate(caller);
    }
    if error & (IDT | EXTERNAL) != IDT {
        return deliver::general_protection(caller, error);
    }
    // `INT n`. The code should be n * 8 + 2; QEMU's TCG gives n * 16 + 2: the instruction itself says which n it is.
    let Ok(instruction) = fetch::instruction(caller) else {
        return deliver::general_protection(caller, error);
    };
    let Operation::Interrupt(number) = instruction.operation else {
        return deliver::general_protection(caller, error);
    };
    let code = u32::from(number) << 3 | IDT;
    if error != code && error != u32::from(number) << 4 | IDT {
        return deliver::general_protection(caller, error);
    }
    // The kernel counts as ring 1.
    let ring = if caller.state.mode == Mode::Kernel {
        1
    } else {
        3
    };
    if caller.state.gate(number).dpl < ring {
        return deliver::general_protection(caller, code);
    }
    let registers = &mut caller.state.registers;
    registers.rip = registers.rip.wrapping_add(instruction.length.into());
    deliver::exception(caller, number, None)
}

/// The error of a checked copy as a page fault of the guest at `address`.
///
/// # Errors
/// The domain cannot go on.
pub(super) fn copy_fault<M: Machine>(
    caller: &mut Caller<'_, M>,
    address: u64,
    write: bool,
    _: Errno,
) -> Result<(), CrashReason> {
    let code = deliver::user_bit(caller.state.mode) | if write { PF_WRITE } else { 0 };
    deliver::page_fault(caller, address, code)
}
