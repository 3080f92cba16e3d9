//! Decoding and computing; how an entry gets into a table is tested in `tests/write_fault.rs`.

use super::compute::{Inputs, compute};
use super::decode::{Instruction, Kind, Size, decode};
use super::{address, finish};
use crate::machine::GuestBase;
use crate::paging::write::Trap;
use crate::vcpu::context::Registers;

const CF: u64 = 1;
const ZF: u64 = 1 << 6;

fn registers() -> Registers {
    Registers {
        rax: 0x1111_2222_3333_4444,
        rcx: 0x10,
        rdx: 0xdddd_dddd_dddd_dd80,
        rbx: 0xbbbb_bbbb_0000_1000,
        rsp: 0x7000,
        rbp: 0x5000,
        rsi: 0x6000,
        rdi: 0x8000,
        r9: 0x9000,
        r12: 0xc000,
        rip: 0x40_0000,
        rflags: 0x202,
        ..Registers::default()
    }
}

fn decoded(bytes: &[u8]) -> Instruction {
    decode(bytes).unwrap_or_else(|| panic!("{bytes:x?} is in the list"))
}

fn operand(bytes: &[u8]) -> u64 {
    address::of_operand(&decoded(bytes), &registers(), |base| match base {
        GuestBase::Fs => 0xf000_0000,
        GuestBase::GsActive => 0xa000_0000,
        GuestBase::GsInactive => 0,
    })
}

/// Runs an instruction on a memory operand: the new operand and the registers after.
fn run(bytes: &[u8], memory: u64) -> (u64, Registers) {
    let instruction = decoded(bytes);
    let mut registers = registers();
    let change = compute(
        &instruction,
        &registers,
        Inputs {
            memory,
            moved: 0x77,
        },
    );
    change.apply(&instruction, &mut registers);
    assert_eq!(finish(&instruction, &mut registers), Trap::None);
    (change.memory, registers)
}

#[test]
fn the_instructions_of_linux_are_decoded() {
    let known: [(&[u8], Kind, Size); 19] = [
        (&[0x48, 0x89, 0x07], Kind::Mov, Size::Eight),
        (&[0x88, 0x07], Kind::Mov, Size::One),
        (&[0x66, 0x89, 0x07], Kind::Mov, Size::Two),
        (&[0x48, 0xc7, 0x07, 0, 0, 0, 0], Kind::Mov, Size::Eight),
        (&[0xc6, 0x07, 1], Kind::Mov, Size::One),
        (&[0x48, 0x87, 0x07], Kind::Exchange, Size::Eight),
        (
            &[0xf0, 0x48, 0x0f, 0xb1, 0x17],
            Kind::CompareExchange,
            Size::Eight,
        ),
        (&[0xf0, 0x80, 0x27, 0xfd], Kind::And, Size::One),
        (&[0xf0, 0x48, 0x83, 0x27, 0xfd], Kind::And, Size::Eight),
        (&[0x48, 0x81, 0x0f, 0, 1, 0, 0], Kind::Or, Size::Eight),
        (&[0x48, 0x31, 0x07], Kind::Xor, Size::Eight),
        (&[0x01, 0x07], Kind::Add, Size::Four),
        (&[0x29, 0x07], Kind::Subtract, Size::Four),
        (
            &[0xf0, 0x48, 0x0f, 0xba, 0x37, 5],
            Kind::BitReset,
            Size::Eight,
        ),
        (&[0xf0, 0x48, 0x0f, 0xab, 0x07], Kind::BitSet, Size::Eight),
        (&[0x48, 0x0f, 0xbb, 0x07], Kind::BitComplement, Size::Eight),
        (
            &[0xf0, 0x48, 0x0f, 0xc1, 0x07],
            Kind::ExchangeAdd,
            Size::Eight,
        ),
        (&[0xf3, 0x48, 0xab], Kind::Stos, Size::Eight),
        (&[0xf3, 0x48, 0xa5], Kind::Movs, Size::Eight),
    ];
    for (bytes, kind, size) in known {
        let instruction = decoded(bytes);
        assert_eq!(
            (instruction.kind, instruction.size),
            (kind, size),
            "{bytes:x?}"
        );
        assert_eq!(usize::from(instruction.length), bytes.len(), "{bytes:x?}");
    }
}

