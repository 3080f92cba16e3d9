//! Emulation of the privileged instructions that a guest kernel may use (pv-abi 6).
//!
//! This is the largest attack surface of the trap path, so it is a closed table of pure functions: bytes to an
//! [`decode::Instruction`], and an instruction with what the vCPU is to a new value or a fault. Nothing here reads guest
//! memory or hardware; `vcpu/trap.rs` joins the two.

pub mod control;
pub mod cpuid;
pub mod decode;
pub mod msr;
pub mod port;
