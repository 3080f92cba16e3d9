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

/// Bits of the entries that map grants, and of the grants themselves.
pub(super) fn bits(bench: &Bench) {
    let mapped = |flags: u64, mask: u64| {
        bench.usual_grant();
        let table = Frame::take().read_only().pinned(1);
        let (result, _, handle) = bench.map(table.slot(3), flags | 16, ENTRY, bench.own);
        let entry = table.word(3) & mask;
        let place = [table.slot(3), 0, handle];
        prepare(GRANT_TABLE_OP, &[1, address_of(&place), 1]);
        (result, seen(entry))
    };
    let all = 0x107 | 1 << 52;
    check("map.bits-of-a-kernel-page", (0, 7 | 1 << 52), || {
        mapped(HOST, all)
    });
    check("map.bits-of-a-user-page", (0, 0x107), || {
        mapped(HOST | 8, all)
    });
    check("map.bits-of-a-read-only-page", (0, 5 | 1 << 52), || {
        mapped(HOST | 4, all)
    });
    check("map.bits-of-a-read-only-user-page", (0, 0x105), || {
        mapped(HOST | 4 | 8, all)
    });
    let granted = |flags: u64| {
        bench.grant(flags, bench.own, bench.lent.mfn);
        let answer = bench.try_map(HOST, ENTRY, bench.own);
        bench.usual_grant();
        answer
    };
    check("entry.part-of-a-page", (0, -1), || granted(0x101));
    check("entry.transitive", (0, -1), || granted(3));
    check("entry.cache-bits-are-ignored", [(0, OKAY); 3], || {
        [0x21, 0x41, 0x81].map(granted)
    });
    check("entry.claims-to-be-in-use", (0, OKAY), || granted(0x19));
    check("unmap.read-only-entry-made-writable", (0, -1), || {
        // The entry is no longer as it was mapped.
        bench.usual_grant();
        let table = Frame::take().read_only().pinned(1);
        let (_, _, handle) = bench.map(table.slot(3), HOST | 4 | 16, ENTRY, bench.own);
        let mapped = table.word(3);
        table.store(3, bench.lent.entry(3));
        let answer = bench.unmap(table.slot(3), 0, handle);
        table.store(3, mapped);
        let place = [table.slot(3), 0, handle];
        prepare(GRANT_TABLE_OP, &[1, address_of(&place), 1]);
        answer
    });
    check("unmap.by-linear-address-of-an-entry", (0, -1), || {
        bench.usual_grant();
        let table = Frame::take().read_only().pinned(1);
        let (_, _, handle) = bench.map(table.slot(3), HOST | 16, ENTRY, bench.own);
        let answer = bench.unmap(bench.place.address, 0, handle);
        let place = [table.slot(3), 0, handle];
        prepare(GRANT_TABLE_OP, &[1, address_of(&place), 1]);
        answer
    });
    check("list.many-elements", (0, 64, 1), || {
        // Device maps of one entry, and as many unmaps: its flags are as before.
        bench.usual_grant();
        let mut maps = [[0_u64; 4]; 64];
        maps.fill([0, 1 | ENTRY << 32, bench.own, 0]);
        let result = call(GRANT_TABLE_OP, &[0, address_of(&maps), 64]);
        let mut unmaps = [[0_u64; 3]; 64];
        let mut done = 0;
        for (unmap, map) in unmaps.iter_mut().zip(&maps) {
            let out = read(address_of(map) + 16);
            done += u64::from(low_half(out >> 16) == OKAY);
            *unmap = [0, bench.lent.mfn << 12, out >> 32];
        }
        let result = result | call(GRANT_TABLE_OP, &[1, address_of(&unmaps), 64]);
        (result, seen(done), seen(bench.entry_flags()))
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
