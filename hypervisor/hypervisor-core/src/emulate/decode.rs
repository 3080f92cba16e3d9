//! Instruction bytes to one of a dozen operations, or to the word that this is none of ours.
//!
//! Only what raises #GP(0) at ring 3 and is emulated by pv-abi 6.2 is known, besides `INT n`, whose #GP has to be told from
//! others (5.5). There are no memory operands but those of INS and OUTS.

use crate::vcpu::context::Registers;

/// The longest instruction.
pub const LONGEST: usize = 15;

/// How the code segment is decoded.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Bits {
    /// 64-bit code.
    B64,
    /// 32-bit code.
    B32,
    /// 16-bit code.
    B16,
}

/// Number of a general register, 0 (RAX) to 15 (R15).
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Gpr(u8);

impl Gpr {
    /// The register of this number; its low four bits count.
    pub(crate) const fn new(number: u8) -> Self {
        Self(number & 15)
    }

    /// The register itself.
    #[must_use]
    pub fn of(self, registers: &mut Registers) -> &mut u64 {
        match self.0 & 15 {
            0 => &mut registers.rax,
            1 => &mut registers.rcx,
            2 => &mut registers.rdx,
            3 => &mut registers.rbx,
            4 => &mut registers.rsp,
            5 => &mut registers.rbp,
            6 => &mut registers.rsi,
            7 => &mut registers.rdi,
            8 => &mut registers.r8,
            9 => &mut registers.r9,
            10 => &mut registers.r10,
            11 => &mut registers.r11,
            12 => &mut registers.r12,
            13 => &mut registers.r13,
            14 => &mut registers.r14,
            _ => &mut registers.r15,
        }
    }
}

/// Bytes per port access: 1, 2 or 4.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[expect(missing_docs, reason = "each variant is a size")]
pub enum Width {
    One,
    Two,
    Four,
}

impl Width {
    /// In bytes.
    #[must_use]
    pub const fn bytes(self) -> u8 {
        match self {
            Self::One => 1,
            Self::Two => 2,
            Self::Four => 4,
        }
    }
}

/// Where the port number comes from.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Port {
    /// The instruction.
    Immediate(u8),
    /// DX.
    Dx,
}

/// Direction of a port access.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[expect(missing_docs, reason = "IN and OUT")]
pub enum Direction {
    In,
    Out,
}

/// The segment whose base counts for OUTS.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[expect(missing_docs, reason = "each variant is the register of its name")]
pub enum Segment {
    Flat,
    Stack,
    Fs,
    Gs,
}

/// INS or OUTS.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct StringPort {
    /// INS or OUTS.
    pub direction: Direction,
    /// Size of one element.
    pub width: Width,
    /// With REP.
    pub repeat: bool,
    /// Segment of OUTS' source; INS always uses ES, which is flat.
    pub segment: Segment,
    /// Whether RSI, RDI and RCX count with 64 bits, else 32.
    pub wide: bool,
}

/// What an instruction does.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[expect(missing_docs, reason = "each variant is the instruction of its name")]
pub enum Operation {
    ReadControl {
        control: u8,
        to: Gpr,
    },
    WriteControl {
        control: u8,
        from: Gpr,
    },
    ReadDebug {
        debug: u8,
        to: Gpr,
    },
    WriteDebug {
        debug: u8,
        from: Gpr,
    },
    Clts,
    Cli,
    Sti,
    Wbinvd,
    Rdmsr,
    Wrmsr,
    Rdtsc,
    Rdtscp,
    Xsetbv,
    Cpuid,
    PortAccess {
        direction: Direction,
        width: Width,
        port: Port,
    },
    PortString(StringPort),
    Interrupt(u8),
}

/// A decoded instruction.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Instruction {
    /// What it does.
    pub operation: Operation,
    /// Its length, 1..=15.
    pub length: u8,
}

/// Why there is none.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Undecoded {
    /// More bytes are needed than there are.
    Truncated,
    /// Not in the table.
    Unknown,
}

/// The bytes not read yet.
struct Reader<'a> {
    bytes: &'a [u8],
    next: usize,
}

impl Reader<'_> {
    fn byte(&mut self) -> Result<u8, Undecoded> {
        if self.next >= LONGEST {
            return Err(Undecoded::Unknown);
        }
        let byte = self
            .bytes
            .get(self.next)
            .copied()
            .ok_or(Undecoded::Truncated)?;
        self.next = self.next.wrapping_add(1);
        Ok(byte)
    }
}

#[derive(Clone, Copy)]
struct Prefixes {
    operand: bool,
    address: bool,
    repeat: bool,
    lock: bool,
    segment: Segment,
    rex: u8,
}

