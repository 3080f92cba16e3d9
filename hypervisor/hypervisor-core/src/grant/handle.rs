//! Handles: what a domain has mapped of others.
//!
//! A handle is the number of a slot of two words. The first says whose the slot is, and of a mapping its kind, frame and
//! entry; the second is the granter.

use super::entry::Access;
use super::status::Status;
use crate::frame::{AllocError, DomainWords, FrameTable, OwnerId, Ram};
use crate::ids::{Frames, Mfn};
use crate::machine::Machine;
use crate::sync::{AtomicU64, Ordering};

/// Frames of handles that a domain may have.
const MAX_FRAMES: usize = 32;
/// Words that there are from the start, for a domain that maps now and then.
const FEW: usize = 16;
/// Slots of a frame.
#[cfg(test)]
const PER_FRAME: usize = crate::frame::words::WORDS_PER_FRAME / 2;
/// Mappings that a domain may have at once.
#[cfg(test)]
pub(super) const MAX_HANDLES: usize = FEW / 2 + MAX_FRAMES * PER_FRAME;

/// Fields of a slot's first word. Who has it: nobody, somebody who is making it or taking it down, a mapping.
const KIND: u64 = 3;
const FREE: u64 = 0;
const BUSY: u64 = 1;
const MAPPED: u64 = 2;
const WRITE: u64 = 1 << 2;
const HOST: u64 = 1 << 3;
const DEVICE: u64 = 1 << 4;
const BY_ENTRY: u64 = 1 << 5;
/// The frame's number, or one more than the next free slot's.
const NUMBER_SHIFT: u32 = 8;
const NUMBER: u64 = 0xffff_ffff;
/// Entries of a table are fewer than 2^24.
const REFERENCE_SHIFT: u32 = 40;
/// In the second word: 2^48 domains will not be made.
const DOMID_SHIFT: u32 = 48;
const SERIAL: u64 = (1 << DOMID_SHIFT) - 1;

/// A mapping of a grant.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Mapping {
    /// The granter's number.
    pub(super) domid: u16,
    /// The granter's identity.
    pub(super) serial: u64,
    /// Which entry.
    pub(super) reference: u32,
    /// Which frame.
    pub(super) frame: Mfn,
    /// What for.
    pub(super) access: Access,
    /// A page-table entry was made; it may have been overwritten since.
    pub(super) host: bool,
    /// A device may use the frame: the references are this handle's.
    pub(super) device: bool,
    /// The entry was named by its own machine address.
    pub(super) by_entry: bool,
}

/// Uses of one entry, as its granter counts them or as who uses it does: for the recount.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Use {
    /// Who uses it.
    pub(crate) user: u16,
    /// The entry.
    pub(crate) reference: u32,
    /// How often.
    pub(crate) uses: u16,
}

impl Mapping {
    fn pack(self) -> [u64; 2] {
        let flag = |set: bool, bit: u64| if set { bit } else { 0 };
        let flags = flag(self.access == Access::Write, WRITE)
            | flag(self.host, HOST)
            | flag(self.device, DEVICE)
            | flag(self.by_entry, BY_ENTRY);
        let frame = (self.frame.get() & NUMBER) << NUMBER_SHIFT;
        [
            MAPPED | flags | frame | u64::from(self.reference) << REFERENCE_SHIFT,
            self.serial & SERIAL | u64::from(self.domid) << DOMID_SHIFT,
        ]
    }

    fn unpack(frames: &FrameTable, [word, granter]: [u64; 2]) -> Option<Self> {
        let access = if word & WRITE == 0 {
            Access::Read
        } else {
            Access::Write
        };
        (word & KIND == MAPPED).then_some(Self {
            domid: u16::try_from(granter >> DOMID_SHIFT).ok()?,
            serial: granter & SERIAL,
            reference: u32::try_from(word >> REFERENCE_SHIFT).ok()?,
            frame: frames.lookup(number(word))?,
            access,
            host: word & HOST != 0,
            device: word & DEVICE != 0,
            by_entry: word & BY_ENTRY != 0,
        })
    }
}

fn number(word: u64) -> u64 {
    word >> NUMBER_SHIFT & NUMBER
}

