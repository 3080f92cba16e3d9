//! Grant tables: setting up, mapping, unmapping, copying, and what a grant's owner sees of it.
//!
//! [`sizes`] asks about versions and sizes of tables, [`moves`] about entries that are exchanged and caches, this file about what
//! is lent by them.
#![no_std]
#![no_main]

use guest_conformance::errno::{EFAULT, EINVAL, ENOSYS};
use guest_conformance::fixture::{Frame, PRESENT, WRITABLE, own_number, read};
use guest_conformance::{
    HYPERVISOR, NOBODY, NOT_CANONICAL, SELF, UNMAPPED, address_of, call, check, finish, prepare,
    seen, start,
};
use guest_kernel::paging::{Access, Mapping, Mfn};
use guest_kernel::start::Boot;
use hypercall_abi::number::{GRANT_TABLE_OP, UPDATE_VA_MAPPING};

mod moves;
mod sizes;

guest_kernel::entry!(main);

const MAP: u64 = 0;
const UNMAP: u64 = 1;
const SETUP: u64 = 2;
const TRANSFER: u64 = 4;
const COPY: u64 = 5;

const DEVICE: u64 = 1;
const HOST: u64 = 2;
const READ_ONLY: u64 = 4;
const CONTAINS_PTE: u64 = 16;

const OKAY: i64 = 0;
const GENERAL_ERROR: i64 = -1;
const BAD_DOMAIN: i64 = -2;
const BAD_REFERENCE: i64 = -3;
const BAD_HANDLE: i64 = -4;
const BAD_ADDRESS: i64 = -5;
const BAD_DEVICE_ADDRESS: i64 = -6;
const PERMISSION_DENIED: i64 = -8;
const BAD_PAGE: i64 = -9;
const BAD_COPY: i64 = -10;

/// The entry of the table that checks use.
const ENTRY: u64 = 100;

/// What the checks work on.
struct Bench {
    own: u64,
    table: Frame,
    lent: Frame,
    place: Frame,
}

fn main(boot: &'static Boot) {
    start(boot);
    sizes::versions();
    sizes::sizes();
    let frames = [0_u64; 1];
    let setup = [SELF | 1 << 32, 0, address_of(&frames)];
    assert!(
        prepare(GRANT_TABLE_OP, &[SETUP, address_of(&setup), 1]) == 0,
        "there is a grant table"
    );
    let mfn = read(address_of(&frames));
    let Ok(mapping) = Mapping::new(&[Mfn(mfn)], Access::ReadWrite) else {
        panic!("the grant table cannot be mapped")
    };
    let table = Frame {
        address: mapping.address() as u64,
        mfn,
    };
    let bench = Bench {
        own: own_number(),
        table,
        lent: Frame::take(),
        place: Frame::take(),
    };
    bench.place.unmap();
    lists(&bench);
    maps(&bench);
    flags(&bench);
    unmaps(&bench);
    entries(&bench);
    copies(&bench);
    moves::bits(&bench);
    moves::swaps(&bench);
    moves::replaces_nothing();
    moves::caches(&bench);
    overwritten(&bench);
    finish()
}

fn low_half(word: u64) -> i64 {
    i64::from(i16::from_ne_bytes([
        word.to_ne_bytes()[0],
        word.to_ne_bytes()[1],
    ]))
}

impl Bench {
    /// Writes the table's entry.
    fn grant(&self, flags: u64, domain: u64, frame: u64) {
        self.set_entry(frame << 32 | domain << 16 | flags);
    }

    fn set_entry(&self, value: u64) {
        self.table.set_word(ENTRY, value);
    }

    /// The entry's flags as they are now.
    fn entry_flags(&self) -> u64 {
        self.table.word(ENTRY) & 0xffff
    }

    /// Maps by the call under test; result, status and handle.
    fn map(&self, address: u64, flags: u64, reference: u64, domain: u64) -> (i64, i64, u64) {
        let place = [address, flags | reference << 32, domain, 0];
        let result = call(GRANT_TABLE_OP, &[MAP, address_of(&place), 1]);
        let out = read(address_of(&place) + 16);
        (result, low_half(out >> 16), out >> 32)
    }

