//! Two things wrong at once: which of them is told.
#![no_std]
#![no_main]

use guest_conformance::errno::{EACCES, EFAULT, EINVAL, ENOENT, ENOSYS, EOPNOTSUPP, EPERM, ESRCH};
use guest_conformance::fixture::{Frame, PRESENT, WRITABLE, loop_port, own_number, pair, read};
use guest_conformance::fixture::{TABLE, close};
use guest_conformance::{
    HYPERVISOR, IO, NO_FRAME, NOBODY, NOT_CANONICAL, Role, SELF, UNMAPPED, address_of, call, check,
    event, finish, prepare, role, seen, skip, start, unless_first,
};
use guest_kernel::start::Boot;
use hypercall_abi::number::{
    CALLBACK_OP, EVENT_CHANNEL_OP, GRANT_TABLE_OP, MEMORY_OP, MMU_UPDATE, MMUEXT_OP, MULTICALL,
    PHYSDEV_OP, SCHED_OP, SET_DEBUGREG, SET_GDT, UPDATE_VA_MAPPING, UPDATE_VA_MAPPING_OTHERDOMAIN,
    VCPU_OP, XEN_VERSION,
};

guest_kernel::entry!(main);

/// A vCPU that does not exist.
const NO_VCPU: u64 = 1000;
/// A port beyond all that the two-level form has.
const NO_PORT: u64 = 4096;

fn main(boot: &'static Boot) {
    start(boot);
    tables();
    mappings();
    reservations();
    exchanges();
    maps();
    grants();
    copies();
    events();
    vcpus();
    others();
    finish()
}

/// Runs one extended operation for the frames of a domain.
fn extended(words: [u64; 3], foreign: u64) -> i64 {
    call(MMUEXT_OP, &[address_of(&words), 1, 0, foreign])
}

fn tables() {
    let done = 7_u32;
    let at = address_of(&done);
    let count = || seen(read(at & !7) >> (8 * (at & 7)) & 0xffff_ffff);
    for (number, name) in [
        (MMU_UPDATE, "mmu_update.list-of-hypervisor-before-domain"),
        (MMUEXT_OP, "mmuext_op.list-of-hypervisor-before-domain"),
    ] {
        check(name, (EFAULT, 7), || {
            (call(number, &[HYPERVISOR, 1, at, NOBODY]), count())
        });
    }
    for (number, name) in [
        (MMU_UPDATE, "mmu_update.domain-before-list"),
        (MMUEXT_OP, "mmuext_op.domain-before-list"),
    ] {
        check(name, ESRCH, || call(number, &[UNMAPPED, 1, 0, NOBODY]));
    }
    for (number, name) in [
        (MMU_UPDATE, "mmu_update.domain-of-an-empty-list"),
        (MMUEXT_OP, "mmuext_op.domain-of-an-empty-list"),
    ] {
        check(name, ESRCH, || call(number, &[at, 0, 0, NOBODY]));
    }
    for (number, name) in [
        (MMU_UPDATE, "mmu_update.empty-list-of-hypervisor"),
        (MMUEXT_OP, "mmuext_op.empty-list-of-hypervisor"),
    ] {
        check(name, EFAULT, || call(number, &[HYPERVISOR, 0, 0, SELF]));
    }
    check("mmu_update.command-before-frame", [ENOSYS; 4], || {
        [4, 5, 6, 7].map(|command| {
            let list = [NO_FRAME << 12 | command, 0];
            call(MMU_UPDATE, &[address_of(&list), 1, 0, SELF])
        })
    });
    check("mmu_update.tables-of-oneself-by-number", 0, || {
        let data = Frame::take();
        let list = [data.slot(0), 1];
        let foreign = SELF | (own_number() + 1) << 16;
        call(MMU_UPDATE, &[address_of(&list), 1, 0, foreign])
    });
    check("mmu_update.frames-of-io-in-an-upper-table", EINVAL, || {
        let (upper, lower) = (
            Frame::take().read_only().pinned(2),
            Frame::take().read_only(),
        );
        let list = [upper.slot(0), lower.entry(TABLE)];
        call(MMU_UPDATE, &[address_of(&list), 1, 0, IO])
    });
    check(
        "mmu_update.frames-of-io-do-not-matter-to-data",
        (0, 5),
        || {
            let data = Frame::take();
            let list = [data.slot(0), 5];
            let result = call(MMU_UPDATE, &[address_of(&list), 1, 0, IO]);
            (result, seen(data.word(0)))
        },
    );
    check(
        "mmuext_op.right-before-command",
        unless_first(ENOSYS, EPERM),
        || extended([60, 0, 0], IO),
    );
    check("mmuext_op.oneself-before-frame", EPERM, || {
        extended([5, NO_FRAME, 0], IO)
    });
    check("mmuext_op.oneself-before-address", EPERM, || {
        extended([13, 1, 1], IO)
    });
    check("mmuext_op.oneself-before-mask", EPERM, || {
        extended([8, 0, UNMAPPED], IO)
    });
    check("mmuext_op.mask-before-address", EINVAL, || {
        extended([9, NOT_CANONICAL, UNMAPPED], SELF)
    });
    check("mmuext_op.padding-is-ignored", 0, || {
        extended([6 | 0xdead_beef << 32, 0, 0], SELF)
    });
    check("set_gdt.count-before-list", EINVAL, || {
        call(SET_GDT, &[UNMAPPED, 7169])
    });
    check("set_gdt.list-before-frames", EFAULT, || {
        let (page, beside) = Frame::neighbours();
        page.set_word(511, NO_FRAME);
        beside.unmap();
        let result = call(SET_GDT, &[page.address + 4088, 1024]);
        beside.remap(WRITABLE);
        result
    });
    check("set_gdt.no-entry-needs-no-list", 0, || {
        call(SET_GDT, &[UNMAPPED, 0])
    });
}

