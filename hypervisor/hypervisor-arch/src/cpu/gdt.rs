//! This CPU's descriptor table: a guest's descriptors in pages 0 to 13, ours in page 14 (pv-abi 5.2).
//!
//! The table lies in the CPU's area, so that a change of guest only changes entries of one L1 table. The selectors are
//! part of the guest ABI.

use crate::cpu::percpu::CpuLocal;
use crate::mem::layout::{CpuArea, PAGE};
use core::arch::asm;
use x86_64::structures::DescriptorTablePointer;
use x86_64::structures::tss::TaskStateSegment;
use x86_64::{PrivilegeLevel, VirtAddr};

/// Our code, ring 0.
pub(crate) const CODE: u16 = 0xe008;
/// Our data, ring 0.
pub(crate) const DATA: u16 = 0xe010;
/// 32-bit code of guests.
pub(crate) const USER_CODE32: u16 = 0xe023;
/// Data of guests.
pub(crate) const USER_DATA: u16 = 0xe02b;
/// 64-bit code of guests.
pub(crate) const USER_CODE: u16 = 0xe033;
const TSS: u16 = 0xe040;
const LDT: u16 = 0xe050;

const DESCRIPTOR_CODE: u64 = 0x00af_9b00_0000_ffff;
const DESCRIPTOR_DATA: u64 = 0x00cf_9300_0000_ffff;
const DESCRIPTOR_USER_CODE32: u64 = 0x00cf_fb00_0000_ffff;
const DESCRIPTOR_USER_DATA: u64 = 0x00cf_f300_0000_ffff;
const DESCRIPTOR_USER_CODE: u64 = 0x00af_fb00_0000_ffff;
const TYPE_LDT: u64 = 0x82 << 40;
const TYPE_TSS: u64 = 0x89 << 40;

/// The trap stacks, as IST indexes (1 to 4).
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
#[repr(u8)]
pub(crate) enum TrapStack {
    Debug = 1,
    Nmi = 2,
    DoubleFault = 3,
    MachineCheck = 4,
}

/// Fills this CPU's own descriptors and loads table, segments and task register.
pub(crate) fn load(local: &CpuLocal) {
    let index = local.index();
    let base = CpuArea::page(index, CpuArea::GDT);
    let own = [
        (CODE, DESCRIPTOR_CODE),
        (DATA, DESCRIPTOR_DATA),
        (USER_CODE32, DESCRIPTOR_USER_CODE32),
        (USER_DATA, DESCRIPTOR_USER_DATA),
        (USER_CODE, DESCRIPTOR_USER_CODE),
    ];
    for (selector, descriptor) in own {
        write(index, selector, descriptor);
    }
    let tss_limit = size_of::<TaskStateSegment>() as u64 - 1;
    write_system(index, TSS, local.tss_address(), tss_limit, TYPE_TSS);

    let pages = CpuArea::GUEST_GDT_PAGES as u64 + 1;
    let pointer = DescriptorTablePointer {
        limit: (pages * PAGE - 1) as u16,
        base: VirtAddr::new(base),
    };
    // SAFETY: the table is mapped for ever and has just been filled.
    unsafe { x86_64::instructions::tables::lgdt(&pointer) };
    load_segments();
    // SAFETY: the descriptor names this CPU's TSS.
    unsafe { x86_64::instructions::tables::load_tss(selector(TSS)) };
    load_ldt(index, 0);
}

/// Loads the LDT window with a limit for `entries` descriptors, or none at all.
pub(crate) fn load_ldt(index: usize, entries: u16) {
    let value = if entries == 0 {
        0
    } else {
        let limit = u64::from(entries) * 8 - 1;
        write_system(
            index,
            LDT,
            CpuArea::page(index, CpuArea::LDT),
            limit,
            TYPE_LDT,
        );
        LDT
    };
    // SAFETY: null, or the descriptor just written, which names this CPU's LDT window.
    unsafe { asm!("lldt {0:x}", in(reg) value, options(nostack, preserves_flags)) };
}

fn selector(raw: u16) -> x86_64::structures::gdt::SegmentSelector {
    x86_64::structures::gdt::SegmentSelector::new(raw >> 3, PrivilegeLevel::Ring0)
}

fn load_segments() {
    // SAFETY: the descriptors are flat, as were those in use; the far return only changes CS.
    unsafe {
        asm!(
            "push {code}",
            "lea {scratch}, [rip + 2f]",
            "push {scratch}",
            "retfq",
            "2:",
            "xor {scratch:e}, {scratch:e}",
            "mov ds, {scratch:e}",
            "mov es, {scratch:e}",
            "mov fs, {scratch:e}",
            "mov gs, {scratch:e}",
            "mov ss, {data:e}",
            code = in(reg) u64::from(CODE),
            data = in(reg) u32::from(DATA),
            scratch = out(reg) _,
        );
    }
}

/// Writes one of our descriptors into the own page of this CPU's table.
fn write(index: usize, selector: u16, descriptor: u64) {
    let at = CpuArea::page(index, CpuArea::GDT) + u64::from(selector & !7);
    // SAFETY: all of our selectors lie in the own page, which only this CPU writes.
    unsafe { (at as *mut u64).write_volatile(descriptor) };
}

fn write_system(index: usize, selector: u16, base: u64, limit: u64, kind: u64) {
    let low = limit & 0xffff | (base & 0x00ff_ffff) << 16 | kind | (base >> 24 & 0xff) << 56;
    write(index, selector, low);
    write(index, selector + 8, base >> 32);
}