    /// Maps the usual grant where nothing is; its status, after it was unmapped again.
    fn try_map(&self, flags: u64, reference: u64, domain: u64) -> (i64, i64) {
        let (result, status, handle) = self.map(self.place.address, flags, reference, domain);
        if result == 0 && status == 0 {
            self.unmap_prepared(flags, handle);
        }
        (result, seen(status))
    }

    fn map_prepared(&self, flags: u64) -> u64 {
        let place = [self.place.address, flags | ENTRY << 32, self.own, 0];
        prepare(GRANT_TABLE_OP, &[MAP, address_of(&place), 1]);
        read(address_of(&place) + 16) >> 32
    }

    fn unmap_prepared(&self, flags: u64, handle: u64) {
        let host = if flags & HOST == 0 {
            0
        } else {
            self.place.address
        };
        let device = if flags & DEVICE == 0 {
            0
        } else {
            self.lent.mfn << 12
        };
        let place = [host, device, handle];
        prepare(GRANT_TABLE_OP, &[UNMAP, address_of(&place), 1]);
    }

    /// Unmaps by the call under test; result and status.
    fn unmap(&self, host: u64, device: u64, handle: u64) -> (i64, i64) {
        let place = [host, device, handle | 0x7fff << 32];
        let result = call(GRANT_TABLE_OP, &[UNMAP, address_of(&place), 1]);
        (result, seen(low_half(read(address_of(&place) + 16) >> 32)))
    }

    fn usual_grant(&self) {
        self.grant(1, self.own, self.lent.mfn);
    }
}

fn lists(bench: &Bench) {
    bench.usual_grant();
    check("list.empty", 0, || {
        call(GRANT_TABLE_OP, &[MAP, UNMAPPED, 0])
    });
    check("list.too-long", EINVAL, || {
        call(GRANT_TABLE_OP, &[MAP, UNMAPPED, 1 << 31])
    });
    check("list.fault", EFAULT, || {
        call(GRANT_TABLE_OP, &[MAP, UNMAPPED, 1])
    });
    check("list.of-hypervisor", EFAULT, || {
        call(GRANT_TABLE_OP, &[MAP, HYPERVISOR, 1])
    });
    check("list.unmap-fault", EFAULT, || {
        call(GRANT_TABLE_OP, &[UNMAP, UNMAPPED, 1])
    });
    check("list.copy-fault", EFAULT, || {
        call(GRANT_TABLE_OP, &[COPY, UNMAPPED, 1])
    });
    check("list.command-upper-bits", EINVAL, || {
        call(GRANT_TABLE_OP, &[1 << 12 | MAP, UNMAPPED, 0])
    });
    check(
        "list.failing-element-does-not-end-it",
        (0, [BAD_DOMAIN, BAD_REFERENCE]),
        || {
            let place = [
                0,
                HOST | ENTRY << 32,
                NOBODY,
                0, //
                0,
                HOST | 1 << 62,
                bench.own,
                0,
            ];
            let result = call(GRANT_TABLE_OP, &[MAP, address_of(&place), 2]);
            let status = |at: u64| low_half(read(address_of(&place) + at) >> 16);
            (result, seen([status(16), status(48)]))
        },
    );
    check("list.transfer-empty", 0, || {
        call(GRANT_TABLE_OP, &[TRANSFER, UNMAPPED, 0])
    });
    check("list.dump_table", ENOSYS, || {
        call(GRANT_TABLE_OP, &[3, UNMAPPED, 1])
    });
    check("list.cache_flush", 0, || {
        let place = [0_u64; 2];
        call(GRANT_TABLE_OP, &[12, address_of(&place), 1])
    });
}