#[test]
fn everything_else_is_refused() {
    let unknown: [&[u8]; 14] = [
        &[],
        &[0x48],
        &[0x48, 0x89],
        &[0x48, 0x89, 0xc7],          // to a register
        &[0x48, 0x8b, 0x07],          // a read
        &[0x48, 0x83, 0x3f, 1],       // a comparison
        &[0x48, 0x0f, 0xba, 0x27, 5], // a bit test
        &[0xf0, 0x48, 0x89, 0x07],    // LOCK does not go with MOV
        &[0xff, 0x07],                // INC
        &[0x67, 0x48, 0x89, 0x07],    // 32-bit addresses
        &[0xf2, 0x48, 0xab],          // REPNE
        &[0x0f, 0x29, 0x07],          // MOVAPS
        &[0x0f, 0xc7, 0x0f],          // CMPXCHG8B
        &[0x66; 15],
    ];
    for bytes in unknown {
        assert_eq!(decode(bytes), None, "{bytes:x?}");
    }
}

#[test]
fn a_rex_prefix_counts_only_right_before_the_opcode() {
    assert_eq!(decoded(&[0x48, 0x66, 0x89, 0x07]).size, Size::Two);
    assert_eq!(decoded(&[0x66, 0x48, 0x89, 0x07]).size, Size::Eight);
}

#[test]
fn addresses_are_those_of_the_cpu() {
    assert_eq!(operand(&[0x48, 0x89, 0x07]), 0x8000);
    assert_eq!(operand(&[0x48, 0x89, 0x47, 0xf8]), 0x7ff8);
    assert_eq!(operand(&[0x48, 0x89, 0x87, 0, 1, 0, 0]), 0x8100);
    assert_eq!(operand(&[0x48, 0x89, 0x04, 0xcf]), 0x8080);
    assert_eq!(operand(&[0x48, 0x89, 0x04, 0x24]), 0x7000);
    assert_eq!(operand(&[0x49, 0x89, 0x04, 0x24]), 0xc000);
    assert_eq!(operand(&[0x4a, 0x89, 0x04, 0x8d, 0, 0, 0, 0]), 4 * 0x9000);
    assert_eq!(
        operand(&[0x48, 0x89, 0x05, 0x10, 0, 0, 0]),
        0x40_0000 + 7 + 0x10
    );
    assert_eq!(
        operand(&[0x48, 0xc7, 0x05, 0x10, 0, 0, 0, 1, 0, 0, 0]),
        0x40_0000 + 11 + 0x10
    );
    assert_eq!(operand(&[0x65, 0x48, 0x89, 0x07]), 0xa000_8000);
    assert_eq!(operand(&[0x64, 0x48, 0x89, 0x07]), 0xf000_8000);
}

#[test]
fn a_register_bit_offset_moves_the_operand_both_ways() {
    // RCX is 0x10: within the first unit. RDX ends in ...80, negative: -0x2222222222222280 bits.
    assert_eq!(operand(&[0x48, 0x0f, 0xab, 0x0f]), 0x8000);
    let bits = i64::from_ne_bytes(registers().rdx.to_ne_bytes());
    let expected = 0x8000_i64.wrapping_add(bits.wrapping_shr(6).wrapping_mul(8));
    assert_eq!(
        operand(&[0x48, 0x0f, 0xab, 0x17]),
        u64::from_ne_bytes(expected.to_ne_bytes())
    );
    // With 32 bits only the low half counts: 0xdddddd80 is negative as well.
    let bits = i64::from(i32::from_ne_bytes(0xdddd_dd80_u32.to_ne_bytes()));
    let expected = 0x8000_i64.wrapping_add(bits.wrapping_shr(5).wrapping_mul(4));
    assert_eq!(
        operand(&[0x0f, 0xab, 0x17]),
        u64::from_ne_bytes(expected.to_ne_bytes())
    );
}

