//! Payloads as values: postcard, with what an unknown or damaged payload is called.
//!
//! The first bytes of an encoded enum are its variant's number, so a request that a newer client knows and this side does
//! not is told apart from one that is damaged. Lengths inside a payload cannot exceed the payload, so nothing is
//! allocated beyond what a frame may carry.

use crate::frame::FrameTooLong;
use alloc::vec::Vec;
use serde::Serialize;
use serde::de::DeserializeOwned;

/// What is wrong with a frame of the other side.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
pub enum ProtocolError {
    /// A value does not fit into one frame.
    #[error(transparent)]
    TooLong(#[from] FrameTooLong),
    /// A request, reply or other variant with a number that this version does not have.
    #[error("unknown {what} number {number}")]
    Unknown {
        /// What kind of value: `request`, `reply`, ...
        what: &'static str,
        /// Its number.
        number: u32,
    },
    /// A frame kind that this version does not have, or that the other side may not send.
    #[error("frame kind {0} is not expected here")]
    UnexpectedKind(u8),
    /// The payload is not a value of its type.
    #[error("malformed {0}")]
    Malformed(&'static str),
    /// The value is followed by bytes that belong to nothing.
    #[error("{extra} stray bytes behind a {what}")]
    Trailing {
        /// What kind of value.
        what: &'static str,
        /// How many bytes.
        extra: usize,
    },
}

/// A type that can be a frame's payload.
pub(crate) trait Payload: Serialize + DeserializeOwned {
    /// What it is called in errors.
    const NAME: &'static str;
    /// How many variants it has, if it is an enum.
    const VARIANTS: Option<u32>;

    /// The value's bytes.
    fn to_payload(&self) -> Result<Vec<u8>, ProtocolError> {
        postcard::to_allocvec(self).map_err(|_| ProtocolError::Malformed(Self::NAME))
    }

    /// The value that fills `bytes` exactly.
    fn from_payload(bytes: &[u8]) -> Result<Self, ProtocolError> {
        if let Some(variants) = Self::VARIANTS {
            let (number, _) = postcard::take_from_bytes::<u32>(bytes)
                .map_err(|_| ProtocolError::Malformed(Self::NAME))?;
            if number >= variants {
                return Err(ProtocolError::Unknown {
                    what: Self::NAME,
                    number,
                });
            }
        }
        let (value, rest) = postcard::take_from_bytes::<Self>(bytes)
            .map_err(|_| ProtocolError::Malformed(Self::NAME))?;
        if rest.is_empty() {
            Ok(value)
        } else {
            Err(ProtocolError::Trailing {
                what: Self::NAME,
                extra: rest.len(),
            })
        }
    }
}
