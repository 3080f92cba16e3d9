//! This domain's grant table: entries that let other domains map a frame of ours.

use alloc::vec::Vec;
use core::sync::atomic::{Ordering, fence};

use hypercall_abi::grant::{
    GNTTAB_NR_RESERVED_ENTRIES, GRANT_ENTRIES_PER_FRAME, GTF_PERMIT_ACCESS, GTF_READING,
    GTF_READONLY, GTF_WRITING,
};
use hypercall_abi::{Errno, RawDomId, RawGrantRef, RawMfn};
use thiserror::Error;

use crate::hypercall::grant::{GrantError, setup_table};
use crate::paging::{Access, Mapping, Memory};
use crate::sync::Lock;

/// Bytes of an entry: flags (16 bits), domain (16), frame (32).
const ENTRY_SIZE: usize = 8;
const FRAME_OFFSET: usize = 4;

struct Table {
    /// The table's frames, in order.
    frames: Vec<Memory>,
    free: Vec<u32>,
}

static TABLE: Lock<Table> = Lock::new(Table {
    frames: Vec::new(),
    free: Vec::new(),
});

impl Table {
    /// Makes the table one frame longer.
    fn grow(&mut self) -> Result<(), GrantError> {
        let mut list = Vec::new();
        list.try_reserve_exact(self.frames.len() + 1)
            .map_err(|_| Errno::ENOMEM)?;
        list.resize(self.frames.len() + 1, RawMfn::INVALID);
        setup_table(&mut list)?;
        let added = list.split_off(self.frames.len());
        let mapping = Mapping::new(&added, Access::ReadWrite).map_err(|_| Errno::ENOMEM)?;
        let first =
            u32::try_from(self.frames.len()).map_err(|_| Errno::ENOSPC)? * GRANT_ENTRIES_PER_FRAME;
        self.frames.push(Memory::from_mapping(mapping));
        let usable = first.max(GNTTAB_NR_RESERVED_ENTRIES)..first + GRANT_ENTRIES_PER_FRAME;
        self.free.extend(usable.rev());
        Ok(())
    }

    /// The memory of an entry, and its offset there.
    fn entry(&self, reference: u32) -> Option<(&Memory, usize)> {
        let frame = usize::try_from(reference / GRANT_ENTRIES_PER_FRAME).ok()?;
        let slot = usize::try_from(reference % GRANT_ENTRIES_PER_FRAME).ok()?;
        self.frames
            .get(frame)
            .map(|memory| (memory, slot * ENTRY_SIZE))
    }
}

/// The other domain still has the frame mapped; the grant stays.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Error)]
#[error("the other domain still uses the grant")]
pub struct InUse;

/// One frame that another domain may map, until this is revoked.
#[derive(Debug)]
#[must_use = "a grant stays until it is revoked"]
pub struct Grant(RawGrantRef);

impl Grant {
    /// Lets `domain` map `frame`.
    ///
    /// # Errors
    /// The table is full and cannot grow, or the frame's number does not fit an entry.
    pub fn new(domain: RawDomId, frame: RawMfn, access: Access) -> Result<Self, GrantError> {
        let frame = u32::try_from(frame.0).map_err(|_| Errno::ERANGE)?;
        let read_only = if access == Access::ReadOnly {
            GTF_READONLY
        } else {
            0
        };
        let mut table = TABLE.lock();
        if table.free.is_empty() {
            table.grow()?;
        }
        let reference = table.free.pop().ok_or(Errno::ENOSPC)?;
        let (memory, offset) = table.entry(reference).ok_or(Errno::ENOSPC)?;
        memory
            .u32(offset + FRAME_OFFSET)
            .store(frame, Ordering::Relaxed);
        // Flags and domain are one word and make the entry valid: the frame must be there before.
        let head = u32::from(GTF_PERMIT_ACCESS | read_only) | u32::from(domain.0) << 16;
        memory.u32(offset).store(head, Ordering::Release);
        fence(Ordering::SeqCst);
        Ok(Self(RawGrantRef(reference)))
    }

    /// The number to tell the other domain.
    #[must_use]
    pub fn reference(&self) -> RawGrantRef {
        self.0
    }

    /// Takes the right back.
    ///
    /// # Errors
    /// The other domain has it mapped: the grant comes back, to try again later.
    pub fn revoke(self) -> Result<(), (Self, InUse)> {
        let mut table = TABLE.lock();
        let Some((memory, offset)) = table.entry(self.0.0) else {
            return Ok(());
        };
        let flags = memory.u16(offset);
        let mut seen = flags.load(Ordering::Relaxed);
        loop {
            if seen & (GTF_READING | GTF_WRITING) != 0 {
                return Err((self, InUse));
            }
            match flags.compare_exchange(seen, 0, Ordering::SeqCst, Ordering::Relaxed) {
                Ok(_) => break,
                Err(found) => seen = found,
            }
        }
        table.free.push(self.0.0);
        Ok(())
    }
}
