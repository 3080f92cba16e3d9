//! Entries of page tables in depth: bits that are kept, added or refused at each level, errors that come up from below, roots that
//! change, and stores of a kernel into its own L1 tables.
#![no_std]
#![no_main]

use guest_conformance::errno::{EBUSY, EINVAL, EPERM};
use guest_conformance::fixture::{Frame, PRESENT, TABLE, WRITABLE, read};
use guest_conformance::instruction::{GENERAL_PROTECTION, Outcome, catch, fault_of, run};
use guest_conformance::{
    NO_FRAME, SELF, address_of, call, check, finish, instruction, prepare, seen, start,
};
use guest_kernel::paging::root;
use guest_kernel::start::Boot;
use hypercall_abi::number::{MMU_UPDATE, MMUEXT_OP, SET_GDT, UPDATE_VA_MAPPING, VM_ASSIST};

guest_kernel::entry!(main);

const USER: u64 = 1 << 2;
const ACCESSED: u64 = 1 << 5;
const DIRTY: u64 = 1 << 6;
const LARGE: u64 = 1 << 7;
const GLOBAL: u64 = 1 << 8;
/// What the hypervisor marks pages of a guest's kernel with.
const GUEST_KERNEL: u64 = 1 << 52;
const NO_EXECUTE: u64 = 1 << 63;
/// Upper levels of tables.
const UPPER: [u64; 3] = [2, 3, 4];

fn main(boot: &'static Boot) {
    start(boot);
    leaves();
    uppers();
    from_below();
    special();
    roots();
    stores();
    finish()
}

fn store(place: u64, value: u64) -> i64 {
    call(MMU_UPDATE, &[address_of(&[place, value]), 1, 0, SELF])
}

fn extended(command: u64, first: u64, second: u64) -> i64 {
    let list = [command, first, second];
    call(MMUEXT_OP, &[address_of(&list), 1, 0, SELF])
}

fn blank() -> Frame {
    Frame::take().read_only()
}

fn table(level: u64) -> Frame {
    blank().pinned(level)
}

fn leaves() {
    check("l1.writable-to-read-only-frees-the-type", (0, 0), || {
        let (table, data) = (table(1), blank());
        table.store(0, data.entry(WRITABLE));
        let result = store(table.slot(0), data.entry(PRESENT));
        let pinned = prepare(MMUEXT_OP, &[address_of(&[0, data.mfn, 0]), 1, 0, SELF]);
        (result, seen(pinned))
    });
    check("l1.frame-to-frame", (0, [0, EINVAL]), || {
        let (table, first, second) = (table(1), blank(), blank());
        table.store(0, first.entry(WRITABLE));
        let result = store(table.slot(0), second.entry(WRITABLE));
        let pin = |frame: Frame| prepare(MMUEXT_OP, &[address_of(&[0, frame.mfn, 0]), 1, 0, SELF]);
        (result, seen([pin(first), pin(second)]))
    });
    check("l1.preserve-of-an-absent-entry", (0, 0x60), || {
        let (table, data) = (table(1), Frame::take());
        table.store(0, data.entry(PRESENT | ACCESSED | DIRTY));
        let result = store(table.slot(0) | 2, 0);
        (result, seen(table.word(0)))
    });
    check("l1.preserve-another-frame", (0, 0x60), || {
        let (table, data, other) = (table(1), Frame::take(), Frame::take());
        table.store(0, data.entry(PRESENT | ACCESSED | DIRTY));
        let result = store(table.slot(0) | 2, other.entry(PRESENT));
        (result, seen(table.word(0) & 0x60))
    });
    let after = |before: u64, value: u64, mask: u64| {
        let (table, data) = (table(1), Frame::take());
        table.store(0, data.entry(before));
        let result = store(table.slot(0), data.entry(value));
        (result, seen(table.word(0) & mask))
    };
    let all = USER | GLOBAL | GUEST_KERNEL;
    check(
        "l1.kernel-page-that-is-global",
        (0, GLOBAL | GUEST_KERNEL | USER),
        || after(0, PRESENT | GLOBAL, all),
    );
    check(
        "l1.user-page-becomes-the-kernels",
        (0, USER | GUEST_KERNEL),
        || after(PRESENT | USER, PRESENT, all),
    );
    check(
        "l1.kernel-page-becomes-the-users",
        (0, USER | GLOBAL),
        || after(PRESENT, PRESENT | USER, all),
    );
    check(
        "l1.mark-alone-is-a-kernel-page",
        (0, USER | GUEST_KERNEL),
        || after(0, PRESENT | GUEST_KERNEL, all),
    );
    check("l1.address-over-the-machines", EPERM, || {
        store(table(1).slot(0), 1 << 46 | PRESENT)
    });
    check("l1.own-root-read-only", 0, || {
        let kernel = root().map_or(0, |root| root.0);
        store(table(1).slot(0), kernel << 12 | PRESENT)
    });
    check("l1.bits-beside-the-error", (EBUSY, 0), || {
        let (table, other) = (table(1), table(1));
        let result = store(table.slot(0), other.entry(WRITABLE | NO_EXECUTE | 0xe00));
        (result, seen(table.word(0)))
    });
    check("l1.same-value-again", (0, true), || {
        let (table, data) = (table(1), Frame::take());
        table.store(0, data.entry(WRITABLE));
        let before = table.word(0);
        let result = store(table.slot(0), before);
        (result, seen(table.word(0) == before))
    });
    check("data.not-in-a-descriptor-table", (EINVAL, 0), || {
        let page = blank();
        prepare(SET_GDT, &[address_of(&[page.mfn]), 512]);
        let result = store(page.slot(3), 1);
        prepare(SET_GDT, &[0, 0]);
        (result, seen(page.word(3)))
    });
}

