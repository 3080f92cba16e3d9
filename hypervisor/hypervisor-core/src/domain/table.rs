//! The table of domains: numbers to domains.
//!
//! A number's slot is the number modulo the table's size. Numbers are given out in order and come back late, so that one that
//! somebody remembers does not soon mean another domain; who must be sure compares [`Domain::serial`].

use alloc::sync::Arc;
use alloc::vec::Vec;

use hypercall_abi::ids::{DOMID_FIRST_RESERVED, DOMID_SELF};
use hypercall_abi::{Errno, RawDomId};

use super::Domain;
use crate::heap;
use crate::sync::{Held, Ranked, rank};

/// The number of a domain that exists or existed.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct DomId(u16);

impl DomId {
    /// The first domain.
    pub const FIRST: Self = Self(0);

    /// The number, if it is one for ordinary domains.
    #[must_use]
    pub const fn new(number: u16) -> Option<Self> {
        if number < DOMID_FIRST_RESERVED {
            Some(Self(number))
        } else {
            None
        }
    }

    /// The number.
    #[must_use]
    pub const fn get(self) -> u16 {
        self.0
    }
}

#[derive(Debug)]
struct Slots {
    slots: Vec<Option<Arc<Domain>>>,
    next: u16,
}

/// The table.
#[derive(Debug)]
pub struct DomainTable {
    slots: Ranked<{ rank::DOMAIN_TABLE }, Slots>,
}

impl DomainTable {
    /// A table for `limit` domains.
    ///
    /// # Errors
    /// `ENOMEM`.
    pub fn new(limit: u16) -> Result<Self, Errno> {
        let mut slots = heap::list(limit.into())?;
        slots.resize_with(limit.into(), || None);
        Ok(Self {
            slots: Ranked::new(Slots { slots, next: 0 }),
        })
    }

    /// The domain of this number.
    pub fn get<const TOP: u8>(&self, id: DomId, held: &mut Held<'_, TOP>) -> Option<Arc<Domain>> {
        let (table, _) = self.slots.lock(held);
        let found = table.slots.get(table.index(id)?)?.as_ref()?;
        (found.id() == id).then(|| Arc::clone(found))
    }

    /// The domain that a caller names: a number or `DOMID_SELF`.
    ///
    /// # Errors
    /// `ESRCH`: there is none.
    pub fn resolve<const TOP: u8>(
        &self,
        named: RawDomId,
        caller: &Arc<Domain>,
        held: &mut Held<'_, TOP>,
    ) -> Result<Arc<Domain>, Errno> {
        if named.0 == DOMID_SELF {
            return Ok(Arc::clone(caller));
        }
        DomId::new(named.0)
            .and_then(|id| self.get(id, held))
            .ok_or(Errno::ESRCH)
    }

    /// The existing domain with the lowest number from `first` on.
    pub fn next_from<const TOP: u8>(
        &self,
        first: u16,
        held: &mut Held<'_, TOP>,
    ) -> Option<Arc<Domain>> {
        if let Some(found) = DomId::new(first).and_then(|id| self.get(id, held)) {
            return Some(found);
        }
        let (table, _) = self.slots.lock(held);
        let candidates = table
            .slots
            .iter()
            .flatten()
            .filter(|domain| domain.id().get() >= first);
        candidates.min_by_key(|domain| domain.id()).map(Arc::clone)
    }

    /// Calls `found` with every domain.
    pub(crate) fn for_each<const TOP: u8>(
        &self,
        held: &mut Held<'_, TOP>,
        found: &mut dyn FnMut(&Domain, &mut Held<'_, { rank::DOMAIN_TABLE }>),
    ) {
        let (table, mut held) = self.slots.lock(held);
        for domain in table.slots.iter().flatten() {
            found(domain, &mut held);
        }
    }

    /// A number for a new domain: the one wanted, or the next free one.
    ///
    /// # Errors
    /// `EEXIST` if the one wanted or its slot is taken, `ENOSPC` if all are.
    pub fn choose<const TOP: u8>(
        &self,
        wanted: Option<DomId>,
        held: &mut Held<'_, TOP>,
    ) -> Result<DomId, Errno> {
        let (mut table, _) = self.slots.lock(held);
        if let Some(id) = wanted {
            return if table.is_free(id) {
                Ok(id)
            } else {
                Err(Errno::EEXIST)
            };
        }
        for _ in 0..table.slots.len() {
            // Number 0 is the first domain's, which never ends.
            let number = table.next.max(1);
            table.next = number
                .checked_add(1)
                .filter(|&n| n < DOMID_FIRST_RESERVED)
                .unwrap_or(1);
            if let Some(id) = DomId::new(number).filter(|&id| table.is_free(id)) {
                return Ok(id);
            }
        }
        Err(Errno::ENOSPC)
    }

    /// Enters a domain.
    ///
    /// # Errors
    /// `EEXIST` if its slot has been taken meanwhile.
    pub fn insert<const TOP: u8>(
        &self,
        domain: &Arc<Domain>,
        held: &mut Held<'_, TOP>,
    ) -> Result<(), Errno> {
        let (mut table, _) = self.slots.lock(held);
        let index = table.index(domain.id()).ok_or(Errno::EEXIST)?;
        match table.slots.get_mut(index) {
            Some(slot @ None) => {
                *slot = Some(Arc::clone(domain));
                Ok(())
            }
            Some(Some(_)) | None => Err(Errno::EEXIST),
        }
    }

    /// Takes a domain out.
    pub fn remove<const TOP: u8>(&self, domain: &Domain, held: &mut Held<'_, TOP>) {
        let (mut table, _) = self.slots.lock(held);
        let Some(index) = table.index(domain.id()) else {
            return;
        };
        let slot = table.slots.get_mut(index);
        // Dropped after the lock: the last reference to a domain frees all that is left of it.
        let removed = slot.and_then(|slot| slot.take_if(|found| found.serial() == domain.serial()));
        drop(table);
        drop(removed);
    }
}

impl Slots {
    fn index(&self, id: DomId) -> Option<usize> {
        usize::from(id.get()).checked_rem(self.slots.len())
    }

    fn is_free(&self, id: DomId) -> bool {
        self.index(id)
            .and_then(|index| self.slots.get(index))
            .is_some_and(Option::is_none)
    }
}
