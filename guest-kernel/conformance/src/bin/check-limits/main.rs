//! First and last of what may be named, lists that go on, and each call in a list of calls ([`lists`]).
#![no_std]
#![no_main]

mod lists;

use guest_conformance::errno::{EFAULT, EINVAL, EPERM};
use guest_conformance::fixture::{Frame, WRITABLE, close, eventually, loop_port, pair, read};
use guest_conformance::shared::Shared;
use guest_conformance::{
    HYPERVISOR, NOT_CANONICAL, SELF, UNMAPPED, address_of, call, check, event, finish, prepare,
    seen, start, unless_first,
};
use guest_kernel::start::Boot;
use guest_kernel::timer::{MILLISECOND, now};
use hypercall_abi::number::{
    self, MEMORY_OP, MMU_UPDATE, MMUEXT_OP, PHYSDEV_OP, SET_DEBUGREG, SET_GDT, SET_SEGMENT_BASE,
    SET_TIMER_OP, UPDATE_VA_MAPPING, VCPU_OP,
};

guest_kernel::entry!(main);

/// What a batch carries in its count when it goes on.
const GOES_ON: u64 = 1 << 31;

fn main(boot: &'static Boot) {
    start(boot);
    let shared = Shared::map();
    batches();
    extents();
    exchanges();
    numbers();
    times(&shared);
    ports(&shared);
    lists::checks();
    finish()
}

/// A word's lower half, as it is now.
fn half(value: &u32) -> u64 {
    let at = address_of(value);
    seen(read(at & !7) >> (8 * (at & 7)) & 0xffff_ffff)
}

fn batches() {
    for (number, name) in [
        (MMU_UPDATE, "mmu_update.carried-result"),
        (MMUEXT_OP, "mmuext_op.carried-result"),
    ] {
        check(name, [77, EINVAL, 0], || {
            [77, u64::from((-22_i32).cast_unsigned()), 0]
                .map(|carried| call(number, &[0, GOES_ON, 0, carried]))
        });
    }
    check("mmu_update.count-that-goes-on", (0, 6), || {
        let done = 5_u32;
        let data = Frame::take();
        let list = [data.slot(0), 1];
        let arguments = [address_of(&list), GOES_ON | 1, address_of(&done), SELF];
        (call(MMU_UPDATE, &arguments), half(&done))
    });
    check("mmuext_op.count-that-goes-on", (0, 6), || {
        let done = 5_u32;
        let list = [6_u64, 0, 0];
        let arguments = [address_of(&list), GOES_ON | 1, address_of(&done), SELF];
        (call(MMUEXT_OP, &arguments), half(&done))
    });
    check(
        "mmu_update.list-that-goes-on-and-is-at-its-end",
        (0, 5),
        || {
            let done = 5_u32;
            let list = [0_u64; 2];
            let arguments = [address_of(&list), GOES_ON, address_of(&done), SELF];
            (call(MMU_UPDATE, &arguments), half(&done))
        },
    );
    check("mmu_update.long-list", (0, 2048, true), || {
        let done = 0_u32;
        let data = Frame::take();
        let page = Frame::take();
        for index in 0..256 {
            page.set_word(2 * index, data.slot(index));
            page.set_word(2 * index + 1, 0x7000 + index);
        }
        let mut result = 0;
        let mut total = 0;
        for _ in 0..8 {
            result |= call(MMU_UPDATE, &[page.address, 256, address_of(&done), SELF]);
            total += half(&done);
        }
        let all = (0..256).all(|index| data.word(index) == 0x7000 + index);
        (result, total, seen(all))
    });
    check("mmu_update.list-that-ends-in-a-hole", (EFAULT, 1), || {
        let (done, data) = (0_u32, Frame::take());
        let (page, beside) = Frame::neighbours();
        page.set_word(510, data.slot(0));
        page.set_word(511, 1);
        beside.unmap();
        let arguments = [page.address + 4080, 2, address_of(&done), SELF];
        let answer = (call(MMU_UPDATE, &arguments), half(&done));
        beside.remap(WRITABLE);
        answer
    });
    check("mmu_update.last-entry", (0, 0x7000), || {
        let table = Frame::take().read_only().pinned(1);
        let list = [table.slot(511), 0x7000];
        let result = call(MMU_UPDATE, &[address_of(&list), 1, 0, SELF]);
        (result, seen(table.word(511)))
    });
}

/// A reservation under test.
fn reserve(operation: u64, list: u64, number: u64, order: u64) -> i64 {
    let place = [list, number, order, SELF];
    call(MEMORY_OP, &[operation, address_of(&place)])
}