/// One answer for each upper level: a table of it, and one below that its entry may point to.
fn each(find: impl Fn(Frame, Frame) -> i64) -> [i64; 3] {
    UPPER.map(|level| find(table(level), blank()))
}

/// The same, with some bits of the entry that was stored.
fn bits(flags: u64, mask: u64) -> [(i64, u64); 3] {
    UPPER.map(|level| {
        let (upper, lower) = (table(level), blank());
        let result = store(upper.slot(0), lower.entry(flags));
        (result, seen(upper.word(0) & mask))
    })
}

fn uppers() {
    check("upper.read-only-is-kept", [(0, 0); 3], || bits(PRESENT, 2));
    check("upper.writable-is-kept", [(0, 2); 3], || bits(WRITABLE, 2));
    check("upper.user-is-added", [(0, USER); 3], || {
        bits(PRESENT, USER)
    });
    check("upper.no-mark-of-the-kernel", [(0, 0); 3], || {
        bits(PRESENT, GUEST_KERNEL)
    });
    check("upper.mark-is-kept", [(0, GUEST_KERNEL); 3], || {
        bits(PRESENT | GUEST_KERNEL, GUEST_KERNEL)
    });
    check("upper.no-execute", [(0, NO_EXECUTE); 3], || {
        bits(PRESENT | NO_EXECUTE, NO_EXECUTE)
    });
    check("upper.accessed-is-kept", [(0, ACCESSED); 3], || {
        bits(PRESENT | ACCESSED, ACCESSED)
    });
    check(
        "upper.accessed-is-added-at-the-top",
        [(0, 0), (0, 0), (0, ACCESSED)],
        || bits(PRESENT, ACCESSED),
    );
    check("upper.dirty-is-kept", [(0, DIRTY); 3], || {
        bits(PRESENT | DIRTY, DIRTY)
    });
    check("upper.available-bits", [(0, 0xe00); 3], || {
        bits(PRESENT | 0xe00, 0xe00)
    });
    for (name, flag) in [
        ("upper.write-through", 1 << 3),
        ("upper.cache-disable", 1 << 4),
        ("upper.large", LARGE),
        ("upper.global", GLOBAL),
    ] {
        check(name, [EINVAL; 3], || {
            each(|upper, lower| store(upper.slot(0), lower.entry(TABLE | flag)))
        });
    }
    check("upper.no-such-frame", [EINVAL; 3], || {
        each(|upper, _| store(upper.slot(0), NO_FRAME << 12 | TABLE))
    });
    check("upper.frame-number-all-ones", [EINVAL; 3], || {
        each(|upper, _| store(upper.slot(0), 0x000f_ffff_ffff_f000 | TABLE))
    });
    check("upper.frame-mapped-writable", [EINVAL; 3], || {
        each(|upper, _| store(upper.slot(0), Frame::take().entry(TABLE)))
    });
    check("upper.table-two-levels-below", [EINVAL; 2], || {
        [3, 4].map(|level| store(table(level).slot(0), table(level - 2).entry(TABLE)))
    });
    check("upper.table-of-its-own-level-writable", [EINVAL; 3], || {
        UPPER.map(|level| store(table(level).slot(0), table(level).entry(TABLE)))
    });
    check("upper.table-above", [EINVAL; 2], || {
        [2, 3].map(|level| store(table(level).slot(0), table(level + 1).entry(TABLE)))
    });
    check("upper.shared-page", [EINVAL; 3], || {
        let shared =
            guest_kernel::start::boot_info().map_or(0, |boot| boot.start_info().shared_info);
        each(|upper, _| store(upper.slot(0), shared & !0xfff | TABLE))
    });
    check("upper.replaced-table-is-free", [(0, 0); 3], || {
        UPPER.map(|level| {
            let (upper, first, second) = (table(level), blank(), blank());
            upper.store(0, first.entry(TABLE));
            let result = store(upper.slot(0), second.entry(TABLE));
            // A demotion may end with the next call.
            prepare(MMU_UPDATE, &[0, 0, 0, SELF]);
            (result, seen(first.remap(WRITABLE)))
        })
    });
    check("upper.same-table-in-two-entries", [(0, EBUSY); 3], || {
        UPPER.map(|level| {
            let (upper, lower) = (table(level), blank());
            upper.store(0, lower.entry(TABLE));
            let result = store(upper.slot(1), lower.entry(TABLE));
            upper.store(0, 0);
            let writable = [lower.address, lower.entry(WRITABLE), 0];
            (result, seen(prepare(UPDATE_VA_MAPPING, &writable)))
        })
    });
    check("upper.change-of-flags-only", [(0, NO_EXECUTE); 3], || {
        UPPER.map(|level| {
            let (upper, lower) = (table(level), blank());
            upper.store(0, lower.entry(TABLE));
            let result = store(upper.slot(0), lower.entry(TABLE | NO_EXECUTE));
            (result, seen(upper.word(0) & NO_EXECUTE))
        })
    });
    check("upper.refused-keeps-the-old", [(EINVAL, true); 3], || {
        UPPER.map(|level| {
            let (upper, lower) = (table(level), blank());
            upper.store(0, lower.entry(TABLE));
            let result = store(upper.slot(0), NO_FRAME << 12 | TABLE);
            (
                result,
                seen(upper.word(0) >> 12 & 0xff_ffff_ffff == lower.mfn),
            )
        })
    });
    check("l4.edges-of-the-hypervisor", [0, EINVAL, EINVAL, 0], || {
        let top = table(4);
        [255, 256, 271, 272].map(|slot| store(top.slot(slot), blank().entry(TABLE)))
    });
    check("l4.hypervisors-slots-by-any-command", [EINVAL; 2], || {
        let top = table(4);
        [2, 3].map(|command| store(top.slot(260) | command, 0))
    });
}

