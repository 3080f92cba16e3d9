//! A domain's grant table: its frames, the active records, and the handles of what it has mapped itself.

use alloc::vec::Vec;

use hypercall_abi::grant::{GRANT_ENTRIES_PER_FRAME, MAX_GRANT_FRAMES};

use super::active::Active;
use super::entry::{Access, SharedEntry};
use super::handle::{Handles, Use};
use super::status::Status;
use crate::domain::account::DomainMemory;
use crate::frame::words::WORDS_PER_FRAME;
use crate::frame::{AllocError, DomainWords, OwnerId, Ram, ReferenceError};
use crate::heap;
use crate::ids::{Frames, Mfn};
use crate::machine::Machine;
use crate::paging::leaf::Leaf;
use crate::sync::{AtomicU64, Held, Ordering, Ranked, rank};

const _: () = assert!(
    GRANT_ENTRIES_PER_FRAME == 512 && WORDS_PER_FRAME == 512,
    "an entry is a word, and so is its record"
);

/// Records that there are from the start: a domain that grants its rings alone needs no frame of them.
const FEW: usize = 24;

/// A domain's grants.
#[derive(Debug)]
pub struct GrantTable {
    pub(super) shared: Ranked<{ rank::GRANT_TABLE }, Shared>,
    pub(super) handles: Ranked<{ rank::GRANT_HANDLES }, Handles>,
}

/// What the domain grants.
#[derive(Debug)]
pub(super) struct Shared {
    frames: Vec<Mfn>,
    /// A word for each entry. Those of the table's first frame beyond the first few come when one of them is needed.
    active: DomainWords<FEW>,
}

impl GrantTable {
    /// A table of one frame, shared with `memory`'s domain, and so many frames of handles besides the first few.
    ///
    /// # Errors
    /// [`AllocError`].
    pub fn new<M: Machine>(
        ram: Ram<'_, M>,
        memory: &DomainMemory,
        handle_frames: usize,
    ) -> Result<Self, AllocError> {
        let most = usize::try_from(MAX_GRANT_FRAMES).unwrap_or(0);
        let (frames, active) = (heap::list(most)?, DomainWords::new(most)?);
        let mut table = Self {
            shared: Ranked::new(Shared { frames, active }),
            handles: Ranked::new(Handles::new(ram)?),
        };
        let (owner, handles) = (memory.owner(), table.handles.get_mut());
        let begun = (0..handle_frames).try_for_each(|_| handles.grow(ram, owner));
        if let Err(error) = begun.and_then(|()| table.shared.get_mut().grow(ram, owner, 1)) {
            table.end_sharing(ram, owner, &mut Held::enter());
            return Err(error);
        }
        Ok(table)
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
        let (Ok(entry), Ok(mfn)) = (shared.entry(ram, reference), u32::try_from(mfn)) else {
            return false;
        };
        entry.permit(backend, mfn);
        true
    }

    /// Calls `found` with the frame of each device mapping, whose references are this table's, and whether it is writable.
    pub(crate) fn for_each_device_mapping<M: Machine, const TOP: u8>(
        &self,
        ram: Ram<'_, M>,
        held: &mut Held<'_, TOP>,
        found: &mut dyn FnMut(Mfn, bool),
    ) {
        let (handles, _) = self.handles.lock(held);
        for mapping in handles.mappings(ram).filter(|mapping| mapping.device) {
            found(mapping.frame, mapping.access == Access::Write);
        }
    }

    /// Entries that there are.
    pub(crate) fn entries<const TOP: u8>(&self, held: &mut Held<'_, TOP>) -> u32 {
        self.shared.lock(held).0.entries()
    }

    /// Calls `found` with each entry in use, for the recount.
    pub(crate) fn for_each_pinned<M: Machine, const TOP: u8>(
        &self,
        ram: Ram<'_, M>,
        held: &mut Held<'_, TOP>,
        found: &mut dyn FnMut(Use),
    ) {
        let (shared, _) = self.shared.lock(held);
        for reference in 0..shared.entries() {
            if let Ok(active) = shared.active(ram, reference)
                && !active.is_free()
            {
                let (user, uses) = active.uses();
                found(Use {
                    user,
                    reference,
                    uses,
                });
            }
        }
    }