fn give_back(frame: u64) {
    let list = [frame];
    let place = [address_of(&list), 1, 0, SELF];
    prepare(MEMORY_OP, &[1, address_of(&place)]);
}

/// A frame that is mapped nowhere.
fn spare() -> u64 {
    let frame = Frame::take();
    frame.unmap();
    frame.mfn
}

fn current() -> i64 {
    prepare(MEMORY_OP, &[3, address_of(&SELF)])
}

const PFN: u64 = 0x5_1234;

fn extents() {
    // Room below the maximum.
    for _ in 0..8 {
        give_back(spare());
    }
    check("populate.goes-on-behind-what-is-done", (2, true), || {
        let list = [PFN, PFN + 1];
        let result = reserve(6 | 1 << 6, address_of(&list), 2, 0);
        let (first, second) = (read(address_of(&list)), read(address_of(&list) + 8));
        if second != PFN + 1 {
            give_back(second);
        }
        (result, seen(first == PFN && second != PFN + 1))
    });
    check("increase.list-may-be-null", (1, 1), || {
        let before = current();
        let result = reserve(0, 0, 1, 0);
        (result, seen(current() - before))
    });
    check("increase.list-fault", 0, || reserve(0, UNMAPPED, 1, 0));
    check("decrease.twice", (1, 1, -1), || {
        let frame = Frame::take();
        let list = [frame.mfn];
        let before = current();
        let answers = (
            reserve(1, address_of(&list), 1, 0),
            reserve(1, address_of(&list), 1, 0),
        );
        frame.unmap();
        (answers.0, answers.1, seen(current() - before))
    });
    check(
        "decrease.pinned-table-lives-on",
        (1, [0, EINVAL, -1]),
        || {
            let table = Frame::take().read_only().pinned(1);
            let list = [table.mfn];
            let before = current();
            let result = reserve(1, address_of(&list), 1, 0);
            let pinned = current() - before;
            let again = prepare(MMUEXT_OP, &[address_of(&[0, table.mfn, 0]), 1, 0, SELF]);
            table.unpin();
            table.unmap();
            (result, seen([pinned, again, current() - before]))
        },
    );
    check("decrease.descriptor-table-lives-on", (1, [0, -1]), || {
        let table = Frame::take().read_only();
        prepare(SET_GDT, &[address_of(&[table.mfn]), 512]);
        table.unmap();
        let list = [table.mfn];
        let before = current();
        let result = reserve(1, address_of(&list), 1, 0);
        let loaded = current() - before;
        prepare(SET_GDT, &[0, 0]);
        (result, seen([loaded, current() - before]))
    });
    check("decrease.order-1", (1, -2), || {
        let list = [PFN];
        let populate = [address_of(&list), 1, 1, SELF];
        if prepare(MEMORY_OP, &[6, address_of(&populate)]) != 1 {
            return (1, -2);
        }
        let before = current();
        let result = reserve(1, address_of(&list), 1, 1);
        (result, seen(current() - before))
    });
    check("decrease.order-1-partly-own", (0, -1), || {
        let list = [PFN];
        let populate = [address_of(&list), 1, 1, SELF];
        if prepare(MEMORY_OP, &[6, address_of(&populate)]) != 1 {
            return (0, -1);
        }
        let first = read(address_of(&list));
        give_back(first + 1);
        let before = current();
        let result = reserve(1, address_of(&list), 1, 1);
        (result, seen(current() - before))
    });
    check("populate.address-limit-is-honoured", (1, true), || {
        let list = [PFN];
        let result = reserve(6, address_of(&list), 1, 32 << 32);
        let frame = read(address_of(&list));
        give_back(frame);
        (result, seen(frame < 1 << 20))
    });
    check("populate.list-that-cannot-be-written", (0, 1), || {
        let page = Frame::take();
        page.set_word(0, PFN);
        let page = page.read_only();
        let before = current();
        let result = reserve(6, page.address, 1, 0);
        (result, seen(current() - before))
    });
    check("populate.exact-node", unless_first(1, 0), || {
        let list = [PFN];
        let result = reserve(6, address_of(&list), 1, (1 << 17 | 1 << 8) << 32);
        if result == 1 {
            give_back(read(address_of(&list)));
        }
        result
    });
    check("populate.node-is-a-wish", 1, || {
        let list = [PFN];
        let result = reserve(6, address_of(&list), 1, (1 << 8) << 32);
        if result == 1 {
            give_back(read(address_of(&list)));
        }
        result
    });
    check("populate.on-demand", 0, || {
        let list = [PFN];
        reserve(6, address_of(&list), 1, (1 << 16) << 32)
    });
    check("populate.virtual-node", 1, || {
        let list = [PFN];
        let result = reserve(6, address_of(&list), 1, (1 << 18 | 1 << 8) << 32);
        if result == 1 {
            give_back(read(address_of(&list)));
        }
        result
    });
    check("populate.no-other-domain-is-looked-at", 0, || {
        let list = [PFN];
        let place = [address_of(&list), 1, 0, 0x7ff1];
        call(MEMORY_OP, &[6, address_of(&place)])
    });
}