/// A table with one entry, read-only so that it can get its type.
fn holding(slot: u64, entry: u64) -> Frame {
    let page = Frame::take();
    page.set_word(slot, entry);
    page.read_only()
}

fn from_below() {
    check("promotion.bad-entry-last", [EPERM, EBUSY], || {
        let conflict = table(2).entry(WRITABLE);
        [1 << 46 | PRESENT, conflict].map(|bad| {
            let lower = holding(511, bad);
            store(table(2).slot(0), lower.entry(TABLE))
        })
    });
    check("promotion.error-from-two-levels-below", EBUSY, || {
        let conflict = table(2).entry(WRITABLE);
        let l1 = holding(7, conflict);
        let l2 = holding(9, l1.entry(TABLE));
        store(table(3).slot(0), l2.entry(TABLE))
    });
    check(
        "promotion.error-from-three-levels-below",
        (EBUSY, [0; 3]),
        || {
            let conflict = table(2).entry(WRITABLE);
            let l1 = holding(7, conflict);
            let l2 = holding(9, l1.entry(TABLE));
            let l3 = holding(11, l2.entry(TABLE));
            let result = store(table(4).slot(0), l3.entry(TABLE));
            prepare(MMU_UPDATE, &[0, 0, 0, SELF]);
            // All that was given a type on the way is free again.
            (
                result,
                seen([l1, l2, l3].map(|table| table.remap(WRITABLE))),
            )
        },
    );
    check("promotion.by-pin-from-below", EPERM, || {
        let l1 = holding(0, 1 << 46 | PRESENT);
        extended(1, holding(0, l1.entry(TABLE)).mfn, 0)
    });
    check("promotion.whole-tree", (0, [EBUSY; 3]), || {
        let l1 = holding(1, Frame::take().entry(WRITABLE));
        let l2 = holding(2, l1.entry(TABLE));
        let l3 = holding(3, l2.entry(TABLE));
        let result = store(table(4).slot(0), l3.entry(TABLE));
        let writable = |frame: Frame| {
            prepare(
                UPDATE_VA_MAPPING,
                &[frame.address, frame.entry(WRITABLE), 0],
            )
        };
        (result, seen([l1, l2, l3].map(writable)))
    });
    check("promotion.cache-bits-of-a-leaf-below", EINVAL, || {
        // A large page is no leaf: bit 7 there is a cache bit, and its page is no RAM of anybody's.
        let l2 = holding(0, Frame::take().entry(TABLE | LARGE));
        store(table(3).slot(0), l2.entry(TABLE))
    });
    check("promotion.shared-by-two-tables", (0, 0), || {
        let l1 = holding(0, Frame::take().entry(PRESENT));
        let (first, second) = (table(2), table(2));
        (
            store(first.slot(0), l1.entry(TABLE)),
            store(second.slot(0), l1.entry(TABLE)),
        )
    });
}