fn maps(bench: &Bench) {
    let own = bench.own;
    check("map.host", (0, OKAY), || bench.try_map(HOST, ENTRY, own));
    check("map.host-read-only", (0, OKAY), || {
        bench.try_map(HOST | READ_ONLY, ENTRY, own)
    });
    check("map.device", (0, OKAY), || {
        bench.try_map(DEVICE, ENTRY, own)
    });
    check("map.neither", (0, BAD_REFERENCE), || {
        bench.try_map(0, ENTRY, own)
    });
    check("map.no-such-domain", (0, BAD_DOMAIN), || {
        bench.try_map(HOST, ENTRY, NOBODY)
    });
    check("map.self-is-no-number", (0, BAD_DOMAIN), || {
        bench.try_map(HOST, ENTRY, SELF)
    });
    check("map.reference-beyond", (0, BAD_REFERENCE), || {
        bench.try_map(HOST, 1 << 20, own)
    });
    check("map.reference-max", (0, BAD_REFERENCE), || {
        bench.try_map(HOST, 0xffff_ffff, own)
    });
    check("map.empty-entry", (0, GENERAL_ERROR), || {
        bench.try_map(HOST, ENTRY + 1, own)
    });
    check("map.device-address", (0, OKAY, true), || {
        let place = [bench.place.address, HOST | ENTRY << 32, own, 0];
        let result = call(GRANT_TABLE_OP, &[MAP, address_of(&place), 1]);
        let out = read(address_of(&place) + 16);
        bench.unmap_prepared(HOST, out >> 32);
        let bus = read(address_of(&place) + 24);
        (
            result,
            seen(low_half(out >> 16)),
            seen(bus == bench.lent.mfn << 12),
        )
    });
    check("map.shows-the-frame", (0, 0x1234), || {
        bench.lent.set_word(5, 0x1234);
        let (result, _, handle) = bench.map(bench.place.address, HOST, ENTRY, own);
        let value = if result == 0 { bench.place.word(5) } else { 0 };
        bench.unmap_prepared(HOST, handle);
        (result, seen(value))
    });
    check("map.no-table-at-address", (0, GENERAL_ERROR), || {
        let (result, status, _) = bench.map(0x7000_0000_0000, HOST, ENTRY, own);
        (result, seen(status))
    });
    check("map.address-of-hypervisor", (0, GENERAL_ERROR), || {
        let (result, status, _) = bench.map(HYPERVISOR, HOST, ENTRY, own);
        (result, seen(status))
    });
    check("map.address-not-canonical", (0, GENERAL_ERROR), || {
        let (result, status, _) = bench.map(NOT_CANONICAL, HOST, ENTRY, own);
        (result, seen(status))
    });
    check("map.entry-address-not-a-table", (0, GENERAL_ERROR), || {
        let (result, status, _) = bench.map(bench.lent.mfn << 12, HOST | CONTAINS_PTE, ENTRY, own);
        (result, seen(status))
    });
    check("map.entry-address-unaligned", (0, GENERAL_ERROR), || {
        let (result, status, _) =
            bench.map((bench.lent.mfn << 12) + 4, HOST | CONTAINS_PTE, ENTRY, own);
        (result, seen(status))
    });
    check("map.into-an-entry", (0, OKAY, true), || {
        let table = Frame::take().read_only().pinned(1);
        let (result, status, handle) = bench.map(table.slot(3), HOST | CONTAINS_PTE, ENTRY, own);
        let mapped = table.word(3) >> 12 & 0xff_ffff_ffff == bench.lent.mfn;
        let place = [table.slot(3), 0, handle];
        prepare(GRANT_TABLE_OP, &[UNMAP, address_of(&place), 1]);
        (result, seen(status), seen(mapped))
    });
    check(
        "map.entry-is-not-executable-accessed-dirty",
        (0, 1 << 63 | 0x60),
        || {
            let table = Frame::take().read_only().pinned(1);
            let (result, _, handle) = bench.map(table.slot(3), HOST | CONTAINS_PTE, ENTRY, own);
            let entry = table.word(3);
            let place = [table.slot(3), 0, handle];
            prepare(GRANT_TABLE_OP, &[UNMAP, address_of(&place), 1]);
            (result, seen(entry & (1 << 63 | 0x60)))
        },
    );
    check("map.available-bits", (0, 5 << 9), || {
        let table = Frame::take().read_only().pinned(1);
        let flags = HOST | CONTAINS_PTE | 5 << 16;
        let (result, _, handle) = bench.map(table.slot(3), flags, ENTRY, own);
        let entry = table.word(3);
        let place = [table.slot(3), 0, handle];
        prepare(GRANT_TABLE_OP, &[UNMAP, address_of(&place), 1]);
        (result, seen(entry & 7 << 9))
    });
    check("map.handles-differ", (0, true), || {
        let (result, _, first) = bench.map(0, DEVICE, ENTRY, own);
        let (_, _, second) = bench.map(0, DEVICE, ENTRY, own);
        bench.unmap_prepared(DEVICE, first);
        bench.unmap_prepared(DEVICE, second);
        (result, seen(first != second))
    });
}

