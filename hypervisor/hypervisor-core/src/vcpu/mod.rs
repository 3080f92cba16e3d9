//! vCPUs: their state, how they are entered and left, and the hypercalls about them.
//!
//! Pure parts first: [`bounce`] composes frames, [`callback`] and [`debug`] keep registers, `iret` takes a frame apart.
//! [`trap`] sorts exceptions, [`deliver`] enters the guest kernel, [`privileged`] and `ports` execute what `emulate` decoded.

pub mod bounce;
pub mod callback;
pub(crate) mod calls;
pub mod context;
pub mod counts;
pub mod debug;
pub mod deliver;
pub mod descriptor;
pub mod fetch;
pub mod fpu;
pub(crate) mod initialise;
pub mod iret;
pub(crate) mod op;
mod ports;
pub mod privileged;
pub mod shared;
pub mod state;
pub mod trap;

pub use context::Registers;
pub use shared::Vcpu;
pub use state::{Mode, VcpuState};

#[cfg(test)]
mod tests;
