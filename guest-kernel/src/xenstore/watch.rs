//! Watches: which paths have changed.

use alloc::collections::VecDeque;
use alloc::string::String;
use alloc::sync::Arc;
use core::fmt;
use core::sync::atomic::{AtomicBool, Ordering};

use hypercall_abi::ring::xenstore::XS_UNWATCH;

use super::StoreError;
use super::connection::Connection;
use crate::sync::Lock;
use crate::task::Signal;

/// Changes that nobody has looked at. A change that is in the list already is not listed again.
pub(super) struct Changes {
    paths: Lock<VecDeque<String>>,
    /// None will come any more.
    ended: AtomicBool,
    came: Signal,
}

impl Changes {
    /// Tells who waits that the connection has ended.
    pub(super) fn end(&self) {
        self.ended.store(true, Ordering::Release);
        self.came.set();
    }

    pub(super) fn push(&self, path: String) {
        {
            let mut paths = self.paths.lock();
            if paths.contains(&path) {
                return;
            }
            paths.push_back(path);
        }
        self.came.set();
    }
}

/// A watch; dropping it ends it.
pub struct Watch {
    connection: Arc<Connection>,
    changes: Arc<Changes>,
    path: String,
    token: String,
}

impl Watch {
    pub(super) fn new(connection: &Arc<Connection>, path: &str) -> Self {
        let changes = Arc::new(Changes {
            paths: Lock::new(VecDeque::new()),
            ended: AtomicBool::new(false),
            came: Signal::new(),
        });
        let token = connection.add_watch(&changes);
        Self {
            connection: Arc::clone(connection),
            changes,
            path: path.into(),
            token,
        }
    }

    pub(super) fn token(&self) -> String {
        self.token.clone()
    }

    /// Waits for the next change; tells its path, in the form in which the watch was set.
    ///
    /// # Errors
    /// [`StoreError::Disconnected`] when none will come any more.
    pub async fn next(&mut self) -> Result<String, StoreError> {
        loop {
            let path = self.changes.paths.lock().pop_front();
            if let Some(path) = path {
                return Ok(path);
            }
            if self.changes.ended.load(Ordering::Acquire) {
                return Err(StoreError::Disconnected);
            }
            self.changes.came.wait().await;
        }
    }
}

impl Drop for Watch {
    fn drop(&mut self) {
        self.connection.remove_watch(&self.token);
        let request: [&[u8]; 4] = [self.path.as_bytes(), b"\0", self.token.as_bytes(), b"\0"];
        // Without a connection there is no watch either.
        let _told = self.connection.tell(XS_UNWATCH, 0, &request);
    }
}

impl fmt::Debug for Watch {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "Watch({})", self.path)
    }
}
