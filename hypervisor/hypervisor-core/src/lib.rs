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

pub mod audit;
pub mod domain;
pub mod emulate;
pub mod entry;
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
pub mod ids;
pub mod machine;
pub mod memory;
pub mod paging;
pub mod sched;
pub mod sync;
pub mod vcpu;