    /// Calls `found` with what `user`, whose table this is, uses of the granter with a serial number, for the recount.
    pub(crate) fn for_each_use<M: Machine, const TOP: u8>(
        &self,
        ram: Ram<'_, M>,
        user: u16,
        serial: u64,
        held: &mut Held<'_, TOP>,
        found: &mut dyn FnMut(Use),
    ) {
        let (handles, _) = self.handles.lock(held);
        for mapping in handles
            .mappings(ram)
            .filter(|mapping| mapping.serial == serial)
        {
            let reference = mapping.reference;
            let uses = u16::from(mapping.host).saturating_add(mapping.device.into());
            found(Use {
                user,
                reference,
                uses,
            });
        }
    }

    /// Pins the last entry without a use, or unpins it.
    #[cfg(any(test, feature = "breach"))]
    pub(crate) fn breach<M: Machine>(
        &self,
        ram: Ram<'_, M>,
        plant: bool,
        held: &mut Held<'_, 0>,
    ) -> u64 {
        let (shared, _) = self.shared.lock(held);
        let records = u32::try_from(shared.active.count()).unwrap_or(0);
        let last = records.min(shared.entries()).wrapping_sub(1);
        if let (Ok(mut active), Some(&frame)) = (shared.active(ram, last), shared.frames.first()) {
            if plant {
                active.pin(0, Access::Read, frame);
            } else {
                active.unpin(Access::Read);
            }
            if let Ok(record) = shared.record(ram, last) {
                record.store(active.pack(), Ordering::Relaxed);
            }
        }
        last.into()
    }

    /// Frames of the records, which are overhead of the domain.
    pub(crate) fn overhead<const TOP: u8>(&self, held: &mut Held<'_, TOP>) -> Frames {
        let records = self.shared.lock(held).0.active.frames();
        let handles = self.handles.lock(held).0.frames();
        Frames::new(records.get().saturating_add(handles.get()))
    }

    /// Stops sharing the table's frames and gives back those of its records. The domain is gone: nobody maps its grants any
    /// more, and it has no mapping.
    pub fn end_sharing<M: Machine, const TOP: u8>(
        &self,
        ram: Ram<'_, M>,
        owner: OwnerId,
        held: &mut Held<'_, TOP>,
    ) {
        let (mut shared, mut held) = self.shared.lock(held);
        for frame in shared.frames.drain(..) {
            ram.end_sharing(owner, frame);
        }
        shared.active.release(ram, owner);
        self.handles.lock(&mut held).0.release_all(ram, owner);
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
        while self.frames.len() < wanted {
            // Records first, of all that there will be.
            if !self.frames.is_empty() {
                self.grow_records(ram, owner, self.frames.len().saturating_add(1))?;
            }
            self.frames.extend([ram.allocate_special(owner)?]);
        }
        Ok(())
    }

    /// Makes records for the entries of `frames` frames.
    #[cold]
    fn grow_records<M: Machine>(
        &mut self,
        ram: Ram<'_, M>,
        owner: OwnerId,
        frames: usize,
    ) -> Result<(), AllocError> {
        while self.active.count() < frames.saturating_mul(WORDS_PER_FRAME) {
            self.active.grow(ram, owner)?;
        }
        Ok(())
    }

    /// Entries that there are.
    fn entries(&self) -> u32 {
        u32::try_from(self.frames.len().saturating_mul(WORDS_PER_FRAME)).unwrap_or(u32::MAX)
    }

