//! The first frame of a connection, each way, whose layout no version changes.
//!
//! Payload: u16 oldest version, u16 newest version, u64 nonce (all little-endian), then up to 64 bytes of UTF-8 naming
//! the program. The version in use is the smaller of the two newest ones, if neither side finds it too old.

use crate::codec::ProtocolError;
use crate::{OLDEST_VERSION, VERSION};
use alloc::string::String;
use alloc::vec::Vec;

/// The longest agent text, in bytes.
pub const MAX_AGENT: usize = 64;

/// Who speaks which versions.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Hello {
    /// The oldest version that the sender speaks.
    pub oldest: u16,
    /// The newest version that the sender speaks.
    pub newest: u16,
    /// A client's is of its own choice and comes back in the server's hello, so that an answer to somebody who is gone
    /// is not taken for one's own.
    pub nonce: u64,
    /// The program and its version, for logs.
    pub agent: String,
}

/// The two sides have no version in common.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
#[error(
    "the other side speaks versions {oldest} to {newest}, this side {OLDEST_VERSION} to {VERSION}"
)]
pub struct NoCommonVersion {
    /// The oldest version of the other side.
    pub oldest: u16,
    /// The newest version of the other side.
    pub newest: u16,
}

impl Hello {
    /// This side's hello.
    #[must_use]
    pub fn new(nonce: u64, agent: &str) -> Self {
        let mut agent = String::from(agent);
        while agent.len() > MAX_AGENT {
            agent.pop();
        }
        Self {
            oldest: OLDEST_VERSION,
            newest: VERSION,
            nonce,
            agent,
        }
    }

    /// The version to speak with who has sent this.
    ///
    /// # Errors
    /// [`NoCommonVersion`] when there is none.
    pub const fn negotiate(&self) -> Result<u16, NoCommonVersion> {
        let version = if self.newest < VERSION {
            self.newest
        } else {
            VERSION
        };
        if version < OLDEST_VERSION || version < self.oldest {
            return Err(NoCommonVersion {
                oldest: self.oldest,
                newest: self.newest,
            });
        }
        Ok(version)
    }

    pub(crate) fn to_payload(&self) -> Vec<u8> {
        let mut out = Vec::new();
        out.extend_from_slice(&self.oldest.to_le_bytes());
        out.extend_from_slice(&self.newest.to_le_bytes());
        out.extend_from_slice(&self.nonce.to_le_bytes());
        out.extend_from_slice(self.agent.as_bytes());
        out
    }

    pub(crate) fn from_payload(bytes: &[u8]) -> Result<Self, ProtocolError> {
        const BAD: ProtocolError = ProtocolError::Malformed("hello");
        let (oldest, rest) = bytes.split_first_chunk::<2>().ok_or(BAD)?;
        let (newest, rest) = rest.split_first_chunk::<2>().ok_or(BAD)?;
        let (nonce, agent) = rest.split_first_chunk::<8>().ok_or(BAD)?;
        if agent.len() > MAX_AGENT {
            return Err(BAD);
        }
        Ok(Self {
            oldest: u16::from_le_bytes(*oldest),
            newest: u16::from_le_bytes(*newest),
            nonce: u64::from_le_bytes(*nonce),
            agent: core::str::from_utf8(agent).map_err(|_| BAD)?.into(),
        })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_newest_common_version_is_taken() {
        let mut hello = Hello::new(1, "test");
        assert_eq!(hello.negotiate(), Ok(VERSION));
        hello.newest = VERSION + 5;
        assert_eq!(hello.negotiate(), Ok(VERSION));
        hello.oldest = VERSION + 1;
        assert!(hello.negotiate().is_err());
        hello.oldest = 0;
        hello.newest = 0;
        assert!(hello.negotiate().is_err());
    }

    #[test]
    fn a_hello_survives_the_wire_and_short_ones_are_refused() {
        let hello = Hello::new(0x0123_4567_89ab_cdef, "dom0ctl 0.1.0");
        let bytes = hello.to_payload();
        assert_eq!(Hello::from_payload(&bytes), Ok(hello));
        for cut in 0..12 {
            assert!(Hello::from_payload(&bytes[..cut]).is_err());
        }
    }
}
