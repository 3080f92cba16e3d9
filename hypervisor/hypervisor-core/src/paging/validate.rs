//! Promotion: a frame becomes a table once all its entries are checked and hold their references (pv-abi 4.2, 4.6).
//!
//! L1 tables are checked in one step. Above, the work stops at an entry when something waits for the CPU: the frame is then
//! *partial*, its entries below the index hold what they must, and whoever wants the frame as this table next goes on
//! there (P1..P4). Depth is bounded by the four levels (P6).

use crate::frame::{FrameRef, FrameType, tally::Change};
use crate::ids::{EntryIndex, Level, Mfn};
use crate::machine::Machine;

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
        for index in EntryIndex::all().filter(|index| index.get() >= from) {
            if level == Level::L4 && layout::is_hypervisor_slot(index) {
                continue;
            }
            let entry = Entry(self.ram.machine.read_entry(mfn, index));
            if !entry.is_present() {
                continue;
            }
            match self.validate_entry(mfn, index, entry, level) {
                Ok(Step::Done(())) => {}
                Ok(Step::Again) => {
                    checked(index.get());
                    self.ram.park_change(mfn, index.get());
                    return Ok(Step::Again);
                }
                Err(error) => {
                    checked(index.get());
                    self.undo(mfn, level, index);
                    return Err(error);
                }
            }
            let next = index.get().saturating_add(1);
            if level != Level::L1 && next < EntryIndex::COUNT && self.is_due(next) {
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

    /// Takes an entry's references and stores it in its normal form.
    fn validate_entry(
        &self,
        mfn: Mfn,
        index: EntryIndex,
        entry: Entry,
        level: Level,
    ) -> Result<Step<()>, PagingError> {
        let normal = entry.normalise(level, self.rights())?;
        let normal = match level.below() {
            None => {
                let (stored, leaf) = self.leaf(normal, Source::Own)?;
                leaf.record();
                stored
            }
            Some(below) => match self.take_table(normal.frame_number(), below)? {
                Step::Done(_) => normal,
                Step::Again => return Ok(Step::Again),
            },
        };
        if normal != entry {
            self.ram.machine.write_entry(mfn, index, normal.0);
        }
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
