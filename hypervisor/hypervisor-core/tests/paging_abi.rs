//! Results and error numbers of the paging calls, one by one (pv-abi 4.3 to 4.9).

#![expect(clippy::unwrap_used, reason = "a test that cannot go on fails")]

mod common;

use common::{ARGS, DONE, Host, Op, WINDOW, args};
use hypercall_abi::mmu::{
    MMUEXT_CLEAR_PAGE, MMUEXT_COPY_PAGE, MMUEXT_FLUSH_CACHE, MMUEXT_INVLPG_ALL,
    MMUEXT_INVLPG_MULTI, MMUEXT_MARK_SUPER, MMUEXT_NEW_BASEPTR, MMUEXT_NEW_USER_BASEPTR,
    MMUEXT_PIN_L1_TABLE, MMUEXT_PIN_L2_TABLE, MMUEXT_PIN_L4_TABLE, MMUEXT_SET_LDT,
    MMUEXT_TLB_FLUSH_ALL, MMUEXT_TLB_FLUSH_MULTI, MMUEXT_UNPIN_TABLE, MmuUpdate, MmuextOp,
};
use hypervisor_core::fake::Access;
use hypervisor_core::frame::FrameType;
use hypervisor_core::ids::{EntryIndex, Level, Mfn, Pfn, Place};
use hypervisor_core::machine::Machine;
use hypervisor_core::paging::descriptor::Shown;
use hypervisor_core::paging::{self, BatchArgs, BatchEnd, PagingError, Tables};

const EPERM: i64 = -1;
const ESRCH: i64 = -3;
const EACCES: i64 = -13;
const EFAULT: i64 = -14;
const EBUSY: i64 = -16;
const EINVAL: i64 = -22;
const ENOSYS: i64 = -38;
const EOPNOTSUPP: i64 = -95;

const KERNEL: u64 = 1 << 52;

fn entry(host: &Host, table: Mfn, index: u16) -> u64 {
    host.machine
        .read_entry(table, EntryIndex::new(index).unwrap())
}

fn ptr(table: Mfn, index: u64) -> u64 {
    table.address() | index << 3
}

fn map(host: &Host, page: u64, value: u64, flags: u64) -> Result<(), PagingError> {
    host.with_call(1, 0, |call, held| {
        paging::update_va_mapping(call, WINDOW + page * 0x1000, value, flags, held)
    })
}

/// The second guest is an ordinary domain; its stable L1 table maps the window.
fn host() -> (Host, Vec<Mfn>, [Mfn; 5]) {
    let host = Host::new(2, 6);
    let (frames, stable) = (host.guests[1].frames.clone(), host.guests[1].stable);
    (host, frames, stable)
}

#[test]
fn entries_of_l1_tables_are_refused_with_their_numbers() {
    let (mut host, f, stable) = host();
    let slot = ptr(stable[3], 9);
    let foreign = host.guests[0].frames[0].address();
    let cases = [
        (f[0].address() | 0x9, EINVAL, "PWT"),
        (f[0].address() | 0x81, EINVAL, "PAT"),
        (foreign | 1, EBUSY, "somebody else's frame"),
        (0x500_0001, EPERM, "no frame"),
        (1, EPERM, "frame 0"),
        (0x000f_ffff_ffff_f001, EINVAL, "all ones"),
        (stable[3].address() | 3, EBUSY, "a table, writable"),
        (stable[3].address() | 1, 0, "a table, read-only"),
        (f[0].address() | 3, 0, "own, writable"),
        (0xdead_0000, 0, "not present"),
    ];
    for (value, result, what) in cases {
        let before = entry(&host, stable[3], 9);
        assert_eq!(host.update(1, 0, slot, value), result, "{what}");
        if result != 0 {
            assert_eq!(entry(&host, stable[3], 9), before, "{what}");
        }
        host.check(what);
    }
}

