//! Promotion: a frame becomes a table once all its entries are checked and hold their references (pv-abi 4.2, 4.6).
//!
//! L1 tables are checked in one step. Above, the work stops at an entry when something waits for the CPU: the frame is then
//! *partial*, its entries below the index hold what they must, and whoever wants the frame as this table next goes on
//! there (P1..P4). Depth is bounded by the four levels (P6).

use crate::frame::{FrameRef, FrameType, tally::Change};
use crate::ids::{EntryIndex, Level, Mfn};
use crate::machine::{Machine, Words};
use crate::sync::{AtomicU64, Ordering};

use super::entry::Entry;
use super::error::PagingError;
use super::layout;
use super::tables::{Source, Step, Tables};

impl<M: Machine> Tables<'_, M> {
    /// Takes a general and a type reference on the domain's frame of this number as a table of `level`, promoting it if
    /// need be. With `Again` nothing is held but what the partial frame holds itself.
    ///
    /// # Errors
    /// [`PagingError::NotTable`], or what was wrong with an entry. Nothing is held then; where taking back what was checked
    /// is long, it goes on as the vCPU's pending demotion.
    #[inline]
    pub(super) fn take_table(&self, number: u64, level: Level) -> Result<Step<Mfn>, PagingError> {
        use crate::frame::types::Taken;
        let frame = self
            .ram
            .reference(self.domain.owner(), number)
            .map_err(|_| PagingError::NotTable)?;
        let mfn = frame.mfn();
        let kind = FrameType::Table(level);
        match self.ram.take_type(mfn, kind) {
            Ok(Taken::Shared) => Ok(Step::Done(frame.record())),
            Ok(Taken::Begun { before }) => {
                frame.record();
                if before != kind {
                    // After the new type is public, before the first entry is believed (I15).
                    self.ram.settle(mfn);
                }
                self.validate(mfn, level, 0)
            }
            Ok(Taken::Resumed { from }) => {
                frame.record();
                // The partial frame's own reference: the one just taken stands for it now.
                drop(FrameRef::adopt(self.ram, mfn));
                self.validate(mfn, level, from)
            }
            Err(_) => Err(PagingError::NotTable),
        }
    }

    /// Checks the entries of a changing frame from index `from` on.
    fn validate(&self, mfn: Mfn, level: Level, from: u16) -> Result<Step<Mfn>, PagingError> {
        if self.is_counted() {
            self.ram.count_table(mfn, level, from);
        }
        let checked = |below: u16| {
            if self.is_counted() {
                self.ram.book_entries(mfn, level, from..below, Change::More);
            }
        };
        let failed = |index: EntryIndex, error| {
            checked(index.get());
            self.undo(mfn, level, index);
            Err(error)
        };
        let words = self.ram.machine.words(mfn);
        let Some(below) = level.below() else {
            if let Err((index, error)) = self.validate_leaves(words) {
                return failed(index, error);
            }
            checked(EntryIndex::COUNT);
            self.ram.finish_change(mfn);
            return Ok(Step::Done(mfn));
        };
        let left = words.get(from.into()..).unwrap_or_default();
        for (word, number) in left.iter().zip(from..) {
            let entry = Entry(word.load(Ordering::Acquire));
            let Some(index) = guest_index(entry, number.into(), level) else {
                continue;
            };
            match self.validate_entry(word, entry, level, below) {
                Ok(Step::Done(())) => {}
                Ok(Step::Again) => {
                    checked(index.get());
                    self.ram.park_change(mfn, index.get());
                    return Ok(Step::Again);
                }
                Err(error) => return failed(index, error),
            }
            let next = number.saturating_add(1);
            if next < EntryIndex::COUNT && self.is_due(next) {
                checked(next);
                self.ram.park_change(mfn, next);
                return Ok(Step::Again);
            }
        }
        if level == Level::L4 {
            self.install_hypervisor_slots(mfn);
        }
        checked(EntryIndex::COUNT);
        self.ram.finish_change(mfn);
        Ok(Step::Done(mfn))
    }

    /// Checks all entries of an L1 table. With an error comes the index of its entry: those below hold their references.
    fn validate_leaves(&self, words: &Words) -> Result<(), (EntryIndex, PagingError)> {
        let (owner, rights) = (self.ram.frames.living(self.domain.owner()), self.rights());
        for (index, word) in EntryIndex::all().zip(words) {
            let entry = Entry(word.load(Ordering::Acquire));
            if !entry.is_present() {
                continue;
            }
            let normal = entry.normalise(Level::L1, rights);
            let (stored, leaf) = normal
                .and_then(|normal| self.leaf_of(normal, owner, Source::Own))
                .map_err(|error| (index, error))?;
            leaf.record();
            store(word, entry, stored);
        }
        Ok(())
    }

    /// Takes the references of an entry that names a table.
    fn validate_entry(
        &self,
        word: &AtomicU64,
        entry: Entry,
        level: Level,
        below: Level,
    ) -> Result<Step<()>, PagingError> {
        let normal = entry.normalise(level, self.rights())?;
        if self.take_table(normal.frame_number(), below)? == Step::Again {
            return Ok(Step::Again);
        }
        store(word, entry, normal);
        Ok(Step::Done(()))
    }

    /// Takes back a promotion that failed at `index`.
    #[cold]
    fn undo(&self, mfn: Mfn, level: Level, index: EntryIndex) {
        if self.invalidate(mfn, level, index.get()) == Step::Again {
            self.pending.note(mfn, self.ram.frames);
        }
    }

    /// The hypervisor's entries; the M2P's slot stays blank until the table becomes a kernel root.
    fn install_hypervisor_slots(&self, mfn: Mfn) {
        let fixed = core::iter::once(0).chain(self.ram.machine.hypervisor_slots());
        for (index, value) in layout::hypervisor_slots().zip(fixed) {
            self.ram.machine.write_entry(mfn, index, value);
        }
    }
}

/// The index of a present entry that is the guest's.
#[inline(always)]
pub(super) fn guest_index(entry: Entry, number: usize, level: Level) -> Option<EntryIndex> {
    let index = entry.is_present().then(|| EntryIndex::of_word(number))??;
    (level != Level::L4 || !layout::is_hypervisor_slot(index)).then_some(index)
}

/// Stores an entry in its normal form, if it is not so already.
fn store(word: &AtomicU64, entry: Entry, normal: Entry) {
    if normal != entry {
        word.store(normal.0, Ordering::Release);
    }
}
