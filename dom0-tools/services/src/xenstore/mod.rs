//! The xenstore server: a tree of small values that domains read, write and watch.
//!
//! A request walks one way: `ring` takes bytes out of a shared page and makes a `wire::Message` of them; `server` finds the
//! connection and, by `request`, the operation; `store` carries it out on the tree, on the live one or on a transaction's
//! own; `watch` says who hears of it; replies and events wait in the connection's `queue` until the ring takes them.
//!
//! Everything a guest sends is a claim. What it may do is decided by `permission`, how much of it by `quota`; both know
//! dom0 as the one caller without limits.

mod connection;
mod error;
mod fairness;
mod names;
mod path;
mod permission;
mod queue;
mod quota;
mod request;
mod ring;
mod server;
mod store;
mod transaction;
mod tree;
mod watch;
mod wire;

pub use error::Error;
pub use path::Path;
pub use permission::{Access, Caller, Entry, Permissions};
pub use quota::Quota;
pub use ring::{Link, Progress, RingError};
pub use server::{Action, Server};
pub use store::Operation;
pub use transaction::TransactionId;
pub use wire::{HEADER_BYTES, Kind, Message, PAYLOAD_MAX};

#[cfg(test)]
mod tests;
