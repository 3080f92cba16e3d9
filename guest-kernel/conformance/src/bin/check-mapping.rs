//! `update_va_mapping`, the table from frames to pages, the hypervisor's addresses, and stores into page tables.
#![no_std]
#![no_main]

use guest_conformance::errno::{EACCES, EBUSY, EFAULT, EINVAL, EPERM, ESRCH};
use guest_conformance::fixture::{FLUSH, Frame, PRESENT, TABLE, WRITABLE, own_number, read};
use guest_conformance::instruction::{Outcome, catch, fault_of, run};
use guest_conformance::{
    HYPERVISOR, NO_FRAME, NOBODY, NOT_CANONICAL, Role, SELF, UNMAPPED, address_of, call, check,
    finish, instruction, prepare, role, seen, skip, start, unless_first,
};
use guest_kernel::paging::root;
use guest_kernel::start::{Boot, boot_info};
use hypercall_abi::number::{
    MMU_UPDATE, UPDATE_VA_MAPPING, UPDATE_VA_MAPPING_OTHERDOMAIN, VM_ASSIST,
};

guest_kernel::entry!(main);

/// Where the table from frames to pages is.
const M2P: u64 = 0xffff_8000_0000_0000;
/// What stores put into entries that are not present.
const VALUE: u64 = 0x12_3456_7000;

instruction! {
    load: "mov rax, [rcx]";
    store: "mov [rcx], rax";
    store_half: "mov dword ptr [rcx], eax";
    store_byte: "mov byte ptr [rcx], al";
    exchange: "xchg [rcx], rax";
    and: "lock and [rcx], rax";
    or: "lock or [rcx], rax";
    set_bit: "lock bts qword ptr [rcx], 9";
    clear_bit: "lock btr qword ptr [rcx], 9";
    compare: "mov rdx, rax", "mov rax, [rcx]", "lock cmpxchg [rcx], rdx";
    add: "lock xadd [rcx], rax";
    string: "mov rdi, rcx", "cld", "stosq";
    push: "push qword ptr [rcx]", "pop rax";
    execute: "call rcx";
}

fn main(boot: &'static Boot) {
    start(boot);
    changes();
    flushes();
    cache_attributes();
    foreign();
    frames_to_pages();
    hypervisor();
    stores();
    finish()
}

fn map(address: u64, entry: u64, flags: u64) -> i64 {
    call(UPDATE_VA_MAPPING, &[address, entry, flags])
}

fn changes() {
    check("va.read-only", (0, Outcome::Raises(14, 3)), || {
        let page = Frame::take();
        let result = map(page.address, page.entry(PRESENT), FLUSH);
        (result, fault_of(store, 0, page.address))
    });
    check("va.not-present", (0, Outcome::Raises(14, 0)), || {
        let page = Frame::take();
        (map(page.address, 0, FLUSH), fault_of(load, 0, page.address))
    });
    check("va.no-execute", (0, true), || {
        let page = Frame::take();
        page.set_word(0, 0xc3);
        let result = map(page.address, page.entry(PRESENT | 1 << 63), FLUSH);
        let fault = catch(execute, 0, page.address).err();
        (
            result,
            fault.is_some_and(|fault| fault.vector == 14 && fault.error_code & 0x13 == 0x11),
        )
    });
    check("va.executable", (0, Outcome::Gives(7)), || {
        let page = Frame::take();
        // mov eax, 7; ret
        page.set_word(0, 0xc300_0000_07b8);
        let result = map(page.address, page.entry(PRESENT), FLUSH);
        (result, run(execute, 0, page.address))
    });
    check("va.other-frame", (0, 0x77), || {
        let (page, other) = (Frame::take(), Frame::take());
        other.set_word(0, 0x77);
        let result = map(page.address, other.entry(WRITABLE), FLUSH);
        (result, seen(page.word(0)))
    });
    check("va.kernel-page-is-marked", (0, 1 << 52 | 4), || {
        // The entry is looked at in a table of our own that is not part of the tree, so the same rule is asked there.
        let (table, data) = (Frame::take().read_only().pinned(1), Frame::take());
        let result = map(data.address, data.entry(WRITABLE), FLUSH);
        table.store(0, data.entry(PRESENT));
        (result, seen(table.word(0) & (1 << 52 | 4)))
    });
    check("va.table-writable", EBUSY, || {
        let table = Frame::take().read_only().pinned(1);
        map(table.address, table.entry(WRITABLE), FLUSH)
    });
    check("va.root-writable", EBUSY, || {
        let page = Frame::take();
        map(
            page.address,
            root().map_or(0, |root| root.0) << 12 | WRITABLE,
            FLUSH,
        )
    });
    check("va.no-such-frame", EPERM, || {
        map(Frame::take().address, 0xffff_ffff_f000 | PRESENT, FLUSH)
    });
    check("va.frame-number-all-ones", EINVAL, || {
        map(
            Frame::take().address,
            0x000f_ffff_ffff_f000 | PRESENT,
            FLUSH,
        )
    });
    check("va.refused-keeps-old", (EBUSY, 0x55), || {
        let (page, table) = (Frame::take(), Frame::take().read_only().pinned(1));
        page.set_word(0, 0x55);
        let result = map(page.address, table.entry(WRITABLE), FLUSH);
        (result, seen(page.word(0)))
    });
    check("va.no-table", EINVAL, || map(0x7000_0000_0000, 0, 0));
    check("va.address-of-hypervisor", [EINVAL; 3], || {
        [M2P, HYPERVISOR, 0xffff_87ff_ffff_f000].map(|address| map(address, 0, 0))
    });
    check("va.not-canonical", EINVAL, || map(NOT_CANONICAL, 0, 0));
    check(
        "va.address-inside-page",
        (0, Outcome::Raises(14, 0)),
        || {
            let page = Frame::take();
            (
                map(page.address + 0x123, 0, FLUSH),
                fault_of(load, 0, page.address),
            )
        },
    );
    check("va.shared-page", (0, true), || {
        let shared = boot_info().map_or(0, |boot| boot.start_info().shared_info);
        let page = Frame::take();
        let result = map(page.address, shared | WRITABLE, FLUSH);
        let shows = page.word(7) != 0;
        page.remap(WRITABLE);
        (result, seen(shows))
    });
}