    /// An entry of the shared table.
    pub(super) fn entry<'a, M: Machine>(
        &self,
        ram: Ram<'a, M>,
        reference: u32,
    ) -> Result<SharedEntry<'a>, Status> {
        let index = usize::try_from(reference).map_err(|_| Status::BadReference)?;
        let frame = self.frames.get(index / WORDS_PER_FRAME);
        let words = ram.machine.words(*frame.ok_or(Status::BadReference)?);
        let entry = words.get(index % WORDS_PER_FRAME);
        entry.map(SharedEntry).ok_or(Status::BadReference)
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
        let entry = self.entry(ram, reference)?;
        if self.record(ram, reference).is_err() {
            let grown = self.grow_records(ram, owner, 1);
            grown.map_err(|_| Status::NoSpace)?;
        }
        let record = self.record(ram, reference)?;
        let mut active = Active::unpack(ram.frames, record.load(Ordering::Relaxed));
        let fresh = active.is_free();
        let mut number = active.frame().map_or(0, Mfn::get);
        if active.needs_marks(grantee, access)? {
            let named = entry.mark(grantee, access, fresh)?;
            if fresh {
                number = named;
            }
        }
        match references(ram, owner, number, access) {
            Ok((frame, leaf)) => {
                active.pin(grantee, access, frame);
                record.store(active.pack(), Ordering::Relaxed);
                Ok((frame, leaf))
            }
            Err(status) => {
                // Undo by the same two steps as for an end of use.
                active.pin(grantee, access, Mfn::new(number));
                entry.clear(active.unpin(access));
                Err(status)
            }
        }
    }

    /// One pin less.
    pub(super) fn release<M: Machine>(&mut self, ram: Ram<'_, M>, reference: u32, access: Access) {
        // The frames of a domain that has ended are gone, and with them its records.
        let (Ok(entry), Ok(record)) = (self.entry(ram, reference), self.record(ram, reference))
        else {
            return;
        };
        let mut active = Active::unpack(ram.frames, record.load(Ordering::Relaxed));
        let cleared = active.unpin(access);
        record.store(active.pack(), Ordering::Relaxed);
        entry.clear(cleared);
    }

    /// Exchanges two entries that nobody uses.
    pub(super) fn swap<M: Machine>(
        &mut self,
        ram: Ram<'_, M>,
        a: u32,
        b: u32,
    ) -> Result<(), Status> {
        let (entry, other) = (self.entry(ram, a)?, self.entry(ram, b)?);
        if a == b {
            return Ok(());
        }
        if !self.active(ram, a)?.is_free() || !self.active(ram, b)?.is_free() {
            return Err(Status::Busy);
        }
        entry.swap(other);
        Ok(())
    }

    pub(super) fn active<M: Machine>(
        &self,
        ram: Ram<'_, M>,
        reference: u32,
    ) -> Result<Active, Status> {
        self.entry(ram, reference)?;
        // Without a record nobody uses it.
        let record = self.record(ram, reference);
        let word = record.map_or(0, |record| record.load(Ordering::Relaxed));
        Ok(Active::unpack(ram.frames, word))
    }

    /// The word of an entry's record.
    fn record<'a, M: Machine>(
        &'a self,
        ram: Ram<'a, M>,
        reference: u32,
    ) -> Result<&'a AtomicU64, Status> {
        let index = usize::try_from(reference).map_err(|_| Status::BadReference)?;
        let [word] = self
            .active
            .group(ram.machine, index)
            .ok_or(Status::BadReference)?;
        Ok(word)
    }
}

/// The frame of this number, `owner`'s, with the references of one mapping.
#[inline(always)]
pub(super) fn references<M: Machine>(
    ram: Ram<'_, M>,
    owner: OwnerId,
    number: u64,
    access: Access,
) -> Result<(Mfn, Leaf<'_, M>), Status> {
    let refused = |error| match error {
        ReferenceError::NoFrame | ReferenceError::NotOwned => Status::BadPage,
        ReferenceError::InUse | ReferenceError::Full => Status::GeneralError,
    };
    let frame = ram.reference(owner, number).map_err(refused)?;
    let mfn = frame.mfn();
    let leaf = match access {
        Access::Read => Leaf::Read(frame),
        Access::Write => Leaf::Write(frame.writable().map_err(refused)?),
    };
    Ok((mfn, leaf))
}
