//! `memory_op`: what a domain has, getting and giving frames, swapping them, maps, and what is not for PV guests.
#![no_std]
#![no_main]

use core::sync::atomic::Ordering::SeqCst;

use guest_conformance::errno::{EACCES, EFAULT, EINVAL, ENOSYS, EOPNOTSUPP, EPERM, ESRCH};
use guest_conformance::fixture::{FLUSH, Frame, PRESENT, WRITABLE, own_number, read};
use guest_conformance::shared::Shared;
use guest_conformance::{
    HYPERVISOR, NOBODY, NOT_CANONICAL, Role, SELF, UNMAPPED, address_of, call, check, finish,
    prepare, role, seen, skip, start,
};
use guest_kernel::start::Boot;
use hypercall_abi::number::{MEMORY_OP, UPDATE_VA_MAPPING};

guest_kernel::entry!(main);

const INCREASE: u64 = 0;
const DECREASE: u64 = 1;
const CURRENT: u64 = 3;
const MAXIMUM: u64 = 4;
const POPULATE: u64 = 6;
const EXCHANGE: u64 = 11;

/// Where the table from frames to pages is.
const M2P: u64 = 0xffff_8000_0000_0000;
/// An entry of it without a page.
const NONE: u64 = u64::MAX;
/// A page number that this kernel gives no page.
const PFN: u64 = 0x5_1234;

fn main(boot: &'static Boot) {
    start(boot);
    reservations();
    // Some room below the maximum, which the first domain of some hypervisors starts at.
    for _ in 0..8 {
        give_back(spare());
    }
    populate();
    increase();
    decrease();
    exchange();
    maps();
    not_for_us();
    finish()
}

/// A frame that is mapped nowhere.
fn spare() -> u64 {
    let frame = Frame::take();
    frame.unmap();
    frame.mfn
}

fn give_back(frame: u64) {
    let list = [frame];
    prepare(
        MEMORY_OP,
        &[DECREASE, address_of(&[address_of(&list), 1, 0, SELF])],
    );
}

fn current() -> i64 {
    prepare(MEMORY_OP, &[CURRENT, address_of(&SELF)])
}

/// A reservation under test: list, number, order and flags, domain.
fn reserve(operation: u64, list: u64, number: u64, order: u64, domain: u64) -> i64 {
    let place = [list, number, order, domain];
    call(MEMORY_OP, &[operation, address_of(&place)])
}

fn reservations() {
    for (operation, name) in [
        (CURRENT, "current_reservation"),
        (MAXIMUM, "maximum_reservation"),
    ] {
        let ask = |domain: u64| call(MEMORY_OP, &[operation, address_of(&domain)]);
        let names: [&str; 5] = if name == "current_reservation" {
            [
                "current_reservation.self",
                "current_reservation.own-number",
                "current_reservation.no-such-domain",
                "current_reservation.other-domain",
                "current_reservation.start-extent",
            ]
        } else {
            [
                "maximum_reservation.self",
                "maximum_reservation.own-number",
                "maximum_reservation.no-such-domain",
                "maximum_reservation.other-domain",
                "maximum_reservation.start-extent",
            ]
        };
        check(names[0], true, || ask(SELF) > 1000);
        check(names[1], true, || ask(own_number()) > 1000);
        check(names[2], ESRCH, || ask(NOBODY));
        if role() == Role::Ordinary {
            check(names[3], EPERM, || ask(0));
        } else {
            skip(names[3], "there is no other domain");
        }
        check(names[4], EINVAL, || {
            call(MEMORY_OP, &[operation | 1 << 6, address_of(&SELF)])
        });
    }
    check("current_reservation.not-above-maximum", true, || {
        let most = call(MEMORY_OP, &[MAXIMUM, address_of(&SELF)]);
        most > 0 && call(MEMORY_OP, &[CURRENT, address_of(&SELF)]) <= most
    });
    check("maximum_ram_page.is-above-own-frames", true, || {
        let highest = call(MEMORY_OP, &[2, UNMAPPED]);
        u64::try_from(highest).is_ok_and(|highest| highest > Frame::take().mfn)
    });
}

/// Takes one frame and gives it back; the result, and whether the domain had one more meanwhile.
fn one_more(operation: u64) -> (i64, bool) {
    let list = [PFN];
    let before = current();
    let result = reserve(operation, address_of(&list), 1, 0, SELF);
    let more = current() - before == 1;
    give_back(read(address_of(&list)));
    (result, seen(more))
}