/// Memory is write-back for everybody; only of a page that the hypervisor shares is another wish refused.
fn cache_attributes() {
    if role() == Role::Ordinary {
        skip(
            "cache-disable.of-a-shared-frame",
            "no domain without devices may",
        );
        return;
    }
    check("cache-disable.of-a-shared-frame", [EACCES; 2], || {
        let shared = boot_info().map_or(0, |boot| boot.start_info().shared_info);
        let (entry, window) = (shared & !0xfff | PRESENT | 16, Frame::take());
        window.unmap();
        let table = Frame::take().read_only().pinned(1);
        [
            map(window.address, entry, 0),
            call(
                MMU_UPDATE,
                &[address_of(&[table.slot(0), entry]), 1, 0, SELF],
            ),
        ]
    });
}

fn flushes() {
    let mask = [u64::MAX];
    let at = address_of(&mask);
    let page = Frame::take();
    let with = |flags: u64| map(page.address, page.entry(WRITABLE | 0x200), flags);
    check("flush.none", 0, || with(0));
    check("flush.all-local", 0, || with(1));
    check("flush.all-everywhere", 0, || with(5));
    check("flush.all-by-mask", 0, || with(1 | at));
    check("flush.page-local", 0, || with(2));
    check("flush.page-everywhere", 0, || with(6));
    check("flush.page-by-mask", 0, || with(2 | at));
    check("flush.type-3-is-nothing", 0, || with(3));
    check("flush.mask-fault", EFAULT, || with(2 | UNMAPPED));
    check(
        "flush.mask-fault-changes-the-entry",
        (EFAULT, Outcome::Raises(14, 0)),
        || {
            let page = Frame::take();
            let result = map(page.address, 0, 2 | UNMAPPED);
            prepare(
                hypercall_abi::number::MMUEXT_OP,
                &[address_of(&[6_u64, 0, 0]), 1, 0, SELF],
            );
            (result, fault_of(load, 0, page.address))
        },
    );
}

fn foreign() {
    let other = |domain: u64| {
        let page = Frame::take();
        call(
            UPDATE_VA_MAPPING_OTHERDOMAIN,
            &[page.address, page.entry(WRITABLE), FLUSH, domain],
        )
    };
    check("otherdomain.self", 0, || other(SELF));
    check("otherdomain.own-number", ESRCH, || other(own_number()));
    check("otherdomain.no-such-domain", ESRCH, || other(NOBODY));
    if role() == Role::Ordinary {
        check("otherdomain.other-domain", EPERM, || other(0));
        check("otherdomain.io", EPERM, || other(0x7ff1));
    } else {
        skip("otherdomain.other-domain", "there is no other domain");
        skip("otherdomain.io", "the first domain has devices");
    }
}

fn frames_to_pages() {
    check("m2p.own-frame", true, || {
        let page = Frame::take();
        let pages = boot_info().map_or(0, Boot::pages);
        seen(read(M2P + 8 * page.mfn) < pages)
    });
    check("m2p.shared-page-has-none", u64::MAX, || {
        let shared = boot_info().map_or(0, |boot| boot.start_info().shared_info);
        seen(read(M2P + 8 * (shared >> 12)))
    });
    check("m2p.cannot-be-written", Outcome::Raises(14, 3), || {
        fault_of(store, 0, M2P + 8 * Frame::take().mfn)
    });
    check("m2p.cannot-be-executed", true, || {
        let fault = catch(execute, 0, M2P + 8 * Frame::take().mfn).err();
        fault.is_some_and(|fault| fault.vector == 14 && fault.error_code & 0x10 != 0)
    });
    check("m2p.frames-of-others-read-as-something", true, || {
        // Xen shows all entries, others none but one's own: neither may fault where there is RAM.
        catch(load, 0, M2P + 8).is_ok()
    });
}