fn special() {
    let shared =
        guest_kernel::start::boot_info().map_or(0, |boot| boot.start_info().shared_info >> 12);
    check("shared.pin", [EINVAL; 4], || {
        [0, 1, 2, 3].map(|command| extended(command, shared, 0))
    });
    check("shared.as-a-root", [EINVAL; 2], || {
        [5, 15].map(|command| extended(command, shared, 0))
    });
    check("shared.as-a-gdt", EINVAL, || {
        call(SET_GDT, &[address_of(&[shared]), 512])
    });
    check("clear_page.descriptor-table", EINVAL, || {
        let page = blank();
        prepare(SET_GDT, &[address_of(&[page.mfn]), 512]);
        let result = extended(16, page.mfn, 0);
        prepare(SET_GDT, &[0, 0]);
        result
    });
    check("copy_page.to-a-descriptor-table", EINVAL, || {
        let page = blank();
        prepare(SET_GDT, &[address_of(&[page.mfn]), 512]);
        let result = extended(17, page.mfn, Frame::take().mfn);
        prepare(SET_GDT, &[0, 0]);
        result
    });
    check("pin.descriptor-table", [EINVAL; 4], || {
        let page = blank();
        prepare(SET_GDT, &[address_of(&[page.mfn]), 512]);
        let results = [0, 1, 2, 3].map(|command| extended(command, page.mfn, 0));
        prepare(SET_GDT, &[0, 0]);
        results
    });
    check("table-as-a-gdt", EINVAL, || {
        call(SET_GDT, &[address_of(&[table(1).mfn]), 512])
    });
}

