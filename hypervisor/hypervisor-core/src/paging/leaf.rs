//! What a present L1 entry holds: a general reference on its frame, and a writable one if it has RW (I11). Device memory
//! has no counts.

use crate::frame::{FrameRef, OwnerId, Ram, ReferenceError, WritableRef};
use crate::ids::Mfn;
use crate::machine::Machine;

use super::entry::Entry;
use super::error::PagingError;
use super::tables::{Source, Tables};

/// The references of one L1 entry; given back when dropped.
#[must_use]
pub(crate) enum Leaf<'a, M: Machine> {
    /// Device memory.
    Device,
    /// A read-only mapping.
    Read(FrameRef<'a, M>),
    /// A writable mapping.
    Write(WritableRef<'a, M>),
}

impl<'a, M: Machine> Leaf<'a, M> {
    /// The references that a present entry held; it does not any more.
    pub(crate) fn adopt(ram: Ram<'a, M>, entry: Entry) -> Self {
        match ram.locate(entry.frame_number()) {
            None => Self::Device,
            Some(frame) if entry.is_writable() => Self::Write(frame.adopt_writable()),
            Some(frame) => Self::Read(frame.adopt()),
        }
    }

    /// The references belong to an entry from now on.
    pub(crate) fn record(self) {
        match self {
            Self::Device => {}
            Self::Read(reference) => {
                reference.record();
            }
            Self::Write(reference) => {
                reference.record();
            }
        }
    }
}

impl<'a, M: Machine> Tables<'a, M> {
    /// Takes the references for a present, normalised L1 entry; gives them with the entry to store (pv-abi 4.3.4).
    #[inline]
    pub(super) fn leaf(
        &self,
        entry: Entry,
        source: Source,
    ) -> Result<(Entry, Leaf<'a, M>), PagingError> {
        let owner = match source {
            Source::Own => self.domain.owner(),
            Source::Foreign(owner) => owner,
            Source::Device => return self.device_leaf(entry),
        };
        self.leaf_of(entry, self.ram.frames.living(owner), source)
    }

    /// As [`Self::leaf`], for RAM of a living owner or, if the source is the domain's own, a device.
    #[inline(always)]
    pub(super) fn leaf_of(
        &self,
        entry: Entry,
        owner: OwnerId,
        source: Source,
    ) -> Result<(Entry, Leaf<'a, M>), PagingError> {
        let number = entry.frame_number();
        let frame = match self.ram.reference_of_living(owner, number) {
            Ok(frame) => frame,
            Err(ReferenceError::NoFrame) if source == Source::Own => {
                return self.device_leaf(entry);
            }
            Err(_) => return Err(PagingError::NotOwned),
        };
        let entry = if entry.has_cache_bits() {
            self.cached(entry, frame.mfn())?
        } else {
            entry
        };
        if !entry.is_writable() {
            return Ok((entry, Leaf::Read(frame)));
        }
        let writable = frame.writable().map_err(|_| PagingError::NotWritable)?;
        Ok((entry, Leaf::Write(writable)))
    }

    /// RAM is always mapped write-back: memory that devices reach is coherent, and one attribute per frame leaves nothing
    /// to flush when the frame changes hands (XSA-402).
    #[cold]
    fn cached(&self, entry: Entry, frame: Mfn) -> Result<Entry, PagingError> {
        if self.ram.frames.holding(frame).special {
            return Err(PagingError::SharedPage);
        }
        Ok(entry.write_back())
    }

    #[cold]
    fn device_leaf(&self, entry: Entry) -> Result<(Entry, Leaf<'a, M>), PagingError> {
        let number = entry.frame_number();
        if self.ram.frames.lookup(number).is_some() {
            return Err(PagingError::NotOwned);
        }
        if entry.is_all_ones() {
            return Err(PagingError::AllOnes);
        }
        if !self.domain.has_devices() || !self.ram.frames.is_device_memory(number) {
            return Err(PagingError::NoDeviceRight);
        }
        Ok((entry.uncached(), Leaf::Device))
    }

    /// Gives back what a replaced L1 entry held. A mapping of somebody else's frame is out of all TLBs before its
    /// reference goes (T5): the owner's own flushes do not cover this domain's CPUs.
    #[inline]
    pub(super) fn drop_leaf(&self, old: Entry) {
        self.drop_unreachable(old, &mut false);
    }

    /// As [`Self::drop_leaf`], for one of several entries that no CPU can reach any more: the first flush serves all.
    #[inline]
    pub(super) fn drop_unreachable(&self, old: Entry, flushed: &mut bool) {
        if !old.is_present() {
            return;
        }
        let Some(frame) = self.ram.locate(old.frame_number()) else {
            return;
        };
        if !frame.is_owned_by(self.domain.owner()) && !*flushed {
            self.flush_domain();
            *flushed = true;
        }
        if old.is_writable() {
            drop(frame.adopt_writable());
        } else {
            drop(frame.adopt());
        }
    }

    /// Flushes everything where the domain may have translations.
    #[cold]
    fn flush_domain(&self) {
        if let Some(account) = self.domain.account(self.ram.frames) {
            self.ram.flush_all(account.dirty());
        }
    }
}
