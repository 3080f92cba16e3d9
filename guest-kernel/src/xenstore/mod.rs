//! A client of xenstore: a tree of small values that the domain shares with its manager.
//!
//! Paths are relative to the domain's own directory unless they begin with a slash. Any number of tasks may have
//! requests open at once; replies find them by number. Watches deliver the paths that changed.

mod connection;
mod transaction;
mod watch;
mod wire;

use alloc::string::String;
use alloc::sync::Arc;
use alloc::vec::Vec;

use hypercall_abi::ring::xenstore::{XS_DIRECTORY, XS_MKDIR, XS_READ, XS_RM, XS_WATCH, XS_WRITE};
use thiserror::Error;

use crate::start::Boot;
use connection::Connection;
pub use transaction::Transaction;
pub use watch::Watch;

/// Why a request failed.
#[derive(Clone, Debug, PartialEq, Eq, Error)]
pub enum StoreError {
    /// No such node (`ENOENT`).
    #[error("no such node")]
    NotFound,
    /// Another domain changed what the transaction saw (`EAGAIN`).
    #[error("try again")]
    Again,
    /// The server's word for another reason, such as `EACCES`.
    #[error("{0}")]
    Server(String),
    /// A reply that makes no sense.
    #[error("malformed reply")]
    Malformed,
    /// The ring is broken, or the request too long for it.
    #[error("no connection to xenstore")]
    Disconnected,
}

/// The store; clones share the connection.
#[derive(Clone, Debug)]
pub struct Store {
    connection: Arc<Connection>,
    /// Number of the transaction that requests belong to; 0 for none.
    transaction: u32,
}

impl Store {
    /// Connects to the store that start_info names; a first domain has none.
    #[must_use]
    pub fn connect(boot: &Boot) -> Option<Self> {
        let (frame, port) = boot.store()?;
        Some(Self {
            connection: Connection::new(frame, port)?,
            transaction: 0,
        })
    }

    async fn request(&self, kind: u32, payload: &[&[u8]]) -> Result<Vec<u8>, StoreError> {
        self.connection
            .request(kind, self.transaction, payload)
            .await
    }

    /// The value of a node.
    ///
    /// # Errors
    /// [`StoreError`], as for all requests.
    pub async fn read(&self, path: &str) -> Result<Vec<u8>, StoreError> {
        self.request(XS_READ, &[path.as_bytes(), b"\0"]).await
    }

    /// The value of a node, as text.
    ///
    /// # Errors
    /// [`StoreError::Malformed`] if it is no text.
    pub async fn read_text(&self, path: &str) -> Result<String, StoreError> {
        String::from_utf8(self.read(path).await?).map_err(|_| StoreError::Malformed)
    }

    /// Sets the value of a node, which is made if need be.
    ///
    /// # Errors
    /// [`StoreError`].
    pub async fn write(&self, path: &str, value: &[u8]) -> Result<(), StoreError> {
        self.request(XS_WRITE, &[path.as_bytes(), b"\0", value])
            .await
            .map(|_| ())
    }

    /// Takes a command out of a node: if `parse` makes something of the value, the node is emptied, all in one transaction.
    ///
    /// # Errors
    /// [`StoreError`].
    pub async fn take<T>(
        &self,
        path: &str,
        parse: impl Fn(&[u8]) -> Option<T>,
    ) -> Result<Option<T>, StoreError> {
        loop {
            let transaction = self.begin().await?;
            let Some(command) = parse(&transaction.read(path).await?) else {
                return Ok(None);
            };
            transaction.write(path, b"").await?;
            match transaction.commit().await {
                Ok(()) => return Ok(Some(command)),
                Err(StoreError::Again) => {}
                Err(error) => return Err(error),
            }
        }
    }

    /// Names of a node's children.
    ///
    /// # Errors
    /// [`StoreError`].
    pub async fn list(&self, path: &str) -> Result<Vec<String>, StoreError> {
        let names = self
            .request(XS_DIRECTORY, &[path.as_bytes(), b"\0"])
            .await?;
        names
            .split(|&byte| byte == 0)
            .filter(|name| !name.is_empty())
            .map(|name| {
                str::from_utf8(name)
                    .map(String::from)
                    .map_err(|_| StoreError::Malformed)
            })
            .collect()
    }

    /// Makes a node if it is not there.
    ///
    /// # Errors
    /// [`StoreError`].
    pub async fn make(&self, path: &str) -> Result<(), StoreError> {
        self.request(XS_MKDIR, &[path.as_bytes(), b"\0"])
            .await
            .map(|_| ())
    }

    /// Removes a node and all below it.
    ///
    /// # Errors
    /// [`StoreError`].
    pub async fn remove(&self, path: &str) -> Result<(), StoreError> {
        self.request(XS_RM, &[path.as_bytes(), b"\0"])
            .await
            .map(|_| ())
    }

    /// Watches a node and all below it; the first change it tells is the node itself, at once.
    ///
    /// # Errors
    /// [`StoreError`].
    pub async fn watch(&self, path: &str) -> Result<Watch, StoreError> {
        let watch = Watch::new(&self.connection, path);
        let token = watch.token();
        let request: [&[u8]; 4] = [path.as_bytes(), b"\0", token.as_bytes(), b"\0"];
        self.connection.request(XS_WATCH, 0, &request).await?;
        Ok(watch)
    }
}
