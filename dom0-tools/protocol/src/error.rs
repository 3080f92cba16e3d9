//! Why a request was not carried out: a stable code, words, and the amounts that decided.
//!
//! A code's name in JSON and its exit code never change. [`ErrorCode::exit_code`] is the whole table.

use crate::codec::Payload;
use crate::progress::Unit;
use alloc::string::String;
use serde::{Deserialize, Serialize};

/// What went wrong, for programs.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
#[cfg_attr(feature = "schema", derive(schemars::JsonSchema))]
pub enum ErrorCode {
    /// A value is outside of what it may be, whatever the machine has.
    InvalidArgument,
    /// No domain has this name or number.
    NoSuchDomain,
    /// The machine has not enough free memory.
    InsufficientMemory,
    /// The machine has not enough CPUs, or dom0 keeps them.
    InsufficientCpu,
    /// The request exceeds the domain's or the machine's maximum.
    OverMaximum,
    /// The request is below what the kernel or guest needs.
    BelowMinimum,
    /// No more domains fit.
    TooManyDomains,
    /// dom0's store for uploaded files is full.
    StoreFull,
    /// The guest has no driver for this.
    NoDriver,
    /// The guest has refused.
    GuestRefuses,
    /// The guest cannot: it is short of memory itself.
    GuestUnderPressure,
    /// The guest ended or crashed instead.
    GuestGone,
    /// The time was over first.
    Deadline,
    /// There is no connection to dom0.
    CannotConnect,
    /// The connection ended before the answer came.
    ConnectionLost,
    /// The name belongs to another domain.
    NameTaken,
    /// The domain is in a state in which this cannot be done.
    WrongState,
    /// The file is no kernel that can be started.
    BadImage,
    /// The upload was cut, or its content is not what its digest says.
    BadUpload,
    /// No file with this digest has been uploaded.
    NoSuchUpload,
    /// dom0 itself may not be treated so.
    Protected,
    /// The domain went away, or another request took over, before this one was done.
    Superseded,
    /// The two sides have no protocol version in common.
    VersionMismatch,
    /// The server does not know this request.
    UnknownRequest,
    /// The server could not read this frame.
    Malformed,
    /// The connection has too many streams open.
    TooManyStreams,
    /// The hypervisor or dom0 failed in a way that is their fault.
    Internal,
    /// The client failed to read or write something on its own side.
    LocalIo,
}

impl ErrorCode {
    /// All codes.
    pub const ALL: [Self; 28] = [
        Self::InvalidArgument,
        Self::NoSuchDomain,
        Self::InsufficientMemory,
        Self::InsufficientCpu,
        Self::OverMaximum,
        Self::BelowMinimum,
        Self::TooManyDomains,
        Self::StoreFull,
        Self::NoDriver,
        Self::GuestRefuses,
        Self::GuestUnderPressure,
        Self::GuestGone,
        Self::Deadline,
        Self::CannotConnect,
        Self::ConnectionLost,
        Self::NameTaken,
        Self::WrongState,
        Self::BadImage,
        Self::BadUpload,
        Self::NoSuchUpload,
        Self::Protected,
        Self::Superseded,
        Self::VersionMismatch,
        Self::UnknownRequest,
        Self::Malformed,
        Self::TooManyStreams,
        Self::Internal,
        Self::LocalIo,
    ];

    /// The exit code of a program that ends with this error.
    #[must_use]
    pub const fn exit_code(self) -> u8 {
        match self {
            Self::InvalidArgument => 2,
            Self::NoSuchDomain => 3,
            Self::InsufficientMemory
            | Self::InsufficientCpu
            | Self::OverMaximum
            | Self::BelowMinimum
            | Self::TooManyDomains
            | Self::StoreFull => 4,
            Self::NoDriver | Self::GuestRefuses | Self::GuestUnderPressure | Self::GuestGone => 5,
            Self::Deadline => 6,
            Self::CannotConnect => 7,
            Self::ConnectionLost
            | Self::NameTaken
            | Self::WrongState
            | Self::BadImage
            | Self::BadUpload
            | Self::NoSuchUpload
            | Self::Protected
            | Self::Superseded
            | Self::VersionMismatch
            | Self::UnknownRequest
            | Self::Malformed
            | Self::TooManyStreams
            | Self::Internal
            | Self::LocalIo => 1,
        }
    }
}

