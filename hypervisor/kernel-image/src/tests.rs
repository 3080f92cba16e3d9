//! Kernels made by hand: each refusal, the worked examples of the layout, and a walk through the tables.

extern crate std;

use std::vec;
use std::vec::Vec;

use hypercall_abi::elf_note::*;
use hypercall_abi::mmu::EntryFlags;
use hypercall_abi::{RawMfn, RawPort};
use zerocopy::FromZeros;

use crate::*;

const HEADER: usize = 64;
const PROGRAM_HEADER: usize = 56;
const LINUX_BASE: u64 = 0xffff_ffff_8000_0000;

/// A program header: kind, flags, file offset, physical address, file size, memory size.
#[derive(Clone, Copy)]
struct Program(u32, u32, u64, u64, u64, u64);

fn elf(entry: u64, programs: &[Program], tail: &[u8]) -> Vec<u8> {
    let mut bytes = vec![0x7f, b'E', b'L', b'F', 2, 1, 1, 0, 0, 0, 0, 0, 0, 0, 0, 0];
    bytes.extend(2u16.to_le_bytes());
    bytes.extend(62u16.to_le_bytes());
    bytes.extend(1u32.to_le_bytes());
    bytes.extend(entry.to_le_bytes());
    bytes.extend(64u64.to_le_bytes());
    bytes.extend(0u64.to_le_bytes());
    bytes.extend(0u32.to_le_bytes());
    let count = u16::try_from(programs.len()).unwrap();
    for half in [64u16, 56, count, 0, 0, 0] {
        bytes.extend(half.to_le_bytes());
    }
    for Program(kind, flags, offset, paddr, file, memory) in programs.iter().copied() {
        bytes.extend(kind.to_le_bytes());
        bytes.extend(flags.to_le_bytes());
        for word in [offset, 0, paddr, file, memory, 8] {
            bytes.extend(word.to_le_bytes());
        }
    }
    bytes.extend(tail);
    bytes
}

fn note(kind: u32, contents: &[u8]) -> Vec<u8> {
    let mut bytes = Vec::new();
    for word in [4, u32::try_from(contents.len()).unwrap(), kind] {
        bytes.extend(word.to_le_bytes());
    }
    bytes.extend(b"Xen\0");
    bytes.extend(contents);
    bytes.resize(bytes.len().next_multiple_of(4), 0);
    bytes
}

fn number(kind: u32, value: u64) -> Vec<u8> {
    note(kind, &value.to_le_bytes())
}

/// The notes of every PV kernel.
fn pv_notes() -> Vec<u8> {
    [
        note(XEN_ELFNOTE_XEN_VERSION, b"xen-3.0\0"),
        note(XEN_ELFNOTE_LOADER, b"generic\0"),
    ]
    .concat()
}

/// A kernel with these segments to load (physical address, file size, memory size) and notes.
fn kernel(entry: u64, loads: &[(u64, u64, u64)], notes: &[u8]) -> Vec<u8> {
    let data = u64::try_from(HEADER + PROGRAM_HEADER * (loads.len() + 1)).unwrap();
    let length = u64::try_from(notes.len()).unwrap();
    let mut programs = vec![Program(4, 4, data, 0, length, length)];
    let mut offset = data + length;
    let mut tail = notes.to_vec();
    for &(paddr, file, memory) in loads {
        programs.push(Program(1, 7, offset, paddr, file, memory));
        offset += file;
        tail.resize(tail.len() + usize::try_from(file).unwrap(), 0x90);
    }
    elf(entry, &programs, &tail)
}

fn linux() -> LoadPlan {
    let notes = [
        pv_notes(),
        number(XEN_ELFNOTE_VIRT_BASE, LINUX_BASE),
        number(XEN_ELFNOTE_ENTRY, 0xffff_ffff_8334_e600),
        number(XEN_ELFNOTE_INIT_P2M, 0x80_0000_0000),
        number(XEN_ELFNOTE_MOD_START_PFN, 1),
        note(XEN_ELFNOTE_GUEST_OS, b"linux"),
        note(XEN_ELFNOTE_FEATURES, b"!writable_page_tables|unheard_of"),
        note(XEN_ELFNOTE_SUPPORTED_FEATURES, &0x8801u32.to_le_bytes()),
    ];
    plan(&kernel(0, &[(0x100_0000, 32, 0x320_0000)], &notes.concat())).unwrap()
}

