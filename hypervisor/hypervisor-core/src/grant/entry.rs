//! The protocol of an entry's flags, which granter and hypervisor both write.
//!
//! An entry is read and changed as one word, by compare-exchange only: the granter may revoke at any instant, and what was
//! checked must be what is marked.

use hypercall_abi::grant::{
    GTF_PERMIT_ACCESS, GTF_READING, GTF_READONLY, GTF_SUB_PAGE, GTF_TYPE_MASK, GTF_WRITING,
};

use super::status::Status;
use crate::sync::{AtomicU64, Ordering};

/// How often the granter may change the word under the hypervisor's hands before that gives up.
const TRIES: usize = 5;
/// An entry's flags are its lowest bits, then come domid and frame number.
const DOMID_SHIFT: u32 = 16;
const FRAME_SHIFT: u32 = 32;

/// What a grant is used for.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Access {
    /// Reading.
    Read,
    /// Reading and writing.
    Write,
}

/// An entry of a shared table.
#[derive(Clone, Copy, Debug)]
pub(super) struct SharedEntry<'a>(pub(super) &'a AtomicU64);

impl SharedEntry<'_> {
    /// Marks the entry as in use by `grantee`; the number of the frame that it names. `fresh`: nobody uses it yet, so kind
    /// and domid are checked.
    pub(super) fn mark(self, grantee: u16, access: Access, fresh: bool) -> Result<u64, Status> {
        let mut word = self.0.load(Ordering::Acquire);
        for _ in 0..TRIES {
            let [flags, domid] = halves(word);
            let permits = flags & (GTF_TYPE_MASK | GTF_SUB_PAGE) == GTF_PERMIT_ACCESS;
            if fresh && !(permits && domid == grantee) {
                return Err(Status::GeneralError);
            }
            if access == Access::Write && flags & GTF_READONLY != 0 {
                return Err(Status::GeneralError);
            }
            let new = word | u64::from(marks(access));
            let changed = self
                .0
                .compare_exchange(word, new, Ordering::SeqCst, Ordering::Acquire);
            match changed {
                Ok(_) => return Ok(word >> FRAME_SHIFT),
                Err(now) => word = now,
            }
        }
        Err(Status::GeneralError)
    }

    /// Takes marks away.
    pub(super) fn clear(self, flags: u16) {
        self.0.fetch_and(!u64::from(flags), Ordering::SeqCst);
    }

    /// Exchanges two entries whole.
    pub(super) fn swap(self, other: Self) {
        let word = self.0.load(Ordering::SeqCst);
        self.0
            .store(other.0.load(Ordering::SeqCst), Ordering::SeqCst);
        other.0.store(word, Ordering::SeqCst);
    }

    /// Writes an entry that lets `domid` read and write frame `mfn`.
    pub(super) fn permit(self, domid: u16, mfn: u32) {
        let word = u64::from(GTF_PERMIT_ACCESS)
            | u64::from(domid) << DOMID_SHIFT
            | u64::from(mfn) << FRAME_SHIFT;
        self.0.store(word, Ordering::SeqCst);
    }
}

fn marks(access: Access) -> u16 {
    match access {
        Access::Read => GTF_READING,
        Access::Write => GTF_READING | GTF_WRITING,
    }
}

/// Flags and domid.
fn halves(word: u64) -> [u16; 2] {
    let [a, b, c, d, ..] = word.to_le_bytes();
    [u16::from_le_bytes([a, b]), u16::from_le_bytes([c, d])]
}
