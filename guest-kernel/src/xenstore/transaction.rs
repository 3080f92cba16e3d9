//! Transactions: several requests of which others see all or none.

use core::ops::Deref;

use hypercall_abi::ring::xenstore::{XS_TRANSACTION_END, XS_TRANSACTION_START};

use super::{Store, StoreError};

/// An open transaction: a store whose requests take effect together, at [`Transaction::commit`]. Dropping it without
/// leaves everything as it was.
#[derive(Debug)]
pub struct Transaction {
    store: Store,
    open: bool,
}

impl Store {
    /// Opens a transaction.
    ///
    /// # Errors
    /// [`StoreError`].
    pub async fn begin(&self) -> Result<Transaction, StoreError> {
        let reply = self.request(XS_TRANSACTION_START, &[b"\0"]).await?;
        let digits = reply.split(|&byte| byte == 0).next().unwrap_or_default();
        let transaction = str::from_utf8(digits)
            .ok()
            .and_then(|digits| digits.parse().ok())
            .filter(|&number| number != 0)
            .ok_or(StoreError::Malformed)?;
        Ok(Transaction {
            store: Self {
                connection: self.connection.clone(),
                transaction,
            },
            open: true,
        })
    }
}

impl Transaction {
    /// Makes its changes take effect.
    ///
    /// # Errors
    /// [`StoreError::Again`] if somebody else changed what it saw: nothing has happened, begin anew.
    pub async fn commit(mut self) -> Result<(), StoreError> {
        self.open = false;
        self.store
            .request(XS_TRANSACTION_END, &[b"T\0"])
            .await
            .map(|_| ())
    }
}

impl Deref for Transaction {
    type Target = Store;
    fn deref(&self) -> &Store {
        &self.store
    }
}

impl Drop for Transaction {
    fn drop(&mut self) {
        if self.open {
            // Without a connection the server has dropped it already.
            let _told =
                self.store
                    .connection
                    .tell(XS_TRANSACTION_END, self.store.transaction, &[b"F\0"]);
        }
    }
}
