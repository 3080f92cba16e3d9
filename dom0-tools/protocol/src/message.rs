//! Frames as typed messages: what a client may send, and what a server may.

use crate::codec::{Payload, ProtocolError};
use crate::error::ErrorReply;
use crate::frame::{Frame, Kind, StreamId};
use crate::hello::Hello;
use crate::progress::Progress;
use crate::reply::Reply;
use crate::request::Request;
use alloc::vec::Vec;

/// What a client or multiplexer says.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum ClientMessage {
    /// Its versions, on the connection's stream.
    Hello(Hello),
    /// From a multiplexer only: forget every connection.
    Reset(u64),
    /// A new stream.
    Open(Request),
    /// Bytes of an upload, or console input.
    Data(Vec<u8>),
    /// Room for so many more bytes of the server's data.
    Window(u32),
    /// The stream (or connection) is given up.
    Close,
}

impl ClientMessage {
    /// Reads a frame of the client.
    ///
    /// # Errors
    /// [`ProtocolError`] when the frame is not one that a client may send, or is damaged.
    pub fn decode(frame: Frame) -> Result<Self, ProtocolError> {
        match frame.kind() {
            Kind::Hello => Hello::from_payload(frame.payload()).map(Self::Hello),
            Kind::Reset => nonce(frame.payload()).map(Self::Reset),
            Kind::Open => Request::from_payload(frame.payload()).map(Self::Open),
            Kind::Data => Ok(Self::Data(frame.into_payload())),
            Kind::Window => credit(frame.payload()).map(Self::Window),
            Kind::Close => empty(frame.payload()).map(|()| Self::Close),
            kind @ (Kind::Progress | Kind::Done | Kind::Error | Kind::Unknown(_)) => {
                Err(ProtocolError::UnexpectedKind(kind.number()))
            }
        }
    }

    /// The frame that says so.
    ///
    /// # Errors
    /// [`ProtocolError::TooLong`] when it does not fit into one frame.
    pub fn encode(&self, stream: StreamId) -> Result<Frame, ProtocolError> {
        Ok(match self {
            Self::Hello(hello) => Frame::new(Kind::Hello, stream, hello.to_payload())?,
            Self::Reset(nonce) => Frame::short(Kind::Reset, stream, nonce.to_le_bytes()),
            Self::Open(request) => Frame::new(Kind::Open, stream, request.to_payload()?)?,
            Self::Data(bytes) => Frame::new(Kind::Data, stream, bytes.clone())?,
            Self::Window(more) => Frame::short(Kind::Window, stream, more.to_le_bytes()),
            Self::Close => Frame::short(Kind::Close, stream, []),
        })
    }
}

/// What a server says.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum ServerMessage {
    /// Its versions, with the client's nonce, on the connection's stream.
    Hello(Hello),
    /// Every connection is forgotten, as this nonce's sender asked.
    Reset(u64),
    /// Console output, or log text.
    Data(Vec<u8>),
    /// Room for so many more bytes of the client's data.
    Window(u32),
    /// How far the request has got.
    Progress(Progress),
    /// The request has been carried out; the stream has ended.
    Done(Reply),
    /// The request has failed; the stream (on local 0: the connection) has ended.
    Error(ErrorReply),
    /// The client's close has arrived; nothing more will come on this stream (or connection).
    Close,
}

impl ServerMessage {
    /// Reads a frame of the server.
    ///
    /// # Errors
    /// [`ProtocolError`] when the frame is not one that a server may send, or is damaged.
    pub fn decode(frame: Frame) -> Result<Self, ProtocolError> {
        match frame.kind() {
            Kind::Hello => Hello::from_payload(frame.payload()).map(Self::Hello),
            Kind::Reset => nonce(frame.payload()).map(Self::Reset),
            Kind::Data => Ok(Self::Data(frame.into_payload())),
            Kind::Window => credit(frame.payload()).map(Self::Window),
            Kind::Progress => Progress::from_payload(frame.payload()).map(Self::Progress),
            Kind::Done => Reply::from_payload(frame.payload()).map(Self::Done),
            Kind::Error => ErrorReply::from_payload(frame.payload()).map(Self::Error),
            Kind::Close => empty(frame.payload()).map(|()| Self::Close),
            kind @ (Kind::Open | Kind::Unknown(_)) => {
                Err(ProtocolError::UnexpectedKind(kind.number()))
            }
        }
    }

    /// The frame that says so.
    ///
    /// # Errors
    /// [`ProtocolError::TooLong`] when it does not fit into one frame.
    pub fn encode(&self, stream: StreamId) -> Result<Frame, ProtocolError> {
        Ok(match self {
            Self::Hello(hello) => Frame::new(Kind::Hello, stream, hello.to_payload())?,
            Self::Reset(nonce) => Frame::short(Kind::Reset, stream, nonce.to_le_bytes()),
            Self::Data(bytes) => Frame::new(Kind::Data, stream, bytes.clone())?,
            Self::Window(more) => Frame::short(Kind::Window, stream, more.to_le_bytes()),
            Self::Progress(progress) => Frame::new(Kind::Progress, stream, progress.to_payload()?)?,
            Self::Done(reply) => Frame::new(Kind::Done, stream, reply.to_payload()?)?,
            Self::Error(error) => Frame::new(Kind::Error, stream, error.to_payload()?)?,
            Self::Close => Frame::short(Kind::Close, stream, []),
        })
    }
}

fn nonce(payload: &[u8]) -> Result<u64, ProtocolError> {
    let bytes = payload
        .try_into()
        .map_err(|_| ProtocolError::Malformed("reset"))?;
    Ok(u64::from_le_bytes(bytes))
}

fn credit(payload: &[u8]) -> Result<u32, ProtocolError> {
    let bytes = payload
        .try_into()
        .map_err(|_| ProtocolError::Malformed("window"))?;
    Ok(u32::from_le_bytes(bytes))
}

fn empty(payload: &[u8]) -> Result<(), ProtocolError> {
    if payload.is_empty() {
        Ok(())
    } else {
        Err(ProtocolError::Malformed("close"))
    }
}

#[cfg(test)]
mod tests;
