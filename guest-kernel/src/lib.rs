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
//! | [`balloon`], [`hotplug`], [`shutdown`], [`sysrq`] | what a domain is asked to do |
//!
//! `unsafe` stands in `start`, `hypercall`, `paging`, `heap`, `trap`, `smp` and `user` only.
#![cfg_attr(not(test), no_std)]
#![deny(unsafe_code)]

extern crate alloc;

pub mod balloon;
pub mod console;
pub mod event;
pub mod grant;
#[expect(unsafe_code, reason = "a global allocator is unsafe to implement")]
pub mod heap;
pub mod hotplug;
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
pub mod sysrq;
pub mod task;
pub mod timer;
#[expect(unsafe_code, reason = "entry and exit of exceptions")]
pub mod trap;
#[expect(
    unsafe_code,
    reason = "user mode runs on registers and pages made here"
)]
pub mod user;
pub mod xenstore;
