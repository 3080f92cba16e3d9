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
use crate::ids::{Frames, Mfn};
use crate::machine::Machine;
use crate::sync::AtomicU64;

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

    /// The group of this index of all words taken `N` at a time, if there is one. `N` divides the words of a frame.
    #[inline]
    pub fn group<'a, M: Machine, const N: usize>(
        &self,
        machine: &'a M,
        index: usize,
    ) -> Option<&'a [AtomicU64; N]> {
        let groups = WORDS_PER_FRAME.checked_div(N)?;
        let frame = *self.frames.get(index.checked_div(groups)?)?;
        let (words, _) = machine.words(frame).as_chunks();
        words.get(index.checked_rem(groups)?)
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
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::frame::tests::World;
    use crate::sync::Ordering;

    #[test]
    fn words_are_their_domains_overhead_and_end_at_the_limit() {
        let world = World::new();
        let memory = world.domain(1, 1);
        let account = memory.account(&world.frames).unwrap();
        let (free, overhead) = (world.frames.free(), account.overhead());
        let mut words = DomainWords::new(2).unwrap();
        let load = |words: &DomainWords, index| {
            let [word] = words.group(&world.machine, index)?;
            Some(word.load(Ordering::Relaxed))
        };
        assert_eq!(load(&words, 0), None);
        for frames in 1..=2 {
            words.grow(world.ram(), memory.owner()).unwrap();
            assert_eq!(account.overhead().get(), overhead.get() + frames);
        }
        assert_eq!(
            words.grow(world.ram(), memory.owner()),
            Err(AllocError::NoMemory)
        );
        assert_eq!(load(&words, 1023), Some(0));
        let [_, last] = words.group(&world.machine, 511).unwrap();
        last.store(7, Ordering::Relaxed);
        assert_eq!(load(&words, 1023), Some(7));
        assert_eq!(load(&words, 1024), None);
        words.release(world.ram(), memory.owner());
        assert_eq!((words.count(), account.overhead()), (0, overhead));
        assert_eq!(world.frames.free(), free);
    }
}