#[test]
fn upper_entries_are_refused_with_einval() {
    let (mut host, f, stable) = host();
    host.machine.scrub(f[0]);
    let foreign = host.guests[0].frames[0].address();
    map(&host, 0, f[1].address() | 3, 0).unwrap();
    let cases = [
        (f[1].address() | 7, "mapped writable"),
        (foreign | 7, "somebody else's"),
        (stable[3].address() | 7, "an L1 as L2"),
        (stable[1].address() | 7, "linear"),
        (0x500_0007, "no frame"),
        (f[0].address() | 0x87, "large page"),
        (f[0].address() | 0x107, "global"),
    ];
    for (value, what) in cases {
        assert_eq!(
            host.update(1, 0, ptr(stable[1], 5), value),
            EINVAL,
            "{what}"
        );
        host.check(what);
    }
    for slot in 256..272 {
        assert_eq!(
            host.update(1, 0, ptr(stable[0], slot), 0),
            EINVAL,
            "slot {slot}"
        );
    }
    assert_eq!(host.update(1, 0, ptr(stable[1], 5), f[0].address() | 1), 0);
    assert_eq!(entry(&host, stable[1], 5), f[0].address() | 5);
    host.check("linked");
}

#[test]
fn linear_tables_are_refused_at_every_level() {
    let (mut host, f, _) = host();
    for level in 1..4_u32 {
        let table = f[usize::try_from(level).unwrap()];
        host.machine.scrub(table);
        host.machine
            .write_entry(table, EntryIndex::new(3).unwrap(), table.address() | 5);
        assert_eq!(
            host.ext(1, 0, MMUEXT_PIN_L1_TABLE + level, table.get(), 0),
            EINVAL
        );
        host.check("linear");
    }
}

#[test]
fn preserving_updates_keep_accessed_and_dirty_bits() {
    let (host, f, stable) = host();
    let at = EntryIndex::new(9).unwrap();
    assert_eq!(host.update(1, 0, ptr(stable[3], 9), f[0].address() | 3), 0);
    host.machine
        .fetch_or_u64(Place::new(stable[3], at.offset()), 0x60);
    assert_eq!(
        host.update(1, 0, ptr(stable[3], 9) | 2, f[0].address() | 1),
        0
    );
    assert_eq!(entry(&host, stable[3], 9), f[0].address() | 0x65 | KERNEL);
    assert_eq!(host.update(1, 0, ptr(stable[3], 9), f[0].address() | 1), 0);
    assert_eq!(entry(&host, stable[3], 9), f[0].address() | 5 | KERNEL);
}

#[test]
fn a_request_on_what_is_no_table_is_a_store() {
    let (mut host, f, _) = host();
    assert_eq!(host.update(1, 0, ptr(f[0], 3), u64::MAX), 0);
    assert_eq!(entry(&host, f[0], 3), u64::MAX);
    map(&host, 0, f[0].address() | 3, 0).unwrap();
    assert_eq!(host.update(1, 0, ptr(f[0], 3), 7), 0);
    assert_eq!(
        host.update(1, 0, ptr(host.guests[0].frames[0], 3), 7),
        EINVAL
    );
    assert_eq!(host.update(1, 0, 0x500_0000, 7), EINVAL);
    assert_eq!(host.update(1, 0, ptr(f[0], 3) | 4, 7), ENOSYS);
    host.check("stores");
}

#[test]
fn foreign_words_are_resolved_and_judged() {
    let (host, f, stable) = host();
    let request = MmuUpdate {
        ptr: ptr(stable[3], 9),
        val: f[0].address() | 1,
    };
    let try_with = |guest, domain| {
        host.put(guest, &[request]);
        host.batch_to_end(guest, 0, Op::Update, BatchArgs { domain, ..args(1) })
    };
    assert_eq!(try_with(1, 1), ESRCH, "one's own number");
    assert_eq!(try_with(1, 77), ESRCH);
    assert_eq!(try_with(1, 0), EPERM);
    assert_eq!(try_with(1, 0x7ff2), EPERM);
    assert_eq!(try_with(1, 0x7ff1), EBUSY, "RAM through the device domain");
    assert_eq!(try_with(1, 0x7ff0 | 78 << 16), ESRCH);
    assert_eq!(try_with(1, 0x7ff0 | 1 << 16), EPERM);
    assert_eq!(
        try_with(1, 0x7ff0 | 2 << 16),
        0,
        "one's own number as the tables' owner"
    );
    assert_eq!(try_with(0, 0x7ff0), EINVAL, "not the caller's table");
    assert_eq!(try_with(0, 1 | 2 << 16), 0, "the first domain may");
}

