//! The first domain beside another one: its ports, its grants, and what is refused while it is dying.

use guest_conformance::errno::{EBUSY, EINVAL, EOPNOTSUPP, EPERM};
use guest_conformance::fixture::{Frame, read};
use guest_conformance::{SELF, UNMAPPED, address_of, call, event, prepare, seen};
use hypercall_abi::RawMfn;
use hypercall_abi::ids::RawGrantRef;
use hypercall_abi::number::{EVENT_CHANNEL_OP, GRANT_TABLE_OP, MEMORY_OP, MMU_UPDATE};
use hypercall_abi::table::prelude::*;

use super::domains::Other;
use super::{Suite, prepared, result};

const BIND_INTERDOMAIN: u64 = 0;
const STATUS: u64 = 5;
const ALLOC_UNBOUND: u64 = 6;
const RESET: u64 = 10;

pub(super) fn checks(suite: &Suite) {
    ports(suite);
    tables(suite);
    resources(suite);
    lent(suite);
    dying(suite);
}

/// Another domain's port that waits for this one.
fn offered(other: &Other) -> u64 {
    let place = [u64::from(other.id.0) | SELF << 16, 0, 0];
    prepare(EVENT_CHANNEL_OP, &[ALLOC_UNBOUND, address_of(&place)]);
    read(address_of(&place)) >> 32
}

fn ports(suite: &Suite) {
    suite.check("alloc_unbound.for-another", (0, 1), || {
        let other = Other::create();
        let id = u64::from(other.id.0);
        let (result, words) = event(ALLOC_UNBOUND, [id | SELF << 16, 0, 0]);
        let (_, told) = event(STATUS, [id | (words[0] >> 32) << 32, 0, 0]);
        (result, seen(told[1] & 0xffff_ffff))
    });
    suite.check("bind_interdomain.to-another", (0, 2), || {
        let other = Other::create();
        let id = u64::from(other.id.0);
        let port = offered(&other);
        let (result, _) = event(BIND_INTERDOMAIN, [id | port << 32, 0, 0]);
        let (_, told) = event(STATUS, [id | port << 32, 0, 0]);
        (result, seen(told[1] & 0xffff_ffff))
    });
    suite.check("bind_interdomain.end-that-dies", (0, 1), || {
        let other = Other::create();
        let port = offered(&other);
        let (result, words) = event(BIND_INTERDOMAIN, [u64::from(other.id.0) | port << 32, 0, 0]);
        other.destroy();
        let (_, told) = event(STATUS, [SELF | (words[1] & 0xffff_ffff) << 32, 0, 0]);
        (result, seen(told[1] & 0xffff_ffff))
    });
    suite.check("reset.of-another-that-runs", EINVAL, || {
        event(RESET, [u64::from(Other::running().id.0), 0, 0]).0
    });
    suite.check("reset.of-another-that-is-paused", (0, 0), || {
        let other = Other::create();
        let id = u64::from(other.id.0);
        let port = offered(&other);
        let (result, _) = event(RESET, [id, 0, 0]);
        let (_, told) = event(STATUS, [id | port << 32, 0, 0]);
        (result, seen(told[1] & 0xffff_ffff))
    });
}

fn resources(suite: &Suite) {
    suite.check("acquire_resource.of-another", EOPNOTSUPP, || {
        let other = Other::create();
        let place = [u64::from(other.id.0) | 1 << 16, 1, 0, UNMAPPED];
        call(MEMORY_OP, &[28, address_of(&place)])
    });
}

/// Frame to page, in the first domain's own name and in another one's.
fn tables(suite: &Suite) {
    let data = Frame::take();
    suite.check(
        "mmu_update.page-of-own-frame-by-anothers-tables",
        EPERM,
        || {
            let other = Other::create();
            let tables = (u64::from(other.id.0) + 1) << 16;
            let request = [data.slot(0) | 1, 5];
            call(MMU_UPDATE, &[address_of(&request), 1, 0, tables | SELF])
        },
    );
    suite.check("mmu_update.page-of-anothers-frame", 0, || {
        let other = Other::create();
        let request = [other.frames[0] << 12 | 1, 5];
        let foreign = u64::from(other.id.0);
        call(MMU_UPDATE, &[address_of(&request), 1, 0, foreign])
    });
}

/// Lends this domain the second frame of a domain that is being built, as reserved entry 1.
fn lend(other: &Other) {
    prepared(GrantSeed {
        domid: other.id,
        backend: RawDomId(0),
        gref: RawGrantRef(1),
        mfn: RawMfn(other.frames[1]),
        ..GrantSeed::default()
    });
}

/// Maps that loan at a page that has nothing mapped; its handle.
fn map(other: &Other, place: Frame) -> u64 {
    let element = [place.address, 2 | 1 << 32, u64::from(other.id.0), 0];
    prepare(GRANT_TABLE_OP, &[0, address_of(&element), 1]);
    read(address_of(&element) + 16) >> 32
}

fn unmap(place: Frame, handle: u64) {
    prepare(
        GRANT_TABLE_OP,
        &[1, address_of(&[place.address, 0, handle]), 1],
    );
}

fn lent(suite: &Suite) {
    let page = Frame::take();
    page.unmap();
    suite.check("map.of-another", (0, 0, 0x5eed), || {
        let other = Other::create();
        let source = Frame::take();
        source.set_word(5, 0x5eed);
        prepared(MemoryWrite {
            domid: other.id,
            count: 1,
            frames: GuestPtr::new(address_of(&other.frames[1])),
            data: GuestPtr::new(source.address),
            ..MemoryWrite::default()
        });
        lend(&other);
        let element = [page.address, 2 | 1 << 32, u64::from(other.id.0), 0];
        let result = call(GRANT_TABLE_OP, &[0, address_of(&element), 1]);
        let out = read(address_of(&element) + 16);
        let word = if out >> 16 & 0xffff == 0 {
            page.word(5)
        } else {
            0
        };
        unmap(page, out >> 32);
        (result, seen(out >> 16 & 0xffff), seen(word))
    });
}

fn dying(suite: &Suite) {
    let page = Frame::take();
    page.unmap();
    suite.check(
        "domain.dies-when-its-last-frame-comes-back",
        ([EBUSY, 0], [EINVAL; 4]),
        || {
            let other = Other::create();
            lend(&other);
            let handle = map(&other, page);
            let destroy = || {
                result(DomainDestroy {
                    domid: other.id,
                    ..DomainDestroy::default()
                })
            };
            let first = destroy();
            let refused = [
                result(DomainPause {
                    domid: other.id,
                    ..DomainPause::default()
                }),
                result(DomainUnpause {
                    domid: other.id,
                    ..DomainUnpause::default()
                }),
                result(DomainSetMax {
                    domid: other.id,
                    ..DomainSetMax::default()
                }),
                result(DomainSetLimit {
                    domid: other.id,
                    ..DomainSetLimit::default()
                }),
            ];
            unmap(page, handle);
            ([first, destroy()], refused)
        },
    );
}
