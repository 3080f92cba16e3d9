//! Rule tested: a descriptor table is taken if its descriptors cannot harm anybody, its frames cannot be written while it
//! is in use, and single descriptors are changed by hypercall only.
#![no_std]
#![no_main]

use core::arch::asm;

use guest_kernel::heap::Page;
use guest_kernel::hypercall::{Errno, hypercall};
use guest_kernel::paging::{Mfn, frame_at};
use guest_kernel::start::Boot;
use guest_kernel::trap::probe;
use guest_kernels::{check, error, finish};
use hypercall_abi::ids::DOMID_SELF;
use hypercall_abi::mmu::{MMUEXT_SET_LDT, MmuextOp, UVMF_ALL, UVMF_INVLPG};
use hypercall_abi::number::{MMUEXT_OP, SET_GDT, UPDATE_DESCRIPTOR, UPDATE_VA_MAPPING};

guest_kernel::entry!(main);

const READ_ONLY: u64 = 1;
const WRITABLE: u64 = 3;
/// Flat data, privilege 3, present, accessed, writable.
const DATA: u64 = 0x00cf_f300_0000_ffff;
/// The same, not present.
const ABSENT: u64 = 0x00cf_7300_0000_ffff;
/// A 64-bit call gate.
const CALL_GATE: u64 = 0x0000_ec00_0000_0000;
/// An available task-state segment.
const TASK_STATE: u64 = 0x0000_8900_0000_0067;
/// A limit of 0x1234 bytes, so that it can be told apart.
const SMALL: u64 = 0x0040_f300_0000_1234;

fn issue(number: u32, arguments: [u64; 5]) -> Result<u64, Errno> {
    // SAFETY: all calls are about two pages of this test, used as descriptor tables only.
    unsafe { hypercall(u64::from(number), arguments) }
}

fn set_gdt(frame: Mfn, entries: u64) -> Result<u64, Errno> {
    let list = [frame.0];
    issue(SET_GDT, [list.as_ptr().addr() as u64, entries, 0, 0, 0])
}

fn update(frame: Mfn, slot: u64, descriptor: u64) -> Result<u64, Errno> {
    issue(
        UPDATE_DESCRIPTOR,
        [frame.0 << 12 | slot << 3, descriptor, 0, 0, 0],
    )
}

fn remap(page: &Page, frame: Mfn, flags: u64) -> Result<u64, Errno> {
    issue(
        UPDATE_VA_MAPPING,
        [
            page.address() as u64,
            frame.0 << 12 | flags,
            UVMF_INVLPG | UVMF_ALL,
            0,
            0,
        ],
    )
}

fn set_ldt(address: u64, entries: u64) -> Result<u64, Errno> {
    let operation = MmuextOp {
        cmd: MMUEXT_SET_LDT,
        pad0: 0,
        arg1: address,
        arg2: entries,
    };
    issue(
        MMUEXT_OP,
        [
            core::ptr::from_ref(&operation).addr() as u64,
            1,
            0,
            u64::from(DOMID_SELF),
            0,
        ],
    )
}

extern "C" fn load_fs(selector: u64) {
    // SAFETY: FS is not used by this kernel; a fault is caught.
    unsafe { asm!("mov fs, {0:x}", in(reg) selector, options(nostack)) }
}

/// The limit of a selector's segment, as the processor sees it.
fn limit(selector: u64) -> u64 {
    let limit: u64;
    // SAFETY: LSL changes a register and a flag.
    unsafe {
        asm!("xor {0:e}, {0:e}", "lsl {0:r}, {1:r}", out(reg) limit, in(reg) selector, options(nostack))
    }
    limit
}

fn main(_: &'static Boot) {
    let (Some(mut table), Some(mut local)) = (Page::zeroed(), Page::zeroed()) else {
        error(format_args!("no memory"));
    };
    let (Some(frame), Some(local_frame)) = (frame_at(table.address()), frame_at(local.address()))
    else {
        error(format_args!("pages without frames"));
    };
    table.bytes()[8..16].copy_from_slice(&DATA.to_le_bytes());
    global(&mut table, frame);
    updates(frame);
    local.bytes()[16..24].copy_from_slice(&SMALL.to_le_bytes());
    local_table(&local, local_frame);
    check!(
        issue(SET_GDT, [0; 5]).is_ok(),
        "the table can be taken away"
    );
    check!(limit(8) == 0, "then its selectors mean nothing");
    check!(
        remap(&table, frame, WRITABLE).is_ok(),
        "and its page is an ordinary one"
    );
    finish()
}