fn mappings() {
    let map = |address, entry, flags| call(UPDATE_VA_MAPPING, &[address, entry, flags]);
    check("update_va_mapping.address-before-entry", EINVAL, || {
        map(HYPERVISOR, NO_FRAME << 12 | PRESENT, 0)
    });
    check("update_va_mapping.address-before-mask", EINVAL, || {
        map(HYPERVISOR, 0, 2 | UNMAPPED)
    });
    check("update_va_mapping.entry-before-mask", EINVAL, || {
        // A frame number of all ones is nobody's for any domain.
        map(
            Frame::take().address,
            0x000f_ffff_ffff_f000 | PRESENT,
            2 | UNMAPPED,
        )
    });
    let other =
        |address, entry, domain| call(UPDATE_VA_MAPPING_OTHERDOMAIN, &[address, entry, 0, domain]);
    check("otherdomain.domain-before-address", ESRCH, || {
        other(HYPERVISOR, 0, NOBODY)
    });
    if role() == Role::Ordinary {
        check("otherdomain.right-before-address", EPERM, || {
            other(HYPERVISOR, 0, 0)
        });
    } else {
        skip(
            "otherdomain.right-before-address",
            "there is no other domain",
        );
    }
}

fn memory(operation: u64, words: &[u64]) -> i64 {
    call(MEMORY_OP, &[operation, address_of(words)])
}

fn reservations() {
    check(
        "memory_op.start-extent-before-argument",
        [EINVAL; 4],
        || [2, 3, 4, 14].map(|operation| call(MEMORY_OP, &[operation | 1 << 6, UNMAPPED])),
    );
    check("memory_op.counts-start-at-their-extent", [5, 5, 5], || {
        // A start behind the end is all that is told.
        [0, 1, 6].map(|operation| memory(operation | 5 << 6, &[UNMAPPED, 3, 0, SELF]))
    });
    check("memory_op.start-at-the-end", [3, 3, 3], || {
        [0, 1, 6].map(|operation| memory(operation | 3 << 6, &[UNMAPPED, 3, 0, SELF]))
    });
    check(
        "memory_op.start-counts-where-nothing-is-done",
        [1, 1],
        || [0, 6].map(|operation| memory(operation | 1 << 6, &[UNMAPPED, 3, 20, SELF])),
    );
    check("memory_op.start-counts-for-no-domain", [1; 3], || {
        [0, 1, 6].map(|operation| memory(operation | 1 << 6, &[UNMAPPED, 3, 0, NOBODY]))
    });
    check("memory_op.start-counts-without-argument", [1; 3], || {
        [0, 1, 6].map(|operation| call(MEMORY_OP, &[operation | 1 << 6, UNMAPPED]))
    });
    check("memory_op.start-counts-for-too-many", [1; 3], || {
        [0, 1, 6].map(|operation| memory(operation | 1 << 6, &[UNMAPPED, 1 << 26, 0, SELF]))
    });
}

