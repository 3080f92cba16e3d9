//! Rule tested: page tables can be read and not written; every change goes through the hypervisor, which takes only
//! what keeps that so, with the ABI's error for each reason.
#![no_std]
#![no_main]

use guest_kernel::heap::Page;
use guest_kernel::hypercall::{Errno, hypercall, mmu};
use guest_kernel::paging::{Mfn, frame_at, root};
use guest_kernel::start::Boot;
use guest_kernel::trap::probe;
use guest_kernels::{check, error, finish};
use hypercall_abi::mmu::{
    EntryFlags, MMUEXT_PIN_L1_TABLE, MMUEXT_PIN_L2_TABLE, MMUEXT_UNPIN_TABLE, MmuUpdate, MmuextOp,
    RawEntry, UVMF_ALL, UVMF_INVLPG,
};
use hypercall_abi::number::MMU_UPDATE;

guest_kernel::entry!(main);

const READ_ONLY: u64 = EntryFlags::PRESENT.bits();
const WRITABLE: u64 = READ_ONLY | EntryFlags::WRITABLE.bits();
const FLUSH: u64 = UVMF_INVLPG | UVMF_ALL;

extern "C" fn write(address: u64) {
    // SAFETY: only this test's own pages and page tables are written, and faults are caught.
    unsafe { core::arch::asm!("mov qword ptr [{0}], 0", in(reg) address, options(nostack)) }
}

fn may_write(page: &Page) -> bool {
    probe(write, page.address() as u64).is_ok()
}

fn entry(frame: Mfn, flags: u64) -> u64 {
    frame.0 << 12 | flags
}

