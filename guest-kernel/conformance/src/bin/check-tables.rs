//! Page tables: `mmu_update`, `mmuext_op`, pins, roots, and what each level's entries may hold.
#![no_std]
#![no_main]

use guest_conformance::errno::{EACCES, EBUSY, EFAULT, EINVAL, ENOSYS, EOPNOTSUPP, EPERM, ESRCH};
use guest_conformance::fixture::{Frame, PRESENT, TABLE, WRITABLE, own_number, read};
use guest_conformance::{
    HYPERVISOR, IO, NO_FRAME, NOBODY, NOT_CANONICAL, Role, SELF, UNMAPPED, address_of, call, check,
    finish, prepare, role, seen, skip, start, unless_first,
};
use guest_kernel::paging::root;
use guest_kernel::start::Boot;
use hypercall_abi::number::{MMU_UPDATE, MMUEXT_OP};

guest_kernel::entry!(main);

/// Bit 52: what the hypervisor marks pages of a guest's kernel with.
const GUEST_KERNEL: u64 = 1 << 52;
const GLOBAL: u64 = 1 << 8;
const LARGE: u64 = 1 << 7;
const NO_EXECUTE: u64 = 1 << 63;

fn main(boot: &'static Boot) {
    start(boot);
    batches();
    foreign();
    commands();
    leaf_entries();
    leaf_bits();
    upper_entries();
    pins();
    roots();
    flushes();
    contents();
    refused();
    finish()
}

/// A batch of requests under test.
fn update(list: &[[u64; 2]], done: u64, foreign: u64) -> i64 {
    call(
        MMU_UPDATE,
        &[address_of(list), list.len() as u64, done, foreign],
    )
}

/// One store under test.
fn store(place: u64, value: u64) -> i64 {
    update(&[[place, value]], 0, SELF)
}

/// One extended operation under test.
fn extended(command: u64, first: u64, second: u64) -> i64 {
    call(
        MMUEXT_OP,
        &[address_of(&[command, first, second]), 1, 0, SELF],
    )
}

fn pin(level: u64, frame: u64) -> i64 {
    extended(level - 1, frame, 0)
}

/// An empty page, read-only, that can become a table.
fn blank() -> Frame {
    Frame::take().read_only()
}

/// An empty pinned table.
fn table(level: u64) -> Frame {
    blank().pinned(level)
}

fn batches() {
    let done = 7_u32;
    let at = address_of(&done);
    let count = || seen(read(at & !7) >> (8 * (at & 7)) & 0xffff_ffff);
    check("batch.empty", (0, 0), || {
        (call(MMU_UPDATE, &[at, 0, at, SELF]), count())
    });
    check("batch.done-counts", (0, 3), || {
        let table = table(1);
        let list = [0, 1, 2].map(|index| [table.slot(index), 0x1000]);
        (update(&list, at, SELF), count())
    });
    check(
        "batch.stops-at-first-error",
        (EBUSY, 2, [0x1000, 0x1000, 0, 0]),
        || {
            let table = table(1);
            let list = [
                [table.slot(0), 0x1000],
                [table.slot(1), 0x1000],
                [table.slot(2), table.entry(WRITABLE)],
                [table.slot(3), 0x1000],
            ];
            let result = update(&list, at, SELF);
            let words = [0, 1, 2, 3].map(|index| table.word(index));
            (result, count(), seen(words))
        },
    );
    check("batch.done-may-be-null", (0, 0x1000), || {
        let table = table(1);
        (
            update(&[[table.slot(0), 0x1000]], 0, SELF),
            seen(table.word(0)),
        )
    });
    check("batch.done-that-faults-is-ignored", (0, 0x1000), || {
        let table = table(1);
        (
            update(&[[table.slot(0), 0x1000]], UNMAPPED, SELF),
            seen(table.word(0)),
        )
    });
    check("batch.done-into-a-table-is-not-written", (0, 0), || {
        let table = table(1);
        let result = update(&[[table.slot(0), 0x1000]], table.address + 8, SELF);
        (result, seen(table.word(1)))
    });
    check("batch.list-of-hypervisor", EFAULT, || {
        call(MMU_UPDATE, &[HYPERVISOR, 1, 0, SELF])
    });
    check("batch.list-fault", EFAULT, || {
        call(MMU_UPDATE, &[UNMAPPED, 1, 0, SELF])
    });
    check("batch.extended-empty", (0, 0), || {
        (call(MMUEXT_OP, &[at, 0, at, SELF]), count())
    });
    check("batch.extended-done-counts", (EINVAL, 1), || {
        let list = [[6_u64, 0, 0], [4, Frame::take().mfn, 0], [6, 0, 0]];
        (call(MMUEXT_OP, &[address_of(&list), 3, at, SELF]), count())
    });
}

