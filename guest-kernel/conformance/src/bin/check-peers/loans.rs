//! Pages that a peer lends: mapped, looked at from both sides, and taken back while somebody has them.

use guest_conformance::fixture::{FLUSH, Frame, PRESENT, read};
use guest_conformance::instruction::{Outcome, run};
use guest_conformance::{SELF, address_of, call, check, instruction, prepare, seen};
use hypercall_abi::number::{GRANT_TABLE_OP, MMUEXT_OP, UPDATE_VA_MAPPING};

use crate::peer::{Far, Peer};
use crate::{Bench, HOST, MAP, held};

pub(crate) const UNMAP: u64 = 1;
const REPLACE: u64 = 7;

pub(crate) const DEVICE: u64 = 1;
pub(crate) const READ_ONLY: u64 = 4;
const CONTAINS_PTE: u64 = 16;

/// Flags of an entry: lent, for reading only, read, written.
pub(crate) const LENT: u64 = 1;
pub(crate) const LENT_READ_ONLY: u64 = 5;
pub(crate) const READING: u64 = 8;
pub(crate) const WRITING: u64 = 16;

pub(crate) const OKAY: i64 = 0;
pub(crate) const GENERAL_ERROR: i64 = -1;
const BAD_REFERENCE: i64 = -3;
pub(crate) const BAD_PAGE: i64 = -9;

/// The entry that checks use, in every table.
pub(crate) const ENTRY: u64 = 100;

instruction! {
    store: "mov [rcx], rax";
    load: "mov rax, [rcx]";
}

/// A status, which is the lower half of a half word.
pub(crate) fn low_half(word: u64) -> i64 {
    let [low, high, ..] = word.to_ne_bytes();
    i64::from(i16::from_ne_bytes([low, high]))
}

/// What a check works on: a frame that the peer lends, and a place for it here.
pub(crate) struct Loan<'a> {
    pub(crate) bench: &'a Bench,
    pub(crate) peer: &'a Peer,
    pub(crate) frame: Far,
    pub(crate) place: Frame,
}

impl<'a> Loan<'a> {
    /// A frame of the peer, lent as the usual entry.
    pub(crate) fn new(bench: &'a Bench, peer: &'a Peer) -> Self {
        let place = Frame::take();
        place.unmap();
        let loan = Self {
            bench,
            peer,
            frame: peer.take(),
            place,
        };
        loan.usual();
        loan
    }

    /// Lends the frame to this domain for reading and writing.
    pub(crate) fn usual(&self) {
        self.peer.lend(ENTRY, LENT, self.bench.own, self.frame.mfn);
    }

    /// Maps by the call under test; result, status, handle.
    pub(crate) fn map(&self, address: u64, flags: u64) -> (i64, i64, u64) {
        let place = [address, flags | ENTRY << 32, self.peer.number, 0];
        let result = call(GRANT_TABLE_OP, &[MAP, address_of(&place), 1]);
        let out = read(address_of(&place) + 16);
        (result, low_half(out >> 16), out >> 32)
    }

    /// Maps at the usual place; result, status, handle.
    pub(crate) fn map_here(&self, flags: u64) -> (i64, i64, u64) {
        self.map(self.place.address, flags)
    }

    /// Maps at the usual place to prepare a check; the handle.
    pub(crate) fn mapped(&self, flags: u64) -> u64 {
        let place = [self.place.address, flags | ENTRY << 32, self.peer.number, 0];
        prepare(GRANT_TABLE_OP, &[MAP, address_of(&place), 1]);
        read(address_of(&place) + 16) >> 32
    }

    /// Unmaps at the usual place to clean up.
    pub(crate) fn unmap(&self, handle: u64) {
        unmap(self.place.address, handle);
    }

    /// Maps the entry for devices and ends that again: result, status, whether the address told was the usual frame's.
    pub(crate) fn map_for_device(&self) -> (i64, i64, bool) {
        let place = [0, DEVICE | ENTRY << 32, self.peer.number, 0];
        let result = call(GRANT_TABLE_OP, &[MAP, address_of(&place), 1]);
        let out = read(address_of(&place) + 16);
        let bus = read(address_of(&place) + 24);
        let end = [0, bus, out >> 32];
        prepare(GRANT_TABLE_OP, &[UNMAP, address_of(&end), 1]);
        (
            result,
            seen(low_half(out >> 16)),
            seen(bus == self.frame.mfn << 12),
        )
    }

    /// Unmaps what was mapped at the usual place, or for devices.
    pub(crate) fn unmap_as(&self, how: u64, handle: u64) {
        let part = |flag: u64, address: u64| if how & flag == 0 { 0 } else { address };
        let host = part(HOST, self.place.address);
        let device = part(DEVICE, self.frame.mfn << 12);
        prepare(
            GRANT_TABLE_OP,
            &[UNMAP, address_of(&[host, device, handle]), 1],
        );
    }

