//! vCPUs: their state, how they are entered and left, and the hypercalls about them.

pub mod bounce;
pub mod callback;
pub mod context;
pub mod debug;
pub mod fpu;
pub mod iret;
pub mod state;

pub use context::Registers;
pub use state::{Mode, VcpuState};