/// The same, and the page that the M2P had for it.
fn page_of_one(operation: u64) -> (i64, u64) {
    let list = [PFN];
    let result = reserve(operation, address_of(&list), 1, 0, SELF);
    let frame = read(address_of(&list));
    let page = if result == 1 {
        read(M2P + 8 * frame)
    } else {
        0
    };
    give_back(frame);
    (result, seen(page))
}

fn populate() {
    check("populate.one", (1, true), || one_more(POPULATE));
    check("populate.writes-the-frame", (1, true), || {
        let list = [PFN];
        let result = reserve(POPULATE, address_of(&list), 1, 0, SELF);
        let frame = read(address_of(&list));
        give_back(frame);
        (result, seen(frame != PFN))
    });
    check("populate.sets-m2p", (1, PFN), || page_of_one(POPULATE));
    check("populate.gives-zeroed-frames", (1, true), || {
        let window = Frame::take();
        let list = [PFN];
        let result = reserve(POPULATE, address_of(&list), 1, 0, SELF);
        let frame = read(address_of(&list));
        let mapped = prepare(
            UPDATE_VA_MAPPING,
            &[window.address, frame << 12 | WRITABLE, FLUSH],
        );
        let empty = mapped == 0 && (0..512).all(|word| window.word(word) == 0);
        prepare(
            UPDATE_VA_MAPPING,
            &[window.address, window.entry(WRITABLE), FLUSH],
        );
        give_back(frame);
        (result, seen(empty))
    });
    check("populate.several", (3, true), || {
        let list = [PFN, PFN + 1, PFN + 2];
        let result = reserve(POPULATE, address_of(&list), 3, 0, SELF);
        let at = address_of(&list);
        let frames = [read(at), read(at + 8), read(at + 16)];
        frames.iter().for_each(|&frame| give_back(frame));
        (
            result,
            seen(frames[0] != frames[1] && frames[1] != frames[2]),
        )
    });
    check("populate.order-1-is-contiguous", (1, true), || {
        let list = [PFN];
        let result = reserve(POPULATE, address_of(&list), 1, 1, SELF);
        let frame = read(address_of(&list));
        let pages = [read(M2P + 8 * frame), read(M2P + 8 * (frame + 1))];
        give_back(frame);
        give_back(frame + 1);
        (result, seen(frame & 1 == 0 && pages == [PFN, PFN + 1]))
    });
    check("populate.own-number", 1, || {
        let list = [PFN];
        let result = reserve(POPULATE, address_of(&list), 1, 0, own_number());
        if result == 1 {
            give_back(read(address_of(&list)));
        }
        result
    });
    let list = [PFN];
    let at = address_of(&list);
    check("populate.nothing", 0, || reserve(POPULATE, at, 0, 0, SELF));
    check("populate.no-such-domain", (0, PFN), || {
        (reserve(POPULATE, at, 1, 0, NOBODY), seen(read(at)))
    });
    check("populate.order-too-large", (0, PFN), || {
        (reserve(POPULATE, at, 1, 20, SELF), seen(read(at)))
    });
    check("populate.too-many-extents", (0, PFN), || {
        (reserve(POPULATE, at, 1 << 26, 0, SELF), seen(read(at)))
    });
    check("populate.list-fault", 0, || {
        reserve(POPULATE, UNMAPPED, 1, 0, SELF)
    });
    check("populate.list-of-hypervisor", 0, || {
        reserve(POPULATE, HYPERVISOR, 1, 0, SELF)
    });
    check("populate.argument-fault", 0, || {
        call(MEMORY_OP, &[POPULATE, UNMAPPED])
    });
    check("populate.address-limit-of-a-page", (0, PFN), || {
        (reserve(POPULATE, at, 1, 12 << 32, SELF), seen(read(at)))
    });
    check("populate.stops-at-the-maximum", (0, PFN), || {
        let most = prepare(MEMORY_OP, &[MAXIMUM, address_of(&SELF)]);
        let room = most - current();
        // Blocks of 2 MiB are within every domain's order, and more of them than there is room for are not had.
        let list = [PFN];
        let order = if room < 512 { 9 } else { 63 };
        (
            reserve(POPULATE, address_of(&list), 1, order, SELF),
            seen(read(address_of(&list))),
        )
    });
}

