//! One entry of a valid table changes (pv-abi 4.3.2): references first, then the store, then the old entry's references.

use crate::frame::Located;
use crate::frame::types::Released;
use crate::ids::Level;
use crate::machine::Machine;
use crate::sync::Ordering;

use super::entry::{Entry, Exchange};
use super::error::PagingError;
use super::slot::Slot;
use super::tables::{Source, Step, Tables};

impl<M: Machine> Tables<'_, M> {
    /// Changes an entry of a valid L1 table.
    #[inline(always)]
    pub(super) fn update_leaf(
        &self,
        slot: Slot<'_>,
        value: u64,
        how: Exchange,
        source: Source,
    ) -> Result<(), PagingError> {
        let new = Entry(value);
        if !new.is_present() {
            self.drop_leaf(self.exchange(slot, new, how));
            return Ok(());
        }
        let new = new.normalise(Level::L1, self.rights())?;
        let old = slot.value();
        if new.holds_what(old, Level::L1) {
            self.exchange(slot, new, how);
            return Ok(());
        }
        if source == Source::Own
            && new.changes_right_of(old)
            && let Some(frame) = self.ram.locate(new.frame_number())
            && frame.is_owned_by(self.ram.frames.living(self.domain.owner()))
        {
            return self.change_right(slot, new, how, frame);
        }
        let (new, leaf) = self.leaf(new, source)?;
        let old = self.exchange(slot, new, how);
        leaf.record();
        self.drop_leaf(old);
        Ok(())
    }

    /// Gives or takes the right to write of an entry that goes on mapping `frame`, the domain's own. Its general reference
    /// stays; under the lock nothing but its accessed and dirty bits has changed since it was looked at.
    #[inline(always)]
    fn change_right(
        &self,
        slot: Slot<'_>,
        new: Entry,
        how: Exchange,
        frame: Located<'_, M>,
    ) -> Result<(), PagingError> {
        if new.is_writable() {
            frame
                .take_writable()
                .map_err(|_| PagingError::NotWritable)?;
            self.exchange(slot, new, how);
        } else {
            self.exchange(slot, new, how);
            let released = frame.release_type();
            debug_assert_eq!(released, Released::Done, "a writable frame is no table");
        }
        Ok(())
    }

    /// Replaces an entry of a valid L1 table that must still be `old`; false if it is not.
    pub(super) fn replace_leaf(
        &self,
        slot: Slot<'_>,
        old: Entry,
        value: u64,
    ) -> Result<bool, PagingError> {
        let put = |new: Entry| self.replace(slot, old, new).is_ok();
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
        slot: Slot<'_>,
        level: Level,
        below: Level,
        value: u64,
        how: Exchange,
    ) -> Result<Step<()>, PagingError> {
        let new = Entry(value);
        if !new.is_present() {
            let old = self.exchange(slot, new, how);
            self.domain.change_shape();
            self.drop_table_entry(old, below);
            return Ok(Step::Done(()));
        }
        let new = new.normalise(level, self.rights())?;
        if new.holds_what(slot.value(), level) {
            self.exchange(slot, new, how);
            return Ok(Step::Done(()));
        }
        if self.take_table(new.frame_number(), below)? == Step::Again {
            return Ok(Step::Again);
        }
        let old = self.exchange(slot, new, how);
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
    pub(super) fn exchange(&self, slot: Slot<'_>, new: Entry, how: Exchange) -> Entry {
        match how {
            Exchange::Plain => {
                let counted = self.is_counted();
                if counted {
                    self.before_exchange(slot.table);
                }
                let old = Entry(slot.word.swap(new.0, Ordering::AcqRel));
                if counted {
                    self.after_exchange(slot.table, old, new);
                }
                old
            }
            Exchange::KeepAccessedDirty => {
                let mut old = slot.value();
                loop {
                    let kept = Entry(new.0 | old.accessed_dirty());
                    match self.replace(slot, old, kept) {
                        Ok(()) => return old,
                        Err(now) => old = now,
                    }
                }
            }
        }
    }

    /// Stores an entry if what is there is `old`; otherwise gives what is there.
    #[inline]
    pub(super) fn replace(&self, slot: Slot<'_>, old: Entry, new: Entry) -> Result<(), Entry> {
        let counted = self.is_counted();
        if counted {
            self.before_exchange(slot.table);
        }
        slot.word
            .compare_exchange(old.0, new.0, Ordering::AcqRel, Ordering::Acquire)
            .map_err(Entry)?;
        if counted {
            self.after_exchange(slot.table, old, new);
        }
        Ok(())
    }
}