fn hypervisor() {
    let vector = |instruction, address| {
        catch(instruction, 0, address)
            .err()
            .map_or(0, |fault| fault.vector)
    };
    check("hypervisor.load", [14; 3], || {
        [0xffff_8040_0000_0000, HYPERVISOR, 0xffff_87ff_ffff_f000]
            .map(|address| vector(load, address))
    });
    check("hypervisor.store", [14; 3], || {
        [0xffff_8040_0000_0000, HYPERVISOR, 0xffff_87ff_ffff_f000]
            .map(|address| vector(store, address))
    });
    check("hypervisor.execute", 14, || vector(execute, HYPERVISOR));
    check("hypervisor.fault-tells-the-address", true, || {
        catch(load, 0, HYPERVISOR + 0x18).is_err_and(|fault| fault.address == HYPERVISOR + 0x18)
    });
    check(
        "hypervisor.last-guest-address-below",
        Outcome::Raises(14, 0),
        || fault_of(load, 0, 0x7fff_ffff_fff0),
    );
    check("hypervisor.not-canonical", Outcome::Raises(13, 0), || {
        fault_of(load, 0, NOT_CANONICAL)
    });
}

/// Stores into a table that is part of the kernel's tree, at an entry of its own.
fn stores() {
    // The table that maps a page is not known to us: so the kernel's tree gets a table of ours, through a root slot.
    let tables = [4, 3, 2, 1].map(|_| Frame::take().read_only());
    let kernel = root().map_or(0, |root| root.0);
    let [l3, l2, l1, data] = tables;
    assert!(
        l2.pinned(2).store(0, l1.entry(TABLE)) == 0,
        "an L2 takes an L1"
    );
    assert!(
        l3.pinned(3).store(0, l2.entry(TABLE)) == 0,
        "an L3 takes an L2"
    );
    let slot = [kernel << 12 | (8 * 300), l3.entry(TABLE)];
    prepare(MMU_UPDATE, &[address_of(&slot), 1, 0, SELF]);
    let entry = l1.address + 8 * 5;
    check(
        "table-store.without-assist",
        unless_first(Outcome::Gives(0), Outcome::Raises(14, 3)),
        || fault_of(store, VALUE, entry),
    );
    check(
        "table-store.upper-table",
        (0, Outcome::Raises(14, 3)),
        || {
            let on = call(VM_ASSIST, &[0_u64, 2]);
            (on, fault_of(store, VALUE, l2.address + 8))
        },
    );
    prepare(VM_ASSIST, &[0_u64, 2]);
    let by = |instruction, before: u64, rax: u64| {
        l1.store(5, before);
        let outcome = fault_of(instruction, rax, entry);
        (outcome, seen(l1.word(5)))
    };
    let done = Outcome::Gives(0);
    check("table-store.mov", (done, VALUE), || by(store, 0, VALUE));
    check("table-store.mov-half", (done, 0x3456_7000), || {
        by(store_half, 0, VALUE)
    });
    check("table-store.mov-byte", (done, 0x80), || {
        by(store_byte, 0, 0x80)
    });
    check("table-store.xchg", (done, VALUE), || {
        by(exchange, 0x8000, VALUE)
    });
    check("table-store.xchg-gives-old", Outcome::Gives(0x8000), || {
        l1.store(5, 0x8000);
        run(exchange, VALUE, entry)
    });
    check("table-store.and", (done, 0x5000), || {
        by(and, 0x7000, 0x5000)
    });
    check("table-store.or", (done, 0x7000), || by(or, 0x5000, 0x2000));
    check("table-store.bts", (done, 0x5200), || by(set_bit, 0x5000, 0));
    check("table-store.btr", (done, 0x5000), || {
        by(clear_bit, 0x5200, 0)
    });
    check("table-store.cmpxchg", (done, VALUE), || {
        by(compare, 0x5000, VALUE)
    });
    check("table-store.xadd", (done, 0x7000), || {
        by(add, 0x5000, 0x2000)
    });
    check("table-store.stos", (done, VALUE), || {
        by(string, 0x5000, VALUE)
    });
    check(
        "table-store.present-entry-is-checked",
        (done, 1 << 52 | 4),
        || {
            l1.store(5, 0);
            let outcome = fault_of(store, data.entry(PRESENT), entry);
            (outcome, seen(l1.word(5) & (1 << 52 | 4)))
        },
    );
    check(
        "table-store.bad-entry-faults",
        (Outcome::Raises(14, 3), 0),
        || by(store, 0, l1.entry(WRITABLE)),
    );
    if role() == Role::Ordinary {
        check(
            "table-store.foreign-frame-faults",
            (Outcome::Raises(14, 3), 0),
            || by(store, 0, NO_FRAME << 12 | PRESENT),
        );
    } else {
        skip(
            "table-store.foreign-frame-faults",
            "the first domain may map devices",
        );
    }
    check(
        "table-store.loads-are-plain",
        Outcome::Gives(0x5000),
        || {
            l1.store(5, 0x5000);
            run(push, 0, entry)
        },
    );
    check(
        "table-store.assist-off-again",
        (0, unless_first(Outcome::Gives(0), Outcome::Raises(14, 3))),
        || {
            let off = call(VM_ASSIST, &[1_u64, 2]);
            (off, fault_of(store, VALUE, entry))
        },
    );
}