fn flags(bench: &Bench) {
    let own = bench.own;
    let during = |kind: u64| {
        bench.usual_grant();
        let (result, _, handle) = bench.map(bench.place.address, kind, ENTRY, own);
        let flags = bench.entry_flags();
        bench.unmap_prepared(kind, handle);
        (result, seen(flags))
    };
    check("flags.reading-and-writing-while-mapped", (0, 0x19), || {
        during(HOST)
    });
    check("flags.reading-while-mapped-read-only", (0, 0x09), || {
        during(HOST | READ_ONLY)
    });
    check("flags.device-map-counts", (0, 0x19), || during(DEVICE));
    check("flags.cleared-by-unmap", (0, OKAY, 1), || {
        let handle = bench.map_prepared(HOST);
        let (result, status) = bench.unmap(bench.place.address, 0, handle);
        (result, status, seen(bench.entry_flags()))
    });
    check(
        "flags.writing-goes-with-last-writer",
        (0, OKAY, 0x09),
        || {
            let reader = [0, DEVICE | READ_ONLY | ENTRY << 32, own, 0];
            prepare(GRANT_TABLE_OP, &[MAP, address_of(&reader), 1]);
            let writer = bench.map_prepared(HOST);
            let (result, status) = bench.unmap(bench.place.address, 0, writer);
            let left = bench.entry_flags();
            bench.unmap_prepared(DEVICE, read(address_of(&reader) + 16) >> 32);
            (result, status, seen(left))
        },
    );
    let by_entry = |flags: u64, domain: u64, frame: u64, kind: u64| {
        bench.grant(flags, domain, frame);
        let answer = bench.try_map(kind, ENTRY, own);
        bench.usual_grant();
        answer
    };
    let lent = bench.lent.mfn;
    check("entry.read-only-refuses-writer", (0, GENERAL_ERROR), || {
        by_entry(5, own, lent, HOST)
    });
    check("entry.read-only-lets-reader", (0, OKAY), || {
        by_entry(5, own, lent, HOST | READ_ONLY)
    });
    check("entry.other-grantee", (0, GENERAL_ERROR), || {
        by_entry(1, NOBODY, lent, HOST)
    });
    check("entry.invalid-type", (0, GENERAL_ERROR), || {
        by_entry(0, own, lent, HOST)
    });
    check("entry.transfer-type", (0, GENERAL_ERROR), || {
        by_entry(2, own, lent, HOST)
    });
    check(
        "entry.frame-that-is-not-the-granters",
        (0, BAD_PAGE),
        || by_entry(1, own, 0xff_ffff, HOST),
    );
    check(
        "entry.page-table-refuses-writer",
        (0, GENERAL_ERROR),
        || {
            let table = Frame::take().read_only().pinned(1);
            by_entry(1, own, table.mfn, HOST)
        },
    );
    check("entry.page-table-lets-reader", (0, OKAY), || {
        let table = Frame::take().read_only().pinned(1);
        by_entry(1, own, table.mfn, HOST | READ_ONLY)
    });
}

