//! Instruction bytes to one of the writes that are carried out for a guest kernel: 64-bit code, a closed list.

use crate::emulate::decode::{Gpr, LONGEST};

/// What an instruction does with its memory operand.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Kind {
    Mov,
    Exchange,
    CompareExchange,
    ExchangeAdd,
    Add,
    Or,
    And,
    Subtract,
    Xor,
    BitSet,
    BitReset,
    BitComplement,
    Stos,
    Movs,
}

/// Width of the operand.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Size {
    One,
    Two,
    Four,
    Eight,
}

impl Size {
    pub(super) const fn bytes(self) -> u64 {
        match self {
            Self::One => 1,
            Self::Two => 2,
            Self::Four => 4,
            Self::Eight => 8,
        }
    }

    pub(super) const fn mask(self) -> u64 {
        match self {
            Self::One => 0xff,
            Self::Two => 0xffff,
            Self::Four => 0xffff_ffff,
            Self::Eight => u64::MAX,
        }
    }

    pub(super) const fn sign(self) -> u64 {
        self.mask() ^ self.mask() >> 1
    }
}

/// The other operand.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Source {
    /// A register.
    Register(Gpr),
    /// Bits 8..=15 of a register: AH, CH, DH, BH.
    High(Gpr),
    /// A constant, sign-extended.
    Immediate(u64),
}

/// The base of an address.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Base {
    None,
    /// The next instruction.
    Next,
    Register(Gpr),
}

/// A segment with a base.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Segment {
    Flat,
    Fs,
    Gs,
}

/// The memory operand of an instruction with a `ModRM` byte; string instructions use RDI.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Address {
    pub(super) base: Base,
    pub(super) index: Option<(Gpr, u8)>,
    pub(super) displacement: u64,
    pub(super) segment: Segment,
}

/// A decoded instruction.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Instruction {
    pub(super) kind: Kind,
    pub(super) size: Size,
    pub(super) source: Source,
    pub(super) address: Address,
    pub(super) repeat: bool,
    pub(super) length: u8,
}

struct Reader<'a> {
    bytes: &'a [u8],
    next: usize,
}

impl Reader<'_> {
    fn byte(&mut self) -> Option<u8> {
        let byte = self
            .bytes
            .get(self.next)
            .copied()
            .filter(|_| self.next < LONGEST)?;
        self.next = self.next.wrapping_add(1);
        Some(byte)
    }

    /// A signed constant of 1, 2 or 4 bytes, extended.
    fn signed(&mut self, size: Size) -> Option<u64> {
        let mut bytes = [0; 4];
        let length = if size == Size::Eight { 4 } else { size.bytes() };
        let length = usize::try_from(length).ok()?;
        for byte in bytes.get_mut(..length)? {
            *byte = self.byte()?;
        }
        let value = match length {
            1 => i64::from(i8::from_le_bytes([bytes[0]])),
            2 => i64::from(i16::from_le_bytes([bytes[0], bytes[1]])),
            _ => i64::from(i32::from_le_bytes(bytes)),
        };
        Some(u64::from_ne_bytes(value.to_ne_bytes()))
    }
}

#[derive(Clone, Copy)]
struct Prefixes {
    operand: bool,
    lock: bool,
    repeat: bool,
    segment: Segment,
    rex: u8,
}

impl Prefixes {
    /// The operand's size, where bit 0 of the opcode tells bytes from the rest.
    const fn size(self, opcode: u8) -> Size {
        if opcode & 1 == 0 {
            Size::One
        } else {
            self.wide()
        }
    }

    const fn wide(self) -> Size {
        if self.rex & 8 != 0 {
            Size::Eight
        } else if self.operand {
            Size::Two
        } else {
            Size::Four
        }
    }
}

/// Where the source comes from.
#[derive(Clone, Copy)]
enum Form {
    /// The register field.
    Register,
    /// A constant as wide as the operand, at most 4 bytes.
    Immediate,
    /// A constant byte.
    Byte,
}

/// Decodes; `None` if it is not in the list.
pub(super) fn decode(bytes: &[u8]) -> Option<Instruction> {
    let mut reader = Reader { bytes, next: 0 };
    let (prefixes, opcode) = prefixes(&mut reader)?;
    let one_of = |kind, form| Some((kind, prefixes.size(opcode), form));
    let found = match opcode {
        0xa4 | 0xa5 => return string(&reader, prefixes, opcode, Kind::Movs),
        0xaa | 0xab => return string(&reader, prefixes, opcode, Kind::Stos),
        0x00 | 0x01 => one_of(Kind::Add, Form::Register),
        0x08 | 0x09 => one_of(Kind::Or, Form::Register),
        0x20 | 0x21 => one_of(Kind::And, Form::Register),
        0x28 | 0x29 => one_of(Kind::Subtract, Form::Register),
        0x30 | 0x31 => one_of(Kind::Xor, Form::Register),
        0x86 | 0x87 => one_of(Kind::Exchange, Form::Register),
        0x88 | 0x89 => one_of(Kind::Mov, Form::Register),
        0x0f => two_byte(&mut reader, prefixes),
        // What these do is in the register field.
        0x80 | 0x81 => one_of(Kind::Mov, Form::Immediate),
        0x83 => one_of(Kind::Mov, Form::Byte),
        0xc6 | 0xc7 => one_of(Kind::Mov, Form::Immediate),
        _ => None,
    };
    let (kind, size, form) = found?;
    let (field, address) = modrm(&mut reader, prefixes)?;
    let kind = match opcode {
        0x80 | 0x81 | 0x83 => group_one(field & 7)?,
        0xc6 | 0xc7 if field & 7 != 0 => return None,
        0x0f if matches!(form, Form::Byte) => group_eight(field & 7)?,
        _ => kind,
    };
    if prefixes.repeat || (prefixes.lock && kind == Kind::Mov) {
        return None;
    }
    let source = match form {
        Form::Register => register_source(field, size, prefixes.rex),
        Form::Immediate => Source::Immediate(reader.signed(size)?),
        Form::Byte => Source::Immediate(reader.signed(Size::One)?),
    };
    let length = u8::try_from(reader.next).ok()?;
    Some(Instruction {
        kind,
        size,
        source,
        address,
        repeat: false,
        length,
    })
}