/// An exchange under test: numbers and lists in, out, and how many are done.
fn swap(given: [u64; 4], wanted: [u64; 4], done: u64) -> (i64, u64) {
    let place = [
        given[0], given[1], given[2], given[3], wanted[0], wanted[1], wanted[2], wanted[3], done,
    ];
    let result = call(MEMORY_OP, &[11, address_of(&place)]);
    (result, seen(read(address_of(&place) + 64)))
}

fn exchanges() {
    let list = [0_u64; 2];
    let at = address_of(&list);
    let one = |at, domain| [at, 1, 0, domain];
    check("exchange.order-before-count", (EPERM, 2), || {
        swap([at, 1, 20, SELF], [at, 1, 20, SELF], 2)
    });
    check("exchange.count-before-lists", (EINVAL, 2), || {
        swap(one(HYPERVISOR, SELF), one(HYPERVISOR, SELF), 2)
    });
    check("exchange.all-done-before-lists", (0, 1), || {
        swap(one(HYPERVISOR, SELF), one(HYPERVISOR, SELF), 1)
    });
    check("exchange.domains-before-lists", (EINVAL, 0), || {
        swap(one(HYPERVISOR, SELF), one(HYPERVISOR, NOBODY), 0)
    });
    check(
        "exchange.all-done-of-domains-that-differ",
        (EINVAL, 1),
        || swap(one(at, SELF), one(at, NOBODY), 1),
    );
    check("exchange.lists-before-domain", (EFAULT, 0), || {
        swap(one(HYPERVISOR, NOBODY), one(at, NOBODY), 0)
    });
    check("exchange.domain-before-frames", (ESRCH, 0), || {
        swap(one(UNMAPPED, NOBODY), one(at, NOBODY), 0)
    });
    check("exchange.start-extent-before-argument", EINVAL, || {
        call(MEMORY_OP, &[11 | 1 << 6, UNMAPPED])
    });
    check(
        "exchange.exact-node-before-domain",
        unless_first((ESRCH, 0), (EINVAL, 0)),
        || {
            let exact = (1 << 17 | 1 << 8) << 32;
            swap([at, 1, exact, NOBODY], [at, 1, exact, NOBODY], 0)
        },
    );
}

fn maps() {
    check("add_to_physmap.space-before-domain", ENOSYS, || {
        memory(7, &[NOBODY | 4 << 32, 0, 0])
    });
    check("add_to_physmap.domain-before-space", ESRCH, || {
        memory(7, &[NOBODY | 60 << 32, 0, 0])
    });
    check("add_to_physmap.any-space", [-13; 5], || {
        [0, 1, 2, 5, 60].map(|space| memory(7, &[SELF | space << 32, 0, 0]))
    });
    check(
        "add_to_physmap_batch.space-before-domain",
        EOPNOTSUPP,
        || memory(23, &[NOBODY | 3 << 16 | 1 << 32, 0, 0, 0]),
    );
    check("add_to_physmap_batch.start-extent", [EACCES; 2], || {
        let lists = [0_u64; 3];
        let at = address_of(&lists);
        let place = [SELF | 1 << 32, at, at + 8, at + 16];
        [1, 2].map(|extent| memory(23 | extent << 6, &place))
    });
    check("add_to_physmap_batch.empty", EACCES, || {
        memory(23, &[SELF, UNMAPPED, UNMAPPED, UNMAPPED])
    });
    check("set_memory_map.count-before-domain", EINVAL, || {
        memory(13, &[NOBODY, 1025, UNMAPPED])
    });
    check("set_memory_map.domain-before-entries", ESRCH, || {
        memory(13, &[NOBODY, 1, UNMAPPED])
    });
    check("set_memory_map.entries-of-oneself", EFAULT, || {
        memory(13, &[SELF, 1, UNMAPPED])
    });
    check("get_vnumainfo.padding-before-domain", EINVAL, || {
        memory(26, &[NOBODY | 1 << 16, 0, 0, 0, 0])
    });
    check("acquire_resource.padding-before-domain", EINVAL, || {
        memory(28, &[NOBODY | 1 << 16, 1 | 1 << 32, 0, UNMAPPED])
    });
    check("memory_op.pod-target", [EINVAL; 2], || {
        [16, 17].map(|operation| memory(operation, &[0, 0, 0, 0, SELF]))
    });
    check("memory_op.paging-and-sharing", [ENOSYS; 2], || {
        [20, 22].map(|operation| memory(operation, &[0; 8]))
    });
    check("memory_op.access", unless_first(EPERM, EINVAL), || {
        memory(21, &[0; 8])
    });
    check("memory_op.reserved-device-memory", 0, || {
        let words = [0_u64; 8];
        memory(27, &words)
    });
    check("memory_op.pod-target-of-nobody", [ESRCH; 2], || {
        [16, 17].map(|operation| memory(operation, &[0, 0, 0, 0, NOBODY]))
    });
}

