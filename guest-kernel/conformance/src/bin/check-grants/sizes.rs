//! Versions and sizes of grant tables.

use guest_conformance::errno::{EFAULT, EINVAL, EPERM, ESRCH};
use guest_conformance::fixture::read;
use guest_conformance::{
    HYPERVISOR, NOBODY, Role, SELF, UNMAPPED, address_of, call, check, prepare, role, seen, skip,
};
use hypercall_abi::number::GRANT_TABLE_OP;

use super::{BAD_ADDRESS, BAD_DOMAIN, GENERAL_ERROR, OKAY, PERMISSION_DENIED, SETUP, low_half};

const QUERY: u64 = 6;
const SET_VERSION: u64 = 8;
const STATUS_FRAMES: u64 = 9;
const GET_VERSION: u64 = 10;

pub(super) fn versions() {
    let version = |number: u64| {
        let place = [number];
        let result = call(GRANT_TABLE_OP, &[SET_VERSION, address_of(&place), 1]);
        (result, seen(read(address_of(&place)) & 0xffff_ffff))
    };
    check("set_version.1", (0, 1), || version(1));
    check("set_version.2", (0, 2), || {
        let answer = version(2);
        prepare(GRANT_TABLE_OP, &[SET_VERSION, address_of(&1_u64), 1]);
        answer
    });
    check("set_version.0", (EINVAL, 1), || version(0));
    check("set_version.3", (EINVAL, 1), || version(3));
    check("get_version.self", (0, 1), || {
        let place = [SELF];
        let result = call(GRANT_TABLE_OP, &[GET_VERSION, address_of(&place), 1]);
        (result, seen(read(address_of(&place)) >> 32))
    });
    check("get_version.no-such-domain", ESRCH, || {
        call(GRANT_TABLE_OP, &[GET_VERSION, address_of(&[NOBODY]), 1])
    });
    if role() == Role::Ordinary {
        check("get_version.other-domain", EPERM, || {
            call(GRANT_TABLE_OP, &[GET_VERSION, address_of(&[0_u64]), 1])
        });
    } else {
        skip("get_version.other-domain", "there is no other domain");
    }
    check("get_version.fault", EFAULT, || {
        call(GRANT_TABLE_OP, &[GET_VERSION, UNMAPPED, 1])
    });
    check("set_version.fault", EFAULT, || {
        call(GRANT_TABLE_OP, &[SET_VERSION, UNMAPPED, 1])
    });
    let status_frames = |domain: u64, frames: u64| {
        let list = [0_u64];
        let place = [frames | domain << 32, address_of(&list)];
        let result = call(GRANT_TABLE_OP, &[STATUS_FRAMES, address_of(&place), 1]);
        (result, seen(low_half(read(address_of(&place)) >> 48)))
    };
    check("get_status_frames.version-1", (0, GENERAL_ERROR), || {
        status_frames(SELF, 1)
    });
    check("get_status_frames.count-2", EINVAL, || {
        call(GRANT_TABLE_OP, &[STATUS_FRAMES, address_of(&[0_u64; 4]), 2])
    });
    check("get_status_frames.none", (0, OKAY), || {
        status_frames(SELF, 0)
    });
    check("get_status_frames.no-such-domain", (0, BAD_DOMAIN), || {
        status_frames(NOBODY, 1)
    });
    if role() == Role::Ordinary {
        check(
            "get_status_frames.other-domain",
            (0, PERMISSION_DENIED),
            || status_frames(0, 1),
        );
    } else {
        skip("get_status_frames.other-domain", "there is no other domain");
    }
}

/// Result, status and the two numbers of a `query_size`.
fn query(domain: u64, count: u64) -> (i64, i64, u64, u64) {
    let place = [domain, 0xffff_0000_0000_0000];
    let result = call(GRANT_TABLE_OP, &[QUERY, address_of(&place), count]);
    let (first, second) = (read(address_of(&place)), read(address_of(&place) + 8));
    (
        result,
        low_half(second >> 32),
        first >> 32,
        second & 0xffff_ffff,
    )
}

fn setup(domain: u64, frames: u64, list: u64, count: u64) -> (i64, i64) {
    let place = [domain | frames << 32, 0x7fff, list];
    let result = call(GRANT_TABLE_OP, &[SETUP, address_of(&place), count]);
    (result, seen(low_half(read(address_of(&place) + 8))))
}

pub(super) fn sizes() {
    check("query_size.self", (0, OKAY, true), || {
        let (result, status, frames, maximum) = query(SELF, 1);
        (result, seen(status), seen(frames >= 1 && maximum >= frames))
    });
    check("query_size.maximum", 64, || seen(query(SELF, 1).3));
    check("query_size.count-0", EINVAL, || query(SELF, 0).0);
    check("query_size.count-2", EINVAL, || query(SELF, 2).0);
    check("query_size.no-such-domain", (0, BAD_DOMAIN), || {
        let (result, status, ..) = query(NOBODY, 1);
        (result, seen(status))
    });
    if role() == Role::Ordinary {
        check("query_size.other-domain", (0, PERMISSION_DENIED), || {
            let (result, status, ..) = query(0, 1);
            (result, seen(status))
        });
    } else {
        skip("query_size.other-domain", "there is no other domain");
    }
    check("query_size.fault", EFAULT, || {
        call(GRANT_TABLE_OP, &[QUERY, UNMAPPED, 1])
    });
    let list = [0_u64; 64];
    check("setup_table.one-frame", (0, OKAY, true), || {
        let (result, status) = setup(SELF, 1, address_of(&list), 1);
        (result, status, seen(read(address_of(&list)) != 0))
    });
    check("setup_table.no-frame", (0, OKAY), || {
        setup(SELF, 0, address_of(&list), 1)
    });
    check("setup_table.grows", (0, OKAY, 4), || {
        let (result, status) = setup(SELF, 4, address_of(&list), 1);
        let place = [SELF, 0];
        prepare(GRANT_TABLE_OP, &[QUERY, address_of(&place), 1]);
        (result, status, seen(read(address_of(&place)) >> 32))
    });
    check("setup_table.never-shrinks", (0, OKAY, 4), || {
        let (result, status) = setup(SELF, 1, address_of(&list), 1);
        let place = [SELF, 0];
        prepare(GRANT_TABLE_OP, &[QUERY, address_of(&place), 1]);
        (result, status, seen(read(address_of(&place)) >> 32))
    });
    check("setup_table.above-maximum", (0, GENERAL_ERROR), || {
        setup(SELF, 65, address_of(&list), 1)
    });
    check("setup_table.count-2", EINVAL, || {
        setup(SELF, 1, address_of(&list), 2).0
    });
    check("setup_table.no-such-domain", (0, BAD_DOMAIN), || {
        setup(NOBODY, 1, address_of(&list), 1)
    });
    check("setup_table.list-fault", (0, BAD_ADDRESS), || {
        setup(SELF, 1, UNMAPPED, 1)
    });
    if role() == Role::Ordinary {
        check("setup_table.other-domain", (0, PERMISSION_DENIED), || {
            setup(0, 1, address_of(&list), 1)
        });
    } else {
        skip("setup_table.other-domain", "there is no other domain");
    }
    check("setup_table.list-of-hypervisor", EFAULT, || {
        setup(SELF, 1, HYPERVISOR, 1).0
    });
    check("setup_table.frames-differ", true, || {
        setup(SELF, 4, address_of(&list), 1);
        let at = address_of(&list);
        seen(read(at) != read(at + 8) && read(at + 8) != read(at + 16))
    });
}