fn foreign() {
    let data = Frame::take();
    let on = |word: u64| update(&[[data.slot(0), 1]], 0, word);
    check("foreign.own-number", ESRCH, || on(own_number()));
    check("foreign.no-such-domain", ESRCH, || on(NOBODY));
    check("foreign.tables-of-no-such-domain", ESRCH, || {
        on(SELF | (NOBODY + 1) << 16)
    });
    check("foreign.frames-of-io-are-not-ram", EBUSY, || {
        let table = table(1);
        update(&[[table.slot(0), data.entry(PRESENT)]], 0, IO)
    });
    if role() == Role::Ordinary {
        check("foreign.frames-of-other-domain", EPERM, || on(0));
        check("foreign.tables-of-other-domain", EPERM, || {
            on(SELF | 1 << 16)
        });
        check("foreign.extended-other-domain", EPERM, || {
            call(MMUEXT_OP, &[address_of(&[0, data.mfn, 0]), 1, 0, 0])
        });
    } else {
        skip("foreign.frames-of-other-domain", "there is no other domain");
        skip("foreign.tables-of-other-domain", "there is no other domain");
        skip("foreign.extended-other-domain", "there is no other domain");
    }
    check("foreign.operations-on-oneself", [EPERM; 3], || {
        [5, 6, 15].map(|command| {
            let root = root().map_or(0, |root| root.0);
            call(MMUEXT_OP, &[address_of(&[command, root, 0]), 1, 0, IO])
        })
    });
    check("foreign.frame-to-page", EINVAL, || {
        update(&[[data.slot(0) | 1, 5]], 0, IO)
    });
    check("foreign.extended-no-such-domain", ESRCH, || {
        call(MMUEXT_OP, &[address_of(&[0, data.mfn, 0]), 1, 0, NOBODY])
    });
    check("foreign.extended-own-number", ESRCH, || {
        call(
            MMUEXT_OP,
            &[address_of(&[0, data.mfn, 0]), 1, 0, own_number()],
        )
    });
}

