//! Rule tested: frames can be given back and taken again, the hypervisor counts them, new ones are clean, and what is no
//! frame of ours is not taken.
#![no_std]
#![no_main]

extern crate alloc;

use alloc::vec::Vec;

use guest_kernel::hypercall::memory::{
    current_reservation, decrease_reservation, maximum_reservation, populate_physmap,
};
use guest_kernel::paging::{self, Contiguous, Mfn, Pfn, address_of, frame_at};
use guest_kernel::start::Boot;
use guest_kernel::{heap, trap};
use guest_kernels::{check, error, finish};

guest_kernel::entry!(main);

const COUNT: usize = 300;

fn pages_now() -> u64 {
    current_reservation().unwrap_or(0)
}

fn main(boot: &'static Boot) {
    let start = pages_now();
    check!(
        start >= boot.pages(),
        "the domain has {start} frames, {} at start",
        boot.pages()
    );
    check!(
        maximum_reservation().is_ok_and(|maximum| maximum >= start),
        "that is within its maximum"
    );
    down_and_up(start);
    refused(start);
    contiguous(start);
    finish()
}

extern "C" fn touch(address: u64) {
    // SAFETY: reading changes nothing, and a fault is caught.
    unsafe {
        core::arch::asm!("mov {0}, [{0}]", inout(reg) address => _, options(readonly, nostack))
    }
}

fn down_and_up(start: u64) {
    let free = heap::free_bytes();
    let Ok(pages) = paging::release(COUNT) else {
        error(format_args!("nothing to give back"))
    };
    check!(
        pages.len() == COUNT,
        "{} pages were given back",
        pages.len()
    );
    check!(
        pages_now() == start - COUNT as u64,
        "the hypervisor counts them"
    );
    let address = address_of(pages[0]) as u64;
    check!(
        trap::probe(touch, address).is_err(),
        "such a page is not mapped any more"
    );
    check!(paging::take(&pages) == Ok(COUNT), "they can be had again");
    check!(pages_now() == start, "and are counted");
    check!(
        trap::probe(touch, address).is_ok(),
        "the page is there again"
    );
    drop(pages);
    check!(heap::free_bytes() == free, "the heap is as large as before");

    let mut failed = 0;
    for _ in 0..20 {
        match paging::release(64) {
            Ok(pages) => failed += usize::from(paging::take(&pages) != Ok(pages.len())),
            Err(_) => failed += 1,
        }
    }
    check!(
        failed == 0 && pages_now() == start,
        "20 rounds leave the count as it was"
    );
    let grown: Vec<Pfn> = (start + 1000..).take(600).map(Pfn).collect();
    let taken = paging::take(&grown).unwrap_or(0);
    check!(
        taken == 600 || maximum_reservation() == Ok(start),
        "the domain can grow by new pages ({taken})"
    );
    check!(pages_now() == start + taken as u64, "they are counted");
    if taken > 0 {
        let released = paging::release(taken).map_or(0, |pages| pages.len());
        check!(released == taken && pages_now() == start, "and given back");
    }
}

fn refused(start: u64) {
    check!(
        decrease_reservation(&[Mfn(0xff_ffff_ffff)]) == 0,
        "a frame that does not exist cannot be given back"
    );
    check!(
        decrease_reservation(&[Mfn(u64::MAX)]) == 0,
        "nor can number ~0"
    );
    check!(
        populate_physmap(&mut [1 << 30], 40) == 0,
        "an impossible order gives nothing"
    );
    check!(pages_now() == start, "none of this changed the count");
}

fn contiguous(start: u64) {
    let Ok(memory) = Contiguous::new(3) else {
        error(format_args!("no eight frames in a row"))
    };
    let first = frame_at(memory.address());
    let inner = frame_at(memory.address() + 5 * 4096);
    check!(
        matches!((first, inner), (Some(first), Some(inner)) if inner.0 == first.0 + 5),
        "eight frames in a row are mapped in order"
    );
    check!(
        first.is_some_and(|first| first.0 << 12 == memory.machine_address()),
        "and the first is the one told"
    );
    let before = pages_now();
    drop(memory);
    check!(pages_now() == before - 8, "dropping them gives them back");
    check!(
        pages_now() == start || pages_now() == start - 8,
        "the domain has what it had, or gave eight for them"
    );
}