#[test]
fn done_counts_what_has_taken_effect() {
    let (host, f, stable) = host();
    let good = |i: u64| MmuUpdate {
        ptr: ptr(stable[3], i),
        val: f[0].address() | 1,
    };
    let bad = MmuUpdate {
        ptr: ptr(stable[3], 40),
        val: 9,
    };
    host.put(1, &[good(10), good(11), bad, good(12)]);
    assert_eq!(host.batch_to_end(1, 0, Op::Update, args(4)), EINVAL);
    assert_eq!(host.machine.load_u32(stable[4], 0xf00), 2);
    assert_eq!(entry(&host, stable[3], 12), 0);
    assert_eq!(
        host.batch_to_end(1, 0, Op::Update, BatchArgs { done: 8, ..args(2) }),
        0
    );
    assert_eq!(host.batch_to_end(1, 0, Op::Update, args(0)), 0);
    assert_eq!(host.machine.load_u32(stable[4], 0xf00), 0);
}

#[test]
fn arrays_outside_the_guests_space_fault() {
    let (host, _, _) = host();
    let arrays = [
        0xffff_8000_0000_0000,
        (1 << 47) - 8,
        1 << 47,
        u64::MAX - 7,
        0x5000,
    ];
    for array in arrays {
        for op in [Op::Update, Op::Ext] {
            let result = host.batch_to_end(1, 0, op, BatchArgs { array, ..args(1) });
            assert_eq!(result, EFAULT, "{array:#x}");
        }
    }
    let carried = BatchArgs {
        array: 0,
        count: 0x8000_0000,
        done: DONE,
        domain: 0xffff_ffea,
    };
    assert_eq!(
        host.batch(1, 0, Op::Update, carried),
        BatchEnd::Done(EINVAL)
    );
}

#[test]
fn each_failing_copy_leaves_exactly_the_done_part() {
    for failing in 0.. {
        let (mut host, f, stable) = host();
        let requests: Vec<MmuUpdate> = (0..20)
            .map(|i| MmuUpdate {
                ptr: ptr(stable[3], 20 + i),
                val: f[0].address() | 1,
            })
            .collect();
        host.put(1, &requests);
        host.machine.store_u32(stable[4], 0xf00, 99);
        // A copy, its second try, and with them the smaller chunk that is tried next.
        host.machine
            .order(|o| (o.copies, o.fail_copies) = (0, failing..failing + 4));
        let result = host.batch_to_end(1, 0, Op::Update, args(20));
        let copies = host.machine.orders().copies;
        let set = (20..40)
            .filter(|&i| entry(&host, stable[3], i) != 0)
            .count();
        let done = host.machine.load_u32(stable[4], 0xf00);
        host.check("a copy failed");
        if copies <= failing {
            assert_eq!((result, set, done), (0, 20, 20));
            assert!(failing >= 3);
            break;
        }
        match result {
            EFAULT => assert!(
                done == 99 || usize::try_from(done).unwrap() == set,
                "{done} {set}"
            ),
            0 => assert_eq!(set, 20),
            other => panic!("result {other}"),
        }
    }
}

#[test]
fn va_updates_need_an_entry_and_flush_as_told() {
    let (mut host, f, _) = host();
    for address in [
        0xffff_8000_0000_0000,
        1 << 47,
        0x1000,
        0xffff_8800_0000_0000,
    ] {
        let result = host.with_call(1, 0, |call, held| {
            paging::update_va_mapping(call, address, 0, 0, held)
        });
        assert_eq!(result, Err(PagingError::NoEntry), "{address:#x}");
    }
    map(&host, 0, f[0].address() | 3, 0).unwrap();
    host.on(1, 0);
    assert_eq!(host.machine.access(WINDOW, Access::Write), Some(f[0]));
    map(&host, 0, 0, 0).unwrap();
    assert_eq!(
        host.machine.access(WINDOW, Access::Write),
        Some(f[0]),
        "not flushed"
    );
    map(&host, 0, f[1].address() | 3, 2).unwrap();
    assert_eq!(
        host.machine.access(WINDOW, Access::Write),
        Some(f[1]),
        "one page flushed"
    );
    map(&host, 0, 0, 1).unwrap();
    assert_eq!(
        host.machine.access(WINDOW, Access::Read),
        None,
        "all flushed"
    );
    assert_eq!(
        map(&host, 0, f[1].address() | 3, 0x6000 | 1),
        Err(PagingError::Fault)
    );
    assert_eq!(
        host.machine.access(WINDOW, Access::Read),
        None,
        "the bitmap is read first"
    );
    host.put(1, &[1_u64 << 1 | 1 << 40]);
    map(&host, 0, f[1].address() | 3, ARGS | 1).unwrap();
    assert_eq!(map(&host, 0, 0, 3), Ok(()));
    host.check("mapped");
}

