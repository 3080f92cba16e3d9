//! Demotion: the last reference to a table is gone, and its entries give back what they held (pv-abi 4.2, 4.6).
//!
//! Entries are given back from the last to the first, so that a partial frame means the same in both directions: entries
//! below the index hold their references. The entry *at* the index may be half done: its own table is partial then, and is
//! finished first. That needs no flag: under the lock, a partial table at that place can only be half-done work, and
//! finishing it is right whoever left it.

use crate::frame::tally::Change;
use crate::ids::{EntryIndex, Level, Mfn};
use crate::machine::Machine;
use crate::sync::Ordering;

use super::entry::Entry;
use super::layout;
use super::tables::{Step, Tables};
use super::validate::guest_index;

impl<M: Machine> Tables<'_, M> {
    /// Gives back a general and a type reference on a table. `Again`: it was the last one, and the frame is partial now,
    /// holding the two itself.
    pub(super) fn release_table(&self, mfn: Mfn, level: Level) -> Step<()> {
        match self.ram.release_type(mfn) {
            crate::frame::types::Released::Done => {
                self.ram.give_back(mfn);
                Step::Done(())
            }
            crate::frame::types::Released::LastOfTable => {
                self.invalidate(mfn, level, EntryIndex::COUNT)
            }
        }
    }

    /// As [`Self::release_table`]; an interrupted demotion is noted in the vCPU.
    pub(super) fn retire_table(&self, mfn: Mfn, level: Level) {
        if self.release_table(mfn, level) == Step::Again {
            self.pending.note(mfn, self.ram.frames);
        }
    }

    /// Goes on with the demotions that the vCPU has noted. Somebody else may have taken a frame over; then there is nothing
    /// to do.
    pub fn finish_pending(&self) -> Step<()> {
        while let Some(mfn) = self.pending.first(self.ram.frames) {
            if self.demote_partial(mfn) == Step::Again {
                return Step::Again;
            }
            self.pending.forget(mfn, self.ram.frames);
        }
        Step::Done(())
    }

    /// Takes down a partial table of the domain, if the frame is one.
    pub(super) fn demote_partial(&self, mfn: Mfn) -> Step<()> {
        if !self.owns(mfn) {
            return Step::Done(());
        }
        for level in Level::ALL {
            if let Some(index) = self.ram.resume_change(mfn, level) {
                return self.invalidate(mfn, level, index);
            }
        }
        Step::Done(())
    }

    /// Takes down a changing table whose entries below `from` hold references, with one general reference of the caller.
    pub(super) fn invalidate(&self, mfn: Mfn, level: Level, from: u16) -> Step<()> {
        if level != Level::L1 {
            // What becomes of the frame next, page walks do not know.
            self.domain.change_shape();
        }
        if self.is_counted() {
            self.ram.count_table(mfn, level, from);
        }
        let given_back = |down_to: u16| {
            if self.is_counted() {
                self.ram
                    .book_entries(mfn, level, down_to..from, Change::Less);
            }
        };
        if self.finish_half_done(mfn, level, from) == Step::Again {
            self.ram.park_change(mfn, from);
            return Step::Again;
        }
        let mut flushed = false;
        let words = self.ram.machine.words(mfn);
        let left = words.get(..from.into()).unwrap_or_default();
        for (number, word) in left.iter().enumerate().rev() {
            let entry = Entry(word.load(Ordering::Acquire));
            let Some(index) = guest_index(entry, number, level) else {
                continue;
            };
            let Some(below) = level.below() else {
                self.drop_unreachable(entry, &mut flushed);
                continue;
            };
            let child = self.ram.frames.lookup(entry.frame_number());
            let released = child.map_or(Step::Done(()), |child| self.release_table(child, below));
            let more = index.get() != 0;
            if released == Step::Again || (more && self.is_due(index.get())) {
                given_back(index.get());
                self.ram.park_change(mfn, index.get());
                return Step::Again;
            }
        }
        if level == Level::L4 {
            // Nothing of the hypervisor stays in what becomes the guest's data.
            layout::hypervisor_slots().for_each(|i| self.ram.machine.write_entry(mfn, i, 0));
        }
        given_back(0);
        self.ram.clear_type(mfn);
        self.ram.give_back(mfn);
        Step::Done(())
    }

    fn finish_half_done(&self, mfn: Mfn, level: Level, from: u16) -> Step<()> {
        let (Some(index), Some(below)) = (EntryIndex::new(from), level.below()) else {
            return Step::Done(());
        };
        if level == Level::L4 && layout::is_hypervisor_slot(index) {
            return Step::Done(());
        }
        let entry = Entry(self.ram.machine.read_entry(mfn, index));
        let child = self.ram.frames.lookup(entry.frame_number());
        let Some(child) = child.filter(|&c| entry.is_present() && self.owns(c)) else {
            return Step::Done(());
        };
        match self.ram.resume_change(child, below) {
            Some(from) => self.invalidate(child, below, from),
            None => Step::Done(()),
        }
    }
}
