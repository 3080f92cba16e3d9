//! The protocol of an entry's flags, which granter and hypervisor both write.
//!
//! Flags and domid change as one word of 32 bits, by compare-exchange only: the granter may revoke at any instant, and what
//! was checked must be what is marked. The frame is read after that.

use hypercall_abi::grant::{
    GTF_PERMIT_ACCESS, GTF_READING, GTF_READONLY, GTF_SUB_PAGE, GTF_TYPE_MASK, GTF_WRITING,
};

use super::status::Status;
use crate::ids::Mfn;
use crate::machine::Machine;

/// How often the granter may change the word under the hypervisor's hands before that gives up.
const TRIES: usize = 5;
/// Offset of the frame number in an entry.
const FRAME: usize = 4;

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
pub(super) struct SharedEntry {
    pub(super) frame: Mfn,
    /// Byte offset in the frame: a multiple of 8.
    pub(super) offset: usize,
}

impl SharedEntry {
    /// Marks the entry as in use by `grantee`. `fresh`: nobody uses it yet, so kind and domid are checked.
    pub(super) fn mark<M: Machine>(
        self,
        machine: &M,
        grantee: u16,
        access: Access,
        fresh: bool,
    ) -> Result<(), Status> {
        let mut word = machine.load_u32(self.frame, self.offset);
        for _ in 0..TRIES {
            let [flags, domid] = halves(word);
            let permits = flags & (GTF_TYPE_MASK | GTF_SUB_PAGE) == GTF_PERMIT_ACCESS;
            if fresh && !(permits && domid == grantee) {
                return Err(Status::GeneralError);
            }
            if access == Access::Write && flags & GTF_READONLY != 0 {
                return Err(Status::GeneralError);
            }
            let new = word | u32::from(marks(access));
            match machine.compare_exchange_u32(self.frame, self.offset, word, new) {
                Ok(_) => return Ok(()),
                Err(now) => word = now,
            }
        }
        Err(Status::GeneralError)
    }

    /// Takes marks away.
    pub(super) fn clear<M: Machine>(self, machine: &M, flags: u16) {
        machine.fetch_and_u64(self.frame, self.offset, !u64::from(flags));
    }

    /// The frame that the granter names.
    pub(super) fn named_frame<M: Machine>(self, machine: &M) -> u64 {
        machine
            .load_u32(self.frame, self.offset.saturating_add(FRAME))
            .into()
    }

    /// Exchanges two entries whole.
    pub(super) fn swap<M: Machine>(self, machine: &M, other: Self) {
        let word = machine.load_u64(self.frame, self.offset);
        let others = machine.load_u64(other.frame, other.offset);
        machine.store_u64(self.frame, self.offset, others);
        machine.store_u64(other.frame, other.offset, word);
    }

    /// Writes an entry that lets `domid` read and write frame `mfn`.
    pub(super) fn permit<M: Machine>(self, machine: &M, domid: u16, mfn: u32) {
        machine.store_u32(self.frame, self.offset.saturating_add(FRAME), mfn);
        let word = u32::from(GTF_PERMIT_ACCESS) | u32::from(domid) << 16;
        machine.store_u32(self.frame, self.offset, word);
    }
}

fn marks(access: Access) -> u16 {
    match access {
        Access::Read => GTF_READING,
        Access::Write => GTF_READING | GTF_WRITING,
    }
}

/// Flags and domid.
fn halves(word: u32) -> [u16; 2] {
    let [a, b, c, d] = word.to_le_bytes();
    [u16::from_le_bytes([a, b]), u16::from_le_bytes([c, d])]
}
