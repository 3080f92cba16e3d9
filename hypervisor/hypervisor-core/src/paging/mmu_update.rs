//! Hypercall 1, `mmu_update` (pv-abi 4.3).

use hypercall_abi::mmu::{
    MMU_MACHPHYS_UPDATE, MMU_NORMAL_PT_UPDATE, MMU_PT_UPDATE_NO_TRANSLATE,
    MMU_PT_UPDATE_PRESERVE_AD, MmuUpdate,
};

use crate::domain::account::DomainMemory;
use crate::frame::{FrameType, OwnerId, types::Phase};
use crate::ids::{EntryIndex, Level, Mfn, Pfn};
use crate::machine::Machine;
use crate::sync::Held;

use super::batch::{self, BatchArgs, BatchEnd};
use super::entry::Exchange;
use super::error::PagingError;
use super::layout;
use super::tables::{Source, Step, Tables};
use super::world::{Call, Party, Right, World};

/// Whose tables and whose frames a call is about.
struct Target<P> {
    tables: Party<P>,
    frames: Party<P>,
}

/// Carries out the call.
pub fn mmu_update<M: Machine, W: World, const TOP: u8>(
    call: Call<'_, M, W>,
    args: BatchArgs,
    held: &mut Held<'_, TOP>,
) -> BatchEnd {
    let resolve = || {
        let [a, b, c, d, ..] = args.domain.to_le_bytes();
        let tables = match u16::from_le_bytes([c, d]).checked_sub(1) {
            None => Party::Own,
            Some(domid) if domid == call.world.own_domid() => Party::Own,
            Some(domid) => call.peer(domid)?,
        };
        Ok(Target {
            tables,
            frames: call.party(u16::from_le_bytes([a, b]))?,
        })
    };
    batch::run(
        call,
        args,
        held,
        resolve,
        |target, request: &MmuUpdate, held| {
            let number = request.ptr >> 12;
            let how = match request.ptr & 7 {
                MMU_NORMAL_PT_UPDATE | MMU_PT_UPDATE_NO_TRANSLATE => Exchange::Plain,
                MMU_PT_UPDATE_PRESERVE_AD => Exchange::KeepAccessedDirty,
                MMU_MACHPHYS_UPDATE => {
                    return target.set_pfn(call, number, Pfn::new(request.val));
                }
                _ => return Err(PagingError::Unknown),
            };
            let change = Change {
                number,
                index: EntryIndex::of_address(request.ptr),
                value: request.val,
                how,
            };
            target.update(call, &change, held)
        },
    )
}

/// One change of an entry, or of data that a guest treats as one.
struct Change {
    number: u64,
    index: EntryIndex,
    value: u64,
    how: Exchange,
}

impl<P: core::ops::Deref<Target = DomainMemory>> Target<P> {
    fn update<M: Machine, W: World, const TOP: u8>(
        &self,
        call: Call<'_, M, W>,
        change: &Change,
        held: &mut Held<'_, TOP>,
    ) -> Result<Step<()>, PagingError> {
        let domain: &DomainMemory = match &self.tables {
            Party::Own => call.domain,
            Party::Peer(peer, Right::Granted) => peer,
            Party::Peer(_, Right::Missing) | Party::Device | Party::Hypervisor => {
                return Err(PagingError::NoRight);
            }
        };
        let owner_of_frames = match &self.frames {
            Party::Own => Some(call.domain.owner()),
            Party::Device => None,
            Party::Peer(peer, Right::Granted) => Some(peer.owner()),
            Party::Peer(_, Right::Missing) | Party::Hypervisor => return Err(PagingError::NoRight),
        };
        let source = match owner_of_frames {
            None => Source::Device,
            Some(owner) if owner == domain.owner() => Source::Own,
            Some(owner) => Source::Foreign(owner),
        };
        Tables::lock(call.ram, domain, call.vcpu, held)
            .0
            .update(change, source)
    }

    fn set_pfn<M: Machine, W: World>(
        &self,
        call: Call<'_, M, W>,
        number: u64,
        pfn: Pfn,
    ) -> Result<Step<()>, PagingError> {
        let owner: OwnerId = match (&self.tables, &self.frames) {
            (Party::Own, Party::Own) => call.domain.owner(),
            (Party::Own, Party::Peer(peer, Right::Granted)) => peer.owner(),
            // Neither has frames of RAM.
            (Party::Own, Party::Device | Party::Hypervisor) => return Err(PagingError::NotTable),
            _ => return Err(PagingError::NoRight),
        };
        // Held meanwhile: a frame that is freed has no number afterwards (I30).
        let frame = call
            .ram
            .reference(owner, number)
            .map_err(|_| PagingError::NotTable)?;
        call.ram
            .set_pfn(owner, frame.mfn(), pfn)
            .map_err(|_| PagingError::NoMemory)?;
        Ok(Step::Done(()))
    }
}

impl<M: Machine> Tables<'_, M> {
    #[inline(always)]
    fn update(&self, change: &Change, source: Source) -> Result<Step<()>, PagingError> {
        match self.checked_slot(change.number, change.index) {
            Ok(slot) => self
                .update_leaf(slot, change.value, change.how, source)
                .map(Step::Done),
            Err(_) => self.update_other(change, source),
        }
    }

    /// As [`Self::update`], where the frame is no L1 table.
    #[inline(never)]
    fn update_other(&self, change: &Change, source: Source) -> Result<Step<()>, PagingError> {
        let owned = self.ram.frames.owned(change.number, self.domain.owner());
        let (table, state) = owned.ok_or(PagingError::NotTable)?;
        match (state.phase, state.kind) {
            (Phase::Valid, FrameType::Table(level)) => {
                let below = level.below().ok_or(PagingError::NotTable)?;
                if source != Source::Own {
                    return Err(PagingError::ForeignTable);
                }
                if level == Level::L4 && layout::is_hypervisor_slot(change.index) {
                    return Err(PagingError::HypervisorSlot);
                }
                let slot = self.slot(table, change.index);
                self.update_table(slot, level, below, change.value, change.how)
            }
            (Phase::Idle, _) | (_, FrameType::Writable) => {
                self.store(table, change).map(Step::Done)
            }
            (_, FrameType::None | FrameType::Descriptor | FrameType::Table(_)) => {
                Err(PagingError::NotTable)
            }
        }
    }

    /// A store to what is no table: an unpinned "table" under construction.
    fn store(&self, frame: Mfn, change: &Change) -> Result<(), PagingError> {
        let writable = self
            .ram
            .reference(self.domain.owner(), frame.get())
            .and_then(crate::frame::FrameRef::writable)
            .map_err(|_| PagingError::NotTable)?;
        self.ram
            .machine
            .write_entry(writable.mfn(), change.index, change.value);
        Ok(())
    }
}
