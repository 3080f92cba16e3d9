//! Loans that somebody holds: taken back by their owner, of one type for all, and held by the peer.

use guest_conformance::errno::EINVAL;
use guest_conformance::fixture::{FLUSH, Frame, PRESENT, WRITABLE, read};
use guest_conformance::{SELF, address_of, call, check, seen};
use hypercall_abi::number::{GRANT_TABLE_OP, MEMORY_OP, MMUEXT_OP, UPDATE_VA_MAPPING};

use crate::loans::{
    BAD_PAGE, DEVICE, ENTRY, GENERAL_ERROR, LENT, LENT_READ_ONLY, Loan, OKAY, READ_ONLY, READING,
    UNMAP, WRITING, low_half, word_at,
};
use crate::peer::{Far, Peer};
use crate::{Bench, HOST, MAP};

const SWAP: u64 = 11;

const AGAIN: i64 = -12;

pub(crate) fn checks(loan: &Loan<'_>) {
    taken_back(loan);
    types(loan);
    lent_to_the_peer(loan.bench);
}

/// The peer takes back what is mapped.
fn taken_back(loan: &Loan<'_>) {
    let (far, frame, own) = (loan.peer, loan.frame, loan.bench.own);
    check("revoked.mapping-goes-on", (0, OKAY, 0x99), || {
        let (result, status, handle) = loan.map_here(HOST);
        far.lend(ENTRY, 0, 0, 0);
        far.write(frame.address, 0x99);
        let word = word_at(loan.place.address);
        loan.unmap(handle);
        loan.usual();
        (result, seen(status), seen(word))
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
        let answer = loan.map_for_device();
        loan.unmap(handle);
        loan.usual();
        answer
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
        let word = word_at(loan.place.address + 24);
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
