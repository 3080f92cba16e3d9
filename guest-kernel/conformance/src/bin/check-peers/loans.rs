//! Pages that a peer lends: mapped, looked at from both sides, and taken back while somebody has them.

use guest_conformance::errno::EINVAL;
use guest_conformance::fixture::{FLUSH, Frame, PRESENT, WRITABLE, read};
use guest_conformance::instruction::{Outcome, run};
use guest_conformance::{SELF, address_of, call, check, instruction, prepare, seen};
use hypercall_abi::number::{GRANT_TABLE_OP, MEMORY_OP, MMUEXT_OP, UPDATE_VA_MAPPING};

use crate::peer::{Far, Peer};
use crate::{Bench, HOST, MAP};

const UNMAP: u64 = 1;
const REPLACE: u64 = 7;
const SWAP: u64 = 11;

const DEVICE: u64 = 1;
const READ_ONLY: u64 = 4;
const CONTAINS_PTE: u64 = 16;

/// Flags of an entry: lent, for reading only, read, written.
const LENT: u64 = 1;
const LENT_READ_ONLY: u64 = 5;
const READING: u64 = 8;
const WRITING: u64 = 16;

const OKAY: i64 = 0;
const GENERAL_ERROR: i64 = -1;
const BAD_REFERENCE: i64 = -3;
const BAD_PAGE: i64 = -9;
const AGAIN: i64 = -12;

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

    /// Unmaps what was mapped at the usual place, or for devices.
    fn unmap_as(&self, how: u64, handle: u64) {
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
    taken_back(&loan);
    types(&loan);
    lent_to_the_peer(bench);
}

