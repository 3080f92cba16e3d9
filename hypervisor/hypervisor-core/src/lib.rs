//! All policy of the hypervisor, in safe Rust; see docs/architecture.md.
//!
//! A hypercall walks through six rooms, always in this order: gate (the machine's assembly), decode, check, commit, effects,
//! exit (the machine again). `dispatch` leads through them; `Outcome` is what comes out.
#![no_std]
#![forbid(unsafe_code)]
#![cfg_attr(
    not(test),
    deny(
        clippy::arithmetic_side_effects,
        clippy::as_conversions,
        clippy::expect_used,
        clippy::indexing_slicing,
        clippy::panic
    )
)]

extern crate alloc;
#[cfg(any(test, feature = "fake"))]
extern crate std;

pub mod assist;
pub mod audit;
pub mod caller;
pub mod console;
pub mod control;
pub mod cpu;
pub mod dispatch;
pub mod domain;
pub mod effects;
pub mod emulate;
pub mod entry;
pub mod event;
#[cfg(any(test, feature = "fake"))]
#[cfg_attr(
    not(test),
    expect(
        clippy::arithmetic_side_effects,
        clippy::expect_used,
        clippy::indexing_slicing,
        clippy::panic,
        clippy::missing_panics_doc,
        reason = "a test's machine panics where hardware would go wrong in silence"
    )
)]
pub mod fake;
pub mod frame;
pub mod grant;
pub mod guest;
mod heap;
pub mod hypervisor;
pub mod ids;
pub mod machine;
pub mod memory;
mod multicall;
mod operations;
pub mod outcome;
pub mod paging;
pub mod peers;
mod physdev;
pub mod sched;
pub mod speculation;
mod standstill;
pub mod sync;
pub mod time;
pub mod vcpu;
pub mod version;

pub use cpu::Cpu;
pub use domain::start::{FirstDomain, FirstDomainError};
pub use entry::{Entry, ExitPath, Interrupt, Next};
pub use hypervisor::{BootInfo, Hypervisor, Options, StartError};
pub use kernel_image::Module as BootModule;