fn commands() {
    check("command.data-store", (0, 0x1234), || {
        let data = Frame::take();
        (store(data.slot(3), 0x1234), seen(data.word(3)))
    });
    check("command.data-store-read-only-page", (0, 0x1234), || {
        let data = blank();
        (store(data.slot(3), 0x1234), seen(data.word(3)))
    });
    check("command.unknown", [ENOSYS; 4], || {
        let data = Frame::take();
        [4, 5, 6, 7].map(|command| store(data.slot(0) | command, 1))
    });
    check("command.no-translate", (0, 0x1000), || {
        let table = table(1);
        (store(table.slot(0) | 3, 0x1000), seen(table.word(0)))
    });
    check("command.normal-drops-accessed-dirty", (0, 0), || {
        let (table, data) = (table(1), Frame::take());
        table.store(0, data.entry(PRESENT | 0x60));
        let result = store(table.slot(0), data.entry(PRESENT));
        (result, seen(table.word(0) & 0x60))
    });
    check("command.preserve-keeps-accessed-dirty", (0, 0x60), || {
        let (table, data) = (table(1), Frame::take());
        table.store(0, data.entry(PRESENT | 0x60));
        let result = store(table.slot(0) | 2, data.entry(PRESENT));
        (result, seen(table.word(0) & 0x60))
    });
    check("command.frame-that-is-not-own", EINVAL, || {
        store(NO_FRAME << 12, 1)
    });
    check("m2p.update", (0, 0x4321), || {
        let data = Frame::take();
        let place = 0xffff_8000_0000_0000 + 8 * data.mfn;
        let before = read(place);
        let result = store(data.mfn << 12 | 1, 0x4321);
        let after = read(place);
        prepare(
            MMU_UPDATE,
            &[address_of(&[data.mfn << 12 | 1, before]), 1, 0, SELF],
        );
        (result, seen(after))
    });
    check("m2p.update-of-a-frame-that-is-not-own", EINVAL, || {
        store(NO_FRAME << 12 | 1, 1)
    });
    check("m2p.update-low-bits-are-ignored", (0, 0x4321), || {
        let data = Frame::take();
        let place = 0xffff_8000_0000_0000 + 8 * data.mfn;
        let before = read(place);
        let result = store(data.mfn << 12 | 0x7f9, 0x4321);
        let after = read(place);
        prepare(
            MMU_UPDATE,
            &[address_of(&[data.mfn << 12 | 1, before]), 1, 0, SELF],
        );
        (result, seen(after))
    });
}

fn leaf_entries() {
    let leaf = |value: u64| {
        let table = table(1);
        let result = store(table.slot(5), value);
        (result, seen(table.word(5) != 0))
    };
    check("l1.own-frame-writable", (0, true), || {
        leaf(Frame::take().entry(WRITABLE))
    });
    check(
        "l1.not-present-holds-anything",
        (0, 0x7fff_ffff_ffff_fffe),
        || {
            let table = table(1);
            let result = store(table.slot(5), 0x7fff_ffff_ffff_fffe);
            (result, seen(table.word(5)))
        },
    );
    check("l1.itself-read-only", 0, || {
        let table = table(1);
        store(table.slot(5), table.entry(PRESENT))
    });
    check("l1.itself-writable", (EBUSY, 0), || {
        let table = table(1);
        (
            store(table.slot(5), table.entry(WRITABLE)),
            seen(table.word(5)),
        )
    });
    check("l1.other-table-writable", (EBUSY, false), || {
        leaf(table(1).entry(WRITABLE))
    });
    check("l1.other-table-read-only", (0, true), || {
        leaf(table(2).entry(PRESENT))
    });
    check("l1.root-writable", (EBUSY, false), || {
        leaf(root().map_or(0, |root| root.0) << 12 | WRITABLE)
    });
    check("l1.no-such-frame", (EPERM, false), || {
        leaf(0xf_ffff_ffff_f000 & !0xff_0000_0000_0000 | PRESENT)
    });
    check("l1.frame-number-all-ones", (EINVAL, false), || {
        leaf(0x000f_ffff_ffff_f000 | PRESENT)
    });
    check("l1.error-keeps-old-entry", (EBUSY, true), || {
        let (table, data) = (table(1), Frame::take());
        table.store(0, data.entry(PRESENT));
        let result = store(table.slot(0), table.entry(WRITABLE));
        (
            result,
            seen(table.word(0) >> 12 & 0xff_ffff_ffff == data.mfn),
        )
    });
    check("l1.cleared-entry-frees-the-type", (0, 0), || {
        // A writable entry holds the frame's type: it cannot be pinned until the entry is gone.
        let (table, data) = (table(1), blank());
        table.store(0, data.entry(WRITABLE));
        let result = store(table.slot(0), 0);
        let pinned = prepare(MMUEXT_OP, &[address_of(&[0, data.mfn, 0]), 1, 0, SELF]);
        (result, seen(pinned))
    });
    check(
        "l1.read-only-to-writable-takes-the-type",
        (0, EINVAL),
        || {
            let (table, data) = (table(1), blank());
            table.store(0, data.entry(PRESENT));
            let result = store(table.slot(0), data.entry(WRITABLE));
            let pinned = prepare(MMUEXT_OP, &[address_of(&[0, data.mfn, 0]), 1, 0, SELF]);
            (result, seen(pinned))
        },
    );
}

