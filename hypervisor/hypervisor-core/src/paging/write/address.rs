//! The address of an instruction's memory operand.

use crate::emulate::decode::Gpr;
use crate::machine::GuestBase;
use crate::vcpu::context::Registers;

use super::decode::{Base, Instruction, Kind, Segment, Source};

/// The linear address of the operand. For bit operations with a register, that of the unit that holds the bit.
pub(super) fn of_operand(
    instruction: &Instruction,
    registers: &Registers,
    segment_base: impl FnOnce(GuestBase) -> u64,
) -> u64 {
    let address = instruction.address;
    let base = match address.base {
        Base::None => 0,
        Base::Next => registers.rip.wrapping_add(u64::from(instruction.length)),
        Base::Register(register) => value_of(register, registers),
    };
    let index = address.index.map_or(0, |(register, scale)| {
        value_of(register, registers).wrapping_shl(u32::from(scale))
    });
    let segment = match address.segment {
        Segment::Flat => 0,
        Segment::Fs => segment_base(GuestBase::Fs),
        Segment::Gs => segment_base(GuestBase::GsActive),
    };
    base.wrapping_add(index)
        .wrapping_add(address.displacement)
        .wrapping_add(segment)
        .wrapping_add(unit_offset(instruction, registers))
}

/// A register's bit offset is signed and counts from the operand's address on: whole units of the operand's size.
fn unit_offset(instruction: &Instruction, registers: &Registers) -> u64 {
    let (Kind::BitSet | Kind::BitReset | Kind::BitComplement, Source::Register(register)) =
        (instruction.kind, instruction.source)
    else {
        return 0;
    };
    let size = instruction.size;
    let offset = value_of(register, registers) & size.mask();
    let negative = offset & size.sign() != 0;
    let offset = if negative {
        offset | !size.mask()
    } else {
        offset
    };
    let bits_shift = size.bytes().trailing_zeros().wrapping_add(3);
    let units = i64::from_ne_bytes(offset.to_ne_bytes()).wrapping_shr(bits_shift);
    u64::from_ne_bytes(units.to_ne_bytes()).wrapping_mul(size.bytes())
}

/// What a register holds.
pub(super) fn value_of(register: Gpr, registers: &Registers) -> u64 {
    let mut copy = *registers;
    *register.of(&mut copy)
}