fn increase() {
    check("increase.one", (1, true), || one_more(INCREASE));
    check("increase.sets-no-m2p", (1, NONE), || page_of_one(INCREASE));
    check("increase.no-such-domain", 0, || {
        reserve(INCREASE, 0, 1, 0, NOBODY)
    });
    check("increase.order-too-large", 0, || {
        reserve(INCREASE, 0, 1, 20, SELF)
    });
    check("increase.argument-fault", 0, || {
        call(MEMORY_OP, &[INCREASE, UNMAPPED])
    });
}

fn decrease() {
    check("decrease.one", (1, -1), || {
        let list = [spare()];
        let before = current();
        let result = reserve(DECREASE, address_of(&list), 1, 0, SELF);
        (result, seen(current() - before))
    });
    check("decrease.clears-m2p", (1, NONE), || {
        let list = [spare()];
        let result = reserve(DECREASE, address_of(&list), 1, 0, SELF);
        (result, seen(read(M2P + 8 * list[0])))
    });
    check(
        "decrease.mapped-frame-stays-until-unmapped",
        (1, [0, -1]),
        || {
            let frame = Frame::take();
            let list = [frame.mfn];
            let before = current();
            let result = reserve(DECREASE, address_of(&list), 1, 0, SELF);
            let mapped = current() - before;
            frame.unmap();
            (result, seen([mapped, current() - before]))
        },
    );
    check("decrease.stops-at-a-frame-that-is-not-own", (1, -1), || {
        let list = [spare(), 0xff_ffff, spare()];
        let before = current();
        let result = reserve(DECREASE, address_of(&list), 3, 0, SELF);
        let less = current() - before;
        give_back(list[2]);
        (result, seen(less))
    });
    check("decrease.not-a-frame", 0, || {
        let list = [0xff_ffff_ffff_u64];
        reserve(DECREASE, address_of(&list), 1, 0, SELF)
    });
    check("decrease.flags-are-ignored", 1, || {
        let list = [spare()];
        reserve(DECREASE, address_of(&list), 1, 40 << 32, SELF)
    });
    check("decrease.no-such-domain", 0, || {
        let list = [spare()];
        let answer = reserve(DECREASE, address_of(&list), 1, 0, NOBODY);
        give_back(list[0]);
        answer
    });
    check("decrease.list-fault", 0, || {
        reserve(DECREASE, UNMAPPED, 1, 0, SELF)
    });
    check("decrease.shared-page-is-not-given-back", (1, true), || {
        let shared = Shared::map();
        let frame =
            guest_kernel::start::boot_info().map_or(0, |boot| boot.start_info().shared_info);
        let list = [frame >> 12];
        let result = reserve(DECREASE, address_of(&list), 1, 0, SELF);
        (result, seen(shared.address() != 0))
    });
    check("decrease.unmapped-afterwards-is-gone", (1, -16), || {
        let window = Frame::take();
        let list = [spare()];
        let result = reserve(DECREASE, address_of(&list), 1, 0, SELF);
        let again = prepare(
            UPDATE_VA_MAPPING,
            &[window.address, list[0] << 12 | PRESENT, FLUSH],
        );
        (result, seen(again))
    });
}

/// An exchange of one list for another: numbers, orders, domains, how many are done already.
fn swap(given: (u64, u64, u64, u64), wanted: (u64, u64, u64, u64), done: u64) -> (i64, u64) {
    let place = [
        given.0, given.1, given.2, given.3, wanted.0, wanted.1, wanted.2, wanted.3, done,
    ];
    let result = call(MEMORY_OP, &[EXCHANGE, address_of(&place)]);
    (result, seen(read(address_of(&place) + 64)))
}

