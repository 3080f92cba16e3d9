//! Messages as they lie in the ring: a header of four little-endian words and at most 4096 bytes.

use super::Error;
use crate::DomId;
use alloc::vec::Vec;

/// Bytes of a header.
pub const HEADER_BYTES: usize = 16;
/// Most bytes of a payload.
pub const PAYLOAD_MAX: usize = 4096;

/// Declares the operations with their numbers.
macro_rules! kinds {
    ($($(#[$doc:meta])* $name:ident = $number:literal,)*) => {
        /// What a message asks for or answers.
        #[derive(Clone, Copy, PartialEq, Eq, Debug)]
        pub enum Kind { $($(#[$doc])* $name,)* }

        impl Kind {
            /// The operation with this number.
            #[must_use]
            pub const fn from_number(number: u32) -> Option<Self> {
                match number { $($number => Some(Self::$name),)* _ => None }
            }

            /// Its number on the wire.
            #[must_use]
            pub const fn number(self) -> u32 {
                match self { $(Self::$name => $number,)* }
            }
        }
    };
}

kinds! {
    /// Questions to the server itself; privileged.
    Control = 0,
    /// Names of a node's children.
    Directory = 1,
    /// A node's value.
    Read = 2,
    /// A node's permission list.
    GetPermissions = 3,
    /// Hear of changes.
    Watch = 4,
    /// Hear no more.
    Unwatch = 5,
    /// Begin a transaction.
    TransactionStart = 6,
    /// Commit or discard it.
    TransactionEnd = 7,
    /// A domain's ring is there; privileged.
    Introduce = 8,
    /// A domain is gone; privileged.
    Release = 9,
    /// Where a domain's home is.
    GetDomainPath = 10,
    /// Set a node's value, making it if need be.
    Write = 11,
    /// Make a node.
    MakeDirectory = 12,
    /// Remove a node with all below it.
    Remove = 13,
    /// Set a node's permission list.
    SetPermissions = 14,
    /// From the server only: something changed.
    WatchEvent = 15,
    /// From the server only: a refusal.
    Error = 16,
    /// Whether a domain's ring is known; privileged.
    IsDomainIntroduced = 17,
    /// A suspended domain goes on; privileged.
    Resume = 18,
    /// Let one domain act for another; privileged.
    SetTarget = 19,
    /// Drop all watches and transactions of the caller.
    ResetWatches = 21,
    /// A long directory piece by piece.
    DirectoryPart = 22,
}

/// One message, either way.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct Message {
    /// The operation's number, known or not.
    pub kind: u32,
    /// The client's mark, echoed.
    pub request_id: u32,
    /// The transaction; 0 for none.
    pub transaction: u32,
    /// At most `PAYLOAD_MAX` bytes.
    pub payload: Vec<u8>,
}

impl Message {
    /// A request outside any transaction.
    #[must_use]
    pub fn request(kind: Kind, payload: &[u8]) -> Self {
        Self {
            kind: kind.number(),
            request_id: 0,
            transaction: 0,
            payload: payload.to_vec(),
        }
    }

    /// The answer to this request.
    #[must_use]
    pub fn reply(&self, result: Result<Vec<u8>, Error>) -> Self {
        let (kind, payload) = match result {
            Ok(payload) if payload.len() <= PAYLOAD_MAX => (self.kind, payload),
            Ok(_) => (Kind::Error.number(), with_nul(Error::TooBig.name())),
            Err(error) => (Kind::Error.number(), with_nul(error.name())),
        };
        Self {
            kind,
            request_id: self.request_id,
            transaction: self.transaction,
            payload,
        }
    }

    /// The header and the payload as bytes.
    #[must_use]
    pub fn to_bytes(&self) -> Vec<u8> {
        let length = u32::try_from(self.payload.len()).unwrap_or(u32::MAX);
        let mut bytes = Vec::with_capacity(HEADER_BYTES + self.payload.len());
        for word in [self.kind, self.request_id, self.transaction, length] {
            bytes.extend_from_slice(&word.to_le_bytes());
        }
        bytes.extend_from_slice(&self.payload);
        bytes
    }
}

/// A header on its own: what is known of a message before its payload has come.
#[derive(Clone, Copy, Debug)]
pub(super) struct Header {
    kind: u32,
    request_id: u32,
    transaction: u32,
    pub(super) length: u32,
}

impl Header {
    pub(super) fn from_bytes(bytes: [u8; HEADER_BYTES]) -> Self {
        let [a, b, c, d, e, f, g, h, i, j, k, l, m, n, o, p] = bytes;
        Self {
            kind: u32::from_le_bytes([a, b, c, d]),
            request_id: u32::from_le_bytes([e, f, g, h]),
            transaction: u32::from_le_bytes([i, j, k, l]),
            length: u32::from_le_bytes([m, n, o, p]),
        }
    }

    pub(super) fn with_payload(self, payload: Vec<u8>) -> Message {
        Message {
            kind: self.kind,
            request_id: self.request_id,
            transaction: self.transaction,
            payload,
        }
    }
}

/// A whole message from its bytes; none if they are not exactly one.
pub(super) fn message(bytes: &[u8]) -> Option<Message> {
    let (header, payload) = bytes.split_first_chunk::<HEADER_BYTES>()?;
    let header = Header::from_bytes(*header);
    let whole = usize::try_from(header.length) == Ok(payload.len());
    whole.then(|| header.with_payload(payload.to_vec()))
}

/// A text and its NUL.
pub(super) fn with_nul(text: &str) -> Vec<u8> {
    let mut bytes = Vec::from(text.as_bytes());
    bytes.push(0);
    bytes
}

/// The one string of a payload: exactly one NUL, at the very end.
pub(super) fn one_string(payload: &[u8]) -> Result<&[u8], Error> {
    match payload.split_last() {
        Some((0, text)) if !text.contains(&0) => Ok(text),
        _ => Err(Error::Invalid),
    }
}

/// The first string of a payload and all bytes behind its NUL.
pub(super) fn string_and_rest(payload: &[u8]) -> Result<(&[u8], &[u8]), Error> {
    let nul = payload
        .iter()
        .position(|byte| *byte == 0)
        .ok_or(Error::Invalid)?;
    let (text, rest) = payload.split_at(nul);
    Ok((text, rest.get(1..).unwrap_or(&[])))
}

/// Exactly `N` strings, each with its NUL.
pub(super) fn strings<const N: usize>(payload: &[u8]) -> Result<[&[u8]; N], Error> {
    let mut rest = payload;
    let mut found: [&[u8]; N] = [&[]; N];
    for slot in &mut found {
        (*slot, rest) = string_and_rest(rest)?;
    }
    if rest.is_empty() {
        Ok(found)
    } else {
        Err(Error::Invalid)
    }
}

/// A decimal number: digits only.
pub(super) fn number(text: &[u8]) -> Result<u64, Error> {
    if text.is_empty() || !text.iter().all(u8::is_ascii_digit) {
        return Err(Error::Invalid);
    }
    let text = core::str::from_utf8(text).map_err(|_| Error::Invalid)?;
    text.parse().map_err(|_| Error::Invalid)
}

/// A decimal domain number.
pub(super) fn domain(text: &[u8]) -> Result<DomId, Error> {
    let number = u16::try_from(number(text)?).map_err(|_| Error::Invalid)?;
    DomId::new(number).ok_or(Error::Invalid)
}

#[cfg(test)]
mod tests {
    use super::{Error, number, one_string, string_and_rest, strings};

    #[test]
    fn one_string_ends_in_its_only_nul() {
        assert_eq!(one_string(b"/a\0"), Ok(&b"/a"[..]));
        assert_eq!(one_string(b"/a"), Err(Error::Invalid));
        assert_eq!(one_string(b"/a\0b\0"), Err(Error::Invalid));
        assert_eq!(one_string(b""), Err(Error::Invalid));
    }

    #[test]
    fn a_value_may_be_empty_and_may_hold_nuls() {
        assert_eq!(string_and_rest(b"/a\0"), Ok((&b"/a"[..], &b""[..])));
        assert_eq!(string_and_rest(b"/a\0x\0y"), Ok((&b"/a"[..], &b"x\0y"[..])));
    }

    #[test]
    fn numbers_are_digits_only() {
        assert_eq!(number(b"42"), Ok(42));
        for text in [
            &b""[..],
            b"-1",
            b"+1",
            b" 1",
            b"1x",
            b"99999999999999999999",
        ] {
            assert_eq!(number(text), Err(Error::Invalid));
        }
    }

    #[test]
    fn a_surplus_string_is_refused() {
        assert_eq!(strings::<2>(b"a\0b\0"), Ok([&b"a"[..], b"b"]));
        assert_eq!(strings::<2>(b"a\0b\0c\0"), Err(Error::Invalid));
        assert_eq!(strings::<2>(b"a\0b"), Err(Error::Invalid));
    }
}
