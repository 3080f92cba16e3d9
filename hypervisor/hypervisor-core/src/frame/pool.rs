//! The pool of free frames: a buddy system whose lists are threaded through the frame table, so that freeing needs no
//! memory.
//!
//! A frame on its way in first lies on a lock-free stack of single frames: giving back the last reference is one exchange,
//! whoever does it and whatever lock they hold. From there it is taken in batches: flush the CPUs that may still translate
//! to it, scrub, insert (I26, I34). Blocks inserted at boot were never scrubbed; they are marked, and scrubbed when taken,
//! or before that by a CPU that has nothing else to do.
//!
//! A zone has the frames whose numbers have the same highest bit. An address limit is a power of two, so a zone lies below it
//! as a whole or not at all, and no list has to be searched. The highest are given out first: the low ones are left for who
//! needs them.

use thiserror::Error;

use crate::heap::NoMemory;
use crate::ids::{Frames, Mfn};
use crate::machine::Machine;
use crate::sync::{AtomicU64, Guard, Ordering};

use super::account::AccountError;
use super::owner::OwnerId;
use super::table::{Frame, FrameRange, FrameTable, Ram};

/// The largest block is 2^15 frames.
pub const MAX_ORDER: u8 = 15;
const ORDERS: usize = 16;
/// Numbers of frames have at most so many bits.
const ZONES: usize = 30;
/// Frames of a block from boot that are scrubbed in one step.
const SCRUB: u64 = 64;
/// log2 of the frames of one that an idle CPU scrubs in one step.
const CLEAN: u8 = 4;
/// An idle CPU scrubs until so many free frames are clean: 128 MiB, so that a large machine does not stay busy after boot.
const CLEAN_AHEAD: u64 = 1 << 15;
/// How many blocks of one size are looked at for one to be scrubbed.
const SEARCH: usize = 64;

const LINK: u64 = 0xffff_ffff;
/// The record is of a frame of the pool, not of a hole in its chunk. Set once at boot.
const POOL: u64 = 1 << 63;
/// Not all frames of the free block that starts here were ever scrubbed; the frame's stamp says how many of the first.
const DIRTY: u64 = 1 << 62;
const PREV_SHIFT: u32 = 32;
const PREV: u64 = 0x3fff_ffff << PREV_SHIFT;

/// Neighbours in a list: `next` as a frame number (0..=31) and `prev` as a frame number below 2^30 (32..=61), 0 being none.
/// Written under the pool's lock, or by the one CPU that owns the frame on its way to the stack of freed frames.
#[derive(Debug, Default)]
pub(super) struct Links(AtomicU64);

impl Links {
    pub(super) fn set_pool(&self) {
        self.0.store(POOL, Ordering::Release);
    }

    pub(super) fn is_pool(&self) -> bool {
        self.0.load(Ordering::Acquire) & POOL != 0
    }

    pub(super) fn next(&self) -> u64 {
        self.0.load(Ordering::Relaxed) & LINK
    }

    pub(super) fn set_next(&self, next: u64) {
        self.update(LINK, next);
    }

    fn prev(&self) -> u64 {
        (self.0.load(Ordering::Relaxed) & PREV) >> PREV_SHIFT
    }

    fn set_prev(&self, prev: u64) {
        self.update(PREV, prev << PREV_SHIFT);
    }

    fn is_dirty(&self) -> bool {
        self.0.load(Ordering::Relaxed) & DIRTY != 0
    }

    fn set_dirty(&self, dirty: bool) {
        self.update(DIRTY, if dirty { DIRTY } else { 0 });
    }

    fn update(&self, field: u64, value: u64) {
        let word = self.0.load(Ordering::Relaxed);
        self.0
            .store((word & !field) | (value & field), Ordering::Relaxed);
    }
}

/// The lists of one zone: their heads, and bit n where that of order n has a block.
#[derive(Debug)]
struct Zone {
    heads: [u64; ORDERS],
    filled: u16,
}

/// The lists of all zones.
#[derive(Debug)]
pub(super) struct FreeLists {
    zones: [Zone; ZONES],
    free: u64,
    /// Frames in the lists that are scrubbed.
    clean: u64,
    /// Rest of a batch that was taken off the stack of freed frames.
    pub(super) draining: u64,
}

impl FreeLists {
    pub(super) const fn new() -> Self {
        Self {
            zones: [const {
                Zone {
                    heads: [0; ORDERS],
                    filled: 0,
                }
            }; ZONES],
            free: 0,
            clean: 0,
            draining: 0,
        }
    }

