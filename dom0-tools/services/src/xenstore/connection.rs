//! One client of the server: its rights, its open transactions and what waits for it.

use super::{
    Caller, Error, Quota, TransactionId, queue::Queue, store::Store, transaction::Transaction,
};
use crate::DomId;
use alloc::collections::BTreeMap;

/// How far a domain has come.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(super) enum Life {
    /// It has nodes, but no ring yet.
    Admitted,
    /// Its ring is served.
    Introduced,
    /// It has shut down; `@releaseDomain` has been sent.
    ShutDown,
}

#[derive(Debug)]
pub(super) struct Connection {
    pub(super) caller: Caller,
    pub(super) life: Life,
    pub(super) queue: Queue,
    transactions: BTreeMap<TransactionId, Transaction>,
    last: TransactionId,
}

impl Connection {
    pub(super) fn new(domain: DomId) -> Self {
        Self {
            caller: Caller {
                domain,
                target: None,
            },
            life: Life::Admitted,
            queue: Queue::default(),
            transactions: BTreeMap::new(),
            last: TransactionId::LAST,
        }
    }

    /// Drops all that a new client at the other end should not inherit, but its rights.
    pub(super) fn reset(&mut self) {
        self.transactions.clear();
        self.queue = Queue::default();
    }

    pub(super) fn drop_transactions(&mut self) {
        self.transactions.clear();
    }

    pub(super) fn start(&mut self, live: &Store, quota: &Quota) -> Result<TransactionId, Error> {
        if !self.caller.is_privileged() && self.transactions.len() >= quota.transactions {
            return Err(Error::NoSpace);
        }
        let mut id = self.last.next();
        while self.transactions.contains_key(&id) {
            id = id.next();
        }
        self.last = id;
        self.transactions.insert(id, Transaction::start(live));
        Ok(id)
    }

    pub(super) fn transaction(&mut self, id: TransactionId) -> Result<&mut Transaction, Error> {
        self.transactions.get_mut(&id).ok_or(Error::NoEntry)
    }

    pub(super) fn has(&self, id: TransactionId) -> bool {
        self.transactions.contains_key(&id)
    }

    pub(super) fn end(&mut self, id: TransactionId) -> Result<Transaction, Error> {
        self.transactions.remove(&id).ok_or(Error::NoEntry)
    }

    /// Bytes that the lists of changes of all its transactions take.
    pub(super) fn transaction_bytes(&self) -> usize {
        self.transactions.values().map(Transaction::weight).sum()
    }
}
