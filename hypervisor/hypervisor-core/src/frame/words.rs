//! Words that the hypervisor keeps for a domain and that grow with the domain's wishes.
//!
//! They lie in frames from the pool, counted as that domain's overhead, and end at a limit. So no guest spends what others
//! need: neither the hypervisor's heap, nor more of the pool than is known beforehand.

use alloc::vec::Vec;

use super::account::AccountError;
use super::owner::OwnerId;
use super::pool::AllocError;
use super::table::Ram;
use crate::heap;
use crate::ids::{EntryIndex, Frames, Mfn};
use crate::machine::Machine;

/// Words of a frame.
pub const WORDS_PER_FRAME: usize = 512;

/// An array of words, all 0 when a frame is added.
#[derive(Debug)]
pub struct DomainWords {
    frames: Vec<Mfn>,
    limit: usize,
}

impl DomainWords {
    /// An empty array that may have `limit` frames.
    ///
    /// # Errors
    /// [`AllocError::NoMemory`].
    pub fn new(limit: usize) -> Result<Self, AllocError> {
        let frames = heap::list(limit)?;
        Ok(Self { frames, limit })
    }

    /// Words that there are.
    #[must_use]
    pub fn count(&self) -> usize {
        self.frames.len().saturating_mul(WORDS_PER_FRAME)
    }

    /// Frames that there are.
    #[must_use]
    pub fn frames(&self) -> Frames {
        Frames::new(u64::try_from(self.frames.len()).unwrap_or(u64::MAX))
    }

    /// Adds a frame for `owner`.
    ///
    /// # Errors
    /// [`AllocError`]: the array is at its limit, or no frame is left.
    pub fn grow<M: Machine>(&mut self, ram: Ram<'_, M>, owner: OwnerId) -> Result<(), AllocError> {
        if self.frames.len() >= self.limit {
            return Err(AllocError::NoMemory);
        }
        let account = ram.frames.account(owner).ok_or(AccountError::NoSlot)?;
        let frame = ram.allocate_one()?.assign(OwnerId::HYPERVISOR);
        account.add_overhead();
        self.frames.extend([frame]);
        Ok(())
    }

    /// A word, if there is one of this index.
    pub fn load<M: Machine>(&self, machine: &M, index: usize) -> Option<u64> {
        let (frame, within) = self.place(index)?;
        Some(machine.read_entry(frame, within))
    }

    /// Changes a word; nothing happens where there is none.
    pub fn store<M: Machine>(&mut self, machine: &M, index: usize, value: u64) {
        if let Some((frame, within)) = self.place(index) {
            machine.write_entry(frame, within, value);
        }
    }

    /// Gives all frames back.
    pub fn release<M: Machine>(&mut self, ram: Ram<'_, M>, owner: OwnerId) {
        let Some(account) = ram.frames.account(owner) else {
            return;
        };
        for frame in self.frames.drain(..) {
            ram.give_back(frame);
            account.remove_overhead();
        }
    }

    fn place(&self, index: usize) -> Option<(Mfn, EntryIndex)> {
        let frame = *self.frames.get(index.checked_div(WORDS_PER_FRAME)?)?;
        let within = u16::try_from(index.checked_rem(WORDS_PER_FRAME)?).ok()?;
        Some((frame, EntryIndex::new(within)?))
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::frame::tests::World;

    #[test]
    fn words_are_their_domains_overhead_and_end_at_the_limit() {
        let world = World::new();
        let memory = world.domain(1, 1);
        let account = memory.account(&world.frames).unwrap();
        let (free, overhead) = (world.frames.free(), account.overhead());
        let mut words = DomainWords::new(2).unwrap();
        assert_eq!(words.load(&world.machine, 0), None);
        for frames in 1..=2 {
            words.grow(world.ram(), memory.owner()).unwrap();
            assert_eq!(account.overhead().get(), overhead.get() + frames);
        }
        assert_eq!(
            words.grow(world.ram(), memory.owner()),
            Err(AllocError::NoMemory)
        );
        assert_eq!(words.load(&world.machine, 1023), Some(0));
        words.store(&world.machine, 1023, 7);
        words.store(&world.machine, 1024, 8);
        assert_eq!(words.load(&world.machine, 1023), Some(7));
        words.release(world.ram(), memory.owner());
        assert_eq!((words.count(), account.overhead()), (0, overhead));
        assert_eq!(world.frames.free(), free);
    }
}