instruction! {
    write_cr3: "mov cr3, rax", "xor eax, eax";
    put: "mov [rcx], rax";
    put_word: "mov word ptr [rcx], ax";
    put_constant: "mov qword ptr [rcx], 0x7000";
    add: "add [rcx], rax";
    add_lock: "lock add [rcx], rax";
    subtract: "sub [rcx], rax";
    exclusive: "xor [rcx], rax";
    and_constant: "and qword ptr [rcx], -0x1001";
    or_byte: "or byte ptr [rcx + 1], 0x20";
    complement: "lock btc qword ptr [rcx], 13";
    bit_by_register: "lock bts [rcx], rax";
    move_string: "mov rdi, rcx", "lea rsi, [rip + 2f]", "cld", "movsq", "xor eax, eax", "jmp 3f", "2: .quad 0x7000", "3:";
    store_strings: "mov rdi, rcx", "mov rbx, rcx", "mov ecx, 2", "cld", "rep stosq", "mov rax, rdi", "sub rax, rbx";
    compare_same: "mov rdx, rax", "mov eax, 0x5000", "lock cmpxchg [rcx], rdx", "setz al", "movzx eax, al";
    compare_other: "mov rdx, rax", "mov eax, 0x4000", "lock cmpxchg [rcx], rdx";
    add_flags: "add [rcx], rax", "pushfq", "pop rax", "and eax, 0x8d5";
    exchange_half: "xchg [rcx], eax";
    exchange_byte: "xchg [rcx], al";
    add_back: "lock xadd [rcx], rax";
    increment: "inc byte ptr [rcx + 1]";
    negate: "neg qword ptr [rcx]";
    add_carry: "stc", "adc [rcx], rax";
    shift: "shl qword ptr [rcx], 1";
    pop_there: "push 0x7000", "pop qword ptr [rcx]";
    put_indirect: "lea rdx, [rcx - 16]", "mov rbx, 1", "mov [rdx + rbx * 8 + 8], rax";
    step: "pushfq", "or dword ptr [rsp], 0x100", "popfq", "mov [rcx], rax", "nop", "nop";
}

fn roots() {
    let kernel = root().map_or(0, |root| root.0);
    // Another root that maps all that the kernel's does.
    let copy = || {
        let page = Frame::take();
        let list = [17, page.mfn, kernel];
        prepare(MMUEXT_OP, &[address_of(&list), 1, 0, SELF]);
        page.read_only()
    };
    let back = || prepare(MMUEXT_OP, &[address_of(&[5, kernel, 0]), 1, 0, SELF]);
    check("root.another-is-loaded", (0, EBUSY), || {
        let other = copy();
        let result = extended(5, other.mfn, 0);
        let writable = [other.address, other.entry(WRITABLE), 0];
        let held = prepare(UPDATE_VA_MAPPING, &writable);
        back();
        (result, seen(held))
    });
    check("root.old-one-is-free", (0, 0), || {
        let other = copy();
        prepare(MMUEXT_OP, &[address_of(&[5, other.mfn, 0]), 1, 0, SELF]);
        let result = extended(5, kernel, 0);
        prepare(MMU_UPDATE, &[0, 0, 0, SELF]);
        (result, seen(other.remap(WRITABLE)))
    });
    check("root.by-cr3", (Outcome::Gives(0), EBUSY), || {
        let other = copy();
        let outcome = run(write_cr3, other.mfn << 12, 0);
        let writable = [other.address, other.entry(WRITABLE), 0];
        let held = prepare(UPDATE_VA_MAPPING, &writable);
        back();
        (outcome, seen(held))
    });
    check("root.cr3-low-bits-are-ignored", Outcome::Gives(0), || {
        run(write_cr3, kernel << 12 | 0x18, 0)
    });
    check("root.cr3-of-another-level", GENERAL_PROTECTION, || {
        run(write_cr3, table(3).mfn << 12, 0)
    });
    check("root.bad-contents", (EINVAL, 0), || {
        let page = Frame::take();
        page.set_word(0, NO_FRAME << 12 | TABLE);
        let page = page.read_only();
        let result = extended(5, page.mfn, 0);
        (result, seen(page.remap(WRITABLE)))
    });
    check("root.loaded-one-is-unpinned", (0, 0), || {
        let other = copy().pinned(4);
        prepare(MMUEXT_OP, &[address_of(&[5, other.mfn, 0]), 1, 0, SELF]);
        let result = extended(4, other.mfn, 0);
        // It goes on to be the root.
        let again = prepare(MMUEXT_OP, &[address_of(&[5, other.mfn, 0]), 1, 0, SELF]);
        back();
        (result, seen(again))
    });
    check("user-root.same-as-the-kernels", 0, || {
        let result = extended(15, kernel, 0);
        prepare(MMUEXT_OP, &[address_of(&[15, 0, 0]), 1, 0, SELF]);
        result
    });
    check("user-root.same-again", [0; 2], || {
        let user = table(4);
        let results = [extended(15, user.mfn, 0), extended(15, user.mfn, 0)];
        prepare(MMUEXT_OP, &[address_of(&[15, 0, 0]), 1, 0, SELF]);
        results
    });
    check("user-root.none-twice", [0; 2], || {
        [extended(15, 0, 0), extended(15, 0, 0)]
    });
    check("user-root.removed-is-free", (0, 0), || {
        let user = blank();
        prepare(MMUEXT_OP, &[address_of(&[15, user.mfn, 0]), 1, 0, SELF]);
        let result = extended(15, 0, 0);
        prepare(MMU_UPDATE, &[0, 0, 0, SELF]);
        (result, seen(user.remap(WRITABLE)))
    });
    check(
        "root.pinned-loaded-and-unpinned-in-one-list",
        (0, 0),
        || {
            let other = copy();
            let list = [
                [3, other.mfn, 0],
                [5, other.mfn, 0],
                [5, kernel, 0],
                [4, other.mfn, 0],
            ];
            let result = call(MMUEXT_OP, &[address_of(&list), 4, 0, SELF]);
            prepare(MMU_UPDATE, &[0, 0, 0, SELF]);
            (result, seen(other.remap(WRITABLE)))
        },
    );
}

