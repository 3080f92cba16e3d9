//! Executing what the emulator decoded: privileged instructions, and CPUID behind its prefix (pv-abi 6.1 to 6.4).

use hypercall_abi::Errno;
use hypercall_abi::control::counters::{
    COUNTER_CLI_STI, COUNTER_CPUID, COUNTER_DEBUG, COUNTER_OTHER, COUNTER_PORT, COUNTER_RDMSR,
    COUNTER_RDTSC, COUNTER_READ_CR, COUNTER_WRITE_CR, COUNTER_WRMSR,
};
use hypercall_abi::cpuid::EMULATE_PREFIX;

use super::calls;
use super::context::{rflags, vector};
use super::debug::DR6_STEP;
use super::deliver;
use super::fetch::{self, NoInstruction};
use super::ports;
use super::state::Mode;
use super::trap::copy_fault;
use crate::caller::Caller;
use crate::domain::crash::CrashReason;
use crate::emulate::control::{self, CR4_OSXSAVE, CR4_TSD};
use crate::emulate::decode::{Gpr, Operation};
use crate::emulate::msr::{self, Read, Register, Write};
use crate::emulate::{cpuid, port};
use crate::machine::{GuestBase, Machine};
use crate::paging::{Step, Tables};

/// The instruction CPUID.
const CPUID: [u8; 2] = [0x0f, 0xa2];

/// What an instruction did.
pub(super) enum Did {
    /// All: RIP goes behind it.
    Done,
    /// The same, and DR6 has breakpoints that it met.
    Hit,
    /// Everything about RIP and exceptions already.
    Handled,
    /// #GP(0).
    Fault,
    /// #UD.
    Undefined,
}

/// #GP(0) of a guest: emulates the instruction, or delivers the fault.
///
/// # Errors
/// The domain cannot go on.
pub fn emulate<M: Machine>(caller: &mut Caller<'_, M>) -> Result<(), CrashReason> {
    let instruction = match fetch::instruction(caller) {
        Ok(instruction) => instruction,
        Err(NoInstruction::Unknown) => return deliver::general_protection(caller, 0),
        Err(NoInstruction::Fault(address)) => {
            return copy_fault(caller, address, false, Errno::EFAULT);
        }
    };
    caller.vcpu.counts.add(kind_of(&instruction.operation));
    match execute(caller, instruction.operation, instruction.length)? {
        Did::Done => retire(caller, instruction.length),
        Did::Hit => {
            advance(caller, instruction.length);
            debug_exception(caller)
        }
        Did::Handled => Ok(()),
        Did::Fault => deliver::general_protection(caller, 0),
        Did::Undefined => deliver::exception(caller, vector::INVALID_OPCODE, None),
    }
}

/// RIP goes behind an emulated instruction; a single step is due if TF was set.
pub(super) fn retire<M: Machine>(
    caller: &mut Caller<'_, M>,
    length: u8,
) -> Result<(), CrashReason> {
    advance(caller, length);
    if caller.state.registers.rflags & rflags::TF == 0 {
        return Ok(());
    }
    single_step(caller)
}

/// RIP goes behind an instruction that was carried out.
pub(super) fn advance<M: Machine>(caller: &mut Caller<'_, M>, length: u8) {
    let registers = &mut caller.state.registers;
    registers.rip = registers.rip.wrapping_add(length.into());
    registers.rflags &= !rflags::RF;
}

/// The single step after an instruction that was carried out for the guest.
pub(super) fn single_step<M: Machine>(caller: &mut Caller<'_, M>) -> Result<(), CrashReason> {
    caller.state.debug.dr6 |= DR6_STEP;
    deliver::exception(caller, vector::DEBUG, None)
}

/// #DB for breakpoints that DR6 has already, and for a single step if TF was set.
pub(super) fn debug_exception<M: Machine>(caller: &mut Caller<'_, M>) -> Result<(), CrashReason> {
    if caller.state.registers.rflags & rflags::TF != 0 {
        caller.state.debug.dr6 |= DR6_STEP;
    }
    deliver::exception(caller, vector::DEBUG, None)
}

