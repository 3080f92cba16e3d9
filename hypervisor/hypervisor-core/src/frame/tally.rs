//! What a recount has counted so far, kept true while guests go on (docs/adr/0008).
//!
//! A recount takes a *window* of frames at a time and counts, table by table, the entries that lead there. A table counts as
//! counted from its stamp on: a stamp not older than the beginning of the window. Whoever changes a table meanwhile, under the lock of
//! its owner's tables, counts it first if nobody has, and then books the change itself (`paging/count.rs`). So at any
//! instant without an operation under way, what was counted and what is there are the same.
//!
//! Likewise the frames of each owner: those below a border are counted, and who changes the owner of one books that.
//!
//! A window begins and ends only while all other CPUs stand still, so no operation sees it begin or end in its middle.

use alloc::vec::Vec;

use crate::heap;
use crate::ids::Mfn;
use crate::sync::{AtomicU64, Guard, Ordering, Ranked, rank};

use super::owner::OwnerId;
use super::table::FrameTable;
use super::types::FrameType;

/// References that entries of counted tables hold of a frame.
#[derive(Clone, Copy, Debug, Default)]
pub(crate) struct Expected {
    /// General ones.
    pub(crate) general: u32,
    /// Those that need the frame's type.
    pub(crate) typed: u32,
}

/// One more or one less.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Change {
    More,
    Less,
}

/// What was counted.
#[derive(Debug, Default)]
pub(crate) struct Counts {
    first: u64,
    window: Vec<Expected>,
    /// Frames by the number of their owner, of those below `border`.
    owners: Vec<u64>,
    border: u64,
    /// The first use found of a frame as something else than its type.
    pub(crate) conflict: Option<(Mfn, FrameType)>,
}

/// The counts, and whether anybody counts.
#[derive(Debug, Default)]
pub(crate) struct Tally {
    /// Time of the flush clock at the beginning of the window; 0: nobody counts.
    since: AtomicU64,
    counts: Ranked<{ rank::TALLY }, Counts>,
}

impl Tally {
    /// Whether a window is open. The only question on hot paths.
    #[inline]
    pub(crate) fn is_open(&self) -> bool {
        // Relaxed: it changes only while nobody else is in the hypervisor.
        self.since.load(Ordering::Relaxed) != 0
    }

    /// The counts.
    pub(crate) fn counts(&self) -> Guard<'_, Counts> {
        self.counts.lock_leaf()
    }
}

impl FrameTable {
    /// Opens a window that begins at frame `first`: nothing of it is counted yet. All other CPUs stand still.
    pub(crate) fn open_window(&self, first: u64) {
        let mut counts = self.tally.counts();
        counts.first = first;
        counts.conflict = None;
        counts.window.fill(Expected::default());
        let since = self.clock().begin();
        self.tally.since.store(since, Ordering::Release);
    }

    /// Closes the window. All other CPUs stand still.
    pub(crate) fn close_window(&self) {
        self.tally.since.store(0, Ordering::Release);
    }

    /// Marks a table as counted; false if it was. The lock of its owner's tables is held.
    pub(crate) fn mark_counted(&self, table: Mfn) -> bool {
        let stamp = &self.frame(table).stamp;
        let fresh = stamp
            .load()
            .is_before(self.tally.since.load(Ordering::Relaxed));
        if fresh {
            // A later stamp than need be costs a flush at most.
            stamp.set_now(self.clock());
        }
        fresh
    }

    /// Whether a frame is free and not the first of its block: then nobody writes its word.
    #[cfg(any(test, feature = "breach"))]
    pub(crate) fn is_within_free_block(&self, mfn: Mfn) -> bool {
        let before = mfn.get().checked_sub(1).and_then(|n| self.find(n));
        let head = before.and_then(|frame| frame.owner.free_order());
        head.is_some_and(|order| order > 0)
    }

    /// Gives a free frame an owner, or none again.
    #[cfg(any(test, feature = "breach"))]
    pub(crate) fn set_past(&self, mfn: Mfn, owner: OwnerId) {
        self.frame(mfn).owner.set_past(owner);
    }

    /// A frame changes hands.
    pub(super) fn note_owner(&self, mfn: Mfn, from: OwnerId, to: OwnerId) {
        if self.tally.is_open() {
            self.tally.counts().change_owner(mfn, from, to);
        }
    }
}

impl Counts {
    /// Room for `frames` frames and `owners` owners. False, and nothing is kept, if there is no memory.
    pub(crate) fn reserve(&mut self, frames: usize, owners: usize) -> bool {
        *self = Self::default();
        let (Ok(window), Ok(counts)) = (heap::list(frames), heap::list(owners)) else {
            return false;
        };
        (self.window, self.owners) = (window, counts);
        self.window.resize(frames, Expected::default());
        self.owners.resize(owners, 0);
        true
    }

    /// The first frame of the window.
    pub(crate) fn first(&self) -> u64 {
        self.first
    }

    /// One beyond the last frame of the window.
    pub(crate) fn end(&self) -> u64 {
        let length = u64::try_from(self.window.len()).unwrap_or(u64::MAX);
        self.first.saturating_add(length)
    }

    /// What was counted for a frame of the window.
    pub(crate) fn expected(&mut self, number: u64) -> Option<&mut Expected> {
        let at = usize::try_from(number.checked_sub(self.first)?).ok()?;
        self.window.get_mut(at)
    }

    /// Books a reference of a frame, and with `used` one of its type.
    pub(crate) fn book(&mut self, number: u64, used: Option<FrameType>, change: Change) {
        let Some(expected) = self.expected(number) else {
            return;
        };
        let typed = u32::from(used.is_some());
        // Wrapping: of two changes the later may be booked first.
        match change {
            Change::More => {
                expected.general = expected.general.wrapping_add(1);
                expected.typed = expected.typed.wrapping_add(typed);
            }
            Change::Less => {
                expected.general = expected.general.wrapping_sub(1);
                expected.typed = expected.typed.wrapping_sub(typed);
            }
        }
    }

    /// Counts a frame for its owner: the border is behind it from now on.
    pub(crate) fn count_owner(&mut self, mfn: Mfn, owner: OwnerId) {
        self.border = mfn.get().saturating_add(1);
        if let Some(count) = self.owned_mut(owner) {
            *count = count.wrapping_add(1);
        }
    }

    /// Frames counted of an owner.
    pub(crate) fn owned(&self, owner: OwnerId) -> u64 {
        let at = usize::from(owner.get());
        self.owners.get(at).copied().unwrap_or(0)
    }

    fn change_owner(&mut self, mfn: Mfn, from: OwnerId, to: OwnerId) {
        if mfn.get() >= self.border {
            return;
        }
        if let Some(count) = self.owned_mut(from) {
            *count = count.wrapping_sub(1);
        }
        if let Some(count) = self.owned_mut(to) {
            *count = count.wrapping_add(1);
        }
    }

    fn owned_mut(&mut self, owner: OwnerId) -> Option<&mut u64> {
        self.owners.get_mut(usize::from(owner.get()))
    }
}