/// An exchange under test: numbers, lists and orders.
fn swap(given: (u64, u64, u64), wanted: (u64, u64, u64), done: u64) -> (i64, u64) {
    let place = [
        given.0, given.1, given.2, SELF, wanted.0, wanted.1, wanted.2, SELF, done,
    ];
    let result = call(MEMORY_OP, &[11, address_of(&place)]);
    (result, seen(read(address_of(&place) + 64)))
}

fn exchanges() {
    check("exchange.stops-at-a-mapped-frame", (EINVAL, 1), || {
        let frames = [spare(), Frame::take().mfn];
        let pages = [PFN, PFN + 1];
        let answer = swap((address_of(&frames), 2, 0), (address_of(&pages), 2, 0), 0);
        give_back(read(address_of(&pages)));
        answer
    });
    check("exchange.same-frame-twice", (EINVAL, 1), || {
        let frame = spare();
        let frames = [frame, frame];
        let pages = [PFN, PFN + 1];
        let answer = swap((address_of(&frames), 2, 0), (address_of(&pages), 2, 0), 0);
        give_back(read(address_of(&pages)));
        answer
    });
    check("exchange.goes-on-behind-what-is-done", (0, 2, PFN), || {
        let frames = [0xff_ffff, spare()];
        let pages = [PFN, PFN + 1];
        let answer = swap((address_of(&frames), 2, 0), (address_of(&pages), 2, 0), 1);
        give_back(read(address_of(&pages) + 8));
        (answer.0, answer.1, seen(read(address_of(&pages))))
    });
    check("exchange.nothing", (0, 0), || {
        swap((UNMAPPED, 0, 0), (UNMAPPED, 0, 0), 0)
    });
    check("exchange.two-for-a-pair", (0, 2, true), || {
        let frames = [spare(), spare()];
        let pages = [PFN];
        let answer = swap((address_of(&frames), 2, 0), (address_of(&pages), 1, 1), 0);
        let frame = read(address_of(&pages));
        if answer.0 == 0 {
            give_back(frame);
            give_back(frame + 1);
        }
        (answer.0, answer.1, seen(frame & 1 == 0))
    });
    check("exchange.pair-for-two", (0, 1, true), || {
        let list = [PFN];
        let populate = [address_of(&list), 1, 1, SELF];
        if prepare(MEMORY_OP, &[6, address_of(&populate)]) != 1 {
            return (0, 1, true);
        }
        let pages = [PFN, PFN + 1];
        let answer = swap((address_of(&list), 1, 1), (address_of(&pages), 2, 0), 0);
        let told = [read(address_of(&pages)), read(address_of(&pages) + 8)];
        if answer.0 == 0 {
            told.into_iter().for_each(give_back);
        }
        (
            answer.0,
            answer.1,
            seen(told[0] != told[1] && told[0] != PFN),
        )
    });
    check("exchange.wanted-list-fault", (EFAULT, 0), || {
        let frames = [spare()];
        swap((address_of(&frames), 1, 0), (UNMAPPED, 1, 0), 0)
    });
    check("exchange.loaded-root", (EINVAL, 0), || {
        let frames = [guest_kernel::paging::root().map_or(0, |root| root.0)];
        let pages = [PFN];
        swap((address_of(&frames), 1, 0), (address_of(&pages), 1, 0), 0)
    });
    check("exchange.shared-page", (EINVAL, 0), || {
        let shared =
            guest_kernel::start::boot_info().map_or(0, |boot| boot.start_info().shared_info);
        let (frames, pages) = ([shared >> 12], [PFN]);
        swap((address_of(&frames), 1, 0), (address_of(&pages), 1, 0), 0)
    });
}