/// Decodes the first instruction of `bytes`.
///
/// # Errors
/// [`Undecoded::Truncated`] where `bytes` ends too early, [`Undecoded::Unknown`] for all that is not in the table.
pub fn decode(bytes: &[u8], bits: Bits) -> Result<Instruction, Undecoded> {
    let mut reader = Reader { bytes, next: 0 };
    let (prefixes, opcode) = prefixes(&mut reader, bits)?;
    if prefixes.lock {
        return Err(Undecoded::Unknown);
    }
    let operation = match opcode {
        0x0f => two_byte(&mut reader, bits, prefixes)?,
        0x6c..=0x6f => Operation::PortString(StringPort {
            direction: if opcode < 0x6e {
                Direction::In
            } else {
                Direction::Out
            },
            width: width(opcode & 1 != 0, bits, prefixes),
            repeat: prefixes.repeat,
            segment: prefixes.segment,
            wide: bits == Bits::B64 && !prefixes.address,
        }),
        0xcd => Operation::Interrupt(reader.byte()?),
        0xe4..=0xe7 => Operation::PortAccess {
            direction: if opcode < 0xe6 {
                Direction::In
            } else {
                Direction::Out
            },
            width: width(opcode & 1 != 0, bits, prefixes),
            port: Port::Immediate(reader.byte()?),
        },
        0xec..=0xef => Operation::PortAccess {
            direction: if opcode < 0xee {
                Direction::In
            } else {
                Direction::Out
            },
            width: width(opcode & 1 != 0, bits, prefixes),
            port: Port::Dx,
        },
        0xfa => Operation::Cli,
        0xfb => Operation::Sti,
        _ => return Err(Undecoded::Unknown),
    };
    let length = u8::try_from(reader.next).map_err(|_| Undecoded::Unknown)?;
    Ok(Instruction { operation, length })
}

fn prefixes(reader: &mut Reader<'_>, bits: Bits) -> Result<(Prefixes, u8), Undecoded> {
    let mut found = Prefixes {
        operand: false,
        address: false,
        repeat: false,
        lock: false,
        segment: Segment::Flat,
        rex: 0,
    };
    loop {
        let byte = reader.byte()?;
        match byte {
            0x66 => found.operand = true,
            0x67 => found.address = true,
            0xf2 | 0xf3 => found.repeat = true,
            0xf0 => found.lock = true,
            // In 64-bit code these three are ignored, wherever they stand.
            0x26 | 0x2e | 0x3e if bits == Bits::B64 => {}
            0x26 | 0x2e | 0x3e => found.segment = Segment::Flat,
            // Its base is 0 too, but its faults are the stack's.
            0x36 => found.segment = Segment::Stack,
            0x64 => found.segment = Segment::Fs,
            0x65 => found.segment = Segment::Gs,
            0x40..=0x4f if bits == Bits::B64 => {
                found.rex = byte;
                continue;
            }
            _ => return Ok((found, byte)),
        }
        // REX counts only right before the opcode.
        found.rex = 0;
    }
}

fn two_byte(
    reader: &mut Reader<'_>,
    bits: Bits,
    prefixes: Prefixes,
) -> Result<Operation, Undecoded> {
    let opcode = reader.byte()?;
    Ok(match opcode {
        0x01 => match reader.byte()? {
            0xd1 => Operation::Xsetbv,
            0xf9 => Operation::Rdtscp,
            _ => return Err(Undecoded::Unknown),
        },
        0x06 => Operation::Clts,
        0x09 => Operation::Wbinvd,
        0x20..=0x23 => {
            // Of ModRM the mod field is ignored: these always name registers.
            let modrm = reader.byte()?;
            let special = (modrm >> 3 & 7) | (prefixes.rex & 4) << 1;
            let general = Gpr((modrm & 7) | (prefixes.rex & 1) << 3);
            if bits != Bits::B64 {
                return Err(Undecoded::Unknown);
            }
            match opcode {
                0x20 => Operation::ReadControl {
                    control: special,
                    to: general,
                },
                0x21 => Operation::ReadDebug {
                    debug: special,
                    to: general,
                },
                0x22 => Operation::WriteControl {
                    control: special,
                    from: general,
                },
                _ => Operation::WriteDebug {
                    debug: special,
                    from: general,
                },
            }
        }
        0x30 => Operation::Wrmsr,
        0x31 => Operation::Rdtsc,
        0x32 => Operation::Rdmsr,
        0xa2 => Operation::Cpuid,
        _ => return Err(Undecoded::Unknown),
    })
}

