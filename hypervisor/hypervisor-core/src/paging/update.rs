//! One entry of a valid table changes (pv-abi 4.3.2): references first, then the store, then the old entry's references.

use crate::frame::types::Released;
use crate::ids::{EntryIndex, Level, Mfn};
use crate::machine::Machine;

use super::entry::{Entry, Exchange};
use super::error::PagingError;
use super::layout;
use super::slot::LeafSlot;
use super::tables::{Source, Step, Tables};

impl<M: Machine> Tables<'_, M> {
    /// Changes an entry of a valid L1 table.
    #[inline(always)]
    pub(super) fn update_leaf(
        &self,
        table: Mfn,
        index: EntryIndex,
        value: u64,
        how: Exchange,
        source: Source,
    ) -> Result<(), PagingError> {
        let new = Entry(value);
        if !new.is_present() {
            self.drop_leaf(self.exchange(table, index, new, how));
            return Ok(());
        }
        let new = new.normalise(Level::L1, self.rights())?;
        let old = Entry(self.ram.machine.read_entry(table, index));
        if new.holds_what(old, Level::L1) {
            self.exchange(table, index, new, how);
            return Ok(());
        }
        if source == Source::Own
            && new.changes_right_of(old)
            && let Some(mfn) = self
                .ram
                .frames
                .owned(new.frame_number(), self.domain.owner())
        {
            return self.change_right(LeafSlot { table, index }, new, how, mfn);
        }
        let (new, leaf) = self.leaf(new, source)?;
        let old = self.exchange(table, index, new, how);
        leaf.record();
        self.drop_leaf(old);
        Ok(())
    }

    /// Gives or takes the right to write of an entry that goes on mapping `mfn`, the domain's own. Its general reference
    /// stays; under the lock nothing but its accessed and dirty bits has changed since it was looked at.
    #[inline(always)]
    fn change_right(
        &self,
        slot: LeafSlot,
        new: Entry,
        how: Exchange,
        mfn: Mfn,
    ) -> Result<(), PagingError> {
        let LeafSlot { table, index } = slot;
        if new.is_writable() {
            self.ram
                .take_writable(mfn)
                .map_err(|_| PagingError::NotWritable)?;
            self.exchange(table, index, new, how);
        } else {
            self.exchange(table, index, new, how);
            let released = self.ram.release_type(mfn);
            debug_assert_eq!(released, Released::Done, "a writable frame is no table");
        }
        Ok(())
    }

    /// Replaces an entry of a valid L1 table that must still be `old`; false if it is not.
    pub(super) fn replace_leaf(
        &self,
        table: Mfn,
        index: EntryIndex,
        old: Entry,
        value: u64,
    ) -> Result<bool, PagingError> {
        let put = |new: Entry| self.replace(table, index, old, new).is_ok();
        let new = Entry(value);
        if !new.is_present() {
            let replaced = put(new);
            if replaced {
                self.drop_leaf(old);
            }
            return Ok(replaced);
        }
        let new = new.normalise(Level::L1, self.rights())?;
        if new.holds_what(old, Level::L1) {
            return Ok(put(new));
        }
        let (new, leaf) = self.leaf(new, Source::Own)?;
        if !put(new) {
            return Ok(false);
        }
        leaf.record();
        self.drop_leaf(old);
        Ok(true)
    }

    /// Changes an entry of a valid table of level 2 and up. `Again`: the new table's promotion was interrupted, and nothing
    /// has changed.
    pub(super) fn update_table(
        &self,
        table: Mfn,
        level: Level,
        below: Level,
        index: EntryIndex,
        value: u64,
        how: Exchange,
    ) -> Result<Step<()>, PagingError> {
        if level == Level::L4 && layout::is_hypervisor_slot(index) {
            return Err(PagingError::HypervisorSlot);
        }
        let new = Entry(value);
        if !new.is_present() {
            let old = self.exchange(table, index, new, how);
            self.domain.change_shape();
            self.drop_table_entry(old, below);
            return Ok(Step::Done(()));
        }
        let new = new.normalise(level, self.rights())?;
        if new.holds_what(Entry(self.ram.machine.read_entry(table, index)), level) {
            self.exchange(table, index, new, how);
            return Ok(Step::Done(()));
        }
        if self.take_table(new.frame_number(), below)? == Step::Again {
            return Ok(Step::Again);
        }
        let old = self.exchange(table, index, new, how);
        self.domain.change_shape();
        self.drop_table_entry(old, below);
        Ok(Step::Done(()))
    }

    fn drop_table_entry(&self, old: Entry, below: Level) {
        if old.is_present()
            && let Some(child) = self.ram.frames.lookup(old.frame_number())
        {
            self.retire_table(child, below);
        }
    }

    /// Stores an entry; gives what was really there (I22).
    #[inline(always)]
    pub(super) fn exchange(
        &self,
        table: Mfn,
        index: EntryIndex,
        new: Entry,
        how: Exchange,
    ) -> Entry {
        let machine = self.ram.machine;
        match how {
            Exchange::Plain => {
                let counted = self.is_counted();
                if counted {
                    self.before_exchange(table);
                }
                let old = Entry(machine.swap_entry(table, index, new.0));
                if counted {
                    self.after_exchange(table, old, new);
                }
                old
            }
            Exchange::KeepAccessedDirty => {
                let mut old = Entry(machine.read_entry(table, index));
                loop {
                    let kept = Entry(new.0 | old.accessed_dirty());
                    match self.replace(table, index, old, kept) {
                        Ok(()) => return old,
                        Err(now) => old = now,
                    }
                }
            }
        }
    }

    /// Stores an entry if what is there is `old`; otherwise gives what is there.
    #[inline]
    pub(super) fn replace(
        &self,
        table: Mfn,
        index: EntryIndex,
        old: Entry,
        new: Entry,
    ) -> Result<(), Entry> {
        let counted = self.is_counted();
        if counted {
            self.before_exchange(table);
        }
        let machine = self.ram.machine;
        machine
            .compare_exchange_entry(table, index, old.0, new.0)
            .map_err(Entry)?;
        if counted {
            self.after_exchange(table, old, new);
        }
        Ok(())
    }
}
