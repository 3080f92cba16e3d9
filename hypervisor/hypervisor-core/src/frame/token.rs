//! References as values: what is dropped without being recorded goes back by itself.
//!
//! [`Located`] is a frame whose record was found, and holds nothing. [`FrameRef`] is one general reference, [`WritableRef`]
//! one of the writable type on top. `record` turns a token into a fact (an entry, a grant, a root) and `adopt` turns the fact
//! back into a token: the two ways between a count and what stands for it.

use core::fmt;
use core::mem;
use thiserror::Error;

use crate::ids::Mfn;
use crate::machine::Machine;

use super::account::AccountError;
use super::owner::{OwnerId, TakeError};
use super::pool::AllocError;
use super::table::{Frame, Ram};
use super::types::{FrameType, Released, Taken, TypeConflict};

/// Why there is no reference.
#[derive(Clone, Copy, Debug, Error, PartialEq, Eq)]
pub enum ReferenceError {
    /// No frame of the pool has this number.
    #[error("no such frame")]
    NoFrame,
    /// The frame is free, somebody else's, or its owner is being destroyed.
    #[error("the frame is not the expected owner's")]
    NotOwned,
    /// The frame is in use as something else.
    #[error("the frame is in use as something else")]
    InUse,
    /// A count is at its limit.
    #[error("a count of the frame is at its limit")]
    Full,
}

impl From<TakeError> for ReferenceError {
    fn from(error: TakeError) -> Self {
        match error {
            TakeError::NotOwned => Self::NotOwned,
            TakeError::Full => Self::Full,
        }
    }
}

impl From<TypeConflict> for ReferenceError {
    fn from(error: TypeConflict) -> Self {
        match error {
            TypeConflict::InUse | TypeConflict::Changing => Self::InUse,
            TypeConflict::Full => Self::Full,
        }
    }
}

/// A frame and where its record is.
pub(crate) struct Located<'a, M> {
    ram: Ram<'a, M>,
    record: &'a Frame,
    mfn: Mfn,
}

impl<M> Clone for Located<'_, M> {
    fn clone(&self) -> Self {
        *self
    }
}

impl<M> Copy for Located<'_, M> {}

/// One general reference.
#[must_use]
pub struct FrameRef<'a, M: Machine>(Located<'a, M>);

/// One general reference and one of the writable type.
#[must_use]
pub struct WritableRef<'a, M: Machine>(Located<'a, M>);