#[test]
fn pins_do_not_nest_and_come_off_once() {
    let (mut host, f, stable) = host();
    host.machine.scrub(f[0]);
    let pin = |level: Level| MMUEXT_PIN_L1_TABLE + u32::try_from(level as usize).unwrap();
    for level in Level::ALL {
        assert_eq!(host.ext(1, 0, MMUEXT_UNPIN_TABLE, f[0].get(), 0), EINVAL);
        assert_eq!(host.ext(1, 0, pin(level), f[0].get(), 0), 0);
        assert_eq!(host.ext(1, 0, pin(level), f[0].get(), 0), EINVAL);
        assert_eq!(host.frames.type_state(f[0]).kind, FrameType::Table(level));
        host.check("pinned");
        assert_eq!(host.ext(1, 0, MMUEXT_UNPIN_TABLE, f[0].get(), 0), 0);
    }
    assert_eq!(
        host.ext(1, 0, MMUEXT_PIN_L1_TABLE, stable[3].get(), 0),
        0,
        "valid already"
    );
    assert_eq!(host.ext(1, 0, MMUEXT_PIN_L1_TABLE, 0x5000, 0), EINVAL);
    assert_eq!(
        host.ext(1, 0, MMUEXT_PIN_L2_TABLE, host.guests[0].frames[0].get(), 0),
        EINVAL
    );
    host.check("unpinned");
}

#[test]
fn roots_are_replaced_and_shown_the_m2p() {
    let (mut host, f, stable) = host();
    host.machine.scrub(f[0]);
    assert_eq!(host.ext(1, 0, MMUEXT_NEW_BASEPTR, 0, 0), EINVAL);
    assert_eq!(
        host.ext(1, 0, MMUEXT_NEW_BASEPTR, stable[3].get(), 0),
        EINVAL
    );
    assert_eq!(host.ext(1, 0, MMUEXT_NEW_USER_BASEPTR, 0, 0), 0);
    assert_eq!(host.ext(1, 0, MMUEXT_NEW_USER_BASEPTR, f[0].get(), 0), 0);
    assert_eq!(entry(&host, f[0], 256), 0, "no M2P for user mode");
    assert_eq!(entry(&host, f[0], 257), host.machine.hypervisor_slots()[0]);
    host.check("user root");
    let link = stable[1].address() | 7;
    assert_eq!(host.update(1, 0, ptr(f[0], 511), link), 0);
    assert_eq!(host.ext(1, 0, MMUEXT_NEW_BASEPTR, f[0].get(), 0), 0);
    assert_eq!(
        entry(&host, f[0], 256),
        host.frames.view_slot(host.guests[1].memory.owner())
    );
    assert_eq!(host.frames.type_state(f[0]).count, 2);
    host.check("both roots");
    assert_eq!(host.ext(1, 0, MMUEXT_NEW_USER_BASEPTR, 0, 0), 0);
    assert_eq!(host.ext(1, 0, MMUEXT_NEW_BASEPTR, stable[0].get(), 0), 0);
    assert_eq!(host.frames.type_state(f[0]).count, 0);
    assert_eq!(
        entry(&host, f[0], 257),
        0,
        "nothing of the hypervisor is left in it"
    );
    host.check("neither");
}