fn contents(loan: &Loan<'_>) {
    let (far, there) = (loan.peer, loan.frame.address);
    check("map.shows-what-the-peer-wrote", (0, OKAY, 0x1234), || {
        far.write(there + 40, 0x1234);
        let (result, status, handle) = loan.map_here(HOST);
        let word = run(load, 0, loan.place.address + 40);
        loan.unmap(handle);
        (result, seen(status), seen(value(word)))
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
        let word = run(load, 0, loan.place.address + 56);
        loan.unmap(handle);
        (result, seen(status), seen(value(word)))
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

/// What was read, if it was.
fn value(outcome: Outcome) -> u64 {
    match outcome {
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
        let place = [0, DEVICE | ENTRY << 32, far.number, 0];
        let result = call(GRANT_TABLE_OP, &[MAP, address_of(&place), 1]);
        let out = read(address_of(&place) + 16);
        let bus = read(address_of(&place) + 24);
        let end = [0, bus, out >> 32];
        prepare(GRANT_TABLE_OP, &[UNMAP, address_of(&end), 1]);
        (
            result,
            seen(low_half(out >> 16)),
            seen(bus == loan.frame.mfn << 12),
        )
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
            let word = value(run(load, 0, loan.place.address + 72));
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

/// The peer takes back what is mapped.
fn taken_back(loan: &Loan<'_>) {
    let (far, frame, own) = (loan.peer, loan.frame, loan.bench.own);
    check("revoked.mapping-goes-on", (0, OKAY, 0x99), || {
        let (result, status, handle) = loan.map_here(HOST);
        far.lend(ENTRY, 0, 0, 0);
        far.write(frame.address, 0x99);
        let word = run(load, 0, loan.place.address);
        loan.unmap(handle);
        loan.usual();
        (result, seen(status), seen(value(word)))
    });
    check("revoked.mapped-again-while-mapped", (0, OKAY), || {
        let handle = loan.mapped(HOST);
        far.lend(ENTRY, 0, 0, 0);
        let answer = loan.map(0, DEVICE);
        if answer.1 == OKAY {
            loan.unmap_as(DEVICE, answer.2);
        }
        loan.unmap(handle);
        loan.usual();
        (answer.0, seen(answer.1))
    });
    check("revoked.unmap", (0, OKAY, 0), || {
        let handle = loan.mapped(HOST);
        far.lend(ENTRY, 0, 0, 0);
        let (result, status) = loan.unmap_by_call(handle);
        let flags = far.flags(ENTRY);
        loan.usual();
        (result, status, seen(flags))
    });
    check("entry.changed-while-mapped", (0, OKAY, true), || {
        // The first mapping pins down what the entry says: another frame in it means nothing now.
        let other = far.take();
        let handle = loan.mapped(HOST);
        far.lend(ENTRY, LENT | READING | WRITING, own, other.mfn);
        let place = [0, DEVICE | ENTRY << 32, far.number, 0];
        let result = call(GRANT_TABLE_OP, &[MAP, address_of(&place), 1]);
        let out = read(address_of(&place) + 16);
        let bus = read(address_of(&place) + 24);
        let end = [0, bus, out >> 32];
        prepare(GRANT_TABLE_OP, &[UNMAP, address_of(&end), 1]);
        loan.unmap(handle);
        loan.usual();
        (
            result,
            seen(low_half(out >> 16)),
            seen(bus == frame.mfn << 12),
        )
    });
    check("swap.of-the-peers-entry-in-use", (0, AGAIN), || {
        let handle = loan.mapped(HOST);
        let at = far.place(&[ENTRY | (ENTRY + 1) << 32, 0x7fff]);
        let result = far.call(GRANT_TABLE_OP, &[SWAP, at, 1]);
        let status = low_half(read(at + 8));
        loan.unmap(handle);
        (result, seen(status))
    });
    // The peer gives a page away that is mapped here.
    let balloon = |gone: Far| {
        far.prepare(UPDATE_VA_MAPPING, &[gone.address, 0, FLUSH]);
        let list = theirs(far, far.place(&[]) + 32);
        let at = far.place(&[list, 1, 0, SELF, gone.mfn]);
        far.call(MEMORY_OP, &[1, at])
    };
    check("ballooned.page-stays-while-mapped", (1, 0x55), || {
        let gone = far.take();
        far.write(gone.address + 24, 0x55);
        far.lend(ENTRY, LENT, own, gone.mfn);
        let handle = loan.mapped(HOST);
        let result = balloon(gone);
        let word = value(run(load, 0, loan.place.address + 24));
        loan.unmap(handle);
        loan.usual();
        (result, seen(word))
    });
    check(
        "ballooned.unmap-and-no-new-mapping",
        (0, OKAY, BAD_PAGE),
        || {
            let gone = far.take();
            far.lend(ENTRY, LENT, own, gone.mfn);
            let handle = loan.mapped(HOST);
            balloon(gone);
            let (result, status) = loan.unmap_by_call(handle);
            let again = loan.try_map(HOST).1;
            loan.usual();
            (result, status, again)
        },
    );
}

/// An address in the common page, as the peer has it.
fn theirs(peer: &Peer, address: u64) -> u64 {
    peer.theirs(0, &[address])[1]
}

/// A frame has one type, whoever uses it.
fn types(loan: &Loan<'_>) {
    let (far, frame) = (loan.peer, loan.frame);
    let entry = |flags: u64| frame.mfn << 12 | flags;
    let pin = |level: u64| [level - 1, frame.mfn, 0];
    let remap = |flags| far.prepare(UPDATE_VA_MAPPING, &[frame.address, entry(flags), FLUSH]);
    let unpin = || far.prepare(MMUEXT_OP, &[far.place(&[4, frame.mfn, 0]), 1, 0, SELF]);
    let empty = || {
        for index in 0..16 {
            far.write(frame.address + 8 * index, 0);
        }
    };
    check("type.no-table-while-mapped-for-writing", EINVAL, || {
        empty();
        let handle = loan.mapped(HOST);
        remap(PRESENT);
        let answer = far.call(MMUEXT_OP, &[far.place(&pin(1)), 1, 0, SELF]);
        loan.unmap(handle);
        remap(WRITABLE);
        answer
    });
    check("type.table-while-mapped-for-reading", 0, || {
        empty();
        let handle = loan.mapped(HOST | READ_ONLY);
        remap(PRESENT);
        let answer = far.call(MMUEXT_OP, &[far.place(&pin(1)), 1, 0, SELF]);
        loan.unmap(handle);
        unpin();
        remap(WRITABLE);
        answer
    });
    check(
        "type.table-is-lent-to-readers-only",
        [(0, GENERAL_ERROR), (0, OKAY)],
        || {
            empty();
            remap(PRESENT);
            far.prepare(MMUEXT_OP, &[far.place(&pin(1)), 1, 0, SELF]);
            let answers = [HOST, HOST | READ_ONLY].map(|how| loan.try_map(how));
            unpin();
            remap(WRITABLE);
            answers
        },
    );
    check("type.loan-is-no-table-of-the-mapper", EINVAL, || {
        let handle = loan.mapped(HOST | READ_ONLY);
        let answer = call(MMUEXT_OP, &[address_of(&pin(1)), 1, 0, SELF]);
        loan.unmap(handle);
        answer
    });
}

/// The peer maps what this domain lends.
fn lent_to_the_peer(bench: &Bench) {
    let far = &bench.far;
    let place = far.take();
    far.prepare(UPDATE_VA_MAPPING, &[place.address, 0, FLUSH]);
    let lent = Frame::take();
    let lend = |flags: u64, domain: u64| {
        bench
            .table
            .set_word(ENTRY, lent.mfn << 32 | domain << 16 | flags);
    };
    let map = |flags: u64| {
        let at = far.place(&[place.address, flags | ENTRY << 32, bench.own, 0]);
        let result = far.call(GRANT_TABLE_OP, &[MAP, at, 1]);
        let out = read(at + 16);
        (result, low_half(out >> 16), out >> 32)
    };
    let end = |handle: u64| {
        far.prepare(
            GRANT_TABLE_OP,
            &[UNMAP, far.place(&[place.address, 0, handle]), 1],
        );
    };
    check(
        "peer-maps.reads-and-writes",
        (0, OKAY, [0xaa, 0xbb]),
        || {
            lend(LENT, far.number);
            lent.set_word(3, 0xaa);
            let (result, status, handle) = map(HOST);
            let word = far.read(place.address + 24).0;
            far.write(place.address + 32, 0xbb);
            end(handle);
            (result, seen(status), seen([word, lent.word(4)]))
        },
    );
    check(
        "peer-maps.own-entry-tells",
        (0, [LENT | READING | WRITING, LENT]),
        || {
            lend(LENT, far.number);
            let (result, _, handle) = map(HOST);
            let during = bench.table.word(ENTRY) & 0xffff;
            end(handle);
            (result, seen([during, bench.table.word(ENTRY) & 0xffff]))
        },
    );
    check(
        "peer-maps.read-only-faults-on-writes",
        (0, OKAY, (3, 14)),
        || {
            lend(LENT_READ_ONLY, far.number);
            let (result, status, handle) = map(HOST | READ_ONLY);
            let (code, vector) = far.write(place.address, 1);
            end(handle);
            (result, seen(status), (seen(code), seen(vector)))
        },
    );
    check(
        "peer-maps.what-is-lent-to-another",
        (0, GENERAL_ERROR),
        || {
            lend(LENT, bench.near.number);
            let (result, status, handle) = map(HOST);
            if status == OKAY {
                end(handle);
            }
            (result, seen(status))
        },
    );
}
