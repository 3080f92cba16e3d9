//! What an exception was.

use core::fmt;
use core::sync::atomic::Ordering;

use super::frame::TrapFrame;
use crate::event::shared;

/// An exception and where it happened.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Fault {
    /// The vector.
    pub vector: u64,
    /// The error code; 0 where the vector has none.
    pub error_code: u64,
    /// Address of the instruction (for traps: of the next one).
    pub rip: u64,
    /// The address for a page fault, else the one of the last page fault.
    pub address: u64,
}

impl Fault {
    /// The exception that `frame` came by. Call it on the vCPU that took it, before it can take another page fault.
    pub(crate) fn of(frame: &TrapFrame) -> Self {
        Self {
            vector: frame.vector,
            error_code: frame.error_code,
            rip: frame.rip,
            address: shared::vcpu_info().cr2.load(Ordering::Relaxed),
        }
    }
}

impl fmt::Display for Fault {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(
            f,
            "vector {} error {:#x} at {:#x}",
            self.vector, self.error_code, self.rip
        )?;
        if self.vector == 14 {
            write!(f, " address {:#x}", self.address)
        } else {
            Ok(())
        }
    }
}