/// #UD of a guest: CPUID behind the prefix, or the exception.
///
/// # Errors
/// The domain cannot go on.
#[inline(always)]
pub fn invalid_opcode<M: Machine>(caller: &mut Caller<'_, M>) -> Result<(), CrashReason> {
    let Some(bytes) = fetch::eight(caller) else {
        return invalid_opcode_by_parts(caller);
    };
    if bytes.starts_with(&EMULATE_PREFIX) && bytes.get(5..7) == Some(&CPUID) {
        return forced_cpuid(caller);
    }
    deliver::exception_at_once(caller, vector::INVALID_OPCODE, None)
}

/// As [`invalid_opcode`], where not all can be read at once: CPUID is read only behind its prefix.
#[inline(never)]
fn invalid_opcode_by_parts<M: Machine>(caller: &mut Caller<'_, M>) -> Result<(), CrashReason> {
    let mut prefix = [0; EMULATE_PREFIX.len()];
    let mut opcode = [0; 2];
    let behind = u64::try_from(EMULATE_PREFIX.len()).unwrap_or(0);
    if let Err(address) = fetch::exact(caller, 0, &mut prefix) {
        return copy_fault(caller, address, false, Errno::EFAULT);
    }
    if prefix != EMULATE_PREFIX {
        return deliver::exception(caller, vector::INVALID_OPCODE, None);
    }
    if let Err(address) = fetch::exact(caller, behind, &mut opcode) {
        return copy_fault(caller, address, false, Errno::EFAULT);
    }
    if opcode != CPUID {
        return deliver::exception(caller, vector::INVALID_OPCODE, None);
    }
    forced_cpuid(caller)
}

#[inline(never)]
fn forced_cpuid<M: Machine>(caller: &mut Caller<'_, M>) -> Result<(), CrashReason> {
    caller.vcpu.counts.add(COUNTER_CPUID);
    execute_cpuid(caller, true);
    retire(caller, 7)
}

/// What an instruction is counted as.
const fn kind_of(operation: &Operation) -> u32 {
    match operation {
        Operation::Cpuid => COUNTER_CPUID,
        Operation::Rdmsr => COUNTER_RDMSR,
        Operation::Wrmsr => COUNTER_WRMSR,
        Operation::ReadControl { .. } => COUNTER_READ_CR,
        Operation::WriteControl { .. } => COUNTER_WRITE_CR,
        Operation::ReadDebug { .. } | Operation::WriteDebug { .. } => COUNTER_DEBUG,
        Operation::PortAccess { .. } | Operation::PortString(_) => COUNTER_PORT,
        Operation::Cli | Operation::Sti => COUNTER_CLI_STI,
        Operation::Rdtsc | Operation::Rdtscp => COUNTER_RDTSC,
        Operation::Clts | Operation::Wbinvd | Operation::Xsetbv | Operation::Interrupt(_) => {
            COUNTER_OTHER
        }
    }
}

fn execute<M: Machine>(
    caller: &mut Caller<'_, M>,
    operation: Operation,
    length: u8,
) -> Result<Did, CrashReason> {
    let did = match operation {
        Operation::PortAccess {
            direction,
            width,
            port,
        } => ports::access(caller, direction, width, port),
        Operation::PortString(string) => return ports::string(caller, string, length),
        Operation::Cli | Operation::Sti => {
            if port::iopl_permits(
                caller.state.iopl,
                caller.state.mode,
                ports::architectural_iopl(caller),
            ) {
                Did::Done
            } else {
                Did::Fault
            }
        }
        Operation::Rdtsc => read_tsc(caller, false),
        Operation::Rdtscp => read_tsc(caller, true),
        Operation::Cpuid => {
            execute_cpuid(caller, false);
            Did::Done
        }
        Operation::Interrupt(_) => Did::Fault,
        _ if caller.state.mode == Mode::User => Did::Fault,
        Operation::ReadControl { control, to } => read_control(caller, control, to),
        Operation::WriteControl { control, from } => write_control(caller, control, from),
        Operation::ReadDebug { debug, to } => match calls::get_debugreg(caller, debug.into()) {
            Ok(value) => {
                *to.of(&mut caller.state.registers) = value;
                Did::Done
            }
            Err(_) => Did::Undefined,
        },
        Operation::WriteDebug { debug, from } => {
            let value = *from.of(&mut caller.state.registers);
            match calls::set_debugreg(caller, debug.into(), value) {
                Ok(()) => Did::Done,
                Err(Errno::ENODEV) => Did::Undefined,
                Err(_) => Did::Fault,
            }
        }
        Operation::Clts => {
            calls::set_task_switched(caller, false);
            Did::Done
        }
        Operation::Wbinvd => Did::Done,
        Operation::Rdmsr => read_msr(caller),
        Operation::Wrmsr => write_msr(caller),
        Operation::Xsetbv => set_xcr0(caller),
    };
    Ok(did)
}

