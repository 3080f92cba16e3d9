//! One frame: 24 bytes of header and at most 64 KiB of payload, all numbers little-endian.
//!
//! | offset | bytes | field |
//! | --- | --- | --- |
//! | 0 | 4 | magic `50 56 9a e5` |
//! | 4 | 1 | kind |
//! | 5 | 3 | reserved, zero |
//! | 8 | 4 | stream: connection << 16, local number |
//! | 12 | 4 | length of the payload |
//! | 16 | 4 | CRC-32 of the payload |
//! | 20 | 4 | CRC-32 of bytes 0 to 19 |
//!
//! The header has a check of its own so that a damaged length is never waited for: without it, four wrong bytes could
//! keep a reader silent for 64 KiB.

use alloc::vec::Vec;

/// The first four bytes of every frame. Two of them are no ASCII and together they are no UTF-8: text cannot hold them.
pub const MAGIC: [u8; 4] = [0x50, 0x56, 0x9a, 0xe5];

/// Bytes of a frame's header.
pub const HEADER_LEN: usize = 24;

/// The longest payload of one frame, in bytes.
pub const MAX_PAYLOAD: usize = 64 * 1024;

/// The longest frame, in bytes.
pub const MAX_FRAME: usize = HEADER_LEN + MAX_PAYLOAD;

/// What a frame is for.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Kind {
    /// First frame of a connection, each way, on its local stream 0: versions and a nonce.
    Hello,
    /// Multiplexer to server and back, on stream 0 of connection 0: all earlier connections are gone.
    Reset,
    /// Client to server: a new stream, with its request.
    Open,
    /// Either way: raw bytes of an upload, a console, a log.
    Data,
    /// Either way: the receiver of data has room for so many bytes more.
    Window,
    /// Client to server: this stream (local 0: the connection) is given up. The server answers with the same, last.
    Close,
    /// Server to client: how far a request has got.
    Progress,
    /// Server to client: the request has been carried out; the stream's last frame.
    Done,
    /// Server to client: the request has failed; the stream's last frame.
    Error,
    /// A kind that this version does not know.
    Unknown(u8),
}

impl Kind {
    /// The number on the wire.
    #[must_use]
    pub const fn number(self) -> u8 {
        match self {
            Self::Hello => 1,
            Self::Reset => 2,
            Self::Open => 3,
            Self::Data => 4,
            Self::Window => 5,
            Self::Close => 6,
            Self::Progress => 7,
            Self::Done => 8,
            Self::Error => 9,
            Self::Unknown(number) => number,
        }
    }

    /// The kind with this number.
    #[must_use]
    pub const fn from_number(number: u8) -> Self {
        match number {
            1 => Self::Hello,
            2 => Self::Reset,
            3 => Self::Open,
            4 => Self::Data,
            5 => Self::Window,
            6 => Self::Close,
            7 => Self::Progress,
            8 => Self::Done,
            9 => Self::Error,
            other => Self::Unknown(other),
        }
    }
}

/// A conversation: 16 bits that a multiplexer gives each connection, 16 bits that the connection's client chooses.
///
/// Local number 0 is the connection itself; a client that talks over a connection of its own uses connection 0.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct StreamId(u32);

impl StreamId {
    /// The stream with this local number of this connection.
    #[must_use]
    pub const fn new(connection: u16, local: u16) -> Self {
        Self((connection as u32) << 16 | local as u32)
    }

    /// The stream that stands for a whole connection.
    #[must_use]
    pub const fn of_connection(connection: u16) -> Self {
        Self::new(connection, 0)
    }

    /// The upper half.
    #[must_use]
    pub const fn connection(self) -> u16 {
        let [_, _, low, high] = self.0.to_le_bytes();
        u16::from_le_bytes([low, high])
    }

    /// The lower half.
    #[must_use]
    pub const fn local(self) -> u16 {
        let [low, high, _, _] = self.0.to_le_bytes();
        u16::from_le_bytes([low, high])
    }

    /// The same local stream in another connection: what a multiplexer does to every frame.
    #[must_use]
    pub const fn in_connection(self, connection: u16) -> Self {
        Self::new(connection, self.local())
    }
}

impl core::fmt::Display for StreamId {
    fn fmt(&self, f: &mut core::fmt::Formatter<'_>) -> core::fmt::Result {
        write!(f, "{}.{}", self.connection(), self.local())
    }
}

/// A payload does not fit into one frame.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
#[error("a frame carries at most {MAX_PAYLOAD} bytes, not {length}")]
pub struct FrameTooLong {
    /// The length that was asked for.
    pub length: usize,
}

/// A whole frame; its payload is never longer than [`MAX_PAYLOAD`].
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Frame {
    kind: Kind,
    stream: StreamId,
    payload: Vec<u8>,
}

impl Frame {
    /// A frame with this payload.
    ///
    /// # Errors
    /// [`FrameTooLong`] when the payload is longer than [`MAX_PAYLOAD`].
    pub fn new(kind: Kind, stream: StreamId, payload: Vec<u8>) -> Result<Self, FrameTooLong> {
        if payload.len() > MAX_PAYLOAD {
            return Err(FrameTooLong {
                length: payload.len(),
            });
        }
        Ok(Self {
            kind,
            stream,
            payload,
        })
    }

