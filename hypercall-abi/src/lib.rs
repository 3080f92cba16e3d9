//! The guest ABI: what guests, hypervisor, dom0 and documentation agree on. No logic.
//!
//! A guest sees Xen's 64-bit PV interface, and hypercall 56, which is Paravane's own. Every number, every structure and the
//! table of all calls are declared here once:
//!
//! - [`table`]: the hypercalls and their sub-operations. Dispatcher, guest stubs and manual are made from it.
//! - one module per subject (`mmu`, `event`, `grant`, ...): the structures and constants of that subject.
//! - [`ring`]: the pages that a guest shares with a device's other end.
//! - [`control`]: hypercall 56, the versioned interface between hypervisor and dom0.
//!
//! Three rules hold for all structures. They hold *claims*: a [`RawMfn`], a [`RawPort`], a [`GuestPtr`] is whatever a guest
//! wrote, and becomes a frame, a port or an address only by a check elsewhere. They have no hidden padding, so that copying one
//! out can leak nothing. And each has a `layout!` line, checked by the compiler and, in `tests/layout.rs`, against the public
//! C headers.
#![no_std]
#![forbid(unsafe_code)]

#[cfg(any(test, feature = "docs"))]
extern crate std;

#[macro_use]
mod layout;

pub mod assist;
pub mod console;
pub mod control;
pub mod cpuid;
#[cfg(any(test, feature = "docs"))]
pub mod docs;
pub mod elf_note;
pub mod errno;
pub mod event;
pub mod grant;
pub mod guest_ptr;
pub mod hypercall_page;
pub mod ids;
pub mod inventory;
pub mod memory;
pub mod mmu;
pub mod multicall;
pub mod number;
pub mod physdev;
pub mod register;
pub mod ring;
pub mod sched;
pub mod segment;
pub mod shared_info;
pub mod start;
pub mod table;
pub mod time;
pub mod trap;
pub mod vcpu;
pub mod version;
pub mod xenbus;

pub use errno::Errno;
pub use guest_ptr::{GuestPtr, GuestSlice, In, InOut, Out};
pub use ids::{RawDomId, RawGrantRef, RawMfn, RawPfn, RawPort};
pub use layout::{Constant, Field, GuestLayout, Layout};
pub use register::RegisterArgument;
