//! The way in from a guest and out to it: the assembly, and the Rust that it calls.

pub(crate) mod frame;
pub(crate) mod from_guest;
pub(crate) mod from_host;
pub(crate) mod idle;
pub(crate) mod probe;