    /// The head of the list to which a block belongs.
    fn head(&self, first: u64, order: u8) -> Option<u64> {
        let zone = self.zones.get(zone_of(first)?)?;
        zone.heads.get(usize::from(order)).copied()
    }

    fn set_head(&mut self, first: u64, order: u8, head: u64) {
        let zone = zone_of(first).and_then(|zone| self.zones.get_mut(zone));
        if let Some(zone) = zone
            && let Some(place) = zone.heads.get_mut(usize::from(order))
        {
            *place = head;
            let bit = 1 << order;
            zone.filled = (zone.filled & !bit) | if head == 0 { 0 } else { bit };
        }
    }

    /// The smallest block of at least `order` in the highest zone below `below` that has one, and its order.
    fn find(&self, order: u8, below: u64) -> Option<(u64, u8)> {
        let zones = self.zones.iter().take(zone_of(below)?);
        zones.rev().find_map(|zone| {
            let large = u32::from(zone.filled >> order);
            let more = u8::try_from((large != 0).then(|| large.trailing_zeros())?).ok()?;
            let found = order.saturating_add(more);
            Some((*zone.heads.get(usize::from(found))?, found))
        })
    }
}

/// Why frames were not given out.
#[derive(Clone, Copy, Debug, Error, PartialEq, Eq)]
pub enum AllocError {
    /// No free block is that large.
    #[error("no free block of the order wanted")]
    NoMemory,
    /// Freed frames are yet to be scrubbed: try again after a preemption check.
    #[error("freed frames are still to be scrubbed")]
    NotYet,
    /// The account refuses.
    #[error(transparent)]
    Account(#[from] AccountError),
}

impl From<NoMemory> for AllocError {
    fn from(_: NoMemory) -> Self {
        Self::NoMemory
    }
}

/// A block of 2^order scrubbed frames that nobody owns; goes back to the pool if it is dropped.
#[derive(Debug)]
pub struct Allocation<'a, M: Machine> {
    ram: Ram<'a, M>,
    first: Mfn,
    order: u8,
}

impl<M: Machine> Allocation<'_, M> {
    /// The first frame.
    #[must_use]
    pub fn first(&self) -> Mfn {
        self.first
    }

    /// Gives all frames to `owner`, who has been charged for them.
    pub fn assign(self, owner: OwnerId) -> Mfn {
        self.give_to(owner, false)
    }

    /// Gives the frame to `owner` as a page that the hypervisor shares with it; the order is 0.
    pub(super) fn assign_special(self, owner: OwnerId) -> Mfn {
        self.give_to(owner, true)
    }

    fn give_to(self, owner: OwnerId, special: bool) -> Mfn {
        let frames = self.ram.frames;
        for mfn in block(self.first.get(), self.order).filter_map(|number| frames.lookup(number)) {
            frames.frame(mfn).owner.assign(owner, special);
            frames.note_owner(mfn, OwnerId::NONE, owner);
        }
        let first = self.first;
        core::mem::forget(self);
        first
    }
}

impl<M: Machine> Drop for Allocation<'_, M> {
    fn drop(&mut self) {
        let frames = self.ram.frames;
        frames.insert_block(
            &mut frames.lists.lock_leaf(),
            self.first.get(),
            self.order,
            1 << self.order,
        );
    }
}