fn read_control<M: Machine>(caller: &mut Caller<'_, M>, number: u8, to: Gpr) -> Did {
    let state = &caller.state.control;
    let value = match number {
        0 => control::read_cr0(state.task_switched),
        2 => state.cr2,
        3 => caller
            .vcpu
            .memory
            .kernel_root()
            .map_or(0, |root| root.address()),
        4 => control::read_cr4(state.cr4),
        _ => return Did::Fault,
    };
    *to.of(&mut caller.state.registers) = value;
    Did::Done
}

fn write_control<M: Machine>(caller: &mut Caller<'_, M>, number: u8, from: Gpr) -> Did {
    let value = *from.of(&mut caller.state.registers);
    match number {
        0 => match control::write_cr0(value) {
            Some(set) => {
                calls::set_task_switched(caller, set);
                Did::Done
            }
            None => Did::Fault,
        },
        2 => {
            caller.state.control.cr2 = value;
            caller.vcpu.set_cr2(caller.machine(), value);
            Did::Done
        }
        3 => write_cr3(caller, value),
        4 => {
            let offered =
                cpuid::cr4_offered(&|leaf, subleaf| caller.machine().host_cpuid(leaf, subleaf));
            caller.state.control.cr4 = control::write_cr4(value, offered);
            caller.machine().load_control(&caller.state.control);
            Did::Done
        }
        _ => Did::Fault,
    }
}

/// MOV to CR3, as `MMUEXT_NEW_BASEPTR`; one that is preempted is done again from the start.
fn write_cr3<M: Machine>(caller: &mut Caller<'_, M>, value: u64) -> Did {
    let (ram, memory) = (caller.hv.ram(), &caller.vcpu.memory);
    let (tables, _held) = Tables::lock(ram, &caller.domain.memory, memory, &mut caller.held);
    if tables.finish_pending() == Step::Again {
        return Did::Handled;
    }
    match tables.new_kernel_root(memory, value >> 12) {
        Ok(Step::Done(())) => Did::Done,
        Ok(Step::Again) => Did::Handled,
        Err(_) => Did::Fault,
    }
}

fn read_tsc<M: Machine>(caller: &mut Caller<'_, M>, with_aux: bool) -> Did {
    if caller.state.mode == Mode::User && caller.state.control.cr4 & CR4_TSD != 0 {
        return Did::Fault;
    }
    set_pair(caller, caller.machine().read_tsc());
    if with_aux {
        caller.state.registers.rcx = caller.state.tsc_aux.into();
    }
    Did::Done
}

fn set_xcr0<M: Machine>(caller: &mut Caller<'_, M>) -> Did {
    if caller.state.control.cr4 & CR4_OSXSAVE == 0 {
        return Did::Undefined;
    }
    let machine = caller.machine();
    let supported = cpuid::xcr0_supported(&|leaf, subleaf| machine.host_cpuid(leaf, subleaf));
    let (index, value) = (low(caller.state.registers.rcx), pair(caller));
    if index != 0 || !control::is_valid_xcr0(value, supported) {
        return Did::Fault;
    }
    caller.state.control.xcr0 = value;
    machine.load_control(&caller.state.control);
    Did::Done
}

fn execute_cpuid<M: Machine>(caller: &mut Caller<'_, M>, forced: bool) {
    let machine = caller.machine();
    let clock = machine.clock();
    let view = cpuid::View {
        mode: caller.state.mode,
        forced,
        os_xsave: caller.state.control.cr4 & CR4_OSXSAVE != 0,
        xcr0: caller.state.control.xcr0,
        privileged: caller.domain.is_first(),
        address_width: address_width(caller.hv.frames().limit().get()),
        tsc_khz: u32::try_from(clock.frequency_khz).unwrap_or(u32::MAX),
        tsc_multiplier: clock.multiplier,
        tsc_shift: clock.shift,
        tsc_stable: caller.hv.tsc_stable(),
    };
    let registers = &mut caller.state.registers;
    let host = |leaf, subleaf| machine.host_cpuid(leaf, subleaf);
    let [eax, ebx, ecx, edx] = cpuid::leaf(&host, low(registers.rax), low(registers.rcx), &view);
    registers.rax = eax.into();
    registers.rbx = ebx.into();
    registers.rcx = ecx.into();
    registers.rdx = edx.into();
}