/// A domain's handles.
#[derive(Debug)]
pub(super) struct Handles {
    words: DomainWords<FEW>,
    /// One more than the first free slot; 0 for none.
    free: u64,
    /// The domain ends: no new ones, and none in use below this one.
    ended: Option<u32>,
}

impl Handles {
    /// Free ones only.
    pub(super) fn new<M: Machine>(ram: Ram<'_, M>) -> Result<Self, AllocError> {
        let mut handles = Self {
            words: DomainWords::new(MAX_FRAMES)?,
            free: 0,
            ended: None,
        };
        handles.free_from(ram, 0);
        Ok(handles)
    }

    /// Sets a handle aside.
    pub(super) fn reserve<M: Machine>(
        &mut self,
        ram: Ram<'_, M>,
        owner: OwnerId,
    ) -> Result<u32, Status> {
        if self.ended.is_some() {
            return Err(Status::NoSpace);
        }
        if self.free == 0 {
            self.grow(ram, owner).map_err(|_| Status::NoSpace)?;
        }
        let free = self.free.checked_sub(1).ok_or(Status::NoSpace)?;
        let handle = u32::try_from(free).map_err(|_| Status::NoSpace)?;
        let slot = self.slot(ram, handle).ok_or(Status::NoSpace)?;
        let [word, _] = load(slot);
        store(slot, [BUSY, 0]);
        self.free = number(word);
        Ok(handle)
    }

    /// A handle that was set aside names a mapping.
    pub(super) fn set<M: Machine>(&mut self, ram: Ram<'_, M>, handle: u32, mapping: Mapping) {
        self.set_slot(ram, handle, mapping.pack());
    }

    /// A handle that was set aside is not needed.
    pub(super) fn release<M: Machine>(&mut self, ram: Ram<'_, M>, handle: u32) {
        self.set_slot(ram, handle, [FREE | self.free << NUMBER_SHIFT, 0]);
        self.free = u64::from(handle).saturating_add(1);
    }

    /// Sets aside a handle in use, to take its mapping down.
    pub(super) fn take<M: Machine>(
        &mut self,
        ram: Ram<'_, M>,
        handle: u32,
    ) -> Result<Mapping, Status> {
        let slot = self.slot(ram, handle).ok_or(Status::BadHandle)?;
        let mapping = Mapping::unpack(ram.frames, load(slot)).ok_or(Status::BadHandle)?;
        store(slot, [BUSY, 0]);
        Ok(mapping)
    }

    /// Sets aside any handle in use; no new ones are given from now on.
    pub(super) fn take_any<M: Machine>(&mut self, ram: Ram<'_, M>) -> Option<(u32, Mapping)> {
        let first = *self.ended.get_or_insert(0);
        let handle = (first..self.count()).find(|&handle| self.mapping(ram, handle).is_some());
        self.ended = Some(handle.unwrap_or(self.count()));
        let handle = handle?;
        self.take(ram, handle).ok().map(|mapping| (handle, mapping))
    }

    /// All mappings.
    pub(super) fn mappings<M: Machine>(&self, ram: Ram<'_, M>) -> impl Iterator<Item = Mapping> {
        (0..self.count()).filter_map(move |handle| self.mapping(ram, handle))
    }

    /// Frames of the slots.
    pub(super) fn frames(&self) -> Frames {
        self.words.frames()
    }

    /// Gives back the frames of the slots: there is no mapping any more.
    pub(super) fn release_all<M: Machine>(&mut self, ram: Ram<'_, M>, owner: OwnerId) {
        self.words.release(ram, owner);
        self.free = 0;
    }

    /// Slots that there are.
    fn count(&self) -> u32 {
        u32::try_from(self.words.count() >> 1).unwrap_or(0)
    }

    fn mapping<M: Machine>(&self, ram: Ram<'_, M>, handle: u32) -> Option<Mapping> {
        Mapping::unpack(ram.frames, load(self.slot(ram, handle)?))
    }

    #[inline(always)]
    fn slot<'a, M: Machine>(&'a self, ram: Ram<'a, M>, handle: u32) -> Option<&'a Slot> {
        self.words.group(ram.machine, usize::try_from(handle).ok()?)
    }