fn exchange() {
    let pages = [PFN, PFN + 1];
    let out = address_of(&pages);
    check("exchange.one-for-one", (0, 1), || {
        let frames = [spare()];
        let pages = [PFN];
        let answer = swap(
            (address_of(&frames), 1, 0, SELF),
            (address_of(&pages), 1, 0, SELF),
            0,
        );
        if answer.0 == 0 {
            give_back(read(address_of(&pages)));
        }
        answer
    });
    check("exchange.sets-m2p", (0, 1, PFN), || {
        let frames = [spare()];
        let pages = [PFN];
        let answer = swap(
            (address_of(&frames), 1, 0, SELF),
            (address_of(&pages), 1, 0, SELF),
            0,
        );
        let frame = read(address_of(&pages));
        let page = if answer.0 == 0 {
            read(M2P + 8 * frame)
        } else {
            0
        };
        if answer.0 == 0 {
            give_back(frame);
        }
        (answer.0, answer.1, seen(page))
    });
    check("exchange.keeps-the-count", (0, 1, 0), || {
        let frames = [spare()];
        let pages = [PFN];
        let before = current();
        let answer = swap(
            (address_of(&frames), 1, 0, SELF),
            (address_of(&pages), 1, 0, SELF),
            0,
        );
        let change = current() - before;
        if answer.0 == 0 {
            give_back(read(address_of(&pages)));
        }
        (answer.0, answer.1, seen(change))
    });
    let frames = [spare(), spare()];
    let given = address_of(&frames);
    check("exchange.all-done-already", (0, 1), || {
        swap((given, 1, 0, SELF), (out, 1, 0, SELF), 1)
    });
    check("exchange.more-done-than-given", (EINVAL, 2), || {
        swap((given, 1, 0, SELF), (out, 1, 0, SELF), 2)
    });
    check("exchange.domains-differ", (EINVAL, 0), || {
        swap((given, 1, 0, SELF), (out, 1, 0, own_number()), 0)
    });
    check("exchange.amounts-differ", (EINVAL, 0), || {
        swap((given, 1, 0, SELF), (out, 2, 0, SELF), 0)
    });
    check("exchange.amounts-overflow", (EINVAL, 0), || {
        swap((given, 1 << 63, 1, SELF), (out, 1 << 63, 1, SELF), 0)
    });
    check("exchange.order-too-large", (EPERM, 0), || {
        swap((given, 1, 20, SELF), (out, 1, 20, SELF), 0)
    });
    check("exchange.no-such-domain", (ESRCH, 0), || {
        swap((given, 1, 0, NOBODY), (out, 1, 0, NOBODY), 0)
    });
    check("exchange.mapped-frame", (EINVAL, 0), || {
        let mapped = [Frame::take().mfn];
        swap((address_of(&mapped), 1, 0, SELF), (out, 1, 0, SELF), 0)
    });
    check("exchange.frame-that-is-not-own", (EINVAL, 0), || {
        let foreign = [0xff_ffff_u64];
        swap((address_of(&foreign), 1, 0, SELF), (out, 1, 0, SELF), 0)
    });
    check("exchange.pinned-table", (EINVAL, 0), || {
        let table = Frame::take().read_only().pinned(1);
        let list = [table.mfn];
        swap((address_of(&list), 1, 0, SELF), (out, 1, 0, SELF), 0)
    });
    check("exchange.lists-of-hypervisor", [(EFAULT, 0); 2], || {
        [
            swap((HYPERVISOR, 1, 0, SELF), (out, 1, 0, SELF), 0),
            swap((given, 1, 0, SELF), (HYPERVISOR, 1, 0, SELF), 0),
        ]
    });
    check("exchange.list-not-canonical", (EFAULT, 0), || {
        swap((NOT_CANONICAL, 1, 0, SELF), (out, 1, 0, SELF), 0)
    });
    check("exchange.list-fault", (EFAULT, 0), || {
        swap((UNMAPPED, 1, 0, SELF), (out, 1, 0, SELF), 0)
    });
}

