//! Entries that change places, mappings that are replaced, and the cache.

use guest_conformance::errno::{EINVAL, EOPNOTSUPP, EPERM};
use guest_conformance::fixture::{Frame, read};
use guest_conformance::{SELF, address_of, call, check, prepare, seen};
use hypercall_abi::number::{GRANT_TABLE_OP, MEMORY_OP};

use super::{BAD_HANDLE, BAD_REFERENCE, Bench, ENTRY, HOST, OKAY, low_half};

const REPLACE: u64 = 7;
const SWAP: u64 = 11;
const FLUSH_CACHE: u64 = 12;

const AGAIN: i64 = -12;

pub(super) fn swaps(bench: &Bench) {
    let swap = |first: u64, second: u64| {
        let place = [first | second << 32, 0x7fff];
        let result = call(GRANT_TABLE_OP, &[SWAP, address_of(&place), 1]);
        (result, seen(low_half(read(address_of(&place) + 8))))
    };
    let free = ENTRY + 1;
    check("swap.exchanges-entries", (0, OKAY, 0), || {
        bench.usual_grant();
        let (result, status) = swap(ENTRY, free);
        let flags = bench.entry_flags();
        let back = [ENTRY | free << 32, 0];
        prepare(GRANT_TABLE_OP, &[SWAP, address_of(&back), 1]);
        (result, status, seen(flags))
    });
    check("swap.with-itself", (0, OKAY), || swap(ENTRY, ENTRY));
    check("swap.no-such-entry", [(0, BAD_REFERENCE); 2], || {
        [swap(1 << 20, ENTRY), swap(ENTRY, 1 << 20)]
    });
    check("swap.entry-in-use", (0, AGAIN), || {
        bench.usual_grant();
        let handle = bench.map_prepared(HOST);
        let answer = swap(ENTRY, free);
        bench.unmap_prepared(HOST, handle);
        answer
    });
    check("unmap_and_replace.moves-the-entry", (0, OKAY, 0x77), || {
        bench.usual_grant();
        bench.lent.set_word(9, 0x99);
        let other = Frame::take();
        other.set_word(9, 0x77);
        let handle = bench.map_prepared(HOST);
        let place = [bench.place.address, other.address, handle | 0x7fff << 32];
        let result = call(GRANT_TABLE_OP, &[REPLACE, address_of(&place), 1]);
        let status = low_half(read(address_of(&place) + 16) >> 32);
        let word = if result == 0 && status == 0 {
            bench.place.word(9)
        } else {
            0
        };
        if status == 0 {
            bench.place.unmap();
        } else {
            bench.unmap_prepared(HOST, handle);
        }
        (result, seen(status), seen(word))
    });
}

pub(super) fn replaces_nothing() {
    check("unmap_and_replace.no-such-mapping", (0, BAD_HANDLE), || {
        let place = [0_u64, 0, 4000];
        let result = call(GRANT_TABLE_OP, &[REPLACE, address_of(&place), 1]);
        (result, seen(low_half(read(address_of(&place) + 16) >> 32)))
    });
}

pub(super) fn caches(bench: &Bench) {
    // Address, offset and length, what to do: 1 writes back, 2 forgets.
    let flush = |address: u64, offset: u64, length: u64, what: u64| {
        let place = [address, offset | length << 16 | what << 32];
        call(GRANT_TABLE_OP, &[FLUSH_CACHE, address_of(&place), 1])
    };
    let lent = bench.lent.mfn << 12;
    check("cache_flush.beyond-the-frame", EINVAL, || {
        flush(lent, 4095, 2, 1)
    });
    check("cache_flush.unknown-operation", EINVAL, || {
        flush(lent, 0, 1, 4)
    });
    check("cache_flush.no-such-frame", EINVAL, || {
        flush(0xff_ffff << 12, 0, 1, 1)
    });
    check("cache_flush.nothing-is-not-looked-at", [0; 2], || {
        [flush(1 << 51, 0, 0, 1), flush(1 << 51, 0, 8, 0)]
    });
    check("cache_flush.own-frame", 0, || flush(lent, 0, 64, 1));
    check("cache_flush.nobodys-frame", EPERM, || {
        let frame = Frame::take();
        frame.unmap();
        let list = [frame.mfn];
        let decrease = [address_of(&list), 1, 0, SELF];
        prepare(MEMORY_OP, &[1, address_of(&decrease)]);
        flush(frame.mfn << 12, 0, 64, 1)
    });
    check("cache_flush.forget", EOPNOTSUPP, || flush(lent, 0, 64, 2));
}
