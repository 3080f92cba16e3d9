//! The way of a freed frame back into the pool: stack, flush, scrub, lists.

use crate::ids::Mfn;
use crate::machine::Machine;
use crate::sync::Ordering;

use super::table::{FrameTable, Ram};

/// Frames of one step: few enough for a step of bounded length, enough to share a flush.
const BATCH: usize = 64;

impl FrameTable {
    /// Puts a frame that nobody refers to any more onto the stack. Lock-free and bounded but for contention.
    pub(super) fn push_freed(&self, mfn: Mfn) {
        self.to_scrub.fetch_add(1, Ordering::AcqRel);
        let links = &self.frame(mfn).links;
        let number = u32::try_from(mfn.get()).unwrap_or(0);
        let mut top = self.freed.load(Ordering::Relaxed);
        loop {
            links.set_next(u64::from(top));
            // Release: who takes the stack sees the links. Only whole stacks are taken, so an equal top is the same stack.
            match self
                .freed
                .compare_exchange(top, number, Ordering::AcqRel, Ordering::Relaxed)
            {
                Ok(_) => return,
                Err(now) => top = now,
            }
        }
    }

    /// Takes up to [`BATCH`] frames off the stack.
    fn pop_freed(&self, batch: &mut [Option<Mfn>; BATCH]) {
        let mut lists = self.lists.lock_leaf();
        if lists.draining == 0 {
            lists.draining = u64::from(self.freed.swap(0, Ordering::AcqRel));
        }
        for slot in batch {
            let Some(mfn) = self.lookup(lists.draining) else {
                return;
            };
            lists.draining = self.frame(mfn).links.next();
            *slot = Some(mfn);
        }
    }
}

impl<M: Machine> Ram<'_, M> {
    /// Makes up to 64 freed frames free. False if there was none to take, be it that other CPUs are at the last ones: who
    /// goes on asking then only keeps them from the lists.
    ///
    /// The flush comes before the scrubbing: a translation that is still in some TLB could write after it.
    pub fn scrub_step(self) -> bool {
        if self.frames.to_scrub().get() == 0 {
            return false;
        }
        let mut batch = [None; BATCH];
        self.frames.pop_freed(&mut batch);
        let frames = || batch.iter().flatten();
        let stamps = frames().map(|&mfn| self.frames.frame(mfn).stamp.load());
        let Some(latest) = stamps.max() else {
            return false;
        };
        self.flush_stale(self.machine.online_cpus(), latest);
        for &mfn in frames() {
            self.machine.scrub(mfn);
        }
        let mut lists = self.frames.lists.lock_leaf();
        for &mfn in frames() {
            self.frames.insert_block(&mut lists, mfn.get(), 0, 1);
            self.frames.to_scrub.fetch_sub(1, Ordering::AcqRel);
        }
        true
    }
}

#[cfg(test)]
mod tests {
    use std::vec::Vec;

    use super::*;
    use crate::frame::AllocError;
    use crate::frame::tests::World;

    #[test]
    fn who_finds_the_last_freed_frames_taken_has_nothing_to_do_and_may_hope_for_them() {
        let world = World::with(16);
        let (frames, ram) = (&world.frames, world.ram());
        let domain = world.domain(1, 16);
        let all: Vec<_> =
            core::iter::from_fn(|| ram.allocate_for(domain.owner(), 0, u64::MAX).ok()).collect();
        let mfn = *all.first().unwrap();
        ram.end_allocation(domain.owner(), mfn.get()).unwrap();

        let mut taken_by_another = [None; BATCH];
        frames.pop_freed(&mut taken_by_another);
        assert_eq!(taken_by_another[0], Some(mfn));
        assert_eq!(frames.to_scrub().get(), 1);
        assert!(!ram.scrub_step(), "an idle CPU would ask without end");
        assert_eq!(ram.allocate(0, u64::MAX).err(), Some(AllocError::NotYet));

        frames.insert_block(&mut frames.lists.lock_leaf(), mfn.get(), 0, 1);
        frames.to_scrub.fetch_sub(1, Ordering::AcqRel);
        assert!(ram.allocate(0, u64::MAX).is_ok());
    }
}