fn low_half(word: u64) -> i64 {
    let [low, high, ..] = word.to_le_bytes();
    i64::from(i16::from_le_bytes([low, high]))
}

fn grants() {
    let grant = |operation: u64, at: u64, count: u64| call(GRANT_TABLE_OP, &[operation, at, count]);
    check("grant_table_op.count-before-operation", EINVAL, || {
        grant(60, UNMAPPED, 1 << 31)
    });
    check("grant_table_op.operation-before-list", ENOSYS, || {
        grant(60, HYPERVISOR, 1)
    });
    check(
        "grant_table_op.empty-list-of-hypervisor",
        [EFAULT; 3],
        || [0, 1, 5].map(|operation| grant(operation, HYPERVISOR, 0)),
    );
    for (operation, name) in [
        (2, "setup_table.count-before-argument"),
        (6, "query_size.count-before-argument"),
        (9, "get_status_frames.count-before-argument"),
    ] {
        check(name, [EINVAL; 2], || {
            [0, 2].map(|count| grant(operation, UNMAPPED, count))
        });
    }
    check("grant_table_op.count-without-a-list", [0; 4], || {
        let version = [1_u64];
        let asked = [SELF];
        [
            grant(8, address_of(&version), 0),
            grant(8, address_of(&version), 5),
            grant(10, address_of(&asked), 0),
            grant(10, address_of(&asked), 5),
        ]
    });
    let map = |flags: u64, reference: u64, domain: u64| {
        let place = [UNMAPPED, flags | reference << 32, domain, 0];
        let result = grant(0, address_of(&place), 1);
        (result, seen(low_half(read(address_of(&place) + 16) >> 16)))
    };
    check("map.kind-before-domain", (0, -3), || {
        map(0, 1 << 20, NOBODY)
    });
    check("map.domain-before-reference", (0, -2), || {
        map(2, 1 << 20, NOBODY)
    });
    check("map.reference-before-address", (0, -3), || {
        map(2, 1 << 20, own_number())
    });
    check("map.entry-before-address", (0, -1), || {
        map(2, 200, own_number())
    });
    let setup = |domain: u64, frames: u64, list: u64| {
        let place = [domain | frames << 32, 0x7fff, list];
        let result = grant(2, address_of(&place), 1);
        (result, seen(low_half(read(address_of(&place) + 8))))
    };
    let list = [0_u64; 8];
    check("setup_table.domain-before-size", (0, -2), || {
        setup(NOBODY, 65, address_of(&list))
    });
    check("setup_table.size-before-list", (0, -1), || {
        setup(SELF, 65, UNMAPPED)
    });
    check("setup_table.list-of-hypervisor-before-size", EFAULT, || {
        setup(SELF, 65, HYPERVISOR).0
    });
    let unmap = |host: u64, device: u64, handle: u64| {
        let place = [host, device, handle | 0x7fff << 32];
        let result = grant(1, address_of(&place), 1);
        (result, seen(low_half(read(address_of(&place) + 16) >> 32)))
    };
    check("unmap.handle-before-addresses", (0, -4), || {
        unmap(HYPERVISOR, 0x1000, 0xffff_fff0)
    });
    let swap = |first: u64, second: u64| {
        let place = [first | second << 32, 0x7fff];
        let result = grant(11, address_of(&place), 1);
        (result, seen(low_half(read(address_of(&place) + 8))))
    };
    check("swap.same-reference-that-is-none", (0, -3), || {
        swap(1 << 20, 1 << 20)
    });
}