impl<'a, M: Machine> Ram<'a, M> {
    /// Takes 2^`order` contiguous frames whose numbers are all below `below`, flushed and zeroed. `below` is a power of two,
    /// or more than all frames; what lies between it and the next lower power is not given out.
    ///
    /// # Errors
    /// [`AllocError::NoMemory`], or [`AllocError::NotYet`] when a step of scrubbing was done instead: of freed frames, here or
    /// by another CPU, or of a block from boot, which then goes back to the lists with the mark of how far it is clean.
    pub fn allocate(self, order: u8, below: u64) -> Result<Allocation<'a, M>, AllocError> {
        // Asked first: frames that another CPU gives back meanwhile are either counted here or in the lists.
        let scrubbing = self.frames.to_scrub().get() != 0;
        let mut lists = self.frames.lists.lock_leaf();
        let found = lists.find(order, below);
        let taken = found.map(|(first, found)| {
            self.frames
                .take_part(&mut lists, first, found, order, |_| 0)
        });
        drop(lists);
        let Some((number, _, clean)) = taken else {
            return Err(if self.scrub_step() || scrubbing {
                AllocError::NotYet
            } else {
                AllocError::NoMemory
            });
        };
        let (size, done) = (1 << order, clean.saturating_add(SCRUB));
        for frame in clean..done.min(size) {
            self.machine.scrub(Mfn::new(number.saturating_add(frame)));
        }
        if done < size {
            let mut lists = self.frames.lists.lock_leaf();
            self.frames.insert_block(&mut lists, number, order, done);
            return Err(AllocError::NotYet);
        }
        Ok(Allocation {
            ram: self,
            first: Mfn::new(number),
            order,
        })
    }

    /// Scrubs a few frames from boot. False if there is none, or enough is clean; the idle loop calls it until then.
    ///
    /// They are out of the lists meanwhile, and the lists unlocked: who wants a frame is never behind a CPU that has nothing to
    /// do, which would lock them again before the other one sees them open.
    pub fn clean_step(self) -> bool {
        let Some(part) = self.frames.take_dirty_part() else {
            return false;
        };
        let (first, order, clean) = part;
        for frame in clean..1 << order {
            self.machine.scrub(Mfn::new(first.saturating_add(frame)));
        }
        self.frames.give_back_part(part);
        true
    }

    /// Charges `owner` and gives it 2^`order` contiguous zeroed frames below `below`; the first of them.
    ///
    /// # Errors
    /// [`AllocError`]: nothing was charged or given.
    pub fn allocate_for(self, owner: OwnerId, order: u8, below: u64) -> Result<Mfn, AllocError> {
        let account = self.frames.account(owner).ok_or(AccountError::NoSlot)?;
        let count = 1 << order;
        account.charge(count)?;
        match self.allocate(order, below) {
            Ok(allocation) => Ok(allocation.assign(owner)),
            Err(error) => {
                account.discharge(count);
                Err(error)
            }
        }
    }

    /// Takes one frame from anywhere, scrubbing freed ones as needed: at most one batch, unless others scrub too.
    ///
    /// # Errors
    /// [`AllocError::NoMemory`].
    pub fn allocate_one(self) -> Result<Allocation<'a, M>, AllocError> {
        loop {
            match self.allocate(0, u64::MAX) {
                Err(AllocError::NotYet) => self.machine.relax(),
                done => return done,
            }
        }
    }
}

impl FrameTable {
    /// Frames that nobody owns: in the lists, freed, or being scrubbed.
    #[must_use]
    pub fn free(&self) -> Frames {
        // Under the lock: a frame moves from one to the other under it.
        let lists = self.lists.lock_leaf();
        Frames::new(lists.free.saturating_add(self.to_scrub().get()))
    }

    /// The part of [`Self::free`] that is not in the lists yet.
    #[must_use]
    pub fn to_scrub(&self) -> Frames {
        Frames::new(self.to_scrub.load(Ordering::Acquire))
    }

    /// Puts a range of unscrubbed frames into the lists.
    pub(super) fn insert_range(&self, range: FrameRange) {
        let mut lists = self.lists.lock_leaf();
        let mut at = range.start;
        while at < range.end {
            let room = range.end.saturating_sub(at).ilog2();
            let order = at.trailing_zeros().min(room).min(u32::from(MAX_ORDER));
            let order = u8::try_from(order).unwrap_or(0);
            self.insert_block(&mut lists, at, order, 0);
            at = at.saturating_add(1 << order);
        }
    }

    /// Puts a block into the lists, joined with its free neighbours; its first `clean` frames are scrubbed.
    pub(super) fn insert_block(
        &self,
        lists: &mut Guard<'_, FreeLists>,
        first: u64,
        order: u8,
        clean: u64,
    ) {
        lists.free = lists.free.saturating_add(1 << order);
        let (mut first, mut order, mut clean) = (first, order, clean);
        while order < MAX_ORDER {
            let (buddy, size) = (first ^ 1 << order, 1 << order);
            let free = |f: &&Frame| f.owner.free_order() == Some(order);
            if self.find(buddy).filter(free).is_none() {
                break;
            }
            let of_buddy = self.unlink(lists, buddy, order);
            let (low, high) = if buddy < first {
                (of_buddy, clean)
            } else {
                (clean, of_buddy)
            };
            clean = if low < size {
                low
            } else {
                size.saturating_add(high)
            };
            first = first.min(buddy);
            order = order.saturating_add(1);
        }
        self.link(lists, first, order, clean);
    }