    /// A frame whose payload is short by construction.
    pub(crate) fn short<const N: usize>(kind: Kind, stream: StreamId, payload: [u8; N]) -> Self {
        const { assert!(N <= MAX_PAYLOAD, "longer than a frame") };
        Self {
            kind,
            stream,
            payload: payload.to_vec(),
        }
    }

    /// What the frame is for.
    #[must_use]
    pub const fn kind(&self) -> Kind {
        self.kind
    }

    /// The stream that it belongs to.
    #[must_use]
    pub const fn stream(&self) -> StreamId {
        self.stream
    }

    /// Its payload.
    #[must_use]
    pub fn payload(&self) -> &[u8] {
        &self.payload
    }

    /// Its payload, by value.
    #[must_use]
    pub fn into_payload(self) -> Vec<u8> {
        self.payload
    }

    /// The same frame for another connection: what a multiplexer forwards.
    #[must_use]
    pub fn in_connection(mut self, connection: u16) -> Self {
        self.stream = self.stream.in_connection(connection);
        self
    }

    /// How many bytes [`Frame::encode_into`] appends.
    #[must_use]
    pub fn encoded_len(&self) -> usize {
        HEADER_LEN + self.payload.len()
    }

    /// Appends the frame's bytes to `out`.
    pub fn encode_into(&self, out: &mut Vec<u8>) {
        out.reserve(self.encoded_len());
        out.extend_from_slice(&self.header());
        out.extend_from_slice(&self.payload);
    }

    /// The frame's bytes.
    #[must_use]
    pub fn to_bytes(&self) -> Vec<u8> {
        let mut out = Vec::new();
        self.encode_into(&mut out);
        out
    }

    fn header(&self) -> [u8; HEADER_LEN] {
        let [m0, m1, m2, m3] = MAGIC;
        let [s0, s1, s2, s3] = self.stream.0.to_le_bytes();
        let length = u32::try_from(self.payload.len()).unwrap_or(u32::MAX);
        let [l0, l1, l2, l3] = length.to_le_bytes();
        let [c0, c1, c2, c3] = crc32fast::hash(&self.payload).to_le_bytes();
        let checked = [
            m0,
            m1,
            m2,
            m3,
            self.kind.number(),
            0,
            0,
            0,
            s0,
            s1,
            s2,
            s3,
            l0,
            l1,
            l2,
            l3,
            c0,
            c1,
            c2,
            c3,
        ];
        let mut header = [0; HEADER_LEN];
        let (first, last) = header.split_at_mut(checked.len());
        first.copy_from_slice(&checked);
        last.copy_from_slice(&crc32fast::hash(&checked).to_le_bytes());
        header
    }
}

/// A header that has passed its own check: what the bytes behind it must be.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Header {
    pub(crate) kind: Kind,
    pub(crate) stream: StreamId,
    pub(crate) length: usize,
    pub(crate) payload_check: u32,
}

impl Header {
    /// Reads a header; `None` when it is none.
    pub(crate) fn decode(bytes: &[u8; HEADER_LEN]) -> Option<Self> {
        let (checked, check) = bytes.split_last_chunk::<4>()?;
        if !checked.starts_with(&MAGIC) || crc32fast::hash(checked) != u32::from_le_bytes(*check) {
            return None;
        }
        let word = |at: usize| -> Option<u32> {
            Some(u32::from_le_bytes(*bytes.get(at..)?.first_chunk::<4>()?))
        };
        let [kind, reserved @ ..] = word(4)?.to_le_bytes();
        let length = usize::try_from(word(12)?).ok()?;
        if reserved != [0; 3] || length > MAX_PAYLOAD {
            return None;
        }
        Some(Self {
            kind: Kind::from_number(kind),
            stream: StreamId(word(8)?),
            length,
            payload_check: word(16)?,
        })
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use alloc::vec;

    #[test]
    fn kinds_keep_their_numbers() {
        for number in 0..=255 {
            assert_eq!(Kind::from_number(number).number(), number);
        }
        assert_eq!(Kind::from_number(9), Kind::Error);
        assert_eq!(Kind::from_number(10), Kind::Unknown(10));
    }

    #[test]
    fn stream_ids_have_two_halves() {
        let id = StreamId::new(0x1234, 0xabcd);
        assert_eq!((id.connection(), id.local()), (0x1234, 0xabcd));
        assert_eq!(id.in_connection(7), StreamId::new(7, 0xabcd));
    }

    #[test]
    fn a_payload_over_the_limit_is_refused() {
        let id = StreamId::new(0, 1);
        assert!(Frame::new(Kind::Data, id, vec![0; MAX_PAYLOAD]).is_ok());
        assert_eq!(
            Frame::new(Kind::Data, id, vec![0; MAX_PAYLOAD + 1]),
            Err(FrameTooLong {
                length: MAX_PAYLOAD + 1
            })
        );
    }

    #[test]
    fn the_layout_is_the_documented_one() {
        let frame = Frame::new(Kind::Data, StreamId::new(1, 2), b"ab".to_vec()).unwrap();
        let bytes = frame.to_bytes();
        assert_eq!(bytes.len(), 26);
        assert_eq!(
            &bytes[..16],
            &[0x50, 0x56, 0x9a, 0xe5, 4, 0, 0, 0, 2, 0, 1, 0, 2, 0, 0, 0]
        );
        assert_eq!(&bytes[16..20], &0x9e83_486d_u32.to_le_bytes());
        assert_eq!(&bytes[24..], b"ab");
    }
}