fn leaf_bits() {
    let bits = |flags: u64, mask: u64| {
        let (table, data) = (table(1), Frame::take());
        let result = store(table.slot(5), data.entry(flags));
        (result, seen(table.word(5) & mask))
    };
    check(
        "l1-bits.kernel-page-is-marked",
        (0, GUEST_KERNEL | 4),
        || bits(PRESENT, GUEST_KERNEL | 4),
    );
    check("l1-bits.user-page-is-global", (0, GLOBAL | 4), || {
        bits(PRESENT | 4, GLOBAL | 4 | GUEST_KERNEL)
    });
    check("l1-bits.user-and-mark-stay", (0, GUEST_KERNEL | 4), || {
        bits(PRESENT | 4 | GUEST_KERNEL, GLOBAL | 4 | GUEST_KERNEL)
    });
    check("l1-bits.available-low", (0, 0xe00), || {
        bits(PRESENT | 0xe00, 0xe00)
    });
    check("l1-bits.available-high", (0, 0x3fe << 52), || {
        bits(PRESENT | 0x3fe << 52, 0x3fe << 52)
    });
    check("l1-bits.no-execute", (0, NO_EXECUTE), || {
        bits(PRESENT | NO_EXECUTE, NO_EXECUTE)
    });
    check("l1-bits.accessed-dirty", (0, 0x60), || {
        bits(PRESENT | 0x60, 0x60)
    });
    if role() == Role::Ordinary {
        check("l1-bits.write-through", (EINVAL, 0), || {
            bits(PRESENT | 8, 8)
        });
        check("l1-bits.cache-disable", (EINVAL, 0), || {
            bits(PRESENT | 16, 16)
        });
        check("l1-bits.pat", (EINVAL, 0), || bits(PRESENT | LARGE, LARGE));
    } else {
        skip("l1-bits.write-through", "the first domain has devices");
        skip("l1-bits.cache-disable", "the first domain has devices");
        skip("l1-bits.pat", "the first domain has devices");
    }
    check(
        "l1-bits.change-of-flags-keeps-frame",
        (0, NO_EXECUTE | 0xe00),
        || {
            let (table, data) = (table(1), Frame::take());
            table.store(0, data.entry(PRESENT));
            let result = store(table.slot(0), data.entry(PRESENT | NO_EXECUTE | 0xe00));
            (result, seen(table.word(0) & (NO_EXECUTE | 0xe00)))
        },
    );
}

