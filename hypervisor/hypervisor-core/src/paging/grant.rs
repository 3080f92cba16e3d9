//! Entries that map another domain's frame by its grant: the only way to come by one without the control right.
//!
//! The entry owns the references of the mapping. A guest may overwrite it by `mmu_update` like any other; then the
//! references go with it, and the unmapping of the grant finds that the entry does not match.

use crate::ids::Mfn;
use crate::machine::Machine;

use super::entry::{Entry, Exchange};
use super::leaf::Leaf;
use super::slot::LeafSlot;
use super::tables::Tables;

impl<'a, M: Machine> Tables<'a, M> {
    /// Stores an entry that the hypervisor has composed; it takes over the references of `leaf`.
    pub(crate) fn install_grant(&self, slot: LeafSlot, entry: Entry, leaf: Leaf<'a, M>) {
        let old = self.exchange(slot.table, slot.index, entry, Exchange::Plain);
        leaf.record();
        self.drop_leaf(old);
    }

    /// Clears an entry that maps `frame` with or without RW, as said. Gives the entry, whose references are the caller's to
    /// drop after a flush; none, and nothing changed, if the entry is another.
    pub(crate) fn remove_grant(&self, slot: LeafSlot, frame: Mfn, writable: bool) -> Option<Entry> {
        let mut entry = self.leaf_value(slot);
        loop {
            let matches = entry.is_present()
                && entry.frame_number() == frame.get()
                && entry.is_writable() == writable;
            if !matches {
                return None;
            }
            // The CPU sets accessed and dirty bits meanwhile.
            match self.replace(slot.table, slot.index, entry, Entry(0)) {
                Ok(()) => return Some(entry),
                Err(now) => entry = now,
            }
        }
    }
}
