//! A library for kernels that run as PV domains, under Paravane and under Xen alike.
//!
//! A kernel links this library and names its first function by [`entry!`]. When that function runs, the vCPU has traps,
//! a direct map of all memory, a heap, events, a console and a clock. When it returns, the vCPU runs the tasks that it
//! spawned, and sleeps in the hypervisor whenever none can go on. Nothing polls.
//!
//! | module | subject |
//! | --- | --- |
//! | [`start`] | notes, first instructions, what the loader told |
//! | [`hypercall`] | the calls themselves, typed |
//! | [`paging`], [`heap`] | maps, machine frames, memory |
//! | [`trap`], [`user`] | exceptions, one isolated user program |
//! | [`event`], [`timer`], [`task`], [`smp`], [`sync`] | ports and upcalls, time, async tasks, vCPUs, locks |
//! | [`console`], [`xenstore`], [`grant`], [`ring`] | talking to other domains |
//! | [`balloon`], [`hotplug`], [`shutdown`] | what a domain is asked to do |
//!
//! `unsafe` stands in `start`, `hypercall`, `paging`, `heap`, `trap`, `smp` and `user` only.
#![cfg_attr(not(test), no_std)]
#![deny(unsafe_code)]

extern crate alloc;

pub mod console;
pub mod event;
#[expect(unsafe_code, reason = "a global allocator is unsafe to implement")]
pub mod heap;
#[expect(
    unsafe_code,
    reason = "hypercalls are instructions that the compiler cannot check"
)]
pub mod hypercall;
#[expect(unsafe_code, reason = "page tables decide what addresses mean")]
pub mod paging;
mod panic;
pub mod ring;
pub mod shutdown;
#[expect(
    unsafe_code,
    reason = "a vCPU's identity is in its GS base, its first context is made by hand"
)]
pub mod smp;
#[expect(unsafe_code, reason = "the first instructions")]
pub mod start;
pub mod sync;
pub mod task;
pub mod timer;
#[expect(unsafe_code, reason = "entry and exit of exceptions")]
pub mod trap;

/// Names the kernel's first function: `fn main(boot: &'static Boot)`.
#[macro_export]
macro_rules! entry {
    ($main:path) => {
        #[expect(unsafe_code, reason = "the library finds the function by this name")]
        #[unsafe(no_mangle)]
        fn guest_kernel_main(boot: &'static $crate::start::Boot) {
            $main(boot);
        }
    };
}
