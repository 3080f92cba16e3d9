//! What a domain without control may not do to another one: its frames, its tables, its account, its life.

use guest_conformance::errno::{EBUSY, EINVAL, EPERM, ESRCH};
use guest_conformance::fixture::{FLUSH, Frame, PRESENT, WRITABLE, read};
use guest_conformance::{SELF, UNMAPPED, address_of, call, check, seen};
use hypercall_abi::number::{
    GRANT_TABLE_OP, MEMORY_OP, MMU_UPDATE, MMUEXT_OP, SCHED_OP, UPDATE_VA_MAPPING,
    UPDATE_VA_MAPPING_OTHERDOMAIN, XEN_VERSION,
};

use crate::Bench;
use crate::loans::low_half;

const PERMISSION_DENIED: i64 = -8;

pub(crate) fn checks(bench: &Bench) {
    frames(bench);
    calls(bench);
}

fn frames(bench: &Bench) {
    let far = &bench.far;
    let theirs = far.take();
    let place = Frame::take();
    let table = Frame::take().read_only().pinned(1);
    let mmu =
        |request: [u64; 2], domains: u64| call(MMU_UPDATE, &[address_of(&request), 1, 0, domains]);
    let ext =
        |operation: [u64; 3], domain: u64| call(MMUEXT_OP, &[address_of(&operation), 1, 0, domain]);
    let entry = |flags: u64| theirs.mfn << 12 | flags;
    check("frame.mapped-by-the-calls-that-map-own", [EBUSY; 2], || {
        let answers = [PRESENT, WRITABLE]
            .map(|flags| call(UPDATE_VA_MAPPING, &[place.address, entry(flags), FLUSH]));
        place.remap(WRITABLE);
        answers
    });
    check("frame.in-an-own-table", EBUSY, || {
        mmu([table.slot(1), entry(WRITABLE)], SELF)
    });
    check("frame.in-an-own-table-in-the-peers-name", EPERM, || {
        mmu([table.slot(1), entry(WRITABLE)], far.number)
    });
    check("table.of-the-peer", EPERM, || {
        mmu([theirs.mfn << 12, 0], (far.number + 1) << 16 | SELF)
    });
    check("table.of-the-peer-as-own", EINVAL, || {
        mmu([theirs.mfn << 12, 0], SELF)
    });
    check("mapping.in-the-peers-name", EPERM, || {
        call(
            UPDATE_VA_MAPPING_OTHERDOMAIN,
            &[place.address, entry(WRITABLE), FLUSH, far.number],
        )
    });
    check("m2p.of-the-peers-frame", EINVAL, || {
        mmu([theirs.mfn << 12 | 1, 5], SELF)
    });
    check("m2p.of-the-peers-frame-in-its-name", EPERM, || {
        mmu([theirs.mfn << 12 | 1, 5], far.number)
    });
    check("pin.of-the-peers-frame", [EINVAL; 2], || {
        [0, 3].map(|pin| ext([pin, theirs.mfn, 0], SELF))
    });
    check("pin.in-the-peers-name", EPERM, || {
        ext([0, theirs.mfn, 0], far.number)
    });
    check("unpin.of-the-peers-frame", EINVAL, || {
        ext([4, theirs.mfn, 0], SELF)
    });
    check("clear_page.of-the-peers-frame", (EINVAL, 0x61), || {
        far.write(theirs.address, 0x61);
        let result = ext([16, theirs.mfn, 0], SELF);
        (result, seen(far.read(theirs.address).0))
    });
    check("copy_page.of-the-peers-frame", [EINVAL; 2], || {
        [
            ext([17, theirs.mfn, place.mfn], SELF),
            ext([17, place.mfn, theirs.mfn], SELF),
        ]
    });
    check("new_baseptr.of-the-peers-frame", EINVAL, || {
        ext([5, theirs.mfn, 0], SELF)
    });
    check("decrease.of-the-peers-frame", 0, || {
        let list = [theirs.mfn];
        call(
            MEMORY_OP,
            &[1, address_of(&[address_of(&list), 1, 0, SELF])],
        )
    });
}

fn calls(bench: &Bench) {
    let far = bench.far.number;
    check("memory.given-to-the-peer-and-taken-from-it", [0; 2], || {
        // Refused before the first extent: so many are done.
        let list = [0_u64];
        let request = [address_of(&list), 1, 0, far];
        [6, 1].map(|operation| call(MEMORY_OP, &[operation, address_of(&request)]))
    });
    check("memory.account-of-the-peer", [EPERM; 2], || {
        [3, 4].map(|operation| call(MEMORY_OP, &[operation, address_of(&far)]))
    });
    check("memory.highest-page-of-the-peer", EPERM, || {
        call(MEMORY_OP, &[14, address_of(&far)])
    });
    check("memory.no-such-domain-comes-first", [ESRCH; 2], || {
        let nobody = guest_conformance::NOBODY;
        [3, 4].map(|operation| call(MEMORY_OP, &[operation, address_of(&nobody)]))
    });
    check("remote_shutdown.of-the-peer", EPERM, || {
        call(SCHED_OP, &[4, address_of(&(far | 3 << 32))])
    });
    check("table.size-of-the-peers", (0, PERMISSION_DENIED), || {
        let place = [far, 0];
        let result = call(GRANT_TABLE_OP, &[6, address_of(&place), 1]);
        (result, seen(low_half(read(address_of(&place) + 8) >> 32)))
    });
    check("table.frames-of-the-peers", (0, PERMISSION_DENIED), || {
        let list = [0_u64];
        let place = [far | 1 << 32, 0x7fff, address_of(&list)];
        let result = call(GRANT_TABLE_OP, &[2, address_of(&place), 1]);
        (result, seen(low_half(read(address_of(&place) + 8))))
    });
    check("table.version-of-the-peers", EPERM, || {
        call(GRANT_TABLE_OP, &[10, address_of(&[far]), 1])
    });
    check("acquire_resource.of-the-peer", EPERM, || {
        let place = [far | 1 << 16, 1, 0, UNMAPPED];
        call(MEMORY_OP, &[28, address_of(&place)])
    });
    check("xen_version.asks-for-no-right", true, || {
        call(XEN_VERSION, &[0, 0]) == 0x4_0011
    });
}
