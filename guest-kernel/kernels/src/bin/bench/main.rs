//! The benchmark: what each operation of the interface costs, in executed instructions, on whichever hypervisor this
//! kernel is the first domain of.
//!
//! A row is the work of the hypervisor and of the few instructions of this kernel that belong to the operation, the same
//! on both. One CPU and deterministic time (`-icount shift=0,sleep=off`) make a row repeat to the instruction.
#![no_std]
#![no_main]

extern crate alloc;

mod calls;
mod entries;
mod events;
mod grants;
mod measure;
mod memory;
mod tables;
mod user;

use guest_kernel::event::upcall;
use guest_kernel::hypercall::Errno;
use guest_kernel::paging::PagingError;
use guest_kernel::println;
use guest_kernel::start::{Boot, born};
use guest_kernel::task::block_on;
use guest_kernels::{check, error, finish};

use crate::measure::Meter;

guest_kernel::entry!(main);

/// Why a row could not be measured.
#[derive(Debug)]
#[expect(dead_code, reason = "told by its Debug form")]
pub(crate) enum Failure {
    /// No memory, or no frame for it.
    Memory,
    /// A call that prepares a row was refused.
    Refused(Errno),
    /// A mapping was.
    Paging(PagingError),
}

impl From<Errno> for Failure {
    fn from(error: Errno) -> Self {
        Self::Refused(error)
    }
}

impl From<PagingError> for Failure {
    fn from(error: PagingError) -> Self {
        Self::Paging(error)
    }
}

fn main(boot: &'static Boot) {
    memory::report(boot);
    println!("start {}", born());
    let meter = Meter::new();
    block_on(calls::two_vcpus(meter));
    let masked = upcall::mask();
    let outcome = tables::measure(meter)
        .and_then(|()| grants::measure(meter))
        .and_then(|()| {
            calls::measure(meter);
            events::measure(meter)
        })
        .and_then(|()| user::measure());
    // Upcalls are the benchmark's own by now.
    core::mem::forget(masked);
    if let Err(failure) = outcome {
        error(format_args!("{failure:?}"));
    }
    check!(true, "every row was measured");
    finish()
}