#[test]
fn other_operations_have_their_numbers() {
    let (mut host, f, stable) = host();
    let foreign = host.guests[0].frames[0].get();
    let cases = [
        (MMUEXT_CLEAR_PAGE, f[0].get(), 0, 0),
        (MMUEXT_CLEAR_PAGE, stable[3].get(), 0, EINVAL),
        (MMUEXT_CLEAR_PAGE, foreign, 0, EINVAL),
        (MMUEXT_COPY_PAGE, f[0].get(), stable[3].get(), 0),
        (MMUEXT_COPY_PAGE, f[0].get(), f[0].get(), 0),
        (MMUEXT_COPY_PAGE, stable[3].get(), f[0].get(), EINVAL),
        (MMUEXT_COPY_PAGE, f[0].get(), foreign, EINVAL),
        (MMUEXT_FLUSH_CACHE, 0, 0, EACCES),
        (18, 0, 0, EINVAL),
        (MMUEXT_MARK_SUPER, 0, 0, EOPNOTSUPP),
        (14, 0, 0, ENOSYS),
        (21, 0, 0, ENOSYS),
        (u32::MAX, 0, 0, ENOSYS),
        (MMUEXT_TLB_FLUSH_ALL, 0, 0, 0),
        (MMUEXT_TLB_FLUSH_MULTI, 0, 0x6000, EINVAL),
        (MMUEXT_INVLPG_MULTI, WINDOW, 0x6000, EINVAL),
        (MMUEXT_INVLPG_ALL, 1 << 47, 0, 0),
        (MMUEXT_INVLPG_ALL, 0xffff_8000_0000_0000, 0, 0),
        (MMUEXT_SET_LDT, WINDOW, 8193, EINVAL),
        (MMUEXT_SET_LDT, WINDOW + 8, 1, EINVAL),
        (MMUEXT_SET_LDT, 0xffff_8000_0000_0000, 1, EINVAL),
        (MMUEXT_SET_LDT, 1, 0, 0),
    ];
    for (cmd, arg1, arg2, result) in cases {
        assert_eq!(
            host.ext(1, 0, cmd, arg1, arg2),
            result,
            "{cmd} {arg1:#x} {arg2:#x}"
        );
        host.check("other operations");
    }
    host.put(
        1,
        &[MmuextOp {
            cmd: MMUEXT_NEW_BASEPTR,
            pad0: 7,
            arg1: 1,
            arg2: 0,
        }],
    );
    let on_other = BatchArgs {
        domain: 0,
        ..args(1)
    };
    assert_eq!(host.batch_to_end(1, 0, Op::Ext, on_other), EPERM);
    host.put(
        0,
        &[MmuextOp {
            cmd: MMUEXT_NEW_BASEPTR,
            pad0: 7,
            arg1: 1,
            arg2: 0,
        }],
    );
    let on_other = BatchArgs {
        domain: 1,
        ..args(1)
    };
    assert_eq!(
        host.batch_to_end(0, 0, Op::Ext, on_other),
        EPERM,
        "self only"
    );
}

#[test]
fn the_first_domain_pins_anothers_tables() {
    let (mut host, f, _) = host();
    f.iter().for_each(|&mfn| host.machine.scrub(mfn));
    host.machine
        .write_entry(f[0], EntryIndex::new(0).unwrap(), f[1].address() | 7);
    host.put(
        0,
        &[MmuextOp {
            cmd: MMUEXT_PIN_L4_TABLE,
            pad0: 0,
            arg1: f[0].get(),
            arg2: 0,
        }],
    );
    let on_other = BatchArgs {
        domain: 1,
        ..args(1)
    };
    assert_eq!(host.batch_to_end(0, 0, Op::Ext, on_other), 0);
    assert_eq!(
        host.frames.type_state(f[1]).kind,
        FrameType::Table(Level::L3)
    );
    host.check("pinned by another");
}

