//! All policy of the hypervisor, in safe Rust; see docs/architecture.md.
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

#[cfg(any(test, feature = "fake"))]
extern crate std;

pub mod ids;
pub mod machine;
pub mod sched;
pub mod sync;
