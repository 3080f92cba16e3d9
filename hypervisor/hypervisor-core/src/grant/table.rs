//! A domain's grant table: its frames, the active records, and the handles of what it has mapped itself.

use alloc::vec::Vec;

use hypercall_abi::grant::{GRANT_ENTRIES_PER_FRAME, MAX_GRANT_FRAMES};

use super::active::Active;
use super::entry::{Access, SharedEntry};
use super::handle::Handles;
use super::status::Status;
use crate::domain::account::DomainMemory;
use crate::frame::{AllocError, OwnerId, Ram, ReferenceError};
use crate::ids::Mfn;
use crate::machine::Machine;
use crate::paging::leaf::Leaf;
use crate::sync::{Held, Ranked, rank};

/// Bytes of an entry.
const ENTRY_BYTES: u32 = 8;

/// A domain's grants.
#[derive(Debug)]
pub struct GrantTable {
    pub(super) shared: Ranked<{ rank::GRANT_TABLE }, Shared>,
    pub(super) handles: Ranked<{ rank::GRANT_HANDLES }, Handles>,
}

/// What the domain grants.
#[derive(Debug, Default)]
pub(super) struct Shared {
    frames: Vec<Mfn>,
    active: Vec<Active>,
}

impl GrantTable {
    /// A table of one frame, shared with `memory`'s domain.
    ///
    /// # Errors
    /// [`AllocError`].
    pub fn new<M: Machine>(ram: Ram<'_, M>, memory: &DomainMemory) -> Result<Self, AllocError> {
        let mut shared = Shared::default();
        shared.grow(ram, memory.owner(), 1)?;
        Ok(Self {
            shared: Ranked::new(shared),
            handles: Ranked::new(Handles::default()),
        })
    }

    /// Frame `index` of the table.
    pub fn frame<const TOP: u8>(&self, index: usize, held: &mut Held<'_, TOP>) -> Option<Mfn> {
        self.shared.lock(held).0.frames.get(index).copied()
    }

    /// Writes an entry of a domain that is being built: `backend` may read and write frame `mfn`. False if there is no such
    /// entry, or the number does not fit one.
    pub fn seed<M: Machine, const TOP: u8>(
        &self,
        ram: Ram<'_, M>,
        reference: u32,
        backend: u16,
        mfn: u64,
        held: &mut Held<'_, TOP>,
    ) -> bool {
        let (shared, _) = self.shared.lock(held);
        let (Ok(entry), Ok(mfn)) = (shared.entry(reference), u32::try_from(mfn)) else {
            return false;
        };
        entry.permit(ram.machine, backend, mfn);
        true
    }

    /// Calls `found` with the frame of each device mapping, whose references are this table's, and whether it is writable.
    pub(crate) fn for_each_device_mapping<const TOP: u8>(
        &self,
        held: &mut Held<'_, TOP>,
        found: &mut dyn FnMut(Mfn, bool),
    ) {
        let (handles, _) = self.handles.lock(held);
        for mapping in handles.mappings().filter(|mapping| mapping.device) {
            found(mapping.frame, mapping.access == Access::Write);
        }
    }

    /// Stops sharing the table's frames. The domain is gone: nobody maps its grants any more.
    pub fn end_sharing<M: Machine, const TOP: u8>(
        &self,
        ram: Ram<'_, M>,
        owner: OwnerId,
        held: &mut Held<'_, TOP>,
    ) {
        let (mut shared, _) = self.shared.lock(held);
        for frame in core::mem::take(&mut shared.frames) {
            ram.end_sharing(owner, frame);
        }
    }
}

impl Shared {
    /// Frames of the table.
    pub(super) fn frames(&self) -> &[Mfn] {
        &self.frames
    }

