//! Rule tested: with the assist on, plain stores of the kernel into its L1 tables are carried out as checked updates; what is
//! no legal entry, and every other table, faults as without it.
#![no_std]
#![no_main]

use core::arch::asm;
use core::sync::atomic::{AtomicU64, Ordering};

use guest_kernel::heap::Page;
use guest_kernel::hypercall::{Errno, hypercall, mmu};
use guest_kernel::paging::{Mfn, frame_at};
use guest_kernel::start::Boot;
use guest_kernel::trap::{Fault, probe};
use guest_kernels::{check, error, finish};
use hypercall_abi::mmu::{
    EntryFlags, MMUEXT_PIN_L1_TABLE, MMUEXT_PIN_L2_TABLE, MMUEXT_UNPIN_TABLE, MmuextOp, RawEntry,
    UVMF_ALL, UVMF_INVLPG,
};
use hypercall_abi::number::VM_ASSIST;

guest_kernel::entry!(main);

const PRESENT: u64 = EntryFlags::PRESENT.bits();
const WRITABLE: u64 = EntryFlags::WRITABLE.bits();
/// Frame number and the flags that the guest chose.
const KEPT: u64 = 0x000f_ffff_ffff_f000 | PRESENT | WRITABLE;

/// Operands of the instruction under test, and what it left in RAX.
static OPERAND: AtomicU64 = AtomicU64::new(0);
static COMPARE: AtomicU64 = AtomicU64::new(0);
static RESULT: AtomicU64 = AtomicU64::new(0);

macro_rules! instruction {
    ($name:ident, $line:literal) => {
        extern "C" fn $name(address: u64) {
            let (operand, mut rax) = (OPERAND.load(Ordering::Relaxed), COMPARE.load(Ordering::Relaxed));
            // SAFETY: only this test's own table is written, through the hypervisor; faults are caught.
            unsafe {
                asm!($line, in("rcx") address, inout("rdx") operand => _, inout("rax") rax, options(nostack));
            }
            RESULT.store(rax, Ordering::Relaxed);
        }
    };
}

instruction!(store_word, "mov [rcx], rdx");
instruction!(store_half, "mov [rcx], edx");
instruction!(exchange, "xchg [rcx], rdx");
instruction!(compare_exchange, "lock cmpxchg [rcx], rdx");
instruction!(and_word, "lock and [rcx], rdx");
instruction!(or_word, "or [rcx], rdx");
instruction!(reset_bit, "lock btr qword ptr [rcx], 1");
instruction!(increment, "inc qword ptr [rcx]");

fn assist(enable: bool) -> Result<u64, Errno> {
    let command = u64::from(!enable);
    // SAFETY: the assist changes what happens to stores that fault.
    unsafe { hypercall(u64::from(VM_ASSIST), [command, 2, 0, 0, 0]) }
}

fn remap(page: &Page, frame: Mfn, flags: u64) -> Result<(), Errno> {
    let entry = RawEntry(frame.0 << 12 | flags);
    // SAFETY: the page is this test's, which uses it by caught accesses only while it is not writable.
    unsafe { mmu::update_va_mapping(page.address(), entry, UVMF_INVLPG | UVMF_ALL) }
}

fn extended(cmd: u32, frame: Mfn) -> Result<(), Errno> {
    // SAFETY: the frames are this test's own.
    unsafe {
        mmu::mmuext_op(&[MmuextOp {
            cmd,
            arg1: frame.0,
            ..MmuextOp::default()
        }])
    }
}

struct Table {
    page: Page,
    frame: Mfn,
}

impl Table {
    fn new() -> Self {
        let Some(page) = Page::zeroed() else {
            error(format_args!("no memory"))
        };
        let Some(frame) = frame_at(page.address()) else {
            error(format_args!("a page without a frame"))
        };
        Self { page, frame }
    }

    /// Runs an instruction on a slot.
    fn run(&self, slot: u64, how: extern "C" fn(u64), operand: u64) -> Result<(), Fault> {
        OPERAND.store(operand, Ordering::Relaxed);
        probe(how, self.page.address() as u64 + 8 * slot)
    }

    fn shows(&self, slot: usize) -> u64 {
        let entry = core::ptr::with_exposed_provenance::<u64>(self.page.address() + 8 * slot);
        // SAFETY: the page is mapped, the slot inside it, and entries are words.
        unsafe { entry.read_volatile() & KEPT }
    }
}

/// Only Paravane answers the query of hypercall 56.
fn is_paravane() -> bool {
    // SAFETY: asks at an address where nothing is.
    let answer = unsafe { hypercall(56, [0; 5]) };
    answer != Err(Errno::ENOSYS)
}

fn faults(result: Result<(), Fault>) -> bool {
    result.is_err_and(|fault| fault.vector == 14 && fault.error_code == 3)
}