fn unmaps(bench: &Bench) {
    let own = bench.own;
    bench.usual_grant();
    let at = bench.place.address;
    check("unmap.host", (0, OKAY), || {
        let handle = bench.map_prepared(HOST);
        bench.unmap(at, 0, handle)
    });
    check("unmap.takes-the-entry-away", (0, OKAY, 0), || {
        let table = Frame::take().read_only().pinned(1);
        let place = [table.slot(3), HOST | CONTAINS_PTE | ENTRY << 32, own, 0];
        prepare(GRANT_TABLE_OP, &[MAP, address_of(&place), 1]);
        let handle = read(address_of(&place) + 16) >> 32;
        let (result, status) = bench.unmap(table.slot(3), 0, handle);
        (result, status, seen(table.word(3)))
    });
    check("unmap.twice", (0, BAD_HANDLE), || {
        let handle = bench.map_prepared(HOST);
        bench.unmap_prepared(HOST, handle);
        bench.unmap(at, 0, handle)
    });
    check("unmap.no-such-handle", (0, BAD_HANDLE), || {
        bench.unmap(at, 0, 0xffff_fff0)
    });
    let other = Frame::take();
    check("unmap.wrong-address", (0, GENERAL_ERROR), || {
        let handle = bench.map_prepared(HOST);
        let answer = bench.unmap(other.address, 0, handle);
        bench.unmap_prepared(HOST, handle);
        answer
    });
    check("unmap.neither-part", (0, OKAY), || {
        let handle = bench.map_prepared(HOST);
        let answer = bench.unmap(0, 0, handle);
        bench.unmap_prepared(HOST, handle);
        answer
    });
    check("unmap.device", (0, OKAY), || {
        let place = [0, DEVICE | ENTRY << 32, own, 0];
        prepare(GRANT_TABLE_OP, &[MAP, address_of(&place), 1]);
        bench.unmap(0, bench.lent.mfn << 12, read(address_of(&place) + 16) >> 32)
    });
    check(
        "unmap.device-of-another-frame",
        (0, BAD_DEVICE_ADDRESS),
        || {
            let place = [0, DEVICE | ENTRY << 32, own, 0];
            prepare(GRANT_TABLE_OP, &[MAP, address_of(&place), 1]);
            let handle = read(address_of(&place) + 16) >> 32;
            let answer = bench.unmap(0, (bench.lent.mfn + 1) << 12, handle);
            bench.unmap_prepared(DEVICE, handle);
            answer
        },
    );
    check(
        "unmap.parts-one-by-one",
        ((0, OKAY), (0, OKAY), (0, BAD_HANDLE)),
        || {
            let handle = bench.map_prepared(HOST | DEVICE);
            let first = bench.unmap(at, 0, handle);
            let second = bench.unmap(0, bench.lent.mfn << 12, handle);
            (first, second, bench.unmap(at, 0, handle))
        },
    );
}

/// Last, since the entry stays in use for ever: its handle can no longer be given back.
fn overwritten(bench: &Bench) {
    let at = bench.place.address;
    check("unmap.overwritten-entry", (0, GENERAL_ERROR), || {
        let handle = bench.map_prepared(HOST);
        prepare(UPDATE_VA_MAPPING, &[at, 0, 6]);
        bench.unmap(at, 0, handle)
    });
    check(
        "flags.overwritten-entry-stays-in-use",
        (0, GENERAL_ERROR, 0x19),
        || {
            let handle = bench.map_prepared(HOST);
            prepare(UPDATE_VA_MAPPING, &[at, 0, 6]);
            let (result, status) = bench.unmap(at, 0, handle);
            (result, status, seen(bench.entry_flags()))
        },
    );
}

fn entries(bench: &Bench) {
    check(
        "granted.pinned-frame-is-the-first-one",
        (0, OKAY, 0x77),
        || {
            let other = Frame::take();
            other.set_word(0, 0x99);
            bench.lent.set_word(0, 0x77);
            bench.usual_grant();
            let place = [0, DEVICE | READ_ONLY | ENTRY << 32, bench.own, 0];
            prepare(GRANT_TABLE_OP, &[MAP, address_of(&place), 1]);
            bench.set_entry(other.mfn << 32 | bench.own << 16 | 9);
            let (result, status, handle) =
                bench.map(bench.place.address, HOST | READ_ONLY, ENTRY, bench.own);
            let value = if result == 0 { bench.place.word(0) } else { 0 };
            bench.unmap_prepared(HOST, handle);
            bench.unmap_prepared(DEVICE, read(address_of(&place) + 16) >> 32);
            (result, seen(status), seen(value))
        },
    );
    bench.usual_grant();
    check(
        "granted.frame-cannot-become-a-table-while-mapped-writable",
        (0, -16),
        || {
            // The reference of a writable map is a writable type: the frame's own mapping is taken away first.
            let (result, _, handle) = bench.map(bench.place.address, HOST, ENTRY, bench.own);
            bench.lent.remap(PRESENT);
            let pin = [0_u64, bench.lent.mfn, 0];
            let pinned = prepare(
                hypercall_abi::number::MMUEXT_OP,
                &[address_of(&pin), 1, 0, SELF],
            );
            bench.unmap_prepared(HOST, handle);
            bench.lent.remap(WRITABLE);
            (result, seen(if pinned == EINVAL { -16 } else { pinned }))
        },
    );
}