    /// Unmaps at the usual place by the call under test; result and status.
    pub(crate) fn unmap_by_call(&self, handle: u64) -> (i64, i64) {
        let place = [self.place.address, 0, handle | 0x7fff << 32];
        let result = call(GRANT_TABLE_OP, &[UNMAP, address_of(&place), 1]);
        (result, seen(low_half(read(address_of(&place) + 16) >> 32)))
    }

    /// Tries to map at the usual place; result and status, after it was unmapped again.
    pub(crate) fn try_map(&self, flags: u64) -> (i64, i64) {
        let (result, status, handle) = self.map_here(flags);
        if result == 0 && status == OKAY {
            self.unmap_as(flags, handle);
        }
        (result, seen(status))
    }

    /// The same while the peer's entry is another one.
    fn by_entry(&self, (flags, domain, frame): (u64, u64, u64), how: u64) -> (i64, i64) {
        self.peer.lend(ENTRY, flags, domain, frame);
        let answer = self.try_map(how);
        self.usual();
        answer
    }
}

/// Unmaps to clean up.
fn unmap(host: u64, handle: u64) {
    prepare(GRANT_TABLE_OP, &[UNMAP, address_of(&[host, 0, handle]), 1]);
}

pub(crate) fn checks(bench: &Bench) {
    let loan = Loan::new(bench, &bench.far);
    contents(&loan);
    flags(&loan);
    entries(&loan);
    places(&loan);
    held::checks(&loan);
}

fn contents(loan: &Loan<'_>) {
    let (far, there) = (loan.peer, loan.frame.address);
    check("map.shows-what-the-peer-wrote", (0, OKAY, 0x1234), || {
        far.write(there + 40, 0x1234);
        let (result, status, handle) = loan.map_here(HOST);
        let word = word_at(loan.place.address + 40);
        loan.unmap(handle);
        (result, seen(status), seen(word))
    });
    check(
        "map.the-peer-reads-what-is-written",
        (0, OKAY, 0x4321),
        || {
            let (result, status, handle) = loan.map_here(HOST);
            run(store, 0x4321, loan.place.address + 48);
            loan.unmap(handle);
            (result, seen(status), seen(far.read(there + 48).0))
        },
    );
    check("map.read-only-shows-later-writes", (0, OKAY, 0x77), || {
        let (result, status, handle) = loan.map_here(HOST | READ_ONLY);
        far.write(there + 56, 0x77);
        let word = word_at(loan.place.address + 56);
        loan.unmap(handle);
        (result, seen(status), seen(word))
    });
    check(
        "map.read-only-faults-on-writes",
        (0, OKAY, Outcome::Raises(14, 3)),
        || {
            let (result, status, handle) = loan.map_here(HOST | READ_ONLY);
            let outcome = run(store, 1, loan.place.address);
            loan.unmap(handle);
            (result, seen(status), outcome)
        },
    );
    check(
        "unmap.takes-the-page-away",
        (0, OKAY, Outcome::Raises(14, 0)),
        || {
            let handle = loan.mapped(HOST);
            let (result, status) = loan.unmap_by_call(handle);
            (result, status, run(load, 0, loan.place.address))
        },
    );
}

/// The word at an address, or the vector of the exception in its place.
pub(crate) fn word_at(address: u64) -> u64 {
    match run(load, 0, address) {
        Outcome::Gives(value) => value,
        Outcome::Raises(vector, _) => vector << 56,
    }
}

/// What the peer sees in its entry.
fn flags(loan: &Loan<'_>) {
    let far = loan.peer;
    let during = |how: u64| {
        let (result, _, handle) = loan.map_here(how);
        let flags = far.flags(ENTRY);
        loan.unmap_as(how, handle);
        (result, seen(flags))
    };
    check("flags.writer", (0, LENT | READING | WRITING), || {
        during(HOST)
    });
    check("flags.reader", (0, LENT | READING), || {
        during(HOST | READ_ONLY)
    });
    check("flags.device", (0, LENT | READING | WRITING), || {
        during(DEVICE)
    });
    check("flags.after-the-last-unmap", (0, OKAY, LENT), || {
        let handle = loan.mapped(HOST);
        let (result, status) = loan.unmap_by_call(handle);
        (result, status, seen(far.flags(ENTRY)))
    });
    check(
        "flags.two-mappings-count",
        (0, OKAY, [LENT | READING, LENT]),
        || {
            let second = Frame::take();
            second.unmap();
            let (_, _, reader) = loan.map(second.address, HOST | READ_ONLY);
            let writer = loan.mapped(HOST);
            let (result, status) = loan.unmap_by_call(writer);
            let one_left = far.flags(ENTRY);
            unmap(second.address, reader);
            (result, status, seen([one_left, far.flags(ENTRY)]))
        },
    );
    check(
        "flags.two-writers-count",
        (0, OKAY, LENT | READING | WRITING),
        || {
            let second = Frame::take();
            second.unmap();
            let (_, _, other) = loan.map(second.address, HOST);
            let writer = loan.mapped(HOST);
            let (result, status) = loan.unmap_by_call(writer);
            let one_left = far.flags(ENTRY);
            unmap(second.address, other);
            (result, status, seen(one_left))
        },
    );
}

