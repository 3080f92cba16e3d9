//! The hypervisor's own record of an entry in use.

use hypercall_abi::grant::{GTF_READING, GTF_WRITING};

use super::entry::Access;
use super::status::Status;
use crate::frame::FrameTable;
use crate::ids::Mfn;

/// Uses of one kind that an entry may have at once.
const MOST: u16 = 511;
/// Fields of a record's word: frame number (all are below 2^30), domid, readers, writers.
const FRAME: u64 = (1 << DOMID_SHIFT) - 1;
const DOMID_SHIFT: u32 = 30;
const READERS_SHIFT: u32 = 46;
const WRITERS_SHIFT: u32 = 55;
const COUNT: u64 = 0x1ff;

/// Pins of an entry, all by one domain. Once pinned, this frame counts and not the one that the granter names meanwhile.
#[derive(Clone, Copy, Debug, Default)]
pub(super) struct Active {
    readers: u16,
    writers: u16,
    domid: u16,
    frame: Option<Mfn>,
}

impl Active {
    /// The record in a word.
    pub(super) fn unpack(frames: &FrameTable, word: u64) -> Self {
        let half = |shift: u32, mask| u16::try_from(word >> shift & mask).unwrap_or(MOST);
        Self {
            readers: half(READERS_SHIFT, COUNT),
            writers: half(WRITERS_SHIFT, COUNT),
            domid: half(DOMID_SHIFT, u16::MAX.into()),
            frame: frames.lookup(word & FRAME),
        }
    }

    /// The record as a word; 0 for an entry that nobody uses.
    pub(super) fn pack(self) -> u64 {
        let Some(frame) = self.frame else { return 0 };
        frame.get() & FRAME
            | u64::from(self.domid) << DOMID_SHIFT
            | u64::from(self.readers) << READERS_SHIFT
            | u64::from(self.writers) << WRITERS_SHIFT
    }

    /// Whether nobody uses the entry.
    pub(super) const fn is_free(&self) -> bool {
        self.readers == 0 && self.writers == 0
    }

    /// The record of an entry in use.
    #[cfg(any(test, feature = "fake"))]
    pub(super) fn in_use(self) -> Option<super::judge::Use> {
        let frame = self.frame?;
        Some((self.domid, frame, self.readers, self.writers))
    }

    /// Who uses the entry, and how often.
    pub(super) const fn uses(&self) -> (u16, u16) {
        (self.domid, self.readers.saturating_add(self.writers))
    }

    /// The frame in use.
    pub(super) const fn frame(&self) -> Option<Mfn> {
        self.frame
    }

    /// Whether flags of the shared entry have to be looked at before this use: the first one, and the first for writing.
    pub(super) fn needs_marks(&self, grantee: u16, access: Access) -> Result<bool, Status> {
        if self.is_free() {
            return Ok(true);
        }
        let full = self.readers >= MOST || self.writers >= MOST;
        if self.domid != grantee || full {
            return Err(Status::GeneralError);
        }
        Ok(access == Access::Write && self.writers == 0)
    }

    /// One more use. The caller has asked [`Self::needs_marks`].
    pub(super) fn pin(&mut self, grantee: u16, access: Access, frame: Mfn) {
        self.domid = grantee;
        self.frame = Some(frame);
        let count = self.count(access);
        *count = count.saturating_add(1);
    }

    /// One use less. Gives the flags to take from the shared entry.
    pub(super) fn unpin(&mut self, access: Access) -> u16 {
        let count = self.count(access);
        debug_assert!(*count > 0, "a grant that nobody uses was given back");
        *count = count.saturating_sub(1);
        let mut cleared = 0;
        if access == Access::Write && self.writers == 0 {
            cleared |= GTF_WRITING;
        }
        if self.is_free() {
            self.frame = None;
            cleared |= GTF_READING;
        }
        cleared
    }

    fn count(&mut self, access: Access) -> &mut u16 {
        match access {
            Access::Read => &mut self.readers,
            Access::Write => &mut self.writers,
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn marks_are_needed_at_the_first_use_and_at_the_first_write() {
        let frame = Mfn::new(5);
        let mut active = Active::default();
        assert_eq!(active.needs_marks(3, Access::Read), Ok(true));
        active.pin(3, Access::Read, frame);
        assert_eq!(active.needs_marks(3, Access::Read), Ok(false));
        assert_eq!(active.needs_marks(3, Access::Write), Ok(true));
        assert_eq!(
            active.needs_marks(4, Access::Read),
            Err(Status::GeneralError)
        );
        active.pin(3, Access::Write, frame);
        assert_eq!(active.needs_marks(3, Access::Write), Ok(false));
        assert_eq!(active.unpin(Access::Write), GTF_WRITING);
        assert_eq!(active.unpin(Access::Read), GTF_READING);
        assert!(active.is_free() && active.frame().is_none());
    }

    #[test]
    fn a_full_count_refuses() {
        let active = Active {
            readers: MOST,
            domid: 3,
            ..Active::default()
        };
        assert_eq!(
            active.needs_marks(3, Access::Read),
            Err(Status::GeneralError)
        );
    }
}