fn xtf() -> LoadPlan {
    let notes = [pv_notes(), number(XEN_ELFNOTE_HYPERCALL_PAGE, 0x10_1000)].concat();
    plan(&kernel(0x10_0000, &[(0x10_0000, 16, 0x1_1000)], &notes)).unwrap()
}

fn small(loads: &[(u64, u64, u64)]) -> Result<LoadPlan, ImageError> {
    plan(&kernel(0x1000, loads, &pv_notes()))
}

#[test]
fn plan_of_linux_has_what_its_notes_say() {
    let plan = linux();
    assert_eq!(
        (plan.virt_start, plan.virt_end),
        (0xffff_ffff_8100_0000, 0xffff_ffff_8420_0000)
    );
    assert_eq!(
        (plan.entry, plan.init_p2m, plan.mod_start_pfn),
        (0xffff_ffff_8334_e600, Some(0x80_0000_0000), true)
    );
    assert_eq!((&*plan.guest_os, plan.hypercall_page), ("linux", None));
    assert_eq!(
        (plan.features.supported, plan.features.required),
        (0x8801, 1)
    );
    assert_eq!(plan.offset_in_domain(&plan.segments[0]), 0x100_0000);
}

#[test]
fn files_that_are_no_kernels_are_refused_each_with_its_reason() {
    assert_eq!(plan(&[]), Err(ImageError::Empty));
    assert_eq!(plan(b"\x7fE"), Err(ImageError::Truncated));
    assert_eq!(plan(b"#!/bin/sh\n"), Err(ImageError::NotElf));
    let good = kernel(0x1000, &[(0x1000, 16, 0x1000)], &pv_notes());
    let mut narrow = good.clone();
    narrow[4] = 1;
    assert_eq!(plan(&narrow), Err(ImageError::Is32Bit));
    let mut arm = good.clone();
    arm[18] = 183;
    assert_eq!(plan(&arm), Err(ImageError::WrongMachine(183)));
    let mut big_endian = good.clone();
    big_endian[5] = 2;
    assert_eq!(plan(&big_endian), Err(ImageError::Malformed));
    assert_eq!(plan(&elf(0, &[], &[])), Err(ImageError::NoSegments));
    assert_eq!(
        plan(&elf(0, &[Program(1, 7, 0, 0, 0, 4096)], &[])),
        Err(ImageError::NoNotes)
    );
}

#[test]
fn a_kernel_cut_anywhere_is_refused() {
    let good = kernel(0x1000, &[(0x1000, 64, 0x1000)], &pv_notes());
    assert!(plan(&good).is_ok());
    for length in 1..good.len() {
        assert_eq!(
            plan(&good[..length]),
            Err(ImageError::Truncated),
            "cut to {length}"
        );
    }
}

#[test]
fn segments_that_overlap_wrap_or_shrink_are_refused() {
    assert_eq!(
        small(&[(0x1000, 16, 0x1001), (0x2000, 16, 16)]),
        Err(ImageError::SegmentsOverlap(1, 2))
    );
    assert_eq!(
        small(&[(0x2000, 16, 16), (0x1000, 16, 0x1001)]),
        Err(ImageError::SegmentsOverlap(1, 2))
    );
    assert!(small(&[(0x2000, 16, 16), (0x1000, 16, 0x1000)]).is_ok());
    assert_eq!(
        small(&[(0x1000, 16, u64::MAX)]),
        Err(ImageError::SegmentWraps(1))
    );
    assert_eq!(
        small(&[(0x1000, 16, 15)]),
        Err(ImageError::SegmentLargerInFile(1))
    );
    let many: Vec<_> = (1..=17).map(|n| (n * 0x1000, 0, 16)).collect();
    assert_eq!(small(&many), Err(ImageError::TooManySegments));
    let beyond = elf(0x1000, &[Program(1, 7, u64::MAX, 0x1000, 16, 16)], &[]);
    assert_eq!(plan(&beyond), Err(ImageError::Truncated));
}