fn maps() {
    check(
        "machphys_mapping.range",
        (0, [M2P, 0xffff_8040_0000_0000]),
        || {
            let place = [0_u64; 3];
            let result = call(MEMORY_OP, &[12, address_of(&place)]);
            (
                result,
                seen([read(address_of(&place)), read(address_of(&place) + 8)]),
            )
        },
    );
    check("machphys_mapping.covers-own-frames", (0, true), || {
        let place = [0_u64; 3];
        let result = call(MEMORY_OP, &[12, address_of(&place)]);
        (
            result,
            seen(read(address_of(&place) + 16) >= Frame::take().mfn),
        )
    });
    if role() == Role::Ordinary {
        check("memory_map.begins-with-ram-at-0", (0, [0, 1]), || {
            let list = [0_u64; 64];
            let place = [20, address_of(&list)];
            let result = call(MEMORY_OP, &[9, address_of(&place)]);
            let kind = read(address_of(&list) + 16) & 0xffff_ffff;
            (result, seen([read(address_of(&list)), kind]))
        });
        check("memory_map.counts", (0, true), || {
            let list = [0_u64; 64];
            let place = [20, address_of(&list)];
            let result = call(MEMORY_OP, &[9, address_of(&place)]);
            let count = read(address_of(&place)) & 0xffff_ffff;
            (result, seen((1..=20).contains(&count)))
        });
        check("memory_map.no-room", (0, 0), || {
            let list = [0_u64; 64];
            let place = [0, address_of(&list)];
            let result = call(MEMORY_OP, &[9, address_of(&place)]);
            (result, seen(read(address_of(&list) + 8)))
        });
        check("memory_map.buffer-fault", EFAULT, || {
            call(MEMORY_OP, &[9, address_of(&[20, UNMAPPED])])
        });
    } else {
        check("memory_map.first", ENOSYS, || {
            let list = [0_u64; 64];
            let place = [20, address_of(&list)];
            call(MEMORY_OP, &[9, address_of(&place)])
        });
    }
    check("memory_map.start-extent", ENOSYS, || {
        let place = [20, UNMAPPED];
        call(MEMORY_OP, &[9 | 1 << 6, address_of(&place)])
    });
    if role() == Role::Ordinary {
        check("machine_memory_map.ordinary", EPERM, || {
            let place = [20, UNMAPPED];
            call(MEMORY_OP, &[10, address_of(&place)])
        });
    } else {
        check("machine_memory_map.first", (0, true), || {
            let list = [0_u64; 64];
            let place = [20, address_of(&list)];
            let result = call(MEMORY_OP, &[10, address_of(&place)]);
            (result, seen(read(address_of(&place)) & 0xffff_ffff >= 1))
        });
    }
    check("machphys_mfn_list.self", 0, || {
        let list = [0_u64; 16];
        let place = [16, address_of(&list), 0];
        call(MEMORY_OP, &[5, address_of(&place)])
    });
}