fn copies() {
    let own = own_number();
    let (from, to) = (Frame::take(), Frame::take());
    // Number or frame, domain, offset of both sides, length, flags.
    let copy = |source: [u64; 3], target: [u64; 3], length: u64, flags: u64| {
        let place = [
            source[0],
            source[1] | source[2] << 16,
            target[0],
            target[1] | target[2] << 16,
            length | flags << 16 | 0x7fff << 32,
        ];
        let result = call(GRANT_TABLE_OP, &[5, address_of(&place), 1]);
        (result, seen(low_half(read(address_of(&place) + 32) >> 32)))
    };
    let mine = [to.mfn, SELF, 0];
    check("copy.domain-before-right", (0, -2), || {
        copy([from.mfn, NOBODY, 0], mine, 8, 0)
    });
    check("copy.source-entry-before-target-right", (0, -3), || {
        copy([1 << 20, own, 0], [to.mfn, own, 0], 8, 1)
    });
    check("copy.target-domain-before-source-entry", (0, -2), || {
        copy([1 << 20, own, 0], [0, NOBODY, 0], 8, 3)
    });
    check("copy.source-entry-before-target-entry", (0, -1), || {
        copy([200, own, 0], [1 << 20, own, 0], 8, 3)
    });
    check("copy.source-frame-before-target-frame", (0, -9), || {
        copy([NO_FRAME, SELF, 0], [1 << 20, own, 0], 8, 2)
    });
    check("copy.reference-before-length", (0, -3), || {
        copy([1 << 20, own, 4090], mine, 8, 1)
    });
    check("copy.nothing-at-the-end", (0, 0), || {
        copy([from.mfn, SELF, 4096], [to.mfn, SELF, 4096], 0, 0)
    });
    check("copy.nothing-beyond-the-end", (0, -10), || {
        copy([from.mfn, SELF, 4097], mine, 0, 0)
    });
    check("copy.last-byte", (0, 0, 0x42 << 56), || {
        from.set_word(511, 0x42 << 56);
        to.set_word(511, 0);
        let (result, status) = copy([from.mfn, SELF, 4095], [to.mfn, SELF, 4095], 1, 0);
        (result, status, seen(to.word(511)))
    });
    check("copy.more-than-a-page", (0, -10), || {
        copy([from.mfn, SELF, 0], mine, 4097, 0)
    });
    check("copy.longest", (0, -10), || {
        copy([from.mfn, SELF, 0xffff], [to.mfn, SELF, 0xffff], 0xffff, 0)
    });
    check("copy.unknown-flags", (0, 0), || {
        copy([from.mfn, SELF, 0], mine, 8, 0xfff8)
    });
}

fn events() {
    let result = |operation: u64, word: u64| event(operation, [word, 0, 0]).0;
    check("bind_virq.number-before-vcpu", EINVAL, || {
        result(1, 24 | NO_VCPU << 32)
    });
    check("bind_virq.global-before-vcpu", EINVAL, || {
        result(1, 4 | NO_VCPU << 32)
    });
    check("bind_virq.vcpu-before-bound", ENOENT, || {
        result(1, NO_VCPU << 32)
    });
    check("bind_interdomain.domain-before-port", ESRCH, || {
        result(0, NOBODY | NO_PORT << 32)
    });
    check("status.domain-before-port", ESRCH, || {
        result(5, NOBODY | NO_PORT << 32)
    });
    if role() == Role::Ordinary {
        check("status.port-before-right", EINVAL, || {
            result(5, NO_PORT << 32)
        });
        check("bind_pirq.number-before-right", EINVAL, || {
            result(2, 0xffff_ffff)
        });
    } else {
        skip("status.port-before-right", "there is no other domain");
        skip("bind_pirq.number-before-right", "the first domain may");
    }
    check("alloc_unbound.domain-before-peer", ESRCH, || {
        result(6, NOBODY | NOBODY << 16)
    });
    check("init_control.vcpu-before-place", ENOENT, || {
        event(11, [NO_FRAME, 4 | NO_VCPU << 32, 0]).0
    });
    check("set_priority.two-level-before-priority", ENOSYS, || {
        let port = loop_port();
        let answer = result(13, u64::from(port) | 16 << 32);
        close(port);
        answer
    });
    check("set_priority.port-before-two-level", EINVAL, || {
        result(13, NO_PORT | 16 << 32)
    });
    check("set_priority.two-level-before-free-port", ENOSYS, || {
        let port = loop_port();
        close(port);
        result(13, u64::from(port))
    });
    check("expand_array.two-level-before-frame", EOPNOTSUPP, || {
        result(12, NO_FRAME)
    });
    // The structure can be read and not be written: what was done stays done.
    let unwritten = |operation: u64, word: u64| {
        let before = loop_port();
        close(before);
        let page = Frame::take();
        page.set_word(0, word);
        let page = page.read_only();
        let result = call(EVENT_CHANNEL_OP, &[operation, page.address]);
        let after = loop_port();
        close(after);
        prepare(EVENT_CHANNEL_OP, &[3, address_of(&u64::from(before))]);
        (result, seen(after != before))
    };
    check(
        "alloc_unbound.port-that-cannot-be-told",
        (EFAULT, true),
        || unwritten(6, SELF | SELF << 16),
    );
    check("bind_ipi.port-that-cannot-be-told", (EFAULT, true), || {
        unwritten(7, 0)
    });
    check("bind_virq.port-that-cannot-be-told", (EFAULT, true), || {
        unwritten(1, 4)
    });
    check(
        "bind_interdomain.port-that-cannot-be-told",
        (EFAULT, true),
        || {
            let left = loop_port();
            let answer = unwritten(0, SELF | u64::from(left) << 32);
            close(left);
            answer
        },
    );
    check("status.of-a-port-that-cannot-be-told", EFAULT, || {
        unwritten(5, SELF | 1 << 32).0
    });
    check("send.closed-end-of-a-pair", (0, EINVAL), || {
        let (left, right) = pair();
        close(right);
        let answers = (result(4, u64::from(left)), result(4, u64::from(right)));
        close(left);
        answers
    });
}