impl<'a, M: Machine> Ram<'a, M> {
    /// Takes a general reference on `owner`'s frame of this number.
    ///
    /// # Errors
    /// [`ReferenceError`]: nothing was taken.
    #[inline]
    pub fn reference(self, owner: OwnerId, number: u64) -> Result<FrameRef<'a, M>, ReferenceError> {
        self.reference_of_living(self.frames.living(owner), number)
    }

    /// As [`Self::reference`]; `owner` comes from [`super::FrameTable::living`].
    #[inline(always)]
    pub(crate) fn reference_of_living(
        self,
        owner: OwnerId,
        number: u64,
    ) -> Result<FrameRef<'a, M>, ReferenceError> {
        let record = self.frames.record(number).ok_or(ReferenceError::NoFrame)?;
        match record.owner.take(owner) {
            Ok(()) => Ok(FrameRef(Located {
                ram: self,
                record,
                mfn: Mfn::new(number),
            })),
            Err(_) if !record.links.is_pool() => Err(ReferenceError::NoFrame),
            Err(error) => Err(error.into()),
        }
    }

    /// The frame of this number, if it is one of the pool's.
    #[inline(always)]
    pub(crate) fn locate(self, number: u64) -> Option<Located<'a, M>> {
        let record = self.frames.find(number)?;
        Some(Located {
            ram: self,
            record,
            mfn: Mfn::new(number),
        })
    }

    #[inline(always)]
    fn located(self, mfn: Mfn) -> Located<'a, M> {
        Located {
            ram: self,
            record: self.frames.frame(mfn),
            mfn,
        }
    }

    /// A page of zeros that the hypervisor shares with `owner`: it stays writable data until [`Self::end_sharing`].
    ///
    /// # Errors
    /// [`AllocError`]: no frame was given.
    pub fn allocate_special(self, owner: OwnerId) -> Result<Mfn, AllocError> {
        let account = self.frames.account(owner).ok_or(AccountError::NoSlot)?;
        let mfn = self.allocate_one()?.assign_special(owner);
        account.add_special();
        let frame = self.frames.frame(mfn);
        // A scrubbed frame has no type and is in no TLB: the writable type needs no flush.
        if frame.types.take(FrameType::Writable).is_ok() {
            frame.types.finish();
        }
        Ok(mfn)
    }

    /// Stops sharing a page; it is freed when the last mapping goes. False if it was not shared with `owner`.
    pub fn end_sharing(self, owner: OwnerId, mfn: Mfn) -> bool {
        let ended = self.frames.frame(mfn).owner.end_sharing(owner);
        if ended {
            drop(WritableRef::adopt(self, mfn));
        }
        ended
    }

    /// Ends `owner`'s allocation of a frame of its own RAM (I6). A second time it changes nothing.
    ///
    /// # Errors
    /// [`ReferenceError`]: not own, ordinary RAM.
    pub fn end_allocation(self, owner: OwnerId, number: u64) -> Result<(), ReferenceError> {
        let mfn = self.frames.lookup(number).ok_or(ReferenceError::NoFrame)?;
        if self.frames.frame(mfn).owner.end_allocation(owner)? {
            self.give_back(mfn);
        }
        Ok(())
    }

    #[cold]
    fn begin_writable(self, mfn: Mfn) -> Result<(), ReferenceError> {
        loop {
            match self.take_type(mfn, FrameType::Writable) {
                Ok(Taken::Shared) => return Ok(()),
                Ok(Taken::Begun { .. } | Taken::Resumed { .. }) => {
                    self.settle(mfn);
                    self.finish_change(mfn);
                    return Ok(());
                }
                // Another CPU flushes for this very type: it waits for nothing but that.
                Err(TypeConflict::Changing) => self.machine.relax(),
                Err(error @ (TypeConflict::InUse | TypeConflict::Full)) => return Err(error.into()),
            }
        }
    }

    /// Makes the writable type safe to use, after it was published and before anyone relies on it (I15).
    pub(crate) fn settle(self, mfn: Mfn) {
        let frame = self.frames.frame(mfn);
        if let Some(account) = self.frames.account(frame.owner.load().owner) {
            self.flush_stale(account.dirty(), frame.stamp.load());
        }
    }

    /// Takes a type reference on a frame on which the caller has a general one.
    #[inline]
    pub(crate) fn take_type(self, mfn: Mfn, kind: FrameType) -> Result<Taken, TypeConflict> {
        let types = &self.frames.frame(mfn).types;
        if types.share(kind) {
            return Ok(Taken::Shared);
        }
        types.take(kind)
    }

    /// Gives back a type reference.
    #[inline]
    pub(crate) fn release_type(self, mfn: Mfn) -> Released {
        self.located(mfn).release_type()
    }

    /// The change of a frame is complete: its entries hold their references.
    pub(crate) fn finish_change(self, mfn: Mfn) {
        self.frames.frame(mfn).types.finish();
    }

    /// The change of a frame stops between two steps.
    pub(crate) fn park_change(self, mfn: Mfn, index: u16) {
        self.frames.frame(mfn).types.park(index);
    }

    /// Takes up an interrupted change of a table, to take it down.
    pub(crate) fn resume_change(self, mfn: Mfn, level: crate::ids::Level) -> Option<u16> {
        self.frames.frame(mfn).types.resume(level)
    }

    /// The changing frame has lost its type: its entries hold nothing any more.
    pub(crate) fn clear_type(self, mfn: Mfn) {
        let frame = self.frames.frame(mfn);
        frame.stamp.set_now(self.frames.clock());
        frame.types.clear();
    }

    /// Sets a frame's pin, which takes over the caller's references. False if it was set.
    pub(crate) fn set_pin(self, mfn: Mfn) -> bool {
        self.frames.frame(mfn).types.pin()
    }

    /// Clears a frame's pin, whose references are then the caller's. False if it was not set.
    pub(crate) fn clear_pin(self, mfn: Mfn) -> bool {
        self.frames.frame(mfn).types.unpin()
    }

    /// Gives back a general reference; the last one frees the frame.
    #[inline]
    pub(crate) fn give_back(self, mfn: Mfn) {
        self.located(mfn).give_back();
    }

    /// A frame without references: takes it off its owner's books and on the way to the pool.
    #[cold]
    fn retire(self, mfn: Mfn) {
        let frame = self.frames.frame(mfn);
        let holding = frame.owner.load();
        let account = self.frames.account(holding.owner);
        if account.is_some() {
            self.clear_pfn(holding.owner, mfn);
        }
        frame.types.reset();
        frame.stamp.set_now(self.frames.clock());
        frame.owner.set_free();
        self.frames.note_owner(mfn, holding.owner, OwnerId::NONE);
        self.frames.push_freed(mfn);
        // Last: a domain whose totals are 0 may lose its M2P view and its account.
        if let Some(account) = account {
            if holding.special {
                account.remove_special();
            } else {
                account.discharge(1);
            }
        }
    }
}