fn numbers() {
    let debug = |register: u64, value: u64| {
        let result = call(SET_DEBUGREG, &[register, value]);
        prepare(SET_DEBUGREG, &[register, 0]);
        result
    };
    check("debugreg.last-of-the-lower-half", 0, || {
        debug(0, 0x7fff_ffff_ffff)
    });
    check("debugreg.first-that-is-not-canonical", EPERM, || {
        debug(0, NOT_CANONICAL)
    });
    check("debugreg.edges-of-the-hypervisor", [EPERM; 2], || {
        [0xffff_8000_0000_0000, 0xffff_87ff_ffff_ffff].map(|address| debug(1, address))
    });
    check("debugreg.last-address", 0, || debug(3, u64::MAX));
    check("debugreg.7-upper-half-before-detect", EINVAL, || {
        debug(7, 1 << 32 | 0x2000)
    });
    let base = |value: u64| {
        let result = call(SET_SEGMENT_BASE, &[0, value]);
        prepare(SET_SEGMENT_BASE, &[0, 0]);
        result
    };
    check(
        "segment.edges-of-the-halves",
        [0, EINVAL, EINVAL, 0],
        || {
            [
                0x7fff_ffff_ffff,
                0x8000_0000_0000,
                0xffff_7fff_ffff_ffff,
                0xffff_8000_0000_0000,
            ]
            .map(base)
        },
    );
    check("segment.base-in-the-hypervisor", 0, || base(HYPERVISOR));
    check("set_gdt.all-entries", 0, || {
        let page = Frame::take().read_only();
        let frames = [page.mfn; 14];
        let result = call(SET_GDT, &[address_of(&frames), 7168]);
        prepare(SET_GDT, &[0, 0]);
        result
    });
    check("set_gdt.count-has-32-bits", 0, || {
        call(SET_GDT, &[UNMAPPED, 1 << 32])
    });
    check("set_gdt.bad-second-frame", (EINVAL, 0), || {
        let page = Frame::take().read_only();
        let result = call(SET_GDT, &[address_of(&[page.mfn, 0xff_ffff]), 513]);
        (result, seen(page.remap(WRITABLE)))
    });
    let local = |address: u64, entries: u64| {
        let list = [13, address, entries];
        let result = call(MMUEXT_OP, &[address_of(&list), 1, 0, SELF]);
        prepare(MMUEXT_OP, &[address_of(&[13_u64, 0, 0]), 1, 0, SELF]);
        result
    };
    check("set_ldt.all-entries", 0, || local(0x4000_0000, 8192));
    check("set_ldt.no-entry-anywhere", [0; 3], || {
        [HYPERVISOR + 3, NOT_CANONICAL, 7].map(|address| local(address, 0))
    });
    check("set_ldt.count-has-32-bits", 0, || local(3, 1 << 32));
    check("set_ldt.not-canonical", EINVAL, || local(NOT_CANONICAL, 1));
    check("set_ldt.end-of-the-lower-half", 0, || {
        local(0x7fff_ffff_f000, 8192)
    });
    let map = |address: u64| call(UPDATE_VA_MAPPING, &[address, 0, 0]);
    check("va.edges", [EINVAL; 3], || {
        [0, 0x7fff_ffff_f000, 0xffff_ffff_ffff_f000].map(map)
    });
    check("iopl.levels-0-to-3", [0; 4], || {
        [0, 1, 2, 3].map(|level: u64| call(PHYSDEV_OP, &[6, address_of(&level)]))
    });
    check("bitmap.last-port-and-one-more", [0, EINVAL], || {
        let bits = [0_u64; 1024];
        let answers = [65536, 65537]
            .map(|count: u64| call(PHYSDEV_OP, &[7, address_of(&[address_of(&bits), count])]));
        prepare(PHYSDEV_OP, &[7, address_of(&[0_u64; 2])]);
        answers
    });
    check("bitmap.that-ends-in-the-hypervisor", [0, 0], || {
        let answers = [0xffff_ffff_ffff_e000_u64, 0x7fff_ffff_f000]
            .map(|at| call(PHYSDEV_OP, &[7, address_of(&[at, 65536])]));
        prepare(PHYSDEV_OP, &[7, address_of(&[0_u64; 2])]);
        answers
    });
}

