//! Messages of the store: a header of 16 bytes and a payload, in a stream that splits them anywhere.

use alloc::vec::Vec;

use hypercall_abi::ring::xenstore::{MessageHeader, XENSTORE_PAYLOAD_MAX, XS_ERROR};
use zerocopy::{FromBytes, IntoBytes};

use super::StoreError;

/// One whole message.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct Message {
    pub(super) kind: u32,
    pub(super) request: u32,
    pub(super) payload: Vec<u8>,
}

/// The header of a request with this payload; `Disconnected` for one that is too long to send.
pub(super) fn header(
    kind: u32,
    request: u32,
    transaction: u32,
    payload: &[&[u8]],
) -> Result<[u8; size_of::<MessageHeader>()], StoreError> {
    let length = payload.iter().map(|part| part.len()).sum::<usize>();
    let len = u32::try_from(length)
        .ok()
        .filter(|&len| len <= XENSTORE_PAYLOAD_MAX)
        .ok_or(StoreError::Disconnected)?;
    let header = MessageHeader {
        kind,
        req_id: request,
        tx_id: transaction,
        len,
    };
    let mut bytes = [0; size_of::<MessageHeader>()];
    bytes.copy_from_slice(header.as_bytes());
    Ok(bytes)
}

/// Puts a stream back together.
#[derive(Debug, Default)]
pub(super) struct Parser {
    bytes: Vec<u8>,
}

impl Parser {
    /// Takes bytes as they come.
    pub(super) fn feed(&mut self, bytes: &[u8]) {
        self.bytes.extend_from_slice(bytes);
    }

    /// The next whole message, if it is there; `Malformed` if the stream can make no sense any more.
    pub(super) fn next(&mut self) -> Result<Option<Message>, StoreError> {
        let Ok((header, rest)) = MessageHeader::read_from_prefix(&self.bytes) else {
            return Ok(None);
        };
        if header.len > XENSTORE_PAYLOAD_MAX {
            return Err(StoreError::Malformed);
        }
        let length = usize::try_from(header.len).map_err(|_| StoreError::Malformed)?;
        let Some(payload) = rest.get(..length) else {
            return Ok(None);
        };
        let message = Message {
            kind: header.kind,
            request: header.req_id,
            payload: payload.to_vec(),
        };
        self.bytes.drain(..size_of::<MessageHeader>() + length);
        Ok(Some(message))
    }
}

impl Message {
    /// The payload, or the error that it names.
    pub(super) fn into_result(self, kind: u32) -> Result<Vec<u8>, StoreError> {
        if self.kind == XS_ERROR {
            let name = self
                .payload
                .split(|&byte| byte == 0)
                .next()
                .unwrap_or_default();
            return Err(match name {
                b"ENOENT" => StoreError::NotFound,
                b"EAGAIN" => StoreError::Again,
                other => match str::from_utf8(other) {
                    Ok(name) => StoreError::Server(name.into()),
                    Err(_) => StoreError::Malformed,
                },
            });
        }
        if self.kind == kind {
            Ok(self.payload)
        } else {
            Err(StoreError::Malformed)
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use hypercall_abi::ring::xenstore::{XS_READ, XS_WRITE};

    fn stream(kind: u32, request: u32, payload: &[u8]) -> Vec<u8> {
        let mut bytes = header(kind, request, 0, &[payload])
            .expect("short enough")
            .to_vec();
        bytes.extend_from_slice(payload);
        bytes
    }

    #[test]
    fn messages_come_out_whole_however_the_stream_is_split() {
        let mut bytes = stream(XS_READ, 7, b"value");
        bytes.extend(stream(XS_WRITE, 8, b""));
        let mut parser = Parser::default();
        let mut messages = Vec::new();
        for byte in bytes {
            parser.feed(&[byte]);
            while let Some(message) = parser.next().expect("well formed") {
                messages.push((message.kind, message.request, message.payload));
            }
        }
        assert_eq!(
            messages,
            [(XS_READ, 7, b"value".to_vec()), (XS_WRITE, 8, Vec::new())]
        );
    }

    #[test]
    fn a_length_above_the_limit_ends_the_stream() {
        let mut parser = Parser::default();
        let header = MessageHeader {
            kind: XS_READ,
            req_id: 1,
            tx_id: 0,
            len: XENSTORE_PAYLOAD_MAX + 1,
        };
        parser.feed(header.as_bytes());
        assert_eq!(parser.next(), Err(StoreError::Malformed));
    }

    #[test]
    fn an_error_reply_becomes_the_error_that_it_names() {
        let reply = |payload: &[u8]| Message {
            kind: XS_ERROR,
            request: 1,
            payload: payload.to_vec(),
        };
        assert_eq!(
            reply(b"ENOENT\0").into_result(XS_READ),
            Err(StoreError::NotFound)
        );
        assert_eq!(
            reply(b"EACCES\0").into_result(XS_READ),
            Err(StoreError::Server("EACCES".into()))
        );
        assert_eq!(
            reply(b"\xff\0").into_result(XS_READ),
            Err(StoreError::Malformed)
        );
    }

    #[test]
    fn a_request_that_does_not_fit_is_not_sent() {
        let long = [0; 4097];
        assert_eq!(
            header(XS_WRITE, 1, 0, &[&long]),
            Err(StoreError::Disconnected)
        );
    }
}
