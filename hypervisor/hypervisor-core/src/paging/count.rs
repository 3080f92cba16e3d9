//! How a recount that goes on beside guests is kept true: a table is counted before its references change, and the change is
//! booked (`frame/tally.rs`).
//!
//! What is booked comes from the entries as they are stored, never from the references that were taken for them.

use core::ops::Range;

use crate::frame::{FrameType, Ram, tally::Change};
use crate::ids::{EntryIndex, Level, Mfn};
use crate::machine::Machine;

use super::entry::Entry;
use super::layout;
use super::tables::Tables;

/// The guest's entries of a table in a range of indices that are present.
pub(crate) fn present_entries<M: Machine>(
    ram: Ram<'_, M>,
    table: Mfn,
    level: Level,
    range: Range<u16>,
) -> impl Iterator<Item = (EntryIndex, Entry)> {
    range
        .filter_map(EntryIndex::new)
        .filter(move |&index| level != Level::L4 || !layout::is_hypervisor_slot(index))
        .map(move |index| (index, Entry(ram.machine.read_entry(table, index))))
        .filter(|(_, entry)| entry.is_present())
}

impl<M: Machine> Ram<'_, M> {
    /// Counts a table whose entries below `below` hold references, unless that is done. Its owner's tables are locked.
    #[cold]
    pub(crate) fn count_table(self, table: Mfn, level: Level, below: u16) {
        if self.frames.mark_counted(table) {
            self.book_entries(table, level, 0..below, Change::More);
        }
    }

    /// Entries of a counted table have come to hold references, or have ceased to.
    #[cold]
    pub(super) fn book_entries(self, table: Mfn, level: Level, range: Range<u16>, change: Change) {
        for (_, entry) in present_entries(self, table, level, range) {
            self.book_entry(entry, level, change);
        }
    }

    fn book_entry(self, entry: Entry, level: Level, change: Change) {
        let used = match level.below() {
            Some(below) => Some(FrameType::Table(below)),
            None => entry.is_writable().then_some(FrameType::Writable),
        };
        if let Some(mfn) = self.frames.lookup(entry.frame_number()) {
            self.book(mfn, used, change);
        }
    }

    /// A reference has come or gone, and with `used` one of a type.
    pub(crate) fn book(self, mfn: Mfn, used: Option<FrameType>, change: Change) {
        let kind = self.frames.type_state(mfn).kind;
        let mut counts = self.frames.tally().counts();
        counts.book(mfn.get(), used, change);
        if let Some(used) = used.filter(|&used| used != kind && change == Change::More) {
            counts.conflict.get_or_insert((mfn, used));
        }
    }
}

impl<M: Machine> Tables<'_, M> {
    /// Whether somebody counts.
    #[inline]
    pub(super) fn is_counted(&self) -> bool {
        self.ram.frames.tally().is_open()
    }

    /// An entry of a valid table is about to be exchanged.
    #[cold]
    pub(super) fn before_exchange(&self, table: Mfn) {
        if let FrameType::Table(level) = self.ram.frames.type_state(table).kind {
            self.ram.count_table(table, level, EntryIndex::COUNT);
        }
    }

    /// An entry of a valid table was exchanged.
    #[cold]
    pub(super) fn after_exchange(&self, table: Mfn, old: Entry, new: Entry) {
        if let FrameType::Table(level) = self.ram.frames.type_state(table).kind {
            for (entry, change) in [(old, Change::Less), (new, Change::More)] {
                if entry.is_present() {
                    self.ram.book_entry(entry, level, change);
                }
            }
        }
    }
}