    /// Makes the table at least `wanted` frames large.
    pub(super) fn grow<M: Machine>(
        &mut self,
        ram: Ram<'_, M>,
        owner: OwnerId,
        wanted: u32,
    ) -> Result<(), AllocError> {
        let wanted = usize::try_from(wanted.min(MAX_GRANT_FRAMES)).unwrap_or(0);
        let per_frame = usize::try_from(GRANT_ENTRIES_PER_FRAME).unwrap_or(0);
        while self.frames.len() < wanted {
            let no_memory = |_| AllocError::NoMemory;
            self.frames.try_reserve(1).map_err(no_memory)?;
            self.active
                .try_reserve_exact(per_frame)
                .map_err(no_memory)?;
            self.frames.push(ram.allocate_special(owner)?);
            let entries = self.active.len().saturating_add(per_frame);
            self.active.resize_with(entries, Active::default);
        }
        Ok(())
    }

    /// An entry of the shared table.
    pub(super) fn entry(&self, reference: u32) -> Result<SharedEntry, Status> {
        let frame = reference
            .checked_div(GRANT_ENTRIES_PER_FRAME)
            .and_then(|index| usize::try_from(index).ok())
            .and_then(|index| self.frames.get(index));
        let within = reference
            .checked_rem(GRANT_ENTRIES_PER_FRAME)
            .unwrap_or(0)
            .saturating_mul(ENTRY_BYTES);
        Ok(SharedEntry {
            frame: *frame.ok_or(Status::BadReference)?,
            offset: usize::try_from(within).unwrap_or(0),
        })
    }

    /// Pins an entry for `grantee` and takes the references of one mapping, on `owner`'s frame.
    pub(super) fn acquire<'a, M: Machine>(
        &mut self,
        ram: Ram<'a, M>,
        owner: OwnerId,
        reference: u32,
        grantee: u16,
        access: Access,
    ) -> Result<(Mfn, Leaf<'a, M>), Status> {
        let entry = self.entry(reference)?;
        let active = self.active(reference)?;
        let fresh = active.is_free();
        let marked = active.needs_marks(grantee, access)?;
        if marked {
            entry.mark(ram.machine, grantee, access, fresh)?;
        }
        let number = match active.frame() {
            Some(frame) => frame.get(),
            None => entry.named_frame(ram.machine),
        };
        let taken = references(ram, owner, number, access);
        let frame = match (&taken, ram.frames.lookup(number)) {
            (Ok(_), Some(frame)) => frame,
            _ => {
                // Undo by the same two steps as for an end of use.
                active.pin(grantee, access, Mfn::new(number));
                let cleared = active.unpin(access);
                entry.clear(ram.machine, cleared);
                return Err(taken.err().unwrap_or(Status::BadPage));
            }
        };
        active.pin(grantee, access, frame);
        taken.map(|leaf| (frame, leaf))
    }

    /// One pin less.
    pub(super) fn release<M: Machine>(&mut self, ram: Ram<'_, M>, reference: u32, access: Access) {
        let entry = self.entry(reference);
        let Ok(active) = self.active(reference) else {
            return;
        };
        let cleared = active.unpin(access);
        // The frames of a domain that has ended are gone; its records are not.
        if let Ok(entry) = entry {
            entry.clear(ram.machine, cleared);
        }
    }

    fn active(&mut self, reference: u32) -> Result<&mut Active, Status> {
        let index = usize::try_from(reference).map_err(|_| Status::BadReference)?;
        self.active.get_mut(index).ok_or(Status::BadReference)
    }
}

/// The references of one mapping of `owner`'s frame.
pub(super) fn references<M: Machine>(
    ram: Ram<'_, M>,
    owner: OwnerId,
    number: u64,
    access: Access,
) -> Result<Leaf<'_, M>, Status> {
    let refused = |error| match error {
        ReferenceError::NoFrame | ReferenceError::NotOwned => Status::BadPage,
        ReferenceError::InUse | ReferenceError::Full => Status::GeneralError,
    };
    let frame = ram.reference(owner, number).map_err(refused)?;
    match access {
        Access::Read => Ok(Leaf::Read(frame)),
        Access::Write => frame.writable().map(Leaf::Write).map_err(refused),
    }
}
