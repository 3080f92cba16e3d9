//! Set-up: what must be there before anything can be built or run, found or installed, each time the same way.
//!
//! - [`libraries`]: what programs of others load;
//! - [`toolchain`]: a way to compile for the bare target;
//! - [`packages`]: programs and headers that must be installed on the host;
//! - [`peers`]: programs of others to test with, unpacked under `target/peers` and never installed.

pub(crate) mod libraries;
pub(crate) mod packages;
pub(crate) mod peers;
pub(crate) mod toolchain;