fn copies(bench: &Bench) {
    let own = bench.own;
    bench.usual_grant();
    let target = Frame::take();
    // source and destination as (number, domain, offset), length, flags
    let copy = |source: (u64, u64, u64), to: (u64, u64, u64), length: u64, flags: u64| {
        let place = [
            source.0,
            source.1 | source.2 << 16,
            to.0,
            to.1 | to.2 << 16,
            length | flags << 16 | 0x7fff << 32,
        ];
        let result = call(GRANT_TABLE_OP, &[COPY, address_of(&place), 1]);
        (result, seen(low_half(read(address_of(&place) + 32) >> 32)))
    };
    let (lent, into) = (bench.lent.mfn, target.mfn);
    let granted = |offset| (ENTRY, own, offset);
    let mine = |offset| (into, SELF, offset);
    check("copy.from-grant", (0, OKAY, 0xfeed, 0), || {
        bench.lent.set_word(8, 0xfeed);
        let (result, status) = copy(granted(64), mine(0), 8, 1);
        (result, status, seen(target.word(0)), target.word(1))
    });
    check("copy.to-grant", (0, OKAY, 0xbeef), || {
        target.set_word(0, 0xbeef);
        let (result, status) = copy(mine(0), granted(128), 8, 2);
        (result, status, seen(bench.lent.word(16)))
    });
    check("copy.grant-to-grant", (0, OKAY, 0xbeef), || {
        let (result, status) = copy(granted(128), granted(256), 8, 3);
        (result, status, seen(bench.lent.word(32)))
    });
    check("copy.own-to-own", (0, OKAY, 0xbeef), || {
        target.set_word(0, 0xbeef);
        let (result, status) = copy(mine(0), mine(2048), 8, 0);
        (result, status, seen(target.word(256)))
    });
    check("copy.whole-page", (0, OKAY, 0x42), || {
        bench.lent.set_word(511, 0x42);
        let (result, status) = copy(granted(0), mine(0), 4096, 1);
        (result, status, seen(target.word(511)))
    });
    check("copy.nothing", (0, OKAY), || {
        copy(granted(0), mine(0), 0, 1)
    });
    check("copy.nothing-from-no-domain", (0, BAD_DOMAIN), || {
        copy((ENTRY, NOBODY, 0), mine(0), 0, 1)
    });
    check("copy.nothing-from-no-entry", (0, GENERAL_ERROR), || {
        copy((ENTRY + 1, own, 0), mine(0), 0, 1)
    });
    check("copy.beyond-source", (0, BAD_COPY), || {
        copy(granted(4090), mine(0), 8, 1)
    });
    check("copy.beyond-destination", (0, BAD_COPY), || {
        copy(granted(0), mine(4090), 8, 1)
    });
    check("copy.empty-entry", (0, GENERAL_ERROR), || {
        copy((ENTRY + 1, own, 0), mine(0), 8, 1)
    });
    check("copy.reference-beyond", (0, BAD_REFERENCE), || {
        copy((1 << 20, own, 0), mine(0), 8, 1)
    });
    check("copy.no-such-domain", (0, BAD_DOMAIN), || {
        copy((ENTRY, NOBODY, 0), mine(0), 8, 1)
    });
    check(
        "copy.frame-of-a-named-domain",
        (0, PERMISSION_DENIED),
        || copy((lent, own, 0), mine(0), 8, 0),
    );
    check("copy.from-a-frame-that-is-not-own", (0, BAD_PAGE), || {
        copy((0xff_ffff, SELF, 0), mine(0), 8, 0)
    });
    check("copy.to-a-page-table", (0, GENERAL_ERROR), || {
        let table = Frame::take().read_only().pinned(1);
        copy(granted(0), (table.mfn, SELF, 0), 8, 1)
    });
    check("copy.from-a-page-table", (0, OKAY), || {
        let table = Frame::take().read_only().pinned(1);
        copy((table.mfn, SELF, 0), mine(0), 8, 0)
    });
    check("copy.to-a-read-only-grant", (0, GENERAL_ERROR), || {
        bench.grant(5, own, lent);
        let answer = copy(mine(0), granted(0), 8, 2);
        bench.usual_grant();
        answer
    });
    check("copy.leaves-no-flags", (0, OKAY, 1), || {
        let (result, status) = copy(granted(0), mine(0), 8, 1);
        (result, status, seen(bench.entry_flags()))
    });
}