fn vcpus() {
    let op = |command: u64, vcpu: u64, argument: u64| call(VCPU_OP, &[command, vcpu, argument]);
    check("initialise.context-before-initialised", EFAULT, || {
        op(0, 0, UNMAPPED)
    });
    check("vcpu_op.vcpu-before-argument", [ENOENT; 8], || {
        [0, 4, 5, 6, 8, 10, 11, 13].map(|command| op(command, NO_VCPU, UNMAPPED))
    });
    check("register_vcpu_info.place-before-frame", -6, || {
        op(10, 1, address_of(&[NO_FRAME, 4]))
    });
    check("vcpu_op.number-has-32-bits", 1, || {
        op(3, 0xdead_0000_0000, 0)
    });
}

fn others() {
    check("poll.no-port-of-hypervisor", EFAULT, || {
        call(SCHED_OP, &[3, address_of(&[HYPERVISOR, 0, 1])])
    });
    check("poll.no-port-needs-no-list", 0, || {
        call(SCHED_OP, &[3, address_of(&[UNMAPPED, 0, 1])])
    });
    check("multicall.empty-list-of-hypervisor", EFAULT, || {
        call(MULTICALL, &[HYPERVISOR, 0])
    });
    check("multicall.empty-list-needs-no-list", 0, || {
        call(MULTICALL, &[UNMAPPED, 0])
    });
    check("callback_op.command-before-argument", ENOSYS, || {
        call(CALLBACK_OP, &[60, HYPERVISOR])
    });
    check("event_channel_op.command-before-argument", ENOSYS, || {
        call(EVENT_CHANNEL_OP, &[60, HYPERVISOR])
    });
    check("sched_op.command-before-argument", ENOSYS, || {
        call(SCHED_OP, &[60, HYPERVISOR])
    });
    check("physdev_op.command-before-argument", ENOSYS, || {
        call(PHYSDEV_OP, &[60, HYPERVISOR])
    });
    check("xen_version.command-before-argument", ENOSYS, || {
        call(XEN_VERSION, &[60, HYPERVISOR])
    });
    check("memory_op.command-before-argument", ENOSYS, || {
        call(MEMORY_OP, &[60, HYPERVISOR])
    });
    check("get_features.argument-before-word", EFAULT, || {
        call(XEN_VERSION, &[6, UNMAPPED])
    });
    check("debugreg.register-before-value", -19, || {
        call(SET_DEBUGREG, &[8, HYPERVISOR])
    });
    check("debugreg.number-has-32-bits", 0, || {
        call(SET_DEBUGREG, &[1 << 32, 0])
    });
    check("set_iopl.argument-before-level", EFAULT, || {
        call(PHYSDEV_OP, &[6, UNMAPPED])
    });
    check("set_iobitmap.count-and-address", EINVAL, || {
        call(PHYSDEV_OP, &[7, address_of(&[HYPERVISOR, 65537])])
    });
    if role() == Role::Ordinary {
        check("remote_shutdown.of-oneself-by-number", EPERM, || {
            call(SCHED_OP, &[4, address_of(&own_number())])
        });
        check("remote_shutdown.domain-before-reason", EPERM, || {
            call(SCHED_OP, &[4, address_of(&(0xffff_u64 << 32))])
        });
    } else {
        skip(
            "remote_shutdown.of-oneself-by-number",
            "the machine would end",
        );
        skip(
            "remote_shutdown.domain-before-reason",
            "the machine would end",
        );
    }
}