impl<'a, M: Machine> Located<'a, M> {
    /// Whether the frame is `owner`'s.
    #[inline(always)]
    pub(crate) fn is_owned_by(self, owner: OwnerId) -> bool {
        self.record.owner.is_owned_by(owner)
    }

    /// Takes the writable type of a frame on which the caller, or an entry that is the caller's to change, has a general
    /// reference.
    #[inline(always)]
    pub(crate) fn take_writable(self) -> Result<(), ReferenceError> {
        if self.record.types.share(FrameType::Writable) {
            return Ok(());
        }
        self.ram.begin_writable(self.mfn)
    }

    /// Gives back a type reference.
    #[inline(always)]
    pub(crate) fn release_type(self) -> Released {
        let stamp = || self.record.stamp.set_now(self.ram.frames.clock());
        self.record.types.release(stamp)
    }

    /// Gives back a general reference; the last one frees the frame.
    #[inline(always)]
    fn give_back(self) {
        if self.record.owner.give_back() {
            self.ram.retire(self.mfn);
        }
    }

    /// The token of a recorded reference, which is no longer recorded.
    #[inline(always)]
    pub(crate) fn adopt(self) -> FrameRef<'a, M> {
        FrameRef(self)
    }

    /// The token of two recorded references, which are no longer recorded.
    #[inline(always)]
    pub(crate) fn adopt_writable(self) -> WritableRef<'a, M> {
        WritableRef(self)
    }
}

impl<'a, M: Machine> FrameRef<'a, M> {
    /// The token of a recorded reference, which is no longer recorded.
    pub fn adopt(ram: Ram<'a, M>, mfn: Mfn) -> Self {
        ram.located(mfn).adopt()
    }

    /// The frame.
    #[must_use]
    pub fn mfn(&self) -> Mfn {
        self.0.mfn
    }

    /// The reference is recorded elsewhere from now on.
    pub fn record(self) -> Mfn {
        let mfn = self.0.mfn;
        mem::forget(self);
        mfn
    }

    /// Takes the writable type as well.
    ///
    /// # Errors
    /// [`ReferenceError::InUse`] or [`ReferenceError::Full`]; the general reference is gone too.
    #[inline]
    pub fn writable(self) -> Result<WritableRef<'a, M>, ReferenceError> {
        let frame = self.0;
        frame.take_writable()?;
        mem::forget(self);
        Ok(WritableRef(frame))
    }
}

impl<M: Machine> Drop for FrameRef<'_, M> {
    #[inline(always)]
    fn drop(&mut self) {
        self.0.give_back();
    }
}

impl<'a, M: Machine> WritableRef<'a, M> {
    /// The token of two recorded references, which are no longer recorded.
    pub fn adopt(ram: Ram<'a, M>, mfn: Mfn) -> Self {
        ram.located(mfn).adopt_writable()
    }

    /// The frame.
    #[must_use]
    pub fn mfn(&self) -> Mfn {
        self.0.mfn
    }

    /// The references are recorded elsewhere from now on.
    pub fn record(self) -> Mfn {
        let mfn = self.0.mfn;
        mem::forget(self);
        mfn
    }
}

impl<M: Machine> Drop for WritableRef<'_, M> {
    #[inline(always)]
    fn drop(&mut self) {
        let released = self.0.release_type();
        debug_assert_eq!(released, Released::Done, "a writable frame is no table");
        self.0.give_back();
    }
}

impl<M: Machine> fmt::Debug for FrameRef<'_, M> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_tuple("FrameRef").field(&self.0.mfn).finish()
    }
}

impl<M: Machine> fmt::Debug for WritableRef<'_, M> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_tuple("WritableRef").field(&self.0.mfn).finish()
    }
}
