//! Two domains that run: events and grants between them, and what neither may do to the other.
//!
//! The kernel runs three times. With `serve=N` on its command line it is a peer ([`serve`]) of the domain whose number is N greater;
//! without, it asks, and expects such peers with the two numbers before its own. All rules are in the asker: peers carry out
//! what it tells them ([`wire`]), be it a preparation or a call under test. Where it says `end peer N`, that domain shall be
//! destroyed.
#![no_std]
#![no_main]

use guest_conformance::fixture::{Frame, own_number, read};
use guest_conformance::shared::Shared;
use guest_conformance::{Role, SELF, address_of, finish, prepare, role, skip, start};
use guest_kernel::event::upcall;
use guest_kernel::paging::{Access, Mapping, Mfn};
use guest_kernel::start::Boot;
use hypercall_abi::number::GRANT_TABLE_OP;

use peer::Peer;

mod copies;
mod ends;
mod held;
mod loans;
mod peer;
mod ports;
mod queues;
mod serve;
mod strangers;
mod wire;

guest_kernel::entry!(main);

/// `GNTTABOP_map_grant_ref`.
const MAP: u64 = 0;
/// `GNTTABOP_setup_table`.
const SETUP: u64 = 2;
/// `GNTMAP_host_map`.
const HOST: u64 = 2;

/// The asker and those whom it asks.
struct Bench {
    own: u64,
    /// The domain two numbers before.
    far: Peer,
    /// The domain before.
    near: Peer,
    shared: Shared,
    table: Frame,
}

fn main(boot: &'static Boot) {
    let served = boot
        .command_line()
        .split_ascii_whitespace()
        .find_map(|word| word.strip_prefix("serve=")?.parse().ok());
    if let Some(distance) = served {
        serve::serve(distance);
    }
    start(boot);
    if role() == Role::First {
        skip("peers", "the first domain has no number before it");
        finish();
    }
    let masked = upcall::mask();
    let own = own_number();
    let bench = Bench {
        own,
        far: Peer::find(own - 2),
        near: Peer::find(own - 1),
        shared: Shared::map(),
        table: own_table(),
    };
    // Events of the kernel's own console would be told in the same words as those that checks are about.
    bench.shared.mask_all();
    ports::checks(&bench);
    queues::checks(&bench);
    loans::checks(&bench);
    copies::checks(&bench);
    strangers::checks(&bench);
    ends::checks(&bench);
    drop(masked);
    finish()
}

/// This domain's grant table.
fn own_table() -> Frame {
    let frames = [0_u64; 1];
    let setup = [SELF | 1 << 32, 0, address_of(&frames)];
    let done = prepare(GRANT_TABLE_OP, &[SETUP, address_of(&setup), 1]);
    let mfn = read(address_of(&frames));
    match Mapping::new(&[Mfn(mfn)], Access::ReadWrite) {
        Ok(mapping) if done == 0 => {
            let address = mapping.address() as u64;
            // It stays mapped for good.
            core::mem::forget(mapping);
            Frame { address, mfn }
        }
        _ => panic!("there is no grant table"),
    }
}