    /// Takes frames to be scrubbed, which are counted as such: the first, the order, and how many of the first are clean. None if
    /// there are none, or enough are clean.
    pub(super) fn take_dirty_part(&self) -> Option<(u64, u8, u64)> {
        let mut lists = self.lists.lock_leaf();
        // Where all that is free is clean, no list need be searched for more.
        if lists.clean >= CLEAN_AHEAD.min(lists.free) {
            return None;
        }
        let (first, order) = self.find_dirty(&lists)?;
        let part = self.take_part(&mut lists, first, order, CLEAN, |clean| clean);
        self.to_scrub.fetch_add(1 << part.1, Ordering::AcqRel);
        Some(part)
    }

    /// Puts what was taken so back, scrubbed.
    pub(super) fn give_back_part(&self, (first, order, _): (u64, u8, u64)) {
        let mut lists = self.lists.lock_leaf();
        self.insert_block(&mut lists, first, order, 1 << order);
        self.to_scrub.fetch_sub(1 << order, Ordering::AcqRel);
    }

    /// Takes a block out of the lists, and puts all back but a part of at most 2^`most` frames: that with the frame which `wanted`
    /// chooses by how many of the first are scrubbed. The part, and how many of its first frames are.
    fn take_part(
        &self,
        lists: &mut Guard<'_, FreeLists>,
        mut first: u64,
        mut order: u8,
        most: u8,
        wanted: impl FnOnce(u64) -> u64,
    ) -> (u64, u8, u64) {
        let mut clean = self.unlink(lists, first, order);
        let wanted = first.saturating_add(wanted(clean));
        while order > most {
            order = order.saturating_sub(1);
            let half = 1 << order;
            let upper = first.saturating_add(half);
            let (low, high) = (clean.min(half), clean.saturating_sub(half));
            if wanted < upper {
                self.link(lists, upper, order, high);
                clean = low;
            } else {
                self.link(lists, first, order, low);
                (first, clean) = (upper, high);
            }
        }
        lists.free = lists.free.saturating_sub(1 << order);
        (first, order, clean)
    }

    /// A block that is not scrubbed, in the order in which blocks are taken by those who do not care where.
    fn find_dirty(&self, lists: &FreeLists) -> Option<(u64, u8)> {
        let is_dirty = |first: &u64| self.find(*first).is_some_and(|f| f.links.is_dirty());
        let zones = lists.zones.iter().rev().filter(|zone| zone.filled != 0);
        let mut heads = zones.flat_map(|zone| zone.heads.iter().zip(0..));
        heads.find_map(|(&head, order)| Some((self.blocks(head).find(is_dirty)?, order)))
    }

    /// The first blocks of the list that starts at `head`.
    fn blocks(&self, head: u64) -> impl Iterator<Item = u64> {
        let next = |&number: &u64| {
            self.find(number)
                .map(|f| f.links.next())
                .filter(|&n| n != 0)
        };
        core::iter::successors((head != 0).then_some(head), next).take(SEARCH)
    }

    fn link(&self, lists: &mut Guard<'_, FreeLists>, first: u64, order: u8, clean: u64) {
        lists.clean = lists.clean.saturating_add(clean);
        let (Some(frame), Some(head)) = (self.find(first), lists.head(first, order)) else {
            return;
        };
        frame.links.set_next(head);
        frame.links.set_prev(0);
        let dirty = clean < 1 << order;
        frame.links.set_dirty(dirty);
        if dirty {
            frame.stamp.set_scrubbed(clean);
        }
        frame.owner.set_free_head(order);
        if let Some(second) = self.find(head) {
            second.links.set_prev(first);
        }
        lists.set_head(first, order, first);
    }

    /// Takes a block out of its list; how many of its first frames are scrubbed.
    fn unlink(&self, lists: &mut Guard<'_, FreeLists>, first: u64, order: u8) -> u64 {
        let Some(frame) = self.find(first) else {
            return 0;
        };
        let (prev, next) = (frame.links.prev(), frame.links.next());
        if let Some(after) = self.find(next) {
            after.links.set_prev(prev);
        }
        match self.find(prev) {
            Some(before) => before.links.set_next(next),
            None => lists.set_head(first, order, next),
        }
        frame.owner.set_free();
        let clean = if frame.links.is_dirty() {
            frame.stamp.take_scrubbed()
        } else {
            1 << order
        };
        lists.clean = lists.clean.saturating_sub(clean);
        clean
    }
}

/// The zone of a frame.
fn zone_of(number: u64) -> Option<usize> {
    usize::try_from(number.checked_ilog2()?).ok()
}

/// The numbers of a block's frames.
fn block(first: u64, order: u8) -> impl Iterator<Item = u64> {
    first..first.saturating_add(1 << order)
}