#[test]
fn kernels_for_something_else_are_told_apart() {
    let with =
        |notes: &[Vec<u8>]| plan(&kernel(0x1000, &[(0x1000, 16, 0x1000)], &notes.concat())).err();
    let pvh = note(XEN_ELFNOTE_PHYS32_ENTRY, &0x1000u32.to_le_bytes());
    let version = note(XEN_ELFNOTE_XEN_VERSION, b"xen-3.0");
    assert_eq!(
        with(std::slice::from_ref(&pvh)),
        Some(ImageError::NoPvSupport)
    );
    assert_eq!(
        with(&[note(XEN_ELFNOTE_LOADER, b"generic")]),
        Some(ImageError::WrongInterface)
    );
    assert_eq!(
        with(&[version.clone(), note(XEN_ELFNOTE_LOADER, b"special")]),
        Some(ImageError::WrongLoader)
    );
    assert_eq!(
        with(&[version.clone(), note(XEN_ELFNOTE_GUEST_OS, b"linux")]),
        None
    );
    assert_eq!(with(&[pv_notes(), pvh]), None);
    assert_eq!(
        with(&[pv_notes(), number(XEN_ELFNOTE_PADDR_OFFSET, 0)]),
        Some(ImageError::OffsetWithoutBase)
    );
    assert_eq!(
        with(&[pv_notes(), note(XEN_ELFNOTE_FEATURES, b"!unheard_of")]),
        Some(ImageError::UnknownFeature)
    );
    let outside = with(&[pv_notes(), number(XEN_ELFNOTE_ENTRY, 0x2001)]);
    assert_eq!(
        outside,
        Some(ImageError::Addresses {
            base: 0,
            start: 0x1000,
            end: 0x2000,
            entry: 0x2001
        })
    );
    for page in [0x1001, 0x2000, u64::MAX - 4095] {
        let refused = with(&[pv_notes(), number(XEN_ELFNOTE_HYPERCALL_PAGE, page)]);
        assert_eq!(refused, Some(ImageError::HypercallPage(page)));
    }
}

#[test]
fn the_last_of_equal_notes_wins_and_odd_lengths_read_as_0() {
    let notes = [
        pv_notes(),
        number(XEN_ELFNOTE_ENTRY, 7),
        note(XEN_ELFNOTE_ENTRY, &[0x10, 0x10]),
    ]
    .concat();
    assert_eq!(
        plan(&kernel(0, &[(0x1000, 16, 0x1000)], &notes))
            .unwrap()
            .entry,
        0x1010
    );
    let notes = [pv_notes(), note(XEN_ELFNOTE_MOD_START_PFN, &[1, 1, 1])].concat();
    assert!(
        !plan(&kernel(0x1000, &[(0x1000, 16, 0x1000)], &notes))
            .unwrap()
            .mod_start_pfn
    );
}

#[test]
fn layout_of_linux_as_an_ordinary_domain() {
    let layout = layout(&linux(), 0x2_0000, 5000, Kind::Domain).unwrap();
    assert_eq!(
        layout.start_info,
        Page {
            pfn: 0x4200,
            address: 0xffff_ffff_8420_0000
        }
    );
    assert_eq!(layout.xenstore.map(|page| page.pfn), Some(0x4201));
    assert_eq!(layout.console.map(|page| page.pfn), Some(0x4202));
    assert_eq!(layout.root.address, 0xffff_ffff_8420_3000);
    assert_eq!(layout.table_pages(), 37);
    assert_eq!(layout.stack_top(), 0xffff_ffff_8422_9000);
    assert_eq!(layout.virt_end, 0xffff_ffff_8440_0000);
    assert_eq!(
        layout.ramdisk,
        Some(Ramdisk {
            pfn: 0x4400,
            address: None,
            len: 5000
        })
    );
    let tables = TableCounts {
        l3: 1,
        l2: 1,
        l1: 1,
    };
    assert_eq!(
        layout.p2m,
        P2m {
            pfn: 0x4402,
            address: 0x80_0000_0000,
            list_pages: 256,
            tables: Some(tables)
        }
    );
    assert_eq!(layout.first_free, 0x4402 + 256 + 3);
}

#[test]
fn layout_of_linux_as_the_first_domain() {
    let layout = layout(&linux(), 0x2_0000, 0, Kind::FirstDomain).unwrap();
    assert_eq!(
        (layout.xenstore, layout.console, layout.ramdisk),
        (None, None, None)
    );
    assert_eq!(
        (layout.root.address, layout.table_pages()),
        (0xffff_ffff_8420_1000, 37)
    );
    assert_eq!(
        (layout.stack_top(), layout.virt_end),
        (0xffff_ffff_8422_7000, 0xffff_ffff_8440_0000)
    );
}

