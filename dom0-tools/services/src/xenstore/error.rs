//! Why the server refuses a request; the names are what clients see on the wire.

use thiserror::Error;

/// A refusal. Only names that every known client understands: Linux maps any other to `EINVAL` with a warning.
#[derive(Clone, Copy, PartialEq, Eq, Debug, Error)]
pub enum Error {
    /// A path, number or payload that is not well formed.
    #[error("malformed request")]
    Invalid,
    /// The caller may not do this here.
    #[error("access denied")]
    Denied,
    /// The watch is there already.
    #[error("exists already")]
    Exists,
    /// No such node, watch, transaction or domain.
    #[error("does not exist")]
    NoEntry,
    /// The transaction was spoiled by an earlier failure, or the caller's memory is used up.
    #[error("out of memory")]
    NoMemory,
    /// A quota of the caller is used up.
    #[error("quota exceeded")]
    NoSpace,
    /// No such operation.
    #[error("no such operation")]
    NotImplemented,
    /// Not now: a transaction inside a transaction.
    #[error("busy")]
    Busy,
    /// Another change came first: the whole transaction is to be tried again.
    #[error("conflict with another change")]
    Again,
    /// The reply would not fit into one message.
    #[error("reply too long")]
    TooBig,
    /// The caller is not the owner.
    #[error("not permitted")]
    NotPermitted,
}

impl Error {
    /// The name on the wire, without its NUL.
    #[must_use]
    pub const fn name(self) -> &'static str {
        match self {
            Self::Invalid => "EINVAL",
            Self::Denied => "EACCES",
            Self::Exists => "EEXIST",
            Self::NoEntry => "ENOENT",
            Self::NoMemory => "ENOMEM",
            Self::NoSpace => "ENOSPC",
            Self::NotImplemented => "ENOSYS",
            Self::Busy => "EBUSY",
            Self::Again => "EAGAIN",
            Self::TooBig => "E2BIG",
            Self::NotPermitted => "EPERM",
        }
    }
}