#[test]
fn a_foreign_mapping_is_out_of_all_tlbs_before_its_reference_goes() {
    let (mut host, f, _) = host();
    let map = |host: &Host, value| {
        host.with_call(0, 0, |call, held| {
            paging::update_va_mapping_otherdomain(call, WINDOW, value, 0, 1, held)
        })
    };
    assert_eq!(map(&host, f[0].address() | 3), Ok(()));
    host.on(0, 0);
    assert_eq!(host.machine.access(WINDOW, Access::Write), Some(f[0]));
    assert_eq!(map(&host, 0), Ok(()));
    host.on(0, 0);
    assert_eq!(host.machine.access(WINDOW, Access::Write), None);
    assert_eq!(host.ext(1, 0, MMUEXT_CLEAR_PAGE, f[0].get(), 0), 0);
    assert_eq!(host.ext(1, 0, MMUEXT_PIN_L1_TABLE, f[0].get(), 0), 0);
    host.check("the owner makes it a table");
}

#[test]
fn a_table_full_of_foreign_mappings_goes_with_one_flush() {
    let (mut host, f, _) = host();
    let table = host.guests[0].frames[0];
    host.machine.scrub(table);
    assert_eq!(host.ext(0, 0, MMUEXT_PIN_L1_TABLE, table.get(), 0), 0);
    let foreign = BatchArgs {
        domain: 1,
        ..args(1)
    };
    for index in 0..40 {
        let (ptr, val) = (ptr(table, index), f[0].address() | 7);
        host.put(0, &[MmuUpdate { ptr, val }]);
        assert_eq!(host.batch_to_end(0, 0, Op::Update, foreign), 0);
    }
    let before = host.machine.flush_count();
    assert_eq!(host.ext(0, 0, MMUEXT_UNPIN_TABLE, table.get(), 0), 0);
    assert_eq!(host.machine.flush_count() - before, 1);
    host.check("all mappings are gone");
}

#[test]
fn device_memory_is_for_those_with_the_right_and_uncached() {
    let (mut host, _, stable) = host();
    let device = 0x50_0000_u64 << 12;
    assert_eq!(host.update(1, 0, ptr(stable[3], 9), device | 3), EPERM);
    host.guests[1].memory.grant_devices();
    assert_eq!(host.update(1, 0, ptr(stable[3], 9), device | 3), 0);
    assert_eq!(entry(&host, stable[3], 9), device | 0x1f | KERNEL);
    assert_eq!(
        host.update(1, 0, ptr(stable[3], 9), 0x50 << 12 | 3),
        EPERM,
        "withheld"
    );
    assert_eq!(
        host.update(1, 0, ptr(stable[3], 9), 1 << 41 | 3),
        EPERM,
        "no such address"
    );
    let ram = host.guests[1].frames[0].address();
    assert_eq!(host.update(1, 0, ptr(stable[3], 9), ram | 0x1b), 0);
    assert_eq!(
        entry(&host, stable[3], 9),
        ram | 7 | KERNEL,
        "RAM stays cached"
    );
    let shared = host
        .ram()
        .allocate_special(host.guests[1].memory.owner())
        .unwrap();
    assert_eq!(
        host.update(1, 0, ptr(stable[3], 9), shared.address() | 0x1b),
        EACCES
    );
    assert_eq!(
        host.update(1, 0, ptr(stable[3], 9), shared.address() | 3),
        0
    );
    host.check("devices");
}

#[test]
fn the_m2p_is_set_for_own_frames_only() {
    let (mut host, f, _) = host();
    let owner = host.guests[1].memory.owner();
    assert_eq!(host.update(1, 0, f[0].address() | 0xff8 | 1, 0x1234), 0);
    assert_eq!(host.ram().pfn(owner, f[0]), Pfn::new(0x1234));
    let foreign = host.guests[0].frames[0];
    assert_eq!(host.update(1, 0, foreign.address() | 1, 1), EINVAL);
    host.put(
        1,
        &[MmuUpdate {
            ptr: 0x50_0000_0001,
            val: 1,
        }],
    );
    let device = BatchArgs {
        domain: 0x7ff1,
        ..args(1)
    };
    assert_eq!(host.batch_to_end(1, 0, Op::Update, device), EINVAL);
    host.check("numbers");
}