#[test]
fn layout_of_xtf() {
    let layout = layout(&xtf(), 0x8000, 0, Kind::Domain).unwrap();
    assert_eq!(
        layout.p2m,
        P2m {
            pfn: 0x111,
            address: 0x11_1000,
            list_pages: 64,
            tables: None
        }
    );
    assert_eq!(
        (layout.start_info.address, layout.root.address),
        (0x15_1000, 0x15_4000)
    );
    assert_eq!(
        (layout.table_pages(), layout.stack_top(), layout.virt_end),
        (5, 0x15_a000, 0x40_0000)
    );
}

#[test]
fn a_ramdisk_is_mapped_for_a_kernel_that_needs_it_so() {
    let layout = layout(&xtf(), 0x8000, 4097, Kind::Domain).unwrap();
    assert_eq!(
        layout.ramdisk,
        Some(Ramdisk {
            pfn: 0x111,
            address: Some(0x11_1000),
            len: 4097
        })
    );
    assert_eq!(layout.p2m.pfn, 0x113);
}

#[test]
fn a_domain_too_small_is_refused_and_the_minimum_suffices() {
    for (kernel, ramdisk) in [
        (linux(), 0),
        (linux(), 9 << 20),
        (xtf(), 0),
        (xtf(), 9 << 20),
    ] {
        let pages = minimum_pages(&kernel, ramdisk, Kind::Domain).unwrap();
        assert!(layout(&kernel, pages, ramdisk, Kind::Domain).is_ok());
        let small = layout(&kernel, pages - 1, ramdisk, Kind::Domain);
        assert!(matches!(small, Err(LayoutError::TooSmall { needed, given }) if needed > given));
    }
    let huge = layout(&xtf(), 0x8000, u64::MAX, Kind::Domain);
    assert_eq!(huge, Err(LayoutError::AddressSpace(0)));
    assert_eq!(
        minimum_pages(&linux(), u64::MAX, Kind::Domain),
        Err(LayoutError::AddressSpace(LINUX_BASE))
    );
}

#[test]
fn kinds_of_domains_are_held_apart() {
    let notes = [pv_notes(), note(XEN_ELFNOTE_FEATURES, b"!dom0")].concat();
    let first = plan(&kernel(0x1000, &[(0x1000, 16, 0x1000)], &notes)).unwrap();
    assert_eq!(
        layout(&first, 0x8000, 0, Kind::Domain),
        Err(LayoutError::FirstDomainOnly)
    );
    assert!(layout(&first, 0x8000, 0, Kind::FirstDomain).is_ok());
    let notes = [pv_notes(), note(XEN_ELFNOTE_SUPPORTED_FEATURES, &[0; 4])].concat();
    let ordinary = plan(&kernel(0x1000, &[(0x1000, 16, 0x1000)], &notes)).unwrap();
    assert_eq!(
        layout(&ordinary, 0x8000, 0, Kind::FirstDomain),
        Err(LayoutError::NotForFirstDomain)
    );
}

/// Memory of a domain whose page p is in frame p + 1000.
const FRAMES_FROM: u64 = 1000;

fn all_tables(layout: &Layout) -> std::collections::BTreeMap<u64, [u64; 512]> {
    let mut tables = std::collections::BTreeMap::new();
    for index in 0..layout.all_tables() {
        let mut entries = [u64::MAX; 512];
        layout.fill_table(index, |page| page + FRAMES_FROM, &mut entries);
        assert!(
            tables
                .insert(layout.table_pfn(index) + FRAMES_FROM, entries)
                .is_none()
        );
    }
    tables
}

/// Walks the tables as the CPU does; gives the L1 entry.
fn walk(
    layout: &Layout,
    tables: &std::collections::BTreeMap<u64, [u64; 512]>,
    address: u64,
) -> Option<u64> {
    let mut frame = layout.root.pfn + FRAMES_FROM;
    for shift in [39, 30, 21, 12] {
        let entry = tables[&frame][usize::try_from(address >> shift & 511).unwrap()];
        if entry & 1 == 0 {
            return None;
        }
        if shift == 12 {
            return Some(entry);
        }
        assert_eq!(entry & 0xfff, 0x67);
        frame = entry >> 12;
    }
    None
}