fn upper_entries() {
    check("l2.empty-table", (0, 4), || {
        let (upper, lower) = (table(2), blank());
        let result = store(upper.slot(0), lower.entry(PRESENT));
        (result, seen(upper.word(0) & 4))
    });
    check("l2.takes-the-lower-type", (0, EBUSY), || {
        let (upper, lower) = (table(2), blank());
        let result = store(upper.slot(0), lower.entry(TABLE));
        let writable = prepare(
            hypercall_abi::number::UPDATE_VA_MAPPING,
            &[lower.address, lower.entry(WRITABLE), 0],
        );
        (result, seen(writable))
    });
    check("l2.frame-mapped-writable", EINVAL, || {
        let (upper, data) = (table(2), Frame::take());
        store(upper.slot(0), data.entry(TABLE))
    });
    check("l2.table-of-another-level", EINVAL, || {
        let (upper, other) = (table(2), table(3));
        store(upper.slot(0), other.entry(TABLE))
    });
    check("l2.no-such-frame", EINVAL, || {
        store(table(2).slot(0), NO_FRAME << 12 | TABLE)
    });
    check("l2.global", EINVAL, || {
        let (upper, lower) = (table(2), blank());
        store(upper.slot(0), lower.entry(TABLE | GLOBAL))
    });
    check("l2.large", EINVAL, || {
        store(table(2).slot(0), Frame::take().entry(TABLE | LARGE))
    });
    check("l2.cache-bits", [EINVAL; 2], || {
        let (upper, lower) = (table(2), blank());
        [8, 16].map(|bit| store(upper.slot(0), lower.entry(TABLE | bit)))
    });
    check("l2.available-bits", (0, 0xe00 | 0x7ff << 52), || {
        let (upper, lower) = (table(2), blank());
        let bits = 0xe00 | 0x7ff << 52;
        let result = store(upper.slot(0), lower.entry(TABLE | bits));
        (result, seen(upper.word(0) & bits))
    });
    check(
        "l2.not-present-holds-anything",
        (0, 0x1234_5678_9abc_def0),
        || {
            let upper = table(2);
            (
                store(upper.slot(0), 0x1234_5678_9abc_def0),
                seen(upper.word(0)),
            )
        },
    );
    check("l2.entry-of-a-bad-table", (EBUSY, 0), || {
        // The entry that maps the table itself writable is found when the table gets its type.
        let (upper, lower) = (table(2), Frame::take());
        lower.set_word(7, lower.entry(WRITABLE));
        let lower = lower.read_only();
        (
            store(upper.slot(0), lower.entry(TABLE)),
            seen(upper.word(0)),
        )
    });
    check("l2.linear", 0, || {
        let upper = table(2);
        store(upper.slot(0), upper.entry(PRESENT))
    });
    check("l2.linear-writable", EINVAL, || {
        let upper = table(2);
        store(upper.slot(0), upper.entry(TABLE))
    });
    check("l3.large", EINVAL, || {
        store(table(3).slot(0), Frame::take().entry(TABLE | LARGE))
    });
    check("l3.global", EINVAL, || {
        store(table(3).slot(0), blank().entry(TABLE | GLOBAL))
    });
    check("l3.empty-table", (0, 4), || {
        let (upper, lower) = (table(3), blank());
        let result = store(upper.slot(511), lower.entry(PRESENT));
        (result, seen(upper.word(511) & 4))
    });
    check("l4.empty-table", (0, 4), || {
        let (upper, lower) = (table(4), blank());
        let result = store(upper.slot(272), lower.entry(PRESENT));
        (result, seen(upper.word(272) & 4))
    });
    check("l4.bit-7", EINVAL, || {
        store(table(4).slot(0), blank().entry(TABLE | LARGE))
    });
    check("l4.slots-of-the-hypervisor", [EINVAL; 3], || {
        let root = table(4);
        [256, 260, 271].map(|slot| store(root.slot(slot), 0))
    });
    check("l4.slots-beside-the-hypervisor", [0; 2], || {
        let root = table(4);
        let lower = [blank(), blank()];
        [
            store(root.slot(255), lower[0].entry(TABLE)),
            store(root.slot(272), lower[1].entry(TABLE)),
        ]
    });
}

