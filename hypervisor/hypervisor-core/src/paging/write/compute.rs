//! What an instruction makes of its operands: the new memory operand, registers, flags.

use crate::emulate::decode::Gpr;
use crate::vcpu::context::{Registers, rflags};

use super::address::value_of;
use super::decode::{Instruction, Kind, Size, Source};

const CF: u64 = 1;
const PF: u64 = 1 << 2;
const AF: u64 = 1 << 4;
const ZF: u64 = 1 << 6;
const SF: u64 = 1 << 7;
const OF: u64 = 1 << 11;
const ARITHMETIC: u64 = CF | PF | AF | ZF | SF | OF;

/// What was in memory.
#[derive(Clone, Copy, Debug)]
pub(super) struct Inputs {
    /// The operand to be written.
    pub(super) memory: u64,
    /// The operand that MOVS read.
    pub(super) moved: u64,
}

/// What comes out; registers and flags change once the memory operand is in place.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Change {
    /// The new memory operand.
    pub(super) memory: u64,
    /// A register that gets a value: the old memory operand.
    register: Option<(Source, u64)>,
    /// Flags that change, and their new values.
    flags: (u64, u64),
}

/// Computes without side effects.
pub(super) fn compute(instruction: &Instruction, registers: &Registers, inputs: Inputs) -> Change {
    let size = instruction.size;
    let source = source_value(instruction.source, registers) & size.mask();
    let memory = inputs.memory;
    let plain = |memory| Change {
        memory: memory & size.mask(),
        register: None,
        flags: (0, 0),
    };
    let logic = |value: u64| Change {
        flags: (ARITHMETIC, result_flags(value, size)),
        ..plain(value)
    };
    let bit = |value: u64| {
        let carry = if memory & bit_of(source, size) == 0 {
            0
        } else {
            CF
        };
        Change {
            flags: (CF, carry),
            ..plain(value)
        }
    };
    match instruction.kind {
        Kind::Mov | Kind::Stos => plain(source),
        Kind::Movs => plain(inputs.moved),
        Kind::Exchange => Change {
            register: Some((instruction.source, memory)),
            ..plain(source)
        },
        Kind::And => logic(memory & source),
        Kind::Or => logic(memory | source),
        Kind::Xor => logic(memory ^ source),
        Kind::Add => add(memory, source, size),
        Kind::ExchangeAdd => Change {
            register: Some((instruction.source, memory)),
            ..add(memory, source, size)
        },
        Kind::Subtract => subtract(memory, source, size),
        Kind::CompareExchange => {
            let compared = subtract(registers.rax & size.mask(), memory, size);
            if compared.memory == 0 {
                Change {
                    memory: source,
                    ..compared
                }
            } else {
                let accumulator = Source::Register(Gpr::new(0));
                Change {
                    memory,
                    register: Some((accumulator, memory)),
                    ..compared
                }
            }
        }
        Kind::BitSet => bit(memory | bit_of(source, size)),
        Kind::BitReset => bit(memory & !bit_of(source, size)),
        Kind::BitComplement => bit(memory ^ bit_of(source, size)),
    }
}

impl Change {
    /// Changes registers and flags as the instruction does.
    pub(super) fn apply(&self, instruction: &Instruction, registers: &mut Registers) {
        if let Some((target, value)) = self.register {
            write_register(target, value, instruction.size, registers);
        }
        let (changed, values) = self.flags;
        registers.rflags = (registers.rflags & !changed) | values;
        let step = instruction.size.bytes();
        let forward = registers.rflags & rflags::DF == 0;
        let step = if forward { step } else { step.wrapping_neg() };
        if matches!(instruction.kind, Kind::Stos | Kind::Movs) {
            registers.rdi = registers.rdi.wrapping_add(step);
        }
        if instruction.kind == Kind::Movs {
            registers.rsi = registers.rsi.wrapping_add(step);
        }
    }
}

fn source_value(source: Source, registers: &Registers) -> u64 {
    match source {
        Source::Register(register) => value_of(register, registers),
        Source::High(register) => value_of(register, registers) >> 8,
        Source::Immediate(value) => value,
    }
}

/// The bit that a bit operation means within its unit.
fn bit_of(number: u64, size: Size) -> u64 {
    let within = size.bytes().wrapping_shl(3).wrapping_sub(1);
    1_u64.wrapping_shl(u32::try_from(number & within).unwrap_or(0))
}

/// 4-byte results clear the upper half of a register, smaller ones leave the rest.
fn write_register(target: Source, value: u64, size: Size, registers: &mut Registers) {
    let (register, shift) = match target {
        Source::Register(register) => (register, 0),
        Source::High(register) => (register, 8),
        Source::Immediate(_) => return,
    };
    let word = register.of(registers);
    *word = match size {
        Size::One | Size::Two => (*word & !(size.mask() << shift)) | value << shift,
        Size::Four | Size::Eight => value,
    };
}

fn result_flags(value: u64, size: Size) -> u64 {
    let value = value & size.mask();
    let zero = if value == 0 { ZF } else { 0 };
    let sign = if value & size.sign() != 0 { SF } else { 0 };
    let parity = if (value & 0xff).count_ones().is_multiple_of(2) {
        PF
    } else {
        0
    };
    zero | sign | parity
}

fn add(a: u64, b: u64, size: Size) -> Change {
    let sum = a.wrapping_add(b) & size.mask();
    let carry = if sum < a { CF } else { 0 };
    let overflow = if (a ^ sum) & (b ^ sum) & size.sign() != 0 {
        OF
    } else {
        0
    };
    let adjust = (a ^ b ^ sum) & AF;
    let flags = result_flags(sum, size) | carry | overflow | adjust;
    Change {
        memory: sum,
        register: None,
        flags: (ARITHMETIC, flags),
    }
}

fn subtract(a: u64, b: u64, size: Size) -> Change {
    let difference = a.wrapping_sub(b) & size.mask();
    let carry = if a < b { CF } else { 0 };
    let overflow = if (a ^ b) & (a ^ difference) & size.sign() != 0 {
        OF
    } else {
        0
    };
    let adjust = (a ^ b ^ difference) & AF;
    let flags = result_flags(difference, size) | carry | overflow | adjust;
    Change {
        memory: difference,
        register: None,
        flags: (ARITHMETIC, flags),
    }
}