/// Whom and what an entry names.
fn entries(loan: &Loan<'_>) {
    let (bench, far) = (loan.bench, loan.peer);
    let (own, frame) = (bench.own, loan.frame.mfn);
    check("entry.for-another-domain", (0, GENERAL_ERROR), || {
        loan.by_entry((LENT, bench.near.number, frame), HOST)
    });
    check("entry.for-its-owner", (0, GENERAL_ERROR), || {
        loan.by_entry((LENT, far.number, frame), HOST)
    });
    check(
        "entry.read-only-refuses-a-writer",
        (0, GENERAL_ERROR),
        || loan.by_entry((LENT_READ_ONLY, own, frame), HOST),
    );
    check("entry.read-only-lets-a-reader", (0, OKAY), || {
        loan.by_entry((LENT_READ_ONLY, own, frame), HOST | READ_ONLY)
    });
    check("entry.of-nothing", (0, GENERAL_ERROR), || {
        loan.by_entry((0, own, frame), HOST)
    });
    check("entry.with-a-frame-of-the-mapper", (0, BAD_PAGE), || {
        loan.by_entry((LENT, own, Frame::take().mfn), HOST)
    });
    check("entry.with-a-frame-of-a-third", [(0, BAD_PAGE); 2], || {
        let third = bench.near.take();
        [HOST, HOST | READ_ONLY].map(|how| loan.by_entry((LENT, own, third.mfn), how))
    });
    check("entry.with-a-frame-that-is-not", (0, BAD_PAGE), || {
        loan.by_entry((LENT, own, 0xff_ffff), HOST)
    });
    check("entry.beyond-the-peers-table", (0, BAD_REFERENCE), || {
        let place = [loan.place.address, HOST | 1 << 47, far.number, 0];
        let result = call(GRANT_TABLE_OP, &[MAP, address_of(&place), 1]);
        (result, seen(low_half(read(address_of(&place) + 16) >> 16)))
    });
}

/// Where a loan is mapped.
fn places(loan: &Loan<'_>) {
    let far = loan.peer;
    check("map.device-address-is-the-frame", (0, OKAY, true), || {
        loan.map_for_device()
    });
    check(
        "map.both-ways-at-once",
        (0, OKAY, LENT | READING | WRITING, LENT),
        || {
            let (result, status, handle) = loan.map_here(HOST | DEVICE);
            loan.unmap(handle);
            let half = far.flags(ENTRY);
            let end = [0, loan.frame.mfn << 12, handle];
            prepare(GRANT_TABLE_OP, &[UNMAP, address_of(&end), 1]);
            (result, seen(status), seen(half), seen(far.flags(ENTRY)))
        },
    );
    check("map.into-an-entry-of-a-table", (0, OKAY, true), || {
        let table = Frame::take().read_only().pinned(1);
        let (result, status, handle) = loan.map(table.slot(7), HOST | CONTAINS_PTE);
        let mapped = table.word(7) >> 12 & 0xff_ffff_ffff == loan.frame.mfn;
        unmap(table.slot(7), handle);
        (result, seen(status), seen(mapped))
    });
    check("map.into-a-table-of-the-peer", (0, GENERAL_ERROR), || {
        let table = far.take();
        far.prepare(
            UPDATE_VA_MAPPING,
            &[table.address, table.mfn << 12 | PRESENT, FLUSH],
        );
        far.prepare(MMUEXT_OP, &[far.place(&[0, table.mfn, 0]), 1, 0, SELF]);
        let (result, status, handle) = loan.map(table.mfn << 12, HOST | CONTAINS_PTE);
        if status == OKAY {
            unmap(table.mfn << 12, handle);
        }
        (result, seen(status))
    });
    check(
        "unmap_and_replace.of-the-peers-page",
        (0, OKAY, 0x77),
        || {
            let other = Frame::take();
            other.set_word(9, 0x77);
            let handle = loan.mapped(HOST);
            let place = [loan.place.address, other.address, handle | 0x7fff << 32];
            let result = call(GRANT_TABLE_OP, &[REPLACE, address_of(&place), 1]);
            let status = low_half(read(address_of(&place) + 16) >> 32);
            let word = word_at(loan.place.address + 72);
            if status == OKAY {
                loan.place.unmap();
            } else {
                loan.unmap(handle);
            }
            (result, seen(status), seen(word))
        },
    );
    check(
        "unmap_and_replace.gives-the-loan-back",
        (0, OKAY, LENT),
        || {
            let other = Frame::take();
            let handle = loan.mapped(HOST);
            let place = [loan.place.address, other.address, handle | 0x7fff << 32];
            let result = call(GRANT_TABLE_OP, &[REPLACE, address_of(&place), 1]);
            let status = low_half(read(address_of(&place) + 16) >> 32);
            if status == OKAY {
                loan.place.unmap();
            } else {
                loan.unmap(handle);
            }
            (result, seen(status), seen(far.flags(ENTRY)))
        },
    );
}
