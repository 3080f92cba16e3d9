//! A guest kernel's plain store into one of its own L1 tables, carried out for it (pv-abi 4.10).
//!
//! Linux changes pinned L1 tables by ordinary instructions: before its allocator is up, and all through its life in helpers
//! that use `xchg`, `lock cmpxchg` and bit operations. The table is mapped read-only, so each faults; with the VM assist on,
//! [`write_fault`] decodes the instruction, checks the entry it would make like any other update, and puts it in place by
//! compare-exchange against the value that it was computed from.
//!
//! Another vCPU may have rewritten the code between the fault and its reading. So the bytes are read once, by the caller,
//! the list of instructions is closed, and nothing is believed of the instruction but what is checked again here (XSA-202).

mod address;
mod compute;
mod decode;

use crate::guest::GuestMemory;
use crate::ids::EntryIndex;
use crate::machine::Machine;
use crate::sync::Held;
use crate::vcpu::context::{Registers, rflags};

use self::compute::{Change, Inputs, compute};
use self::decode::{Instruction, Kind, decode};
use super::tables::Tables;
use super::world::{Call, World};

/// What became of a write fault.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum WriteEnd {
    /// Done: registers are as after the instruction.
    Done(Trap),
    /// The entry changed meanwhile: the instruction runs again.
    Retry,
    /// The instruction's source cannot be read: a page fault at this address.
    ReadFault(u64),
    /// Not ours: the guest gets its page fault.
    Refused,
}

/// What follows an instruction.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Trap {
    /// Nothing.
    None,
    /// A single-step #DB.
    SingleStep,
}

/// Carries out the instruction whose `bytes` were read at RIP, if it writes to an L1 table that `address` maps read-only.
/// The caller has found a write fault on a present page, in 64-bit guest kernel mode, with the VM assist on.
pub fn write_fault<M: Machine, W: World, const TOP: u8>(
    call: Call<'_, M, W>,
    registers: &mut Registers,
    bytes: &[u8],
    address: u64,
    held: &mut Held<'_, TOP>,
) -> WriteEnd {
    let Some(instruction) = decode(bytes) else {
        return WriteEnd::Refused;
    };
    let operand = address::of_operand(&instruction, registers, |base| {
        call.ram.machine.guest_base(base)
    });
    if operand != address || address & instruction.size.bytes().wrapping_sub(1) != 0 {
        return WriteEnd::Refused;
    }
    if instruction.repeat && registers.rcx == 0 {
        return WriteEnd::Retry;
    }
    let moved = match moved_value(call.guest(), &instruction, registers) {
        Ok(moved) => moved,
        Err(end) => return end,
    };
    let (tables, _held) = Tables::lock(call.ram, call.domain, call.vcpu, held);
    match tables.write(call, &instruction, registers, moved, address) {
        Ok(Some(change)) => {
            change.apply(&instruction, registers);
            WriteEnd::Done(finish(&instruction, registers))
        }
        Ok(None) => WriteEnd::Retry,
        Err(Refused) => WriteEnd::Refused,
    }
}

/// Nothing has changed.
struct Refused;

/// What MOVS reads, before any lock is taken; 0 for all others.
fn moved_value<M: Machine>(
    guest: GuestMemory<'_, M>,
    instruction: &Instruction,
    registers: &Registers,
) -> Result<u64, WriteEnd> {
    if instruction.kind != Kind::Movs {
        return Ok(0);
    }
    let mut bytes = [0; 8];
    let length = usize::try_from(instruction.size.bytes()).unwrap_or(8);
    let part = bytes.get_mut(..length).ok_or(WriteEnd::Refused)?;
    guest
        .copy_in(registers.rsi, part)
        .map_err(|fault| WriteEnd::ReadFault(fault.address))?;
    Ok(u64::from_le_bytes(bytes))
}

impl<M: Machine> Tables<'_, M> {
    /// Computes and exchanges the entry. `None`: it changed meanwhile.
    fn write<W: World>(
        &self,
        call: Call<'_, M, W>,
        instruction: &Instruction,
        registers: &Registers,
        moved: u64,
        address: u64,
    ) -> Result<Option<Change>, Refused> {
        let slot = self.leaf_slot(call.vcpu, address).map_err(|_| Refused)?;
        let mapping = slot.value();
        if !mapping.is_present() || mapping.is_writable() {
            return Err(Refused);
        }
        let index = EntryIndex::of_address(address);
        let slot = self
            .checked_slot(mapping.frame_number(), index)
            .map_err(|_| Refused)?;
        let old = slot.value();
        let shift = (address & 7) << 3;
        let mask = instruction.size.mask();
        let inputs = Inputs {
            memory: old.0 >> shift & mask,
            moved,
        };
        let change = compute(instruction, registers, inputs);
        let new = (old.0 & !(mask << shift)) | change.memory << shift;
        match self.replace_leaf(slot, old, new) {
            Ok(true) => Ok(Some(change)),
            Ok(false) => Ok(None),
            Err(_) => Err(Refused),
        }
    }
}

/// Moves on behind the instruction, or to its next element.
fn finish(instruction: &Instruction, registers: &mut Registers) -> Trap {
    let mut complete = true;
    if instruction.repeat {
        registers.rcx = registers.rcx.wrapping_sub(1);
        complete = registers.rcx == 0;
    }
    if complete {
        registers.rip = registers.rip.wrapping_add(u64::from(instruction.length));
    }
    registers.rflags &= !rflags::RF;
    if registers.rflags & rflags::TF != 0 {
        Trap::SingleStep
    } else {
        Trap::None
    }
}

#[cfg(test)]
mod tests;
