//! Pins: a table stays a table though nothing refers to it (pv-abi 4.5, operations 0 to 4).

use crate::frame::{FrameRef, FrameType};
use crate::ids::Level;
use crate::machine::Machine;

use super::error::PagingError;
use super::tables::{Step, Tables};

impl<M: Machine> Tables<'_, M> {
    /// Pins the domain's frame of this number as a table of `level`.
    ///
    /// # Errors
    /// [`PagingError`]: nothing has changed.
    pub fn pin(&self, number: u64, level: Level) -> Result<Step<()>, PagingError> {
        let known = self.ram.frames.lookup(number);
        if known.is_some_and(|mfn| self.owns(mfn) && self.ram.frames.type_state(mfn).pinned) {
            return Err(PagingError::Pinned);
        }
        match self.take_table(number, level)? {
            Step::Again => Ok(Step::Again),
            Step::Done(mfn) => {
                let fresh = self.ram.set_pin(mfn);
                debug_assert!(fresh, "pins change under the lock of the tables");
                Ok(Step::Done(()))
            }
        }
    }

    /// Takes the pin away. A demotion that takes long goes on as the vCPU's pending one.
    ///
    /// # Errors
    /// [`PagingError::NotTable`]: not the domain's frame; [`PagingError::NotPinned`].
    pub fn unpin(&self, number: u64) -> Result<(), PagingError> {
        let frame = self
            .ram
            .reference(self.domain.owner(), number)
            .map_err(|_| PagingError::NotTable)?;
        self.unpin_held(&frame)
    }

    pub(super) fn unpin_held(&self, frame: &FrameRef<'_, M>) -> Result<(), PagingError> {
        let mfn = frame.mfn();
        let FrameType::Table(level) = self.ram.frames.type_state(mfn).kind else {
            return Err(PagingError::NotPinned);
        };
        if !self.ram.clear_pin(mfn) {
            return Err(PagingError::NotPinned);
        }
        self.retire_table(mfn, level);
        Ok(())
    }
}