fn prefixes(reader: &mut Reader<'_>) -> Option<(Prefixes, u8)> {
    let mut prefixes = Prefixes {
        operand: false,
        lock: false,
        repeat: false,
        segment: Segment::Flat,
        rex: 0,
    };
    loop {
        let byte = reader.byte()?;
        // A REX prefix counts only right before the opcode.
        let rex = core::mem::take(&mut prefixes.rex);
        match byte {
            0x66 => prefixes.operand = true,
            0xf0 => prefixes.lock = true,
            0xf3 => prefixes.repeat = true,
            0x26 | 0x2e | 0x36 | 0x3e => prefixes.segment = Segment::Flat,
            0x64 => prefixes.segment = Segment::Fs,
            0x65 => prefixes.segment = Segment::Gs,
            0x40..=0x4f => prefixes.rex = byte,
            _ => {
                prefixes.rex = rex;
                return Some((prefixes, byte));
            }
        }
    }
}

fn two_byte(reader: &mut Reader<'_>, prefixes: Prefixes) -> Option<(Kind, Size, Form)> {
    let opcode = reader.byte()?;
    let size = prefixes.size(opcode);
    match opcode {
        0xab => Some((Kind::BitSet, prefixes.wide(), Form::Register)),
        0xb3 => Some((Kind::BitReset, prefixes.wide(), Form::Register)),
        0xbb => Some((Kind::BitComplement, prefixes.wide(), Form::Register)),
        // Which of them is in the register field.
        0xba => Some((Kind::BitSet, prefixes.wide(), Form::Byte)),
        0xb0 | 0xb1 => Some((Kind::CompareExchange, size, Form::Register)),
        0xc0 | 0xc1 => Some((Kind::ExchangeAdd, size, Form::Register)),
        _ => None,
    }
}

fn group_one(field: u8) -> Option<Kind> {
    match field {
        0 => Some(Kind::Add),
        1 => Some(Kind::Or),
        4 => Some(Kind::And),
        5 => Some(Kind::Subtract),
        6 => Some(Kind::Xor),
        _ => None,
    }
}

fn group_eight(field: u8) -> Option<Kind> {
    match field {
        5 => Some(Kind::BitSet),
        6 => Some(Kind::BitReset),
        7 => Some(Kind::BitComplement),
        _ => None,
    }
}

fn register_source(field: u8, size: Size, rex: u8) -> Source {
    match (size, rex, field) {
        (Size::One, 0, 4..=7) => Source::High(Gpr::new(field.wrapping_sub(4))),
        _ => Source::Register(Gpr::new(field)),
    }
}

/// The register field with its REX bit, and the address. `None` for a register operand.
fn modrm(reader: &mut Reader<'_>, prefixes: Prefixes) -> Option<(u8, Address)> {
    let modrm = reader.byte()?;
    let bit = |rex_bit: u8| if prefixes.rex & rex_bit != 0 { 8 } else { 0 };
    let (mode, field, rm) = (modrm >> 6, modrm >> 3 & 7 | bit(4), modrm & 7);
    if mode == 3 {
        return None;
    }
    let mut address = Address {
        base: Base::Register(Gpr::new(rm | bit(1))),
        index: None,
        displacement: 0,
        segment: prefixes.segment,
    };
    let mut far = mode == 2;
    if rm == 4 {
        let sib = reader.byte()?;
        let index = sib >> 3 & 7 | bit(2);
        address.index = (index != 4).then_some((Gpr::new(index), sib >> 6));
        address.base = Base::Register(Gpr::new(sib & 7 | bit(1)));
        if mode == 0 && sib & 7 == 5 {
            address.base = Base::None;
            far = true;
        }
    } else if mode == 0 && rm == 5 {
        address.base = Base::Next;
        far = true;
    }
    if mode == 1 {
        address.displacement = reader.signed(Size::One)?;
    } else if far {
        address.displacement = reader.signed(Size::Four)?;
    }
    Some((field, address))
}

fn string(reader: &Reader<'_>, prefixes: Prefixes, opcode: u8, kind: Kind) -> Option<Instruction> {
    // The destination is in ES, which is flat; a source elsewhere is not in the list.
    if prefixes.lock || (kind == Kind::Movs && prefixes.segment != Segment::Flat) {
        return None;
    }
    Some(Instruction {
        kind,
        size: prefixes.size(opcode),
        source: Source::Register(Gpr::new(0)),
        address: Address {
            base: Base::Register(Gpr::new(7)),
            index: None,
            displacement: 0,
            segment: Segment::Flat,
        },
        repeat: prefixes.repeat,
        length: u8::try_from(reader.next).ok()?,
    })
}
