//! Entries that map another domain's frame by its grant: the only way to come by one without the control right.
//!
//! The entry owns the references of the mapping. A guest may overwrite it by `mmu_update` like any other; then the
//! references go with it, and the unmapping of the grant finds that the entry does not match.

use crate::ids::Mfn;
use crate::machine::Machine;

use super::entry::{Entry, Exchange};
use super::leaf::Leaf;
use super::slot::Slot;
use super::tables::Tables;

impl<'a, M: Machine> Tables<'a, M> {
    /// Stores an entry that the hypervisor has composed; it takes over the references of `leaf`.
    pub(crate) fn install_grant(&self, slot: Slot<'_>, entry: Entry, leaf: Leaf<'a, M>) {
        let old = self.exchange(slot, entry, Exchange::Plain);
        leaf.record();
        self.drop_leaf(old);
    }

    /// Clears an entry that maps `frame` with or without RW, as said. Gives the entry, whose references are the caller's to
    /// drop after a flush; none, and nothing changed, if the entry is another.
    pub(crate) fn remove_grant(&self, slot: Slot<'_>, frame: Mfn, writable: bool) -> Option<Entry> {
        self.exchange_grant(slot, frame, writable, Entry(0))
    }

    /// As [`Self::remove_grant`], but the entry at `from` moves there, with its references.
    pub(crate) fn replace_grant(
        &self,
        slot: Slot<'_>,
        frame: Mfn,
        writable: bool,
        from: Slot<'_>,
    ) -> Option<Entry> {
        if slot.is(from) || !maps(slot.value(), frame, writable) {
            return None;
        }
        let moved = self.exchange(from, Entry(0), Exchange::Plain);
        self.exchange_grant(slot, frame, writable, moved)
    }

    fn exchange_grant(
        &self,
        slot: Slot<'_>,
        frame: Mfn,
        writable: bool,
        new: Entry,
    ) -> Option<Entry> {
        let mut entry = slot.value();
        while maps(entry, frame, writable) {
            // The CPU sets accessed and dirty bits meanwhile.
            match self.replace(slot, entry, new) {
                Ok(()) => return Some(entry),
                Err(now) => entry = now,
            }
        }
        None
    }
}

/// Whether an entry maps `frame` with or without RW, as said.
fn maps(entry: Entry, frame: Mfn, writable: bool) -> bool {
    entry.is_present() && entry.frame_number() == frame.get() && entry.is_writable() == writable
}
