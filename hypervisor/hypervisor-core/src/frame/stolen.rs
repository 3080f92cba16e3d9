//! A frame in the hypervisor's custody, while an exchange puts another in its place.

use core::fmt;
use core::mem;

use crate::ids::Mfn;
use crate::machine::Machine;

use super::owner::OwnerId;
use super::table::Ram;
use super::token::ReferenceError;

/// A frame taken out of use by an exchange; goes back to its owner if it is dropped.
#[must_use]
pub struct Stolen<'a, M: Machine> {
    ram: Ram<'a, M>,
    mfn: Mfn,
    owner: OwnerId,
}

impl<M: Machine> Stolen<'_, M> {
    /// Frees the frame. The owner's charge passes to the frame that replaces it.
    pub fn free(self) {
        let (ram, mfn) = (self.ram, self.mfn);
        ram.clear_pfn(self.owner, mfn);
        mem::forget(self);
        // In custody it has no account: nothing is discharged.
        ram.give_back(mfn);
    }
}

impl<M: Machine> Drop for Stolen<'_, M> {
    fn drop(&mut self) {
        let frames = self.ram.frames;
        frames.frame(self.mfn).owner.restore(self.owner);
        frames.note_owner(self.mfn, OwnerId::HYPERVISOR, self.owner);
    }
}

impl<'a, M: Machine> Ram<'a, M> {
    /// Takes `owner`'s frame out of use, if nothing but the allocation refers to it; it stays charged.
    ///
    /// # Errors
    /// [`ReferenceError`]: not own, ordinary, idle RAM.
    pub fn steal(self, owner: OwnerId, number: u64) -> Result<Stolen<'a, M>, ReferenceError> {
        let mfn = self.frames.lookup(number).ok_or(ReferenceError::NoFrame)?;
        if !self.frames.frame(mfn).owner.steal(owner) {
            return Err(ReferenceError::InUse);
        }
        self.frames.note_owner(mfn, owner, OwnerId::HYPERVISOR);
        Ok(Stolen {
            ram: self,
            mfn,
            owner,
        })
    }
}

impl<M: Machine> fmt::Debug for Stolen<'_, M> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_tuple("Stolen").field(&self.mfn).finish()
    }
}