fn pins() {
    for (level, name) in [(1, "pin.l1"), (2, "pin.l2"), (3, "pin.l3"), (4, "pin.l4")] {
        check(name, (0, EBUSY), || {
            let page = blank();
            let result = pin(level, page.mfn);
            let writable = prepare(
                hypercall_abi::number::UPDATE_VA_MAPPING,
                &[page.address, page.entry(WRITABLE), 0],
            );
            (result, seen(writable))
        });
    }
    check("pin.twice", EINVAL, || pin(1, table(1).mfn));
    check("pin.other-level", [EINVAL; 2], || {
        [2, 4].map(|level| pin(level, table(1).mfn))
    });
    check("pin.frame-mapped-writable", EINVAL, || {
        pin(1, Frame::take().mfn)
    });
    check("pin.frame-that-is-not-own", EINVAL, || pin(1, NO_FRAME));
    check("pin.table-in-use", 0, || {
        let (upper, lower) = (table(2), blank());
        upper.store(0, lower.entry(TABLE));
        pin(1, lower.mfn)
    });
    check("pin.bad-contents", EINVAL, || {
        let page = Frame::take();
        page.set_word(0, Frame::take().entry(TABLE));
        pin(2, page.read_only().mfn)
    });
    check("pin.bad-contents-leave-no-trace", (EINVAL, 0), || {
        let (page, lower) = (Frame::take(), blank());
        page.set_word(0, lower.entry(TABLE));
        page.set_word(1, Frame::take().entry(TABLE));
        let result = pin(2, page.read_only().mfn);
        (result, seen(page.remap(WRITABLE) | lower.remap(WRITABLE)))
    });
    check("pin.marks-entries", (0, GUEST_KERNEL | 4), || {
        let (page, data) = (Frame::take(), Frame::take());
        page.set_word(0, data.entry(PRESENT));
        let result = pin(1, page.read_only().mfn);
        (result, seen(page.word(0) & (GUEST_KERNEL | 4)))
    });
    check("pin.l4-hides-slots-of-the-hypervisor", (0, true), || {
        let page = Frame::take();
        page.set_word(260, 0x1234_5000 | TABLE);
        let result = pin(4, page.read_only().mfn);
        (
            result,
            seen(page.word(260) >> 12 & 0xff_ffff_ffff != 0x1_2345),
        )
    });
    check("unpin.frees-the-type", (0, 0), || {
        let page = table(1);
        let result = extended(4, page.mfn, 0);
        (result, seen(page.remap(WRITABLE)))
    });
    check("unpin.not-pinned", EINVAL, || {
        extended(4, Frame::take().mfn, 0)
    });
    check("unpin.twice", EINVAL, || {
        let page = table(1);
        page.unpin();
        extended(4, page.mfn, 0)
    });
    check("unpin.frame-that-is-not-own", EINVAL, || {
        extended(4, NO_FRAME, 0)
    });
    check("unpin.used-table-stays", (0, EBUSY), || {
        let (upper, lower) = (table(2), table(1));
        upper.store(0, lower.entry(TABLE));
        let result = extended(4, lower.mfn, 0);
        let writable = prepare(
            hypercall_abi::number::UPDATE_VA_MAPPING,
            &[lower.address, lower.entry(WRITABLE), 0],
        );
        (result, seen(writable))
    });
    check("unpin.tree-goes-whole", (0, 0), || {
        let (upper, lower) = (table(2), blank());
        upper.store(0, lower.entry(TABLE));
        let result = extended(4, upper.mfn, 0);
        // A demotion may end with the next call.
        (result, seen(lower.remap(WRITABLE)))
    });
    check("type.data-after-table", (0, 0x99), || {
        let page = table(3);
        page.unpin();
        page.remap(WRITABLE);
        page.set_word(0, 0x99);
        (
            call(MMU_UPDATE, &[UNMAPPED, 0, 0, SELF]),
            seen(page.word(0)),
        )
    });
}

fn roots() {
    let kernel = root().map_or(0, |root| root.0);
    check("root.same-again", 0, || extended(5, kernel, 0));
    check("root.not-a-table", EINVAL, || {
        extended(5, Frame::take().mfn, 0)
    });
    check("root.frame-that-is-not-own", EINVAL, || {
        extended(5, NO_FRAME, 0)
    });
    check("root.table-of-another-level", EINVAL, || {
        extended(5, table(3).mfn, 0)
    });
    check("user-root.set-and-removed", (0, 0), || {
        let user = table(4);
        (extended(15, user.mfn, 0), extended(15, 0, 0))
    });
    check("user-root.holds-the-type", (0, EBUSY), || {
        let user = table(4);
        let result = extended(15, user.mfn, 0);
        user.unpin();
        let writable = prepare(
            hypercall_abi::number::UPDATE_VA_MAPPING,
            &[user.address, user.entry(WRITABLE), 0],
        );
        prepare(MMUEXT_OP, &[address_of(&[15, 0, 0]), 1, 0, SELF]);
        (result, seen(writable))
    });
    check("user-root.not-a-table", EINVAL, || {
        extended(15, Frame::take().mfn, 0)
    });
    check("user-root.frame-that-is-not-own", EINVAL, || {
        extended(15, NO_FRAME, 0)
    });
}