fn times(shared: &Shared) {
    let period = |nanoseconds: u64| {
        let result = call(VCPU_OP, &[6, 1, address_of(&nanoseconds)]);
        prepare(VCPU_OP, &[7, 1, 0]);
        result
    };
    check(
        "periodic.shortest-and-longest",
        [EINVAL, 0, 0, EINVAL],
        || [MILLISECOND - 1, MILLISECOND, (1 << 62) - 1, 1 << 62].map(period),
    );
    let masked = guest_kernel::event::upcall::mask();
    let port = (1..64).find(|port| {
        let place = [SELF | port << 32, 0, 0];
        prepare(number::EVENT_CHANNEL_OP, &[5, address_of(&place)]);
        read(address_of(&place) + 8) & 0xffff_ffff == 4
            && read(address_of(&place) + 16) & 0xffff_ffff == 0
    });
    let port = port.unwrap_or(0);
    let stop = || {
        prepare(SET_TIMER_OP, &[0]);
        prepare(VCPU_OP, &[7, 0, 0]);
        shared.clear(port);
    };
    stop();
    check("set_timer_op.weeks-ahead-fires-soon", (0, true), || {
        let before = now();
        let result = call(SET_TIMER_OP, &[before + (1 << 51)]);
        // An interrupt that was under way from before does not count, nor that the host takes its time.
        let fired = (0..20).any(|_| {
            let fired = eventually(|| shared.pending(port));
            shared.clear(port);
            fired && now() - before >= 90 * MILLISECOND
        });
        let answer = (result, seen(fired));
        stop();
        answer
    });
    check("singleshot.weeks-ahead-is-kept", (0, false), || {
        let place = [now() + (1 << 51), 0];
        let result = call(VCPU_OP, &[8, 0, address_of(&place)]);
        let end = now() + 150 * MILLISECOND;
        while now() < end {}
        let answer = (result, seen(shared.pending(port)));
        stop();
        answer
    });
    check("singleshot.zero-is-past", (0, true), || {
        let result = call(VCPU_OP, &[8, 0, address_of(&[0_u64, 0])]);
        let answer = (result, seen(shared.pending(port)));
        stop();
        answer
    });
    check("poll.negative-is-past", 0, || {
        let place = [0, 0, u64::MAX];
        call(number::SCHED_OP, &[3, address_of(&place)])
    });
    check("singleshot.negative-is-past", (0, true), || {
        let result = call(VCPU_OP, &[8, 0, address_of(&[u64::MAX, 0])]);
        let answer = (result, seen(shared.pending(port)));
        stop();
        answer
    });
    drop(masked);
}

fn ports(shared: &Shared) {
    let result = |operation: u64, word: u64| event(operation, [word, 0, 0]).0;
    check("port.last-is-free-or-none", [EINVAL; 3], || {
        [3, 4, 8].map(|operation| result(operation, 4095))
    });
    check("port.never-given-out", [EINVAL; 3], || {
        [3, 4, 8].map(|operation| result(operation, 900))
    });
    check("unmask.never-given-out", EINVAL, || result(9, 900));
    check("status.never-given-out", EINVAL, || {
        result(5, SELF | 900 << 32)
    });
    check("bind_virq.each-on-vcpu-1", [0, 0, EINVAL, EINVAL], || {
        // One of each kind that no kernel of the suite binds: per vCPU (1, 7), for the whole domain (4, 12).
        [1, 7, 4, 12].map(|virq| {
            let (result, out) = event(1, [virq | 1 << 32, 0, 0]);
            if result == 0 {
                close(u32::try_from(out[1] & 0xffff_ffff).unwrap_or(0));
            }
            result
        })
    });
    check("bind_virq.argo-on-vcpu-1", EINVAL, || {
        let (result, out) = event(1, [11 | 1 << 32, 0, 0]);
        if result == 0 {
            close(u32::try_from(out[1] & 0xffff_ffff).unwrap_or(0));
        }
        result
    });
    check("bind_virq.every-number", 0, || {
        let mut refused = 0;
        for virq in [
            1, 4, 5, 6, 7, 9, 10, 11, 12, 13, 14, 15, 16, 17, 18, 19, 20, 21, 22, 23,
        ] {
            let (result, out) = event(1, [virq, 0, 0]);
            if result == 0 {
                close(u32::try_from(out[1] & 0xffff_ffff).unwrap_or(0));
            }
            refused |= result;
        }
        refused
    });
    check("bind_vcpu.events-follow", (0, [true, true]), || {
        let (left, right) = pair();
        let port = u64::from(right);
        shared.clear(port);
        shared.set_mask(port, false);
        let moved = result(8, port | 1 << 32);
        shared
            .word(64 + 8)
            .store(0, core::sync::atomic::Ordering::SeqCst);
        shared
            .byte(64)
            .store(0, core::sync::atomic::Ordering::SeqCst);
        prepare(number::EVENT_CHANNEL_OP, &[4, address_of(&u64::from(left))]);
        let selected = shared
            .word(64 + 8)
            .load(core::sync::atomic::Ordering::SeqCst);
        let marked = shared.byte(64).load(core::sync::atomic::Ordering::SeqCst);
        shared.set_mask(port, true);
        close(left);
        close(right);
        (moved, seen([selected >> (port / 64) & 1 != 0, marked != 0]))
    });
    check("send.masked-then-closed-leaves-no-bit", (0, false), || {
        let port = u64::from(loop_port());
        shared.set_mask(port, true);
        (result(3, port), seen(shared.pending(port)))
    });
}
