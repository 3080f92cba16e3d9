//! The hypervisor's own record of an entry in use.

use hypercall_abi::grant::{GTF_READING, GTF_WRITING};

use super::entry::Access;
use super::status::Status;
use crate::ids::Mfn;

/// Pins of an entry, all by one domain. Once pinned, this frame counts and not the one that the granter names meanwhile.
#[derive(Clone, Copy, Debug, Default)]
pub(super) struct Active {
    readers: u32,
    writers: u32,
    domid: u16,
    frame: Option<Mfn>,
}

impl Active {
    /// Whether nobody uses the entry.
    pub(super) const fn is_free(&self) -> bool {
        self.readers == 0 && self.writers == 0
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
        let full = self.readers == u32::MAX || self.writers == u32::MAX;
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

    fn count(&mut self, access: Access) -> &mut u32 {
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
            readers: u32::MAX,
            domid: 3,
            ..Active::default()
        };
        assert_eq!(
            active.needs_marks(3, Access::Read),
            Err(Status::GeneralError)
        );
    }
}