fn width(full: bool, bits: Bits, prefixes: Prefixes) -> Width {
    match (full, prefixes.operand, bits) {
        (false, _, _) => Width::One,
        // The operand prefix toggles between the code segment's default and the other size; REX.W changes nothing.
        (true, false, Bits::B16) | (true, true, Bits::B32 | Bits::B64) => Width::Two,
        (true, true, Bits::B16) | (true, false, Bits::B32 | Bits::B64) => Width::Four,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn operation(bytes: &[u8]) -> Operation {
        let decoded = decode(bytes, Bits::B64).unwrap();
        assert_eq!(usize::from(decoded.length), bytes.len());
        decoded.operation
    }

    #[test]
    fn moves_from_and_to_control_registers_name_both_registers() {
        assert_eq!(
            operation(&[0x0f, 0x20, 0xd8]),
            Operation::ReadControl {
                control: 3,
                to: Gpr(0)
            }
        );
        assert_eq!(
            operation(&[0x0f, 0x22, 0xe1]),
            Operation::WriteControl {
                control: 4,
                from: Gpr(1)
            }
        );
        assert_eq!(
            operation(&[0x45, 0x0f, 0x20, 0xc7]),
            Operation::ReadControl {
                control: 8,
                to: Gpr(15)
            }
        );
        assert_eq!(
            operation(&[0x0f, 0x23, 0xf8]),
            Operation::WriteDebug {
                debug: 7,
                from: Gpr(0)
            }
        );
    }

    #[test]
    fn the_closed_table_knows_its_instructions() {
        for (bytes, expected) in [
            (&[0x0f, 0x06][..], Operation::Clts),
            (&[0xfa], Operation::Cli),
            (&[0xfb], Operation::Sti),
            (&[0x0f, 0x09], Operation::Wbinvd),
            (&[0xf3, 0x0f, 0x09], Operation::Wbinvd),
            (&[0x0f, 0x30], Operation::Wrmsr),
            (&[0x0f, 0x32], Operation::Rdmsr),
            (&[0x0f, 0x31], Operation::Rdtsc),
            (&[0x0f, 0x01, 0xf9], Operation::Rdtscp),
            (&[0x0f, 0x01, 0xd1], Operation::Xsetbv),
            (&[0x0f, 0xa2], Operation::Cpuid),
            (&[0xcd, 0x80], Operation::Interrupt(0x80)),
            (&[0x66, 0xcd, 0x20], Operation::Interrupt(0x20)),
        ] {
            assert_eq!(operation(bytes), expected, "{bytes:x?}");
        }
    }

    #[test]
    fn what_is_not_emulated_is_unknown() {
        for bytes in [
            &[0xf4][..],
            &[0x0f, 0x01, 0xf8],
            &[0x0f, 0x01, 0x3f],
            &[0x0f, 0x08],
            &[0xf0, 0xfa],
            &[0x0f, 0x33],
            &[0x48, 0xcf],
        ] {
            assert_eq!(
                decode(bytes, Bits::B64),
                Err(Undecoded::Unknown),
                "{bytes:x?}"
            );
        }
    }

    #[test]
    fn port_widths_follow_the_operand_prefix() {
        let access = |width| Operation::PortAccess {
            direction: Direction::Out,
            width,
            port: Port::Dx,
        };
        assert_eq!(operation(&[0xee]), access(Width::One));
        assert_eq!(operation(&[0xef]), access(Width::Four));
        assert_eq!(operation(&[0x66, 0xef]), access(Width::Two));
        assert_eq!(
            operation(&[0xe4, 0x80]),
            Operation::PortAccess {
                direction: Direction::In,
                width: Width::One,
                port: Port::Immediate(0x80)
            }
        );
        assert_eq!(
            decode(&[0xef], Bits::B16).unwrap().operation,
            access(Width::Two)
        );
    }

    #[test]
    fn string_instructions_carry_prefixes() {
        assert_eq!(
            operation(&[0x65, 0xf3, 0x6e]),
            Operation::PortString(StringPort {
                direction: Direction::Out,
                width: Width::One,
                repeat: true,
                segment: Segment::Gs,
                wide: true,
            })
        );
        let Operation::PortString(narrow) = operation(&[0x67, 0x6d]) else {
            panic!("not a string operation")
        };
        assert!(!narrow.wide);
        assert_eq!(narrow.direction, Direction::In);
    }

    #[test]
    fn a_rex_prefix_before_a_legacy_prefix_is_ignored() {
        assert_eq!(
            operation(&[0x44, 0x66, 0x0f, 0x20, 0xc0]),
            Operation::ReadControl {
                control: 0,
                to: Gpr(0)
            }
        );
    }

    #[test]
    fn short_input_is_truncated_and_long_input_unknown() {
        assert_eq!(decode(&[], Bits::B64), Err(Undecoded::Truncated));
        assert_eq!(decode(&[0x0f], Bits::B64), Err(Undecoded::Truncated));
        assert_eq!(decode(&[0xcd], Bits::B64), Err(Undecoded::Truncated));
        assert_eq!(decode(&[0x66; 14], Bits::B64), Err(Undecoded::Truncated));
        assert_eq!(decode(&[0x66; 16], Bits::B64), Err(Undecoded::Unknown));
    }

    #[test]
    fn in_32_bit_code_the_rex_bytes_are_other_instructions() {
        assert_eq!(decode(&[0x48, 0xfa], Bits::B32), Err(Undecoded::Unknown));
        assert_eq!(
            decode(&[0xcd, 0x80], Bits::B32).unwrap().operation,
            Operation::Interrupt(0x80)
        );
    }

    #[test]
    fn every_byte_string_decodes_or_is_refused_within_its_length() {
        let mut seed = 1_u64;
        for _ in 0..20_000 {
            let mut bytes = [0; 17];
            for byte in &mut bytes {
                seed = seed.wrapping_mul(6_364_136_223_846_793_005).wrapping_add(1);
                *byte = seed.to_le_bytes()[5];
            }
            for bits in [Bits::B64, Bits::B32, Bits::B16] {
                if let Ok(instruction) = decode(&bytes, bits) {
                    assert!((1..=15).contains(&instruction.length));
                }
            }
        }
    }
}