#[test]
fn descriptor_pages_are_checked_and_kept_from_writers() {
    let (mut host, f, _) = host();
    let gdt = |host: &Host, frames: &[u64], entries| {
        host.with_call(1, 0, |call, held| {
            let (tables, _) = Tables::lock(call.ram, call.domain, call.vcpu, held);
            tables.set_gdt(call.vcpu, frames, entries, Shown::Here)
        })
    };
    let code = 0x00af_9b00_0000_ffff_u64;
    f.iter().for_each(|&mfn| host.machine.scrub(mfn));
    host.machine
        .write_entry(f[0], EntryIndex::new(2).unwrap(), code);
    host.machine
        .write_entry(f[1], EntryIndex::new(511).unwrap(), 0x0000_8900_0000_0000);
    assert_eq!(gdt(&host, &[f[0].get(), f[0].get()], 1024), Ok(()));
    assert_eq!(entry(&host, f[0], 2), code | 3 << 45, "for ring 3");
    host.check("a GDT");
    assert_eq!(
        gdt(&host, &[f[0].get(), f[1].get()], 1024),
        Err(PagingError::Descriptor)
    );
    assert_eq!(gdt(&host, &[f[0].get()], 7169), Err(PagingError::Argument));
    host.check("refused");
    let cpu = host
        .running
        .iter()
        .position(|&r| r == Some((1, 0)))
        .unwrap();
    let window = host
        .machine
        .with_cpu(u8::try_from(cpu).unwrap(), |c| c.windows[..3].to_vec());
    assert_eq!(window, [Some(f[0]), Some(f[0]), None]);
    assert_eq!(
        map(&host, 0, f[0].address() | 3, 0),
        Err(PagingError::NotWritable)
    );
    assert_eq!(map(&host, 0, f[0].address() | 1, 0), Ok(()));
    let update = |host: &Host, address, value| {
        host.with_call(1, 0, |call, held| {
            let (tables, _) = Tables::lock(call.ram, call.domain, call.vcpu, held);
            tables.update_descriptor(address, value)
        })
    };
    assert_eq!(update(&host, ptr(f[0], 3), code), Ok(()));
    assert_eq!(entry(&host, f[0], 3), code | 3 << 45);
    assert_eq!(
        update(&host, ptr(f[0], 3) | 4, code),
        Err(PagingError::Argument)
    );
    assert_eq!(
        update(&host, ptr(f[0], 3), 0x0000_8c00_0000_0000),
        Err(PagingError::Descriptor)
    );
    assert_eq!(
        update(&host, ptr(host.guests[1].stable[3], 3), 0),
        Err(PagingError::NotTable)
    );
    assert_eq!(
        update(&host, ptr(f[2], 3), code),
        Ok(()),
        "data under construction"
    );
    assert_eq!(gdt(&host, &[], 0), Ok(()));
    assert_eq!(host.frames.type_state(f[0]).count, 0);
    host.check("no GDT");
}

#[test]
fn ldt_pages_are_filled_when_the_cpu_asks_and_dropped_with_the_root() {
    let (mut host, f, _) = host();
    host.machine.scrub(f[0]);
    map(&host, 0, f[0].address() | 1, 0).unwrap();
    assert_eq!(host.ext(1, 0, MMUEXT_SET_LDT, WINDOW, 600), 0);
    let fill = |host: &Host, offset| {
        host.with_call(1, 0, |call, held| {
            let (tables, _) = Tables::lock(call.ram, call.domain, call.vcpu, held);
            tables.fill_ldt(call.vcpu, offset)
        })
    };
    assert!(!fill(&host, 4800), "beyond the limit");
    assert!(!fill(&host, 4096), "not mapped");
    assert!(fill(&host, 8));
    assert!(!fill(&host, 8), "there already");
    assert_eq!(
        map(&host, 1, f[0].address() | 3, 0),
        Err(PagingError::NotWritable)
    );
    host.check("filled");
    host.machine.scrub(f[1]);
    let link = host.guests[1].stable[1].address() | 7;
    host.machine
        .write_entry(f[1], EntryIndex::new(511).unwrap(), link);
    assert_eq!(host.ext(1, 0, MMUEXT_NEW_BASEPTR, f[1].get(), 0), 0);
    assert_eq!(map(&host, 1, f[0].address() | 3, 0), Ok(()));
    host.check("dropped");
}