/// Changes how this test's own page is mapped.
fn remap(page: &Page, value: u64) -> Result<(), Errno> {
    // SAFETY: the page is this test's, which uses it by caught accesses only while it is not writable.
    unsafe { mmu::update_va_mapping(page.address(), RawEntry(value), FLUSH) }
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

/// Stores into entry `slot` of a table.
fn store(table: Mfn, slot: u64, val: u64) -> Result<(), Errno> {
    // SAFETY: the tables are this test's own, and not part of the kernel's; or the call is refused.
    unsafe {
        mmu::mmu_update(&[MmuUpdate {
            ptr: (table.0 << 12) | (8 * slot),
            val,
        }])
    }
}

/// An entry of the table that the page shows.
fn shown_entry(page: &Page, slot: usize) -> u64 {
    let entry = core::ptr::with_exposed_provenance::<u64>(page.address() + 8 * slot);
    // SAFETY: the page is mapped, the slot inside it, and entries are words.
    unsafe { entry.read_volatile() }
}

fn main(_: &'static Boot) {
    let (Some(page), Some(target), Some(root)) = (Page::zeroed(), Page::zeroed(), root()) else {
        error(format_args!("no memory"));
    };
    let (Some(frame), Some(data)) = (frame_at(page.address()), frame_at(target.address())) else {
        error(format_args!("pages without frames"));
    };
    rights(&page, frame, root);
    pins(&page, frame, data);
    entries(frame, data, &page);
    partial_batch(frame, data, &page);
    check!(
        remap(&page, entry(frame, WRITABLE)).is_ok(),
        "an unpinned table can be mapped writable again"
    );
    check!(may_write(&page), "and is an ordinary page");
    finish()
}

fn rights(page: &Page, frame: Mfn, root: Mfn) {
    check!(may_write(page), "a page of the heap can be written");
    check!(
        remap(page, entry(frame, READ_ONLY)).is_ok(),
        "it can be mapped read-only"
    );
    check!(!may_write(page), "then it cannot be written");
    check!(
        remap(page, entry(root, WRITABLE)) == Err(Errno::EBUSY),
        "the root cannot be mapped writable"
    );
    check!(
        remap(page, entry(root, READ_ONLY)).is_ok(),
        "it can be mapped read-only"
    );
    check!(!may_write(page), "and not written there");
    check!(
        remap(page, entry(Mfn(0xff_ffff_ffff), READ_ONLY)) == Err(Errno::EINVAL),
        "frame number of all ones: EINVAL"
    );
    let large = EntryFlags::PAT_OR_LARGE.bits();
    check!(
        store(root, 256, entry(frame, WRITABLE)) == Err(Errno::EINVAL),
        "slot 256 is the hypervisor's"
    );
    check!(
        store(root, 271, 0) == Err(Errno::EINVAL),
        "so is slot 271, even to clear it"
    );
    check!(
        store(root, 300, entry(frame, WRITABLE | large)) == Err(Errno::EINVAL),
        "L4 entries have no bit 7"
    );
    check!(
        remap(page, entry(frame, READ_ONLY)).is_ok(),
        "the page comes back"
    );
    // SAFETY: no table is there, so nothing changes.
    let hole = unsafe { mmu::update_va_mapping(0x7000_0000_0000, RawEntry(0), 0) };
    check!(
        hole == Err(Errno::EINVAL),
        "an address without tables: EINVAL"
    );
    // SAFETY: the call is refused.
    let hypervisor = unsafe { mmu::update_va_mapping(0xffff_8000_0000_0000, RawEntry(0), 0) };
    check!(
        hypervisor == Err(Errno::EINVAL),
        "an address of the hypervisor: EINVAL"
    );
}

fn pins(page: &Page, frame: Mfn, data: Mfn) {
    check!(
        extended(MMUEXT_PIN_L1_TABLE, data) == Err(Errno::EINVAL),
        "a frame mapped writable cannot be pinned"
    );
    check!(
        extended(MMUEXT_PIN_L1_TABLE, frame).is_ok(),
        "an empty read-only one can, as L1"
    );
    check!(
        extended(MMUEXT_PIN_L1_TABLE, frame) == Err(Errno::EINVAL),
        "but not twice"
    );
    check!(
        extended(MMUEXT_PIN_L2_TABLE, frame) == Err(Errno::EINVAL),
        "nor as L2 beside"
    );
    check!(
        remap(page, entry(frame, WRITABLE)) == Err(Errno::EBUSY),
        "while pinned it cannot be mapped writable"
    );
    check!(
        extended(MMUEXT_UNPIN_TABLE, data) == Err(Errno::EINVAL),
        "what is not pinned cannot be unpinned"
    );
}

/// Entries of the pinned L1 table.
fn entries(table: Mfn, data: Mfn, page: &Page) {
    check!(
        store(table, 0, entry(data, WRITABLE)).is_ok(),
        "an entry can map an own frame"
    );
    check!(
        store(table, 1, entry(table, READ_ONLY)).is_ok(),
        "and the table itself, read-only"
    );
    check!(
        store(table, 2, entry(table, WRITABLE)) == Err(Errno::EBUSY),
        "but not writable: EBUSY"
    );
    check!(
        store(table, 3, 0x1234_5000).is_ok(),
        "an entry that is not present can hold anything"
    );
    let kept = shown_entry(page, 3);
    check!(kept == 0x1234_5000, "and keeps it");
    for slot in 0..4 {
        check!(store(table, slot, 0).is_ok(), "entry {slot} can be cleared");
    }
    check!(
        extended(MMUEXT_UNPIN_TABLE, table).is_ok(),
        "the table can be unpinned"
    );
    check!(
        extended(MMUEXT_UNPIN_TABLE, table) == Err(Errno::EINVAL),
        "but not twice"
    );
}

/// A batch stops at its first bad request and tells how many were done.
fn partial_batch(table: Mfn, data: Mfn, page: &Page) {
    check!(extended(MMUEXT_PIN_L1_TABLE, table).is_ok(), "pinned again");
    let request = |slot: u64, val| MmuUpdate {
        ptr: (table.0 << 12) | (8 * slot),
        val,
    };
    let list = [
        request(0, entry(data, READ_ONLY)),
        request(1, entry(data, READ_ONLY)),
        request(2, entry(table, WRITABLE)),
        request(3, entry(data, READ_ONLY)),
    ];
    let mut done = u32::MAX;
    let arguments = [
        list.as_ptr().addr() as u64,
        list.len() as u64,
        core::ptr::from_mut(&mut done).addr() as u64,
        u64::from(hypercall_abi::ids::DOMID_SELF),
        0,
    ];
    // SAFETY: the table is this test's own.
    let result = unsafe { hypercall(u64::from(MMU_UPDATE), arguments) };
    check!(
        result == Err(Errno::EBUSY),
        "the batch fails with its first error"
    );
    check!(done == 2, "two requests were done ({done})");
    let last = shown_entry(page, 3);
    check!(last == 0, "the request behind the error was not");
    check!(
        extended(MMUEXT_UNPIN_TABLE, table).is_ok(),
        "a table with entries can be unpinned"
    );
}