fn global(table: &mut Page, frame: Mfn) {
    check!(limit(8) == 0, "without a table selector 8 means nothing");
    check!(
        set_gdt(frame, 512) == Err(Errno::EINVAL),
        "a page that can be written is no descriptor table"
    );
    table.bytes()[24..32].copy_from_slice(&TASK_STATE.to_le_bytes());
    check!(remap(table, frame, READ_ONLY).is_ok(), "read-only");
    check!(
        set_gdt(frame, 512) == Err(Errno::EINVAL),
        "one with a task-state segment in it is not either"
    );
    check!(remap(table, frame, WRITABLE).is_ok(), "written anew");
    table.bytes()[24..32].fill(0);
    check!(
        remap(table, frame, READ_ONLY).is_ok(),
        "and read-only again"
    );
    check!(set_gdt(frame, 512).is_ok(), "with data segments it is");
    check!(limit(8 | 3) == 0xffff_ffff, "its segment can be used");
    check!(probe(load_fs, 8 | 3).is_ok(), "and loaded");
    check!(
        remap(table, frame, WRITABLE) == Err(Errno::EBUSY),
        "while in use it cannot be mapped writable"
    );
    check!(
        set_gdt(Mfn(1 << 36), 512) == Err(Errno::EINVAL),
        "a frame that does not exist is refused"
    );
    check!(
        limit(8 | 3) == 0xffff_ffff,
        "which leaves the table as it was"
    );
    let fault = probe(load_fs, 0x2000 | 3).err();
    check!(
        fault.is_some_and(|fault| fault.vector == 13 && fault.error_code == 0x2000),
        "a selector beyond its end is #GP with the selector: {fault:x?}"
    );
    check!(
        probe(load_fs, 0xe008).is_err(),
        "the hypervisor's own segments cannot be loaded"
    );
    check!(probe(load_fs, 0).is_ok(), "the null selector can");
}

fn updates(frame: Mfn) {
    check!(
        update(frame, 2, SMALL).is_ok(),
        "one descriptor can be changed"
    );
    check!(limit(16 | 3) == 0x1234, "and is seen at once");
    check!(
        update(frame, 3, ABSENT).is_ok(),
        "one that is not present can hold anything"
    );
    let fault = probe(load_fs, 24 | 3).err();
    check!(
        fault.is_some_and(|fault| fault.vector == 11 && fault.error_code == 24),
        "loading it is #NP"
    );
    check!(
        update(frame, 4, TASK_STATE) == Err(Errno::EINVAL),
        "a task-state segment is refused"
    );
    check!(update(frame, 4, 0).is_ok(), "an empty one can be stored");
    let odd = issue(UPDATE_DESCRIPTOR, [frame.0 << 12 | 4, 0, 0, 0, 0]);
    check!(
        odd == Err(Errno::EINVAL),
        "an address that is not a descriptor's is refused"
    );
    // Xen takes a gate with a harmless selector and disarms it, Paravane refuses all: either way it cannot be used.
    let _taken_or_not = update(frame, 5, CALL_GATE);
    check!(
        update(Mfn(1 << 36), 0, DATA) == Err(Errno::EINVAL),
        "a frame that does not exist is refused"
    );
}

fn local_table(page: &Page, frame: Mfn) {
    let address = page.address() as u64;
    check!(
        remap(page, frame, READ_ONLY).is_ok(),
        "a page for the local table"
    );
    check!(
        set_ldt(address + 8, 512) == Err(Errno::EINVAL),
        "its address is a page's"
    );
    check!(
        set_ldt(address, 8193) == Err(Errno::EINVAL),
        "it has at most 8192 entries"
    );
    check!(set_ldt(address, 512).is_ok(), "a local table can be set");
    check!(probe(load_fs, 16 | 7).is_ok(), "its segment can be loaded");
    check!(limit(16 | 7) == 0x1234, "and is the one in the page");
    check!(
        remap(page, frame, WRITABLE) == Err(Errno::EBUSY),
        "now the page cannot be mapped writable"
    );
    check!(
        probe(load_fs, 0).is_ok() && set_ldt(0, 0).is_ok(),
        "the local table can be taken away"
    );
    check!(probe(load_fs, 16 | 7).is_err(), "and its segments with it");
    check!(
        remap(page, frame, WRITABLE).is_ok(),
        "and the page is an ordinary one"
    );
}
