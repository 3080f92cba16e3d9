//! Reading the instruction at a guest's RIP.

use super::context::{is_canonical, selector};
use super::descriptor;
use crate::caller::{Caller, is_guest_range};
use crate::emulate::decode::{Bits, Instruction, LONGEST, Undecoded, decode};
use crate::machine::Machine;

/// Why there is no instruction of ours.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum NoInstruction {
    /// It cannot be read: the first address that faults.
    Fault(u64),
    /// It is none that is emulated.
    Unknown,
}

/// A guest's code segment as far as decoding goes.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct CodeSegment {
    /// Size of the code.
    pub bits: Bits,
    /// Base; 0 for 64-bit code.
    pub base: u64,
}

/// The code segment that CS names, if it is a present one.
pub fn code_segment<M: Machine>(caller: &Caller<'_, M>) -> Option<CodeSegment> {
    let cs = caller.state.registers.cs;
    match cs {
        selector::CODE64 => Some(CodeSegment {
            bits: Bits::B64,
            base: 0,
        }),
        selector::CODE32 => Some(CodeSegment {
            bits: Bits::B32,
            base: 0,
        }),
        _ => descriptor::read(caller, cs).and_then(of_descriptor),
    }
}

fn of_descriptor(descriptor: u64) -> Option<CodeSegment> {
    const CODE: u64 = 1 << 43 | 1 << 44 | 1 << 47;
    const LONG: u64 = 1 << 53;
    const BIG: u64 = 1 << 54;
    if descriptor & CODE != CODE {
        return None;
    }
    if descriptor & LONG != 0 {
        return Some(CodeSegment {
            bits: Bits::B64,
            base: 0,
        });
    }
    let base = (descriptor >> 16 & 0x00ff_ffff) | (descriptor >> 32 & 0xff00_0000);
    let bits = if descriptor & BIG != 0 {
        Bits::B32
    } else {
        Bits::B16
    };
    Some(CodeSegment { bits, base })
}

/// Reads and decodes the instruction at RIP.
///
/// # Errors
/// [`NoInstruction`].
pub fn instruction<M: Machine>(caller: &Caller<'_, M>) -> Result<Instruction, NoInstruction> {
    let segment = code_segment(caller).ok_or(NoInstruction::Unknown)?;
    let start = linear(caller, segment);
    let mut bytes = [0; LONGEST];
    let (read, fault) = read(caller, start, &mut bytes);
    match decode(bytes.get(..read).unwrap_or(&[]), segment.bits) {
        Ok(instruction) => Ok(instruction),
        Err(Undecoded::Truncated) if is_canonical(fault) => Err(NoInstruction::Fault(fault)),
        // What is not canonical raises no page fault: the exception that led here stands.
        Err(Undecoded::Truncated | Undecoded::Unknown) => Err(NoInstruction::Unknown),
    }
}

/// Reads exactly `bytes` at RIP plus `offset`.
///
/// # Errors
/// The first address that faults.
pub fn exact<M: Machine>(caller: &Caller<'_, M>, offset: u64, bytes: &mut [u8]) -> Result<(), u64> {
    let segment = code_segment(caller).unwrap_or(CodeSegment {
        bits: Bits::B64,
        base: 0,
    });
    let start = linear(caller, segment).wrapping_add(offset);
    let (done, fault) = read(caller, start, bytes);
    if done == bytes.len() {
        Ok(())
    } else {
        Err(fault)
    }
}

/// Reads eight bytes at the RIP of flat 64-bit code, by one move. `None` where it is none, or not all can be read: then
/// [`exact`] tells what there is.
#[inline]
pub fn eight<M: Machine>(caller: &Caller<'_, M>) -> Option<[u8; 8]> {
    let registers = &caller.state.registers;
    if registers.cs != selector::CODE64 {
        return None;
    }
    let [word] = caller.copy_in_words(registers.rip).ok()?;
    Some(word.to_le_bytes())
}

/// Reads what can be read at the RIP of 64-bit code; 0 bytes where it is none.
pub fn bytes_of_64_bit_code<M: Machine>(caller: &Caller<'_, M>, bytes: &mut [u8]) -> usize {
    match code_segment(caller) {
        Some(CodeSegment {
            bits: Bits::B64, ..
        }) => read(caller, caller.state.registers.rip, bytes).0,
        Some(_) | None => 0,
    }
}

fn linear<M: Machine>(caller: &Caller<'_, M>, segment: CodeSegment) -> u64 {
    let rip = caller.state.registers.rip;
    match segment.bits {
        Bits::B64 => rip,
        Bits::B32 | Bits::B16 => segment.base.wrapping_add(rip & 0xffff_ffff) & 0xffff_ffff,
    }
}

/// Reads what can be read: how many bytes, and the address behind them.
fn read<M: Machine>(caller: &Caller<'_, M>, start: u64, bytes: &mut [u8]) -> (usize, u64) {
    let behind = |done: usize| start.wrapping_add(u64::try_from(done).unwrap_or(0));
    if !is_guest_range(start, bytes.len()) {
        return (0, start);
    }
    if caller.copy_in_bytes(start, bytes).is_ok() {
        return (bytes.len(), behind(bytes.len()));
    }
    // It may cross into an absent page: as far as the first one goes.
    let page = usize::try_from(4096_u64.saturating_sub(start & 0xfff)).unwrap_or(0);
    let readable = bytes
        .get_mut(..page)
        .is_some_and(|first| caller.copy_in_bytes(start, first).is_ok());
    if readable {
        (page, behind(page))
    } else {
        (0, start)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn code_descriptors_say_their_size_and_base() {
        let long = 0x00af_9b00_0000_ffff;
        assert_eq!(
            of_descriptor(long),
            Some(CodeSegment {
                bits: Bits::B64,
                base: 0
            })
        );
        let flat = 0x12cf_fb34_5678_ffff;
        assert_eq!(
            of_descriptor(flat),
            Some(CodeSegment {
                bits: Bits::B32,
                base: 0x1234_5678
            })
        );
        assert_eq!(of_descriptor(0x00cf_f300_0000_ffff), None, "data");
        assert_eq!(of_descriptor(0x00af_7b00_0000_ffff), None, "not present");
    }
}
