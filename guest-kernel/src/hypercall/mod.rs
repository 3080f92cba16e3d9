//! Hypercalls: the raw instruction, and one typed function for each call that a kernel uses.
//!
//! A function here is safe when no argument that its types admit can change memory or mappings behind Rust's back; the
//! others are `unsafe` and say what the caller owes. Errors are the ABI's, untranslated: callers know what they mean.

pub mod console;
pub mod control;
pub mod event;
pub mod grant;
pub mod manage;
pub mod memory;
pub mod mmu;
pub mod physdev;
mod raw;
pub mod sched;
pub mod segment;
pub mod trap;
pub mod vcpu;
pub mod version;

pub use hypercall_abi::Errno;
pub(crate) use raw::read_gs;
pub use raw::{cpuid, hypercall, time_stamp};

use zerocopy::{FromBytes, IntoBytes};

/// Issues call `number` as (`command`, address of `argument`), the form of most calls with sub-operations.
///
/// # Safety
/// As [`hypercall`], beyond reading and writing `argument` itself.
pub(crate) unsafe fn operation<T: FromBytes + IntoBytes>(
    number: u32,
    command: u32,
    argument: &mut T,
) -> Result<u64, Errno> {
    let address = core::ptr::from_mut(argument).addr();
    // SAFETY: the argument is ours alone for the call, and any bytes in it are a valid T; the rest is the caller's duty.
    unsafe {
        hypercall(
            u64::from(number),
            [u64::from(command), address as u64, 0, 0, 0],
        )
    }
}

/// A register as `usize`: the same width on this machine.
#[inline]
pub(crate) fn word(register: u64) -> usize {
    usize::from_ne_bytes(register.to_ne_bytes())
}
