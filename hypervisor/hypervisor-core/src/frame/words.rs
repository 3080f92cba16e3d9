//! Words that the hypervisor keeps for a domain and that grow with the domain's wishes.
//!
//! A few come with the domain, as most domains need no more. The others lie in frames from the pool, counted as that domain's
//! overhead, and end at a limit. So no guest spends what others need: neither the hypervisor's heap, nor more of the pool than
//! is known beforehand.

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

/// An array of words, all 0 when they come: `FEW`, and those of its frames.
#[derive(Debug)]
pub struct DomainWords<const FEW: usize> {
    few: [AtomicU64; FEW],
    frames: Vec<Mfn>,
    limit: usize,
}

impl<const FEW: usize> DomainWords<FEW> {
    /// An array without frames that may have `limit` of them.
    ///
    /// # Errors
    /// [`AllocError::NoMemory`].
    pub fn new(limit: usize) -> Result<Self, AllocError> {
        let frames = heap::list(limit)?;
        Ok(Self {
            few: [const { AtomicU64::new(0) }; FEW],
            frames,
            limit,
        })
    }

    /// Words that there are.
    #[must_use]
    pub fn count(&self) -> usize {
        let more = self.frames.len().saturating_mul(WORDS_PER_FRAME);
        FEW.saturating_add(more)
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

    /// The group of this index of all words taken `N` at a time, if there is one. `N` divides `FEW` and the words of
    /// a frame.
    #[inline]
    pub fn group<'a, M: Machine, const N: usize>(
        &'a self,
        machine: &'a M,
        index: usize,
    ) -> Option<&'a [AtomicU64; N]> {
        let Some(beyond) = index.checked_sub(FEW.checked_div(N)?) else {
            return self.few.as_chunks().0.get(index);
        };
        let groups = WORDS_PER_FRAME.checked_div(N)?;
        let frame = *self.frames.get(beyond.checked_div(groups)?)?;
        let (words, _) = machine.words(frame).as_chunks();
        words.get(beyond.checked_rem(groups)?)
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
        let mut words = DomainWords::<2>::new(2).unwrap();
        let load = |words: &DomainWords<2>, index| {
            let [word] = words.group(&world.machine, index)?;
            Some(word.load(Ordering::Relaxed))
        };
        assert_eq!((load(&words, 1), load(&words, 2)), (Some(0), None));
        for frames in 1..=2 {
            words.grow(world.ram(), memory.owner()).unwrap();
            assert_eq!(account.overhead().get(), overhead.get() + frames);
        }
        assert_eq!(
            words.grow(world.ram(), memory.owner()),
            Err(AllocError::NoMemory)
        );
        assert_eq!(load(&words, 1025), Some(0));
        for (pair, value) in [(0, 5), (512, 7)] {
            let [_, last] = words.group(&world.machine, pair).unwrap();
            last.store(value, Ordering::Relaxed);
        }
        assert_eq!((load(&words, 1), load(&words, 1025)), (Some(5), Some(7)));
        assert_eq!((load(&words, 2), load(&words, 1026)), (Some(0), None));
        words.release(world.ram(), memory.owner());
        assert_eq!((words.count(), account.overhead()), (2, overhead));
        assert_eq!(world.frames.free(), free);
    }
}