/// What a refusal was about: how much was needed, how much there is.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[cfg_attr(feature = "schema", derive(schemars::JsonSchema))]
pub struct Amounts {
    /// What is counted.
    pub unit: Unit,
    /// How much the request needs; for a minimum, the least that would do.
    pub needed: u64,
    /// How much there is; for a maximum, the most that is allowed.
    pub available: u64,
}

/// How far a change got that did not reach its target.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[cfg_attr(feature = "schema", derive(schemars::JsonSchema))]
pub struct Reached {
    /// What is counted.
    pub unit: Unit,
    /// What it was before.
    pub previous: u64,
    /// What was wanted.
    pub wanted: u64,
    /// What it is now, by the hypervisor's count.
    pub reached: u64,
    /// The target that stands now.
    pub target: u64,
}

/// A failed request.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, thiserror::Error)]
#[error("{message}")]
#[cfg_attr(feature = "schema", derive(schemars::JsonSchema))]
pub struct ErrorReply {
    /// What went wrong, for programs.
    pub code: ErrorCode,
    /// What was wrong, with what value.
    pub message: String,
    /// What to do next, or empty.
    pub hint: String,
    /// The amounts that decided, for a refusal.
    pub amounts: Option<Amounts>,
    /// How far it got, for a change that was begun.
    pub reached: Option<Reached>,
}

impl ErrorReply {
    /// An error with a message only.
    #[must_use]
    pub fn new(code: ErrorCode, message: impl Into<String>) -> Self {
        Self {
            code,
            message: message.into(),
            hint: String::new(),
            amounts: None,
            reached: None,
        }
    }

    /// Adds what to do next.
    #[must_use]
    pub fn hint(mut self, hint: impl Into<String>) -> Self {
        self.hint = hint.into();
        self
    }

    /// Adds the amounts that decided.
    #[must_use]
    pub const fn amounts(mut self, unit: Unit, needed: u64, available: u64) -> Self {
        self.amounts = Some(Amounts {
            unit,
            needed,
            available,
        });
        self
    }

    /// Adds how far it got.
    #[must_use]
    pub const fn reached(mut self, reached: Reached) -> Self {
        self.reached = Some(reached);
        self
    }
}

impl Payload for ErrorReply {
    const NAME: &'static str = "error";
    const VARIANTS: Option<u32> = None;
}

impl From<crate::codec::ProtocolError> for ErrorReply {
    fn from(error: crate::codec::ProtocolError) -> Self {
        use crate::codec::ProtocolError;
        let code = match error {
            ProtocolError::Unknown { .. } => ErrorCode::UnknownRequest,
            ProtocolError::TooLong(_)
            | ProtocolError::UnexpectedKind(_)
            | ProtocolError::Malformed(_)
            | ProtocolError::Trailing { .. } => ErrorCode::Malformed,
        };
        Self::new(code, alloc::format!("{error}"))
            .hint("client and dom0 are of different versions: compare `dom0ctl version`")
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use alloc::vec::Vec;

    #[test]
    fn codes_are_numbered_in_order_and_none_is_missing() {
        for (number, code) in ErrorCode::ALL.iter().enumerate() {
            let bytes = postcard::to_allocvec(code).unwrap();
            assert_eq!(bytes, [u8::try_from(number).unwrap()]);
        }
        let past = [u8::try_from(ErrorCode::ALL.len()).unwrap()];
        assert!(postcard::from_bytes::<ErrorCode>(&past).is_err());
    }

    #[test]
    fn exit_codes_are_the_documented_ones() {
        let of = |wanted: u8| -> Vec<_> {
            ErrorCode::ALL
                .into_iter()
                .filter(|code| code.exit_code() == wanted)
                .collect()
        };
        assert_eq!(of(2), [ErrorCode::InvalidArgument]);
        assert_eq!(of(3), [ErrorCode::NoSuchDomain]);
        assert_eq!(of(4).len(), 6);
        assert_eq!(of(5).len(), 4);
        assert_eq!(of(6), [ErrorCode::Deadline]);
        assert_eq!(of(7), [ErrorCode::CannotConnect]);
        assert!(of(0).is_empty());
    }
}
