//! A domain's page tables under their lock: what every change of a table or of a table's type needs.
//!
//! While a [`Tables`] lives, nobody else changes a table of the domain, makes one, or takes one down; so a table that is
//! valid stays valid, and no entry changes but for its accessed and dirty bits. Writable references of others come and go
//! meanwhile. No guest memory is copied under this lock.

use crate::domain::account::DomainMemory;
use crate::frame::{OwnerId, Ram};
use crate::ids::Mfn;
use crate::machine::Machine;
use crate::sync::{Guard, Held, rank};

use super::entry::EntryRights;
use super::vcpu::{Pending, VcpuMemory};

/// How far a restartable operation got.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[must_use]
pub enum Step<T> {
    /// It is complete.
    Done(T),
    /// It stopped between two steps; the same call again goes on from there.
    Again,
}

/// Whose frames new L1 entries may map.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Source {
    /// Those of the tables' own domain, and devices if it has the right.
    Own,
    /// Devices only.
    Device,
    /// Those of another domain; the caller has been found to have the right.
    Foreign(OwnerId),
}

/// A domain's tables, locked.
#[derive(Debug)]
pub struct Tables<'a, M> {
    pub(super) ram: Ram<'a, M>,
    pub(super) domain: &'a DomainMemory,
    /// Where interrupted demotions are noted: the calling vCPU's.
    pub(super) pending: &'a Pending,
    _guard: Guard<'a, ()>,
}

impl<'a, M: Machine> Tables<'a, M> {
    /// Waits for the lock of `domain`'s tables, on behalf of `vcpu`.
    pub fn lock<const TOP: u8>(
        ram: Ram<'a, M>,
        domain: &'a DomainMemory,
        vcpu: &'a VcpuMemory,
        held: &'a mut Held<'_, TOP>,
    ) -> (Self, Held<'a, { rank::PAGE_TABLES }>) {
        let (guard, held) = domain.lock_tables(held);
        (
            Self {
                ram,
                domain,
                pending: &vcpu.pending,
                _guard: guard,
            },
            held,
        )
    }

    /// As [`Self::lock`], with another place to note interrupted demotions.
    pub(crate) fn with_pending<const TOP: u8>(
        ram: Ram<'a, M>,
        domain: &'a DomainMemory,
        pending: &'a Pending,
        held: &'a mut Held<'_, TOP>,
    ) -> (Self, Held<'a, { rank::PAGE_TABLES }>) {
        let (guard, held) = domain.lock_tables(held);
        let tables = Self {
            ram,
            domain,
            pending,
            _guard: guard,
        };
        (tables, held)
    }

    /// Whether long work stops before entry `next`: something waits for this CPU, or, every few entries, another CPU for the
    /// lock. At each entry, who waits would hold up more than it gains.
    pub(super) fn is_due(&self, next: u16) -> bool {
        self.ram.machine.preempt_due() || (next.is_multiple_of(8) && self.domain.is_waited_for())
    }

    pub(super) fn rights(&self) -> EntryRights {
        EntryRights {
            devices: self.domain.has_devices(),
            no_execute: self.ram.frames.no_execute(),
        }
    }

    /// Whether a frame is the domain's.
    #[inline]
    pub(super) fn owns(&self, mfn: Mfn) -> bool {
        self.ram.frames.is_owned_by(mfn, self.domain.owner())
    }
}