fn main(_: &'static Boot) {
    let (table, data) = (Table::new(), Table::new());
    let entry = data.frame.0 << 12 | PRESENT;
    check!(
        remap(&table.page, table.frame, PRESENT).is_ok()
            && extended(MMUEXT_PIN_L1_TABLE, table.frame).is_ok(),
        "a table of this test"
    );
    // Xen does this for its first domain whether the assist is on or off.
    let always = !faults(table.run(0, store_word, 0));
    check!(
        !always || !is_paravane(),
        "without the assist a store faults"
    );
    check!(assist(true) == Ok(0), "the assist can be enabled");
    carried_out(&table, entry);
    refused(&table, entry);
    other_tables(&data);
    check!(assist(false) == Ok(0), "the assist can be disabled");
    check!(
        always || faults(table.run(0, store_word, 0)),
        "then a store faults again"
    );
    check!(
        extended(MMUEXT_UNPIN_TABLE, table.frame).is_ok()
            && remap(&table.page, table.frame, PRESENT | WRITABLE).is_ok(),
        "the table is an ordinary page again"
    );
    finish()
}

fn carried_out(table: &Table, entry: u64) {
    check!(
        table.run(3, store_word, entry).is_ok() && table.shows(3) == entry,
        "MOV stores an entry"
    );
    check!(
        table.run(3, store_word, 0).is_ok() && table.shows(3) == 0,
        "and clears it"
    );
    check!(
        table.run(3, exchange, entry | WRITABLE).is_ok() && table.shows(3) == entry | WRITABLE,
        "XCHG stores a writable one"
    );
    check!(
        table.run(3, reset_bit, 0).is_ok() && table.shows(3) == entry,
        "BTR takes a bit away"
    );
    check!(
        table.run(3, or_word, WRITABLE).is_ok() && table.shows(3) == entry | WRITABLE,
        "OR gives it back"
    );
    check!(
        table.run(3, and_word, !WRITABLE).is_ok() && table.shows(3) == entry,
        "AND takes it away"
    );
    let stored = core::ptr::with_exposed_provenance::<u64>(table.page.address() + 8 * 3);
    // SAFETY: as in `shows`.
    let whole = unsafe { stored.read_volatile() };
    COMPARE.store(whole, Ordering::Relaxed);
    check!(
        table.run(3, compare_exchange, entry | WRITABLE).is_ok()
            && table.shows(3) == entry | WRITABLE,
        "CMPXCHG exchanges what it expects"
    );
    COMPARE.store(1, Ordering::Relaxed);
    check!(
        table.run(3, compare_exchange, 0).is_ok()
            && RESULT.load(Ordering::Relaxed) & KEPT == entry | WRITABLE
            && table.shows(3) == entry | WRITABLE,
        "and gives what it finds else"
    );
    check!(
        table.run(4, store_word, 0x7777_0000_0000_0000).is_ok(),
        "an entry that is not present may hold anything"
    );
    check!(
        table.run(4, store_half, 0x0bad_0bac).is_ok(),
        "half an entry can be stored"
    );
    check!(
        table.run(4, store_word, 0).is_ok() && table.run(3, store_word, 0).is_ok(),
        "and all cleared"
    );
}

fn refused(table: &Table, entry: u64) {
    for (value, what) in [
        (0x000f_ffff_ffff_f000 | PRESENT, "a frame that is none"),
        (
            entry | EntryFlags::PAT_OR_LARGE.bits() | 1 << 51,
            "one that does not exist",
        ),
        (
            table.frame.0 << 12 | PRESENT | WRITABLE,
            "the table itself, writable",
        ),
    ] {
        check!(
            faults(table.run(5, store_word, value)),
            "storing {what} faults"
        );
    }
    check!(table.shows(5) == 0, "and changes nothing");
    check!(
        table
            .run(5, store_word, table.frame.0 << 12 | PRESENT)
            .is_ok(),
        "the table itself can be mapped read-only"
    );
    check!(table.run(5, store_word, 0).is_ok(), "and taken out again");
    let crossing = probe(store_word, table.page.address() as u64 + 8 * 6 + 4);
    check!(faults(crossing), "a store across two entries faults");
}

fn other_tables(data: &Table) {
    check!(
        remap(&data.page, data.frame, PRESENT).is_ok()
            && extended(MMUEXT_PIN_L2_TABLE, data.frame).is_ok(),
        "a table of level 2"
    );
    check!(
        faults(data.run(0, store_word, 0)),
        "is not written by stores"
    );
    check!(
        extended(MMUEXT_UNPIN_TABLE, data.frame).is_ok(),
        "unpinned, it is a read-only page"
    );
    check!(
        faults(data.run(0, increment, 0)),
        "which is not written either"
    );
    check!(
        remap(&data.page, data.frame, PRESENT | WRITABLE).is_ok(),
        "and an ordinary one at the end"
    );
}