/// Stores into a table that is part of the kernel's tree, at entries of its own.
fn stores() {
    let [l3, l2, l1] = [3, 2, 1].map(|_| Frame::take().read_only());
    let kernel = root().map_or(0, |root| root.0);
    l2.pinned(2).store(0, l1.entry(TABLE));
    l3.pinned(3).store(0, l2.entry(TABLE));
    let slot = [kernel << 12 | (8 * 301), l3.entry(TABLE)];
    prepare(MMU_UPDATE, &[address_of(&slot), 1, 0, SELF]);
    prepare(VM_ASSIST, &[0_u64, 2]);
    let entry = l1.address + 8 * 5;
    let done = Outcome::Gives(0);
    let fault = Outcome::Raises(14, 3);
    // The instruction at the entry that holds this, with RAX: what it did, and the entry then.
    let by = |instruction: extern "C" fn(u64), before: u64, rax: u64| {
        l1.store(5, before);
        let outcome = fault_of(instruction, rax, entry);
        (outcome, seen(l1.word(5)))
    };
    for (name, instruction, rax, after) in [
        ("store.word", put_word as extern "C" fn(u64), 0x7000, 0x7000),
        ("store.constant", put_constant, 0, 0x7000),
        ("store.add", add, 0x2000, 0x7000),
        ("store.add-locked", add_lock, 0x2000, 0x7000),
        ("store.sub", subtract, 0x1000, 0x4000),
        ("store.xor", exclusive, 0x2000, 0x7000),
        ("store.and-constant", and_constant, 0, 0x4000),
        ("store.or-byte", or_byte, 0, 0x7000),
        ("store.btc", complement, 0, 0x7000),
        ("store.movs", move_string, 0, 0x7000),
        ("store.indexed", put_indirect, 0x7000, 0x7000),
        ("store.xchg-half", exchange_half, 0x7000, 0x7000),
        ("store.xchg-byte", exchange_byte, 0x40, 0x5040),
    ] {
        check(name, (done, after), || by(instruction, 0x5000, rax));
    }
    check("store.by-instructions-outside-the-list", [done; 5], || {
        [increment, negate, add_carry, shift, pop_there]
            .map(|instruction| by(instruction, 0x5000, 0x1fff).0)
    });
    check("store.bit-by-register", (done, 0x5200), || {
        by(bit_by_register, 0x5000, 9)
    });
    check(
        "store.bit-of-the-next-entry",
        (done, [0x5000, 0x5200]),
        || {
            l1.store(5, 0x5000);
            l1.store(6, 0x5000);
            let outcome = fault_of(bit_by_register, 64 + 9, entry);
            (outcome, seen([l1.word(5), l1.word(6)]))
        },
    );
    check(
        "store.two-by-one-instruction",
        (Outcome::Gives(16), [0x7000; 2]),
        || {
            l1.store(5, 0);
            l1.store(6, 0);
            let outcome = run(store_strings, 0x7000, entry);
            (outcome, seen([l1.word(5), l1.word(6)]))
        },
    );
    check(
        "store.cmpxchg-tells-the-flag",
        (Outcome::Gives(1), 0x7000),
        || {
            l1.store(5, 0x5000);
            let outcome = run(compare_same, 0x7000, entry);
            (outcome, seen(l1.word(5)))
        },
    );
    check(
        "store.cmpxchg-of-another-value",
        (Outcome::Gives(0x5000), 0x5000),
        || {
            l1.store(5, 0x5000);
            let outcome = run(compare_other, 0x7000, entry);
            (outcome, seen(l1.word(5)))
        },
    );
    check(
        "store.xadd-gives-the-old",
        (Outcome::Gives(0x5000), 0x7000),
        || {
            l1.store(5, 0x5000);
            let outcome = run(add_back, 0x2000, entry);
            (outcome, seen(l1.word(5)))
        },
    );
    check("store.flags-of-the-sum", Outcome::Gives(0x45), || {
        // 0 and carry, parity: the sum is 2^64.
        l1.store(5, 0x5000);
        run(add_flags, 0x5000_u64.wrapping_neg(), entry)
    });
    check("store.single-step", (Outcome::Raises(1, 0), 0x7000), || {
        let answer = by(step, 0x5000, 0x7000);
        prepare(hypercall_abi::number::SET_DEBUGREG, &[6, 0]);
        answer
    });
    check("store.odd-address-inside", (fault, 0x5000), || {
        l1.store(5, 0x5000);
        l1.store(6, 0);
        let outcome = fault_of(put, 0x7000, entry + 4);
        (outcome, seen(l1.word(5)))
    });
    check("store.word-at-an-odd-address", (fault, 0x5000), || {
        l1.store(5, 0x5000);
        let outcome = fault_of(put_word, 0x7000, entry + 1);
        (outcome, seen(l1.word(5)))
    });
    check("store.takes-the-type", (done, EINVAL), || {
        let data = blank();
        let outcome = by(put, 0, data.entry(WRITABLE)).0;
        let pinned = prepare(MMUEXT_OP, &[address_of(&[0, data.mfn, 0]), 1, 0, SELF]);
        l1.store(5, 0);
        (outcome, seen(pinned))
    });
    check("store.frees-the-type", (done, 0), || {
        let data = blank();
        l1.store(5, data.entry(WRITABLE));
        let outcome = fault_of(put, 0, entry);
        let pinned = prepare(MMUEXT_OP, &[address_of(&[0, data.mfn, 0]), 1, 0, SELF]);
        (outcome, seen(pinned))
    });
    check("store.half-of-a-present-entry", (done, 0xe00), || {
        let data = Frame::take();
        l1.store(5, data.entry(PRESENT));
        let low = (read(l1.address + 40) & 0xffff) | 0xe00;
        let outcome = fault_of(put_word, low, entry);
        let bits = l1.word(5) & 0xe00;
        l1.store(5, 0);
        (outcome, seen(bits))
    });
    check("store.fault-tells-the-address", true, || {
        catch(put, l1.entry(WRITABLE), entry).is_err_and(|fault| seen(fault.address == entry))
    });
}