fn flushes() {
    let mask = [u64::MAX];
    let vcpus = address_of(&mask);
    check("flush.local", 0, || extended(6, 0, 0));
    check("flush.page-local", 0, || extended(7, 0x1000, 0));
    check("flush.page-local-not-canonical", 0, || {
        extended(7, NOT_CANONICAL, 0)
    });
    check("flush.multi", 0, || extended(8, 0, vcpus));
    check("flush.multi-mask-fault", EINVAL, || {
        extended(8, 0, UNMAPPED)
    });
    check("flush.multi-mask-of-hypervisor", EINVAL, || {
        extended(8, 0, HYPERVISOR)
    });
    check("flush.page-multi", 0, || extended(9, 0x1000, vcpus));
    check("flush.page-multi-mask-fault", EINVAL, || {
        extended(9, 0x1000, UNMAPPED)
    });
    check("flush.page-multi-not-canonical", 0, || {
        extended(9, NOT_CANONICAL, vcpus)
    });
    check("flush.all", 0, || extended(10, 0, 0));
    check("flush.page-all", 0, || extended(11, 0x1000, 0));
    check("flush.page-all-not-canonical", 0, || {
        extended(11, NOT_CANONICAL, 0)
    });
    check("flush.cache", unless_first(0, EACCES), || {
        extended(12, 0, 0)
    });
    check("flush.cache-global", unless_first(0, EINVAL), || {
        extended(18, 0, 0)
    });
}

fn contents() {
    check("clear_page.zeroes", (0, [0; 2]), || {
        let page = Frame::take();
        page.set_word(0, 1);
        page.set_word(511, 2);
        let result = extended(16, page.mfn, 0);
        (result, seen([page.word(0), page.word(511)]))
    });
    check("clear_page.table", EINVAL, || extended(16, table(1).mfn, 0));
    check("clear_page.frame-that-is-not-own", EINVAL, || {
        extended(16, NO_FRAME, 0)
    });
    check("copy_page.copies", (0, [5, 6]), || {
        let (from, to) = (Frame::take(), Frame::take());
        from.set_word(0, 5);
        from.set_word(511, 6);
        let result = extended(17, to.mfn, from.mfn);
        (result, seen([to.word(0), to.word(511)]))
    });
    check("copy_page.from-a-table", (0, 0x7000), || {
        let (from, to) = (table(1), Frame::take());
        from.store(9, 0x7000);
        let result = extended(17, to.mfn, from.mfn);
        (result, seen(to.word(9)))
    });
    check("copy_page.to-a-table", EINVAL, || {
        extended(17, table(1).mfn, Frame::take().mfn)
    });
    check("copy_page.onto-itself", (0, 5), || {
        let page = Frame::take();
        page.set_word(0, 5);
        (extended(17, page.mfn, page.mfn), seen(page.word(0)))
    });
    check("copy_page.from-a-frame-that-is-not-own", EINVAL, || {
        extended(17, Frame::take().mfn, NO_FRAME)
    });
    check("copy_page.to-a-frame-that-is-not-own", EINVAL, || {
        extended(17, NO_FRAME, Frame::take().mfn)
    });
}

fn refused() {
    check("mark_super", EOPNOTSUPP, || {
        extended(19, Frame::take().mfn, 0)
    });
    check("unmark_super", EOPNOTSUPP, || {
        extended(20, Frame::take().mfn, 0)
    });
}