fn not_for_us() {
    let zeros = [0_u64; 8];
    let physmap = |space: u64| {
        let place = [SELF | space << 32, 0, 0];
        call(MEMORY_OP, &[7, address_of(&place)])
    };
    check("add_to_physmap.shared_info", EACCES, || physmap(0));
    check("add_to_physmap.grant_table", EACCES, || physmap(1));
    check("add_to_physmap.foreign", ENOSYS, || physmap(4));
    check("add_to_physmap.no-such-domain", ESRCH, || {
        call(MEMORY_OP, &[7, address_of(&[NOBODY, 0, 0])])
    });
    check("remove_from_physmap", EACCES, || {
        call(MEMORY_OP, &[15, address_of(&[SELF, 0])])
    });
    check("remove_from_physmap.no-such-domain", ESRCH, || {
        call(MEMORY_OP, &[15, address_of(&[NOBODY, 0])])
    });
    check("translate_gpfn_list", ENOSYS, || {
        call(MEMORY_OP, &[8, address_of(&zeros)])
    });
    // Success is 0 like that of a call that did nothing, so it is told from a refusal only.
    check("get_sharing_freed_pages", 0, || call(MEMORY_OP, &[18, 0]));
    check("get_sharing_shared_pages", 0, || call(MEMORY_OP, &[19, 0]));
    check("paging_op", ENOSYS, || {
        call(MEMORY_OP, &[20, address_of(&zeros)])
    });
    check("machphys_compat_mfn_list", EOPNOTSUPP, || {
        call(MEMORY_OP, &[25, address_of(&zeros)])
    });
    check("get_vnumainfo.none", EOPNOTSUPP, || {
        call(MEMORY_OP, &[26, address_of(&[SELF, 0, 0, 0, 0])])
    });
    check("get_vnumainfo.padding", EINVAL, || {
        call(MEMORY_OP, &[26, address_of(&[SELF | 1 << 16, 0, 0, 0, 0])])
    });
    check("get_vnumainfo.no-such-domain", ESRCH, || {
        call(MEMORY_OP, &[26, address_of(&[NOBODY, 0, 0, 0, 0])])
    });
    check("maximum_gpfn.is-what-the-domain-says", 0x1234, || {
        let shared = Shared::map();
        let said = shared.word(0xc10).swap(0x1235, SeqCst);
        let answer = call(MEMORY_OP, &[14, address_of(&SELF)]);
        shared.word(0xc10).store(said, SeqCst);
        answer
    });
    check("maximum_gpfn.no-such-domain", ESRCH, || {
        call(MEMORY_OP, &[14, address_of(&NOBODY)])
    });
    // Domain, space and number of frames in one word, then lists of indices, frames and errors.
    let batch = |domain: u64, space: u64| {
        let lists = [0_u64; 3];
        let at = address_of(&lists);
        let place = [domain | space << 16 | 1 << 32, at, at + 8, at + 16];
        call(MEMORY_OP, &[23, address_of(&place)])
    };
    check("add_to_physmap_batch.shared_info", EACCES, || {
        batch(SELF, 0)
    });
    check("add_to_physmap_batch.range", EOPNOTSUPP, || batch(SELF, 3));
    check("add_to_physmap_batch.no-such-domain", ESRCH, || {
        batch(NOBODY, 0)
    });
    let set_map = |domain: u64, entries: u64| {
        call(MEMORY_OP, &[13, address_of(&[domain, entries, UNMAPPED])])
    };
    check("set_memory_map.too-many-entries", EINVAL, || {
        set_map(SELF, 1025)
    });
    check("set_memory_map.no-such-domain", ESRCH, || {
        set_map(NOBODY, 1)
    });
    check("claim_pages.list", EINVAL, || {
        call(MEMORY_OP, &[24, address_of(&[8, 1, 0, own_number()])])
    });
    check("claim_pages.order", EINVAL, || {
        call(MEMORY_OP, &[24, address_of(&[0, 1, 1, own_number()])])
    });
    check("claim_pages.no-such-domain", EINVAL, || {
        call(MEMORY_OP, &[24, address_of(&[0, 1, 0, NOBODY])])
    });
    check("acquire_resource.frame-beyond-32-bits", EINVAL, || {
        let place = [NOBODY | 1 << 16, 1, 1 << 32, UNMAPPED];
        call(MEMORY_OP, &[28, address_of(&place)])
    });
    check("unknown.29", ENOSYS, || {
        call(MEMORY_OP, &[29, address_of(&zeros)])
    });
    check("unknown.63", ENOSYS, || {
        call(MEMORY_OP, &[63, address_of(&zeros)])
    });
    if role() == Role::Ordinary {
        check("claim_pages.ordinary", EPERM, || {
            let place = [0, 0, 0, own_number()];
            call(MEMORY_OP, &[24, address_of(&place)])
        });
        check("acquire_resource.other-domain", EPERM, || {
            call(
                MEMORY_OP,
                &[28, address_of(&[0x1_0000_u64, 1, 0, UNMAPPED])],
            )
        });
        check("set_memory_map.other-domain", EPERM, || {
            call(MEMORY_OP, &[13, address_of(&[0_u64, 0, 0])])
        });
        check("maximum_gpfn.other-domain", EPERM, || {
            call(MEMORY_OP, &[14, address_of(&0_u64)])
        });
        check("get_vnumainfo.other-domain", EPERM, || {
            call(MEMORY_OP, &[26, address_of(&[0_u64; 5])])
        });
    } else {
        skip("claim_pages.ordinary", "the first domain may");
        skip("acquire_resource.other-domain", "there is no other domain");
        skip("set_memory_map.other-domain", "there is no other domain");
        skip("maximum_gpfn.other-domain", "there is no other domain");
        skip("get_vnumainfo.other-domain", "there is no other domain");
        check("claim_pages.first", 0, || {
            let claim = |pages: u64| call(MEMORY_OP, &[24, address_of(&[0, pages, 0, 0])]);
            claim(0)
        });
        check("acquire_resource.of-itself", EPERM, || {
            let place = [1 << 16, 1, 0, UNMAPPED];
            call(MEMORY_OP, &[28, address_of(&place)])
        });
    }
    check("acquire_resource.no-such-domain", ESRCH, || {
        call(
            MEMORY_OP,
            &[28, address_of(&[NOBODY | 1 << 16, 1, 0, UNMAPPED])],
        )
    });
    check("acquire_resource.self-is-no-number", ESRCH, || {
        call(
            MEMORY_OP,
            &[28, address_of(&[SELF | 1 << 16, 1, 0, UNMAPPED])],
        )
    });
    check("acquire_resource.padding", EINVAL, || {
        call(
            MEMORY_OP,
            &[28, address_of(&[NOBODY, 1 | 1 << 32, 0, UNMAPPED])],
        )
    });
}
