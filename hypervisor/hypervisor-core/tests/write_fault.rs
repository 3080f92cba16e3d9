//! A guest kernel's plain stores into its own L1 tables, and everything that must not be one.

#![expect(clippy::unwrap_used, reason = "a test that cannot go on fails")]

mod common;

use common::{Host, WINDOW};
use hypercall_abi::mmu::{MMUEXT_PIN_L1_TABLE, MMUEXT_PIN_L2_TABLE};
use hypervisor_core::ids::{EntryIndex, Mfn};
use hypervisor_core::machine::Machine;
use hypervisor_core::paging::{self, Trap, WriteEnd};
use hypervisor_core::vcpu::context::Registers;

/// `mov %rax, (%rdi)`.
const STORE: &[u8] = &[0x48, 0x89, 0x07];
/// `xchg %rax, (%rdi)`.
const EXCHANGE: &[u8] = &[0x48, 0x87, 0x07];
/// `lock andb $0xfd, (%rdi)`: write protection.
const PROTECT: &[u8] = &[0xf0, 0x80, 0x27, 0xfd];

/// A host whose first guest has its first frame pinned as L1 and mapped read-only at `WINDOW`.
fn host() -> (Host, Mfn, Mfn) {
    let host = Host::new(2, 4);
    let (table, page) = (host.guests[0].frames[0], host.guests[0].frames[1]);
    assert_eq!(host.ext(0, 0, MMUEXT_PIN_L1_TABLE, table.get(), 0), 0);
    assert_eq!(map(&host, 0, table.address() | 1), Ok(()));
    (host, table, page)
}

fn map(host: &Host, page: u64, value: u64) -> Result<(), paging::PagingError> {
    host.with_call(0, 0, |call, held| {
        paging::update_va_mapping(call, WINDOW + page * 0x1000, value, 0, held)
    })
}

fn store(host: &Host, bytes: &[u8], address: u64, registers: &mut Registers) -> WriteEnd {
    registers.rdi = address;
    host.with_call(0, 0, |call, held| {
        paging::write_fault(call, registers, bytes, address, held)
    })
}

fn entry(host: &Host, table: Mfn, index: u16) -> u64 {
    host.machine
        .read_entry(table, EntryIndex::new(index).unwrap())
}

#[test]
fn a_store_takes_references_like_any_update() {
    let (mut host, table, page) = host();
    let mut registers = Registers {
        rax: page.address() | 3,
        rip: 0x1000,
        ..Registers::default()
    };
    assert_eq!(
        store(&host, STORE, WINDOW + 8 * 7, &mut registers),
        WriteEnd::Done(Trap::None)
    );
    assert_eq!(entry(&host, table, 7), page.address() | 7 | 1 << 52);
    assert_eq!(registers.rip, 0x1003);
    assert_eq!(host.frames.type_state(page).count, 1);
    host.check("stored");
    assert_eq!(
        store(&host, PROTECT, WINDOW + 8 * 7, &mut registers),
        WriteEnd::Done(Trap::None)
    );
    assert_eq!(host.frames.type_state(page).count, 0);
    host.check("write-protected");
    registers.rax = 0;
    assert_eq!(
        store(&host, EXCHANGE, WINDOW + 8 * 7, &mut registers),
        WriteEnd::Done(Trap::None)
    );
    assert_eq!(registers.rax, page.address() | 5 | 1 << 52);
    assert_eq!(host.frames.holding(page).count, 1);
    host.check("cleared");
}

#[test]
fn a_bad_entry_is_refused_and_changes_nothing() {
    let (mut host, table, page) = host();
    let foreign = host.guests[1].frames[0].address();
    let flags = page.address() | 0x93;
    for value in [foreign | 1, table.address() | 3, flags, 0x50_0001, u64::MAX] {
        let mut registers = Registers {
            rax: value,
            ..Registers::default()
        };
        let before = registers;
        assert_eq!(
            store(&host, STORE, WINDOW, &mut registers),
            WriteEnd::Refused,
            "{value:#x}"
        );
        assert_eq!(
            Registers {
                rdi: 0,
                ..registers
            },
            before
        );
        assert_eq!(entry(&host, table, 0), 0);
        host.check("refused");
    }
}

#[test]
fn a_part_of_an_entry_is_checked_as_a_whole() {
    let (mut host, table, page) = host();
    let mut registers = Registers {
        rax: page.address() | 1,
        ..Registers::default()
    };
    // The lower half alone names a frame already.
    let end = store(&host, &[0x89, 0x07], WINDOW + 8, &mut registers);
    assert_eq!(end, WriteEnd::Done(Trap::None));
    assert_eq!(entry(&host, table, 1), page.address() | 5 | 1 << 52);
    // The upper half turns it into an address beyond all memory.
    let mut registers = Registers {
        rax: 0xf_ffff,
        ..Registers::default()
    };
    assert_eq!(
        store(&host, &[0x89, 0x07], WINDOW + 12, &mut registers),
        WriteEnd::Refused
    );
    host.check("halves");
}

#[test]
fn only_read_only_l1_tables_of_ones_own_are_written() {
    let (mut host, _, page) = host();
    let mut registers = Registers {
        rax: 0,
        ..Registers::default()
    };
    let l2 = host.guests[0].frames[2];
    assert_eq!(host.ext(0, 0, MMUEXT_PIN_L2_TABLE, l2.get(), 0), 0);
    assert_eq!(map(&host, 1, l2.address() | 1), Ok(()));
    assert_eq!(map(&host, 2, page.address() | 1), Ok(()));
    assert_eq!(map(&host, 3, page.address() | 3), Ok(()));
    for (number, what) in [(1, "an L2"), (2, "data"), (3, "writable"), (4, "nothing")] {
        let end = store(&host, STORE, WINDOW + number * 0x1000, &mut registers);
        assert_eq!(end, WriteEnd::Refused, "{what}");
    }
    for address in [0xffff_8000_0000_0000, 1 << 47, 0] {
        assert_eq!(
            store(&host, STORE, address, &mut registers),
            WriteEnd::Refused
        );
    }
    host.check("refused");
}

#[test]
fn the_operand_must_be_where_the_fault_was() {
    let (host, table, _) = host();
    let mut registers = Registers {
        rdi: WINDOW + 8,
        rax: 0x10,
        ..Registers::default()
    };
    let end = host.with_call(0, 0, |call, held| {
        paging::write_fault(call, &mut registers, STORE, WINDOW, held)
    });
    assert_eq!(end, WriteEnd::Refused);
    assert_eq!(
        store(&host, STORE, WINDOW + 4, &mut registers),
        WriteEnd::Refused,
        "unaligned"
    );
    assert_eq!((entry(&host, table, 0), entry(&host, table, 1)), (0, 0));
}

#[test]
fn what_movs_cannot_read_is_a_fault_at_its_source() {
    let (host, table, _) = host();
    let mut registers = Registers {
        rsi: 0x1234_5000,
        ..Registers::default()
    };
    let end = store(&host, &[0x48, 0xa5], WINDOW, &mut registers);
    assert_eq!(end, WriteEnd::ReadFault(0x1234_5000));
    let mut registers = Registers {
        rsi: common::ARGS,
        rflags: 1 << 8,
        ..Registers::default()
    };
    host.put(0, &[0x20_u64]);
    let end = store(&host, &[0x48, 0xa5], WINDOW, &mut registers);
    assert_eq!(end, WriteEnd::Done(Trap::SingleStep));
    assert_eq!(entry(&host, table, 0), 0x20);
}