    fn set_slot<M: Machine>(&mut self, ram: Ram<'_, M>, handle: u32, values: [u64; 2]) {
        if let Some(slot) = self.slot(ram, handle) {
            store(slot, values);
        }
    }

    /// Adds a frame of free slots.
    pub(super) fn grow<M: Machine>(
        &mut self,
        ram: Ram<'_, M>,
        owner: OwnerId,
    ) -> Result<(), AllocError> {
        let first = self.count();
        self.words.grow(ram, owner)?;
        self.free_from(ram, first);
        Ok(())
    }

    /// Makes all slots from this one on free.
    fn free_from<M: Machine>(&mut self, ram: Ram<'_, M>, first: u32) {
        // Backwards, so that the lowest is given out first.
        for handle in (first..self.count()).rev() {
            self.release(ram, handle);
        }
    }
}

/// The words of a slot, used under the lock of the handles.
type Slot = [AtomicU64; 2];

fn load([first, second]: &Slot) -> [u64; 2] {
    [first, second].map(|word| word.load(Ordering::Relaxed))
}

fn store([first, second]: &Slot, values: [u64; 2]) {
    let [one, two] = values;
    first.store(one, Ordering::Relaxed);
    second.store(two, Ordering::Relaxed);
}

#[cfg(test)]
mod tests {
    use std::vec::Vec;

    use super::*;
    use crate::frame::tests::World;

    #[test]
    fn handles_come_back_and_end_at_the_limit() {
        let world = World::with(64);
        let owner = world.domain(1, 1).owner();
        let free = world.frames.free();
        let mut handles = Handles::new(world.ram()).unwrap();
        let reserve = |handles: &mut Handles| handles.reserve(world.ram(), owner);
        let given: Vec<u32> = core::iter::from_fn(|| reserve(&mut handles).ok()).collect();
        assert_eq!(given.len(), MAX_HANDLES);
        assert!(given.iter().copied().eq(0..8200));
        assert_eq!(handles.frames().get(), 32);
        assert_eq!(reserve(&mut handles), Err(Status::NoSpace));
        handles.release(world.ram(), given[7]);
        assert_eq!(reserve(&mut handles), Ok(given[7]));
        handles.release_all(world.ram(), owner);
        assert_eq!(world.frames.free(), free);
    }

    #[test]
    fn an_empty_pool_ends_handles_before_the_limit() {
        let world = World::with(8);
        let owner = world.domain(1, 1).owner();
        let mut handles = Handles::new(world.ram()).unwrap();
        let given = core::iter::from_fn(|| handles.reserve(world.ram(), owner).ok()).count();
        assert!(given > PER_FRAME && given < MAX_HANDLES);
        assert_eq!(given % PER_FRAME, FEW / 2);
        assert_eq!(world.frames.free().get(), 0);
    }

    #[test]
    fn only_a_mapping_in_use_can_be_taken_and_only_once() {
        let world = World::new();
        let (ram, owner) = (world.ram(), world.domain(1, 1).owner());
        let mut handles = Handles::new(world.ram()).unwrap();
        let handle = handles.reserve(ram, owner).unwrap();
        assert_eq!(handles.take(ram, handle), Err(Status::BadHandle));
        let mapping = Mapping {
            domid: 0x7fef,
            serial: SERIAL,
            reference: 32767,
            frame: ram.frames.next_frame(0).unwrap(),
            access: Access::Write,
            host: true,
            device: false,
            by_entry: true,
        };
        handles.set(ram, handle, mapping);
        assert!(handles.mappings(ram).eq([mapping]));
        assert_eq!(handles.take(ram, handle), Ok(mapping));
        assert_eq!(handles.take(ram, handle), Err(Status::BadHandle));
        assert_eq!(handles.take(ram, u32::MAX), Err(Status::BadHandle));
        handles.set(ram, handle, mapping);
        assert_eq!(handles.take_any(ram), Some((handle, mapping)));
        assert_eq!(handles.take_any(ram), None);
        assert_eq!(handles.reserve(ram, owner), Err(Status::NoSpace));
    }
}
