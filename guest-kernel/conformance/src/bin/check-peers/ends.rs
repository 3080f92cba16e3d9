//! A peer that ends: by its own call, and then for good, with its ports bound and its pages lent and borrowed.

use guest_conformance::errno::{EINVAL, ESRCH};
use guest_conformance::fixture::{FLUSH, Frame, close, read};
use guest_conformance::{SELF, address_of, call, check, event, prepare, seen};
use guest_kernel::{console, println};
use hypercall_abi::number::{GRANT_TABLE_OP, UPDATE_VA_MAPPING};

use crate::loans::{ENTRY, Loan, low_half};
use crate::peer::pause;
use crate::ports::{BIND_INTERDOMAIN, SEND, told_of};
use crate::{Bench, HOST, MAP};

const OKAY: i64 = 0;
const BAD_DOMAIN: i64 = -2;

/// How often is looked before something counts as not happening.
const LOOKS: u32 = 5_000;

fn soon(holds: impl Fn() -> bool) -> bool {
    (0..LOOKS).any(|_| {
        let there = holds();
        if !there {
            pause();
        }
        there
    })
}

pub(crate) fn checks(bench: &Bench) {
    let near = &bench.near;
    let line = bench.line(near);
    let quiet = bench.line(near);
    // It lends a page, which is mapped here, and has one mapped that is lent to it.
    let loan = Loan::new(bench, near);
    near.write(loan.frame.address + 16, 0x6b);
    let handle = loan.mapped(HOST);
    let (place, lent) = (near.take(), Frame::take());
    bench
        .table
        .set_word(ENTRY, lent.mfn << 32 | near.number << 16 | 1);
    near.prepare(UPDATE_VA_MAPPING, &[place.address, 0, FLUSH]);
    let words = [place.address, HOST | ENTRY << 32, bench.own, 0];
    near.prepare(GRANT_TABLE_OP, &[MAP, near.place(&words), 1]);

    let gone = || told_of(line.own).0 != 2;
    check("shutdown.by-the-peer", (0, true), || {
        println!("end peer 1");
        console::flush();
        let result = near.shut_down(0, gone);
        (result, seen(gone()))
    });
    if !gone() {
        near.shut_down_prepared(gone);
    }
    check("end.port-waits-for-nobody", (1, true), || {
        let (result, words) = event(5, [SELF | line.own << 32, 0, 0]);
        let state = if result == 0 {
            words[1] & 0xffff_ffff
        } else {
            0
        };
        (seen(state), seen(words[2] & 0xffff == near.number))
    });
    check("end.tells-nobody", false, || {
        seen(bench.shared.pending(quiet.own))
    });
    check("end.sends-are-dropped", (0, false), || {
        let result = event(SEND, [line.own, 0, 0]).0;
        (result, seen(bench.shared.pending(line.own)))
    });
    check("end.borrowed-page-comes-back", true, || {
        seen(soon(|| bench.table.word(ENTRY) & 0xffff == 1))
    });
    check("end.lent-page-stays", (0x6b, 0x6c), || {
        loan.place.set_word(3, 0x6c);
        (seen(loan.place.word(2)), seen(loan.place.word(3)))
    });
    check("end.no-port-to-bind", EINVAL, || {
        event(BIND_INTERDOMAIN, [near.number | line.theirs << 32, 0, 0]).0
    });
    check("end.lent-page-is-unmapped", (0, OKAY), || {
        loan.unmap_by_call(handle)
    });
    loan.unmap(handle);
    near.leave();
    // Nothing holds its memory any more: its number goes with it.
    check("end.then-the-number-is-nobodys", (0, BAD_DOMAIN), || {
        soon(|| prepare_map(near.number) == BAD_DOMAIN);
        let place = [0, HOST | ENTRY << 32, near.number, 0];
        let result = call(GRANT_TABLE_OP, &[MAP, address_of(&place), 1]);
        (result, seen(low_half(read(address_of(&place) + 16) >> 16)))
    });
    check("end.then-no-domain-to-bind-to", ESRCH, || {
        event(BIND_INTERDOMAIN, [near.number | line.theirs << 32, 0, 0]).0
    });
    for port in [line.own, quiet.own] {
        close(u32::try_from(port).unwrap_or(0));
    }
}

/// The status of an attempt to map something of a domain, by no address.
fn prepare_map(domain: u64) -> i64 {
    let place = [0, HOST | ENTRY << 32, domain, 0];
    prepare(GRANT_TABLE_OP, &[MAP, address_of(&place), 1]);
    low_half(read(address_of(&place) + 16) >> 16)
}