#[test]
fn moves_and_exchanges_give_what_the_cpu_gives() {
    assert_eq!(run(&[0x48, 0x89, 0x07], 5).0, 0x1111_2222_3333_4444);
    assert_eq!(run(&[0x88, 0x27], 5).0, 0x44, "AH");
    assert_eq!(run(&[0x40, 0x88, 0x27], 5).0, 0, "SPL with REX");
    assert_eq!(
        run(&[0x48, 0xc7, 0x07, 0xff, 0xff, 0xff, 0xff], 5).0,
        u64::MAX
    );
    let (memory, after) = run(&[0x48, 0x87, 0x07], 5);
    assert_eq!((memory, after.rax), (0x1111_2222_3333_4444, 5));
    let (memory, after) = run(&[0x87, 0x07], 5);
    assert_eq!(
        (memory, after.rax),
        (0x3333_4444, 5),
        "4 bytes clear the upper half"
    );
    let (memory, after) = run(&[0x86, 0x27], 5);
    assert_eq!((memory, after.rax), (0x44, 0x1111_2222_3333_0544));
    assert_eq!(after.rip, 0x40_0002);
}

#[test]
fn a_compare_exchange_stores_only_on_equality() {
    let equal = 0x1111_2222_3333_4444;
    let (memory, after) = run(&[0xf0, 0x48, 0x0f, 0xb1, 0x17], equal);
    assert_eq!((memory, after.rflags & ZF), (registers().rdx, ZF));
    let (memory, after) = run(&[0xf0, 0x48, 0x0f, 0xb1, 0x17], 9);
    assert_eq!((memory, after.rax, after.rflags & ZF), (9, 9, 0));
}

#[test]
fn arithmetic_sets_its_flags() {
    let (memory, after) = run(&[0xf0, 0x80, 0x27, 0xfd], 0x67);
    assert_eq!((memory, after.rflags & (ZF | CF)), (0x65, 0));
    assert_eq!(run(&[0x80, 0x27, 0], 0xff).1.rflags & ZF, ZF);
    let (memory, after) = run(&[0x80, 0x07, 1], 0xff);
    assert_eq!((memory, after.rflags & (ZF | CF)), (0, ZF | CF));
    let (memory, after) = run(&[0x80, 0x2f, 1], 0);
    assert_eq!((memory, after.rflags & CF), (0xff, CF));
    let (memory, after) = run(&[0xf0, 0x48, 0x0f, 0xc1, 0x07], 1);
    assert_eq!((memory, after.rax), (0x1111_2222_3333_4445, 1));
}

#[test]
fn bit_operations_report_the_old_bit() {
    let (memory, after) = run(&[0xf0, 0x48, 0x0f, 0xba, 0x37, 5], 0x25);
    assert_eq!((memory, after.rflags & CF), (5, CF));
    let (memory, after) = run(&[0x48, 0x0f, 0xba, 0x2f, 65], 0);
    assert_eq!(
        (memory, after.rflags & CF),
        (2, 0),
        "modulo the operand's size"
    );
    assert_eq!(run(&[0x48, 0x0f, 0xab, 0x0f], 0).0, 0x1_0000);
}

#[test]
fn string_instructions_go_on_element_by_element() {
    let (memory, after) = run(&[0xf3, 0x48, 0xab], 0);
    assert_eq!(memory, 0x1111_2222_3333_4444);
    assert_eq!((after.rdi, after.rcx, after.rip), (0x8008, 0xf, 0x40_0000));
    let (memory, after) = run(&[0x48, 0xa5], 0);
    assert_eq!(
        (memory, after.rsi, after.rdi, after.rip),
        (0x77, 0x6008, 0x8008, 0x40_0002)
    );
}