#[test]
fn tables_map_the_initial_range_and_nothing_else() {
    for kernel in [linux(), xtf()] {
        let layout = layout(&kernel, 0x8000, 0, Kind::Domain).unwrap();
        let tables = all_tables(&layout);
        let writable = EntryFlags::WRITABLE.bits();
        for page in 0..layout.mapped_pages() {
            let entry = walk(&layout, &tables, layout.virt_base + page * 4096).unwrap();
            assert_eq!(entry >> 12, page + FRAMES_FROM);
            assert_eq!(
                entry & writable == 0,
                tables.contains_key(&(entry >> 12)),
                "page {page:#x}"
            );
        }
        assert_eq!(walk(&layout, &tables, layout.virt_end), None);
        assert_eq!(
            walk(
                &layout,
                &tables,
                layout.virt_base.wrapping_sub(4096) & 0xffff_ffff_ffff
            ),
            None
        );
        let list = layout.p2m;
        for page in 0..list.list_pages {
            let entry = walk(&layout, &tables, list.address + page * 4096).unwrap();
            assert_eq!(entry >> 12, list.pfn + page + FRAMES_FROM);
        }
        let present = |entries: &[u64; 512]| entries.iter().filter(|&&entry| entry != 0).count();
        let total: usize = tables.values().map(present).sum();
        let links = layout.all_tables() - 1;
        let outside = if list.tables.is_some() {
            list.list_pages
        } else {
            0
        };
        assert_eq!(
            u64::try_from(total).unwrap(),
            links + layout.mapped_pages() + outside
        );
    }
}

#[test]
fn start_page_and_first_registers_follow_from_the_layout() {
    let (kernel, shared) = (linux(), RawMfn(7));
    let layout = layout(&kernel, 0x8000, 5000, Kind::Domain).unwrap();
    let rings = Rings {
        xenstore_port: RawPort(1),
        console_port: RawPort(2),
    };
    let line = [b'x'; 2000];
    let info = start_info(&layout, shared, Some(rings), &line, |page| {
        page + FRAMES_FROM
    });
    assert!(info.magic.starts_with(b"xen-3.0-x86_64\0"));
    assert_eq!((info.shared_info, info.flags), (0x7000, 0x18));
    assert_eq!(
        (info.store_mfn.0, info.console_mfn.0),
        (0x4201 + FRAMES_FROM, 0x4202 + FRAMES_FROM)
    );
    assert_eq!((info.store_evtchn.0, info.console_evtchn.0), (1, 2));
    assert_eq!((info.mod_start, info.mod_len), (0x4400, 5000));
    assert_eq!((info.cmd_line[1022], info.cmd_line[1023]), (b'x', 0));
    assert_eq!((info.first_p2m_pfn.0, info.nr_p2m_frames), (0x4402, 64 + 3));

    let first = crate::layout(&kernel, 0x8000, 0, Kind::FirstDomain).unwrap();
    let info = start_info(&first, shared, None, b"", |page| page);
    assert_eq!((info.flags, info.store_mfn.0, info.mod_start), (3, 0, 0));

    let mut context = hypercall_abi::vcpu::VcpuGuestContext::new_zeroed();
    first_context(&mut context, &kernel, &layout, RawMfn(0x99));
    assert_eq!(
        (context.user_regs.rip, context.user_regs.rsi),
        (kernel.entry, layout.start_info.address)
    );
    assert_eq!(
        (context.ctrlreg[3], context.user_regs.rsp % 16),
        (0x99000, 0)
    );
}

#[test]
fn no_change_of_a_byte_or_two_makes_the_reader_panic() {
    let notes = [pv_notes(), number(XEN_ELFNOTE_VIRT_BASE, LINUX_BASE)].concat();
    let good = kernel(
        LINUX_BASE + 0x1000,
        &[(0x1000, 64, 0x1000), (0x3000, 0, 0x1000)],
        &notes,
    );
    assert!(plan(&good).is_ok());
    let mut state = 0x9e37_79b9_7f4a_7c15_u64;
    let mut random = |below: usize| {
        state ^= state << 13;
        state ^= state >> 7;
        state ^= state << 17;
        usize::try_from(state % u64::try_from(below).unwrap()).unwrap()
    };
    for _ in 0..20_000 {
        let mut bytes = good.clone();
        for _ in 0..=random(2) {
            bytes[random(good.len())] = [0, 1, 0x7f, 0x80, 0xff][random(5)];
        }
        // What is still a plan can be laid out or is refused; nothing is asked beyond that.
        if let Ok(plan) = plan(&bytes) {
            let laid_out = layout(&plan, 0x2000, 5000, Kind::Domain);
            assert!(laid_out.is_err() || laid_out.is_ok_and(|layout| layout.first_free <= 0x2000));
        }
    }
}
