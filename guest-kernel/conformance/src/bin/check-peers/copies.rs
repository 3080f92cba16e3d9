//! Copies between domains: both ways, between two others, and what an entry does not permit.

use guest_conformance::fixture::{Frame, read};
use guest_conformance::{SELF, address_of, call, check, seen};
use hypercall_abi::number::GRANT_TABLE_OP;

use crate::Bench;
use crate::loans::{ENTRY, Loan, low_half};

const COPY: u64 = 5;

const OKAY: i64 = 0;
const GENERAL_ERROR: i64 = -1;
const PERMISSION_DENIED: i64 = -8;
const BAD_PAGE: i64 = -9;
const BAD_COPY: i64 = -10;

/// Which side of a copy is named by a grant.
const SOURCE: u64 = 1;
const TARGET: u64 = 2;

/// One end: frame or entry, domain, offset.
type End = (u64, u64, u64);

/// The words of a copy.
fn words(from: End, to: End, length: u64, flags: u64) -> [u64; 5] {
    [
        from.0,
        from.1 | from.2 << 16,
        to.0,
        to.1 | to.2 << 16,
        length | flags << 16 | 0x7fff << 32,
    ]
}

/// A copy under test; result and status.
fn copy(from: End, to: End, length: u64, flags: u64) -> (i64, i64) {
    let place = words(from, to, length, flags);
    let result = call(GRANT_TABLE_OP, &[COPY, address_of(&place), 1]);
    (result, seen(low_half(read(address_of(&place) + 32) >> 32)))
}

pub(crate) fn checks(bench: &Bench) {
    let loan = Loan::new(bench, &bench.far);
    let (far, near, own) = (&bench.far, &bench.near, bench.own);
    let (there, page) = (loan.frame, Frame::take());
    let lent = |offset| (ENTRY, far.number, offset);
    let mine = |offset| (page.mfn, SELF, offset);
    check("copy.from-the-peer", (0, OKAY, 0xfeed), || {
        far.write(there.address + 64, 0xfeed);
        let (result, status) = copy(lent(64), mine(8), 8, SOURCE);
        (result, status, seen(page.word(1)))
    });
    check("copy.to-the-peer", (0, OKAY, 0xbeef), || {
        page.set_word(2, 0xbeef);
        let (result, status) = copy(mine(16), lent(128), 8, TARGET);
        (result, status, seen(far.read(there.address + 128).0))
    });
    check("copy.odd-offsets", (0, OKAY, 0x1122_3300), || {
        far.write(there.address + 64, 0x1122_3344);
        page.set_word(4, 0);
        let (result, status) = copy(lent(65), mine(33), 3, SOURCE);
        (result, status, seen(page.word(4)))
    });
    check("copy.to-the-last-byte", (0, OKAY, 0x6a), || {
        far.write(there.address + 4088, 0x6a << 56);
        let (result, status) = copy(lent(4095), mine(4095), 1, SOURCE);
        (result, status, seen(page.word(511) >> 56))
    });
    check(
        "copy.across-the-end-of-the-peers",
        [(0, BAD_COPY); 2],
        || {
            [
                copy(lent(4090), mine(0), 8, SOURCE),
                copy(mine(0), lent(4090), 8, TARGET),
            ]
        },
    );
    check(
        "copy.across-the-end-of-ones-own",
        [(0, BAD_COPY); 2],
        || {
            [
                copy(lent(0), mine(4090), 8, SOURCE),
                copy(mine(4090), lent(0), 8, TARGET),
            ]
        },
    );
    check("copy.between-two-others", (0, OKAY, 0xcafe), || {
        let other = near.take();
        near.lend(ENTRY, 1, own, other.mfn);
        far.write(there.address + 256, 0xcafe);
        let to = (ENTRY, near.number, 512);
        let (result, status) = copy(lent(256), to, 8, SOURCE | TARGET);
        (result, status, seen(near.read(other.address + 512).0))
    });
    check(
        "copy.with-a-frame-of-the-peer",
        [(0, PERMISSION_DENIED); 2],
        || {
            let frame = (there.mfn, far.number, 0);
            [copy(frame, mine(0), 8, 0), copy(mine(0), frame, 8, 0)]
        },
    );
    check(
        "copy.with-a-frame-of-the-peer-as-own",
        [(0, BAD_PAGE); 2],
        || {
            let frame = (there.mfn, SELF, 0);
            [copy(frame, mine(0), 8, 0), copy(mine(0), frame, 8, 0)]
        },
    );
    check(
        "copy.read-only-entry",
        [(0, OKAY), (0, GENERAL_ERROR)],
        || {
            far.lend(ENTRY, 5, own, there.mfn);
            let answers = [
                copy(lent(0), mine(0), 8, SOURCE),
                copy(mine(0), lent(0), 8, TARGET),
            ];
            loan.usual();
            answers
        },
    );
    check(
        "copy.entry-for-another-domain",
        [(0, GENERAL_ERROR); 2],
        || {
            far.lend(ENTRY, 1, near.number, there.mfn);
            let answers = [
                copy(lent(0), mine(0), 8, SOURCE),
                copy(mine(0), lent(0), 8, TARGET),
            ];
            loan.usual();
            answers
        },
    );
    check("copy.entry-with-a-frame-of-a-third", (0, BAD_PAGE), || {
        far.lend(ENTRY, 1, own, near.take().mfn);
        let answer = copy(lent(0), mine(0), 8, SOURCE);
        loan.usual();
        answer
    });
    check("copy.leaves-the-peers-flags", (0, OKAY, 1), || {
        let (result, status) = copy(lent(0), mine(0), 8, SOURCE);
        (result, status, seen(far.flags(ENTRY)))
    });
    check("copy.while-mapped", (0, OKAY, 0x19), || {
        let handle = loan.mapped(crate::HOST);
        let (result, status) = copy(lent(0), mine(0), 8, SOURCE);
        let flags = far.flags(ENTRY);
        loan.unmap(handle);
        (result, status, seen(flags))
    });
    // The peer copies from and to what this domain lends.
    let by_peer = |from: End, to: End, flags: u64| {
        let at = far.place(&words(from, to, 8, flags));
        let result = far.call(GRANT_TABLE_OP, &[COPY, at, 1]);
        (result, seen(low_half(read(at + 32) >> 32)))
    };
    let lend = |flags: u64, domain: u64| {
        bench
            .table
            .set_word(ENTRY, page.mfn << 32 | domain << 16 | flags);
    };
    check("copy.the-peer-fetches", (0, OKAY, 0x51), || {
        lend(1, far.number);
        page.set_word(6, 0x51);
        let (result, status) = by_peer((ENTRY, own, 48), (there.mfn, SELF, 0), SOURCE);
        (result, status, seen(far.read(there.address).0))
    });
    check("copy.the-peer-brings", (0, OKAY, 0x52), || {
        lend(1, far.number);
        far.write(there.address + 8, 0x52);
        let (result, status) = by_peer((there.mfn, SELF, 8), (ENTRY, own, 56), TARGET);
        (result, status, seen(page.word(7)))
    });
    check(
        "copy.the-peer-is-not-meant",
        [(0, GENERAL_ERROR); 2],
        || {
            lend(1, near.number);
            [
                by_peer((ENTRY, own, 0), (there.mfn, SELF, 0), SOURCE),
                by_peer((there.mfn, SELF, 0), (ENTRY, own, 0), TARGET),
            ]
        },
    );
}
