//! All policy of the hypervisor, in safe Rust; see docs/architecture.md.
#![no_std]
#![forbid(unsafe_code)]