/// Bits of the highest machine address, for `limit` frames.
fn address_width(limit: u64) -> u8 {
    let frame_bits = u64::BITS.saturating_sub(limit.saturating_sub(1).leading_zeros());
    u8::try_from(frame_bits.saturating_add(12)).unwrap_or(52)
}

fn msr_view<M: Machine>(caller: &Caller<'_, M>) -> msr::View {
    let machine = caller.machine();
    let host = |leaf, subleaf| machine.host_cpuid(leaf, subleaf);
    msr::View {
        amd: cpuid::is_amd(&host),
        first_vcpu: caller.vcpu.id().get() == 0,
        has_tsc_aux: machine.host_cpuid(0x8000_0001, 0)[3] & 1 << 27 != 0,
        efer: machine.read_host_msr(0xc000_0080).unwrap_or(0),
        microcode: machine.read_host_msr(0x8b).unwrap_or(0),
        misc_enable: machine.read_host_msr(0x1a0),
    }
}

fn read_msr<M: Machine>(caller: &mut Caller<'_, M>) -> Did {
    let number = low(caller.state.registers.rcx);
    let machine = caller.machine();
    let value = match msr::read(number, &msr_view(caller)) {
        Read::Value(value) => value,
        Read::Register(Register::FsBase) => machine.guest_base(GuestBase::Fs),
        Read::Register(Register::GsBaseActive) => machine.guest_base(GuestBase::GsActive),
        Read::Register(Register::GsBaseUser) => machine.guest_base(GuestBase::GsInactive),
        Read::Register(Register::TscAux) => caller.state.tsc_aux.into(),
        Read::Register(Register::Tsc) => machine.read_tsc(),
        Read::Fault => {
            // Kernels probe before they have a handler; without one the fault would end the domain.
            let no_handler = caller.state.gate(vector::GENERAL_PROTECTION).address == 0;
            if !no_handler || !msr::may_probe(number) || machine.read_host_msr(number).is_none() {
                return Did::Fault;
            }
            0
        }
    };
    set_pair(caller, value);
    Did::Done
}

fn write_msr<M: Machine>(caller: &mut Caller<'_, M>) -> Did {
    let number = low(caller.state.registers.rcx);
    let machine = caller.machine();
    match msr::write(number, pair(caller), &msr_view(caller)) {
        Write::Ignored => {}
        Write::Register(Register::FsBase, value) => machine.set_guest_base(GuestBase::Fs, value),
        Write::Register(Register::GsBaseActive, value) => {
            machine.set_guest_base(GuestBase::GsActive, value)
        }
        Write::Register(Register::GsBaseUser, value) => {
            machine.set_guest_base(GuestBase::GsInactive, value)
        }
        Write::Register(Register::TscAux, value) => {
            caller.state.tsc_aux = low(value);
            machine.set_tsc_aux(low(value));
        }
        Write::Register(Register::Tsc, _) | Write::Fault => return Did::Fault,
    }
    Did::Done
}

/// EDX:EAX.
fn pair<M: Machine>(caller: &Caller<'_, M>) -> u64 {
    let registers = &caller.state.registers;
    u64::from(low(registers.rdx)) << 32 | u64::from(low(registers.rax))
}

fn set_pair<M: Machine>(caller: &mut Caller<'_, M>, value: u64) {
    caller.state.registers.rax = value & 0xffff_ffff;
    caller.state.registers.rdx = value >> 32;
}

pub(super) fn low(register: u64) -> u32 {
    let [a, b, c, d, ..] = register.to_le_bytes();
    u32::from_le_bytes([a, b, c, d])
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_address_width_covers_the_last_frame() {
        assert_eq!(address_width(1 << 20), 32);
        assert_eq!(address_width((1 << 20) + 1), 33);
        assert_eq!(address_width(1 << 18), 30);
    }
}
