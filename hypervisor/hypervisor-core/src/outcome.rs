//! What comes out of a hypercall, before `dispatch` makes registers of it.

use hypercall_abi::Errno;

use crate::domain::crash::CrashReason;

/// The end of a hypercall.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[must_use]
pub enum Outcome {
    /// It is done; this goes into RAX.
    Done(u64),
    /// It stopped half-way and goes on when the guest repeats it, with the arguments as they are now.
    Again,
    /// It was refused; the guest can carry on.
    Refused(Errno),
    /// There is no answer left: the domain dies.
    Crash(CrashReason),
}

impl Outcome {
    /// Success without a value.
    pub const OK: Self = Self::Done(0);
}

impl From<Errno> for Outcome {
    fn from(error: Errno) -> Self {
        Self::Refused(error)
    }
}

impl From<Result<(), Errno>> for Outcome {
    fn from(result: Result<(), Errno>) -> Self {
        result.map_or_else(Self::Refused, |()| Self::OK)
    }
}

impl From<Result<u64, Errno>> for Outcome {
    fn from(result: Result<u64, Errno>) -> Self {
        result.map_or_else(Self::Refused, Self::Done)
    }
}
