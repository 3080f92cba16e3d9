//! What needs no counts of references: contents of tables and descriptor pages, accounts, sums, M2P views.

use alloc::vec::Vec;

use crate::frame::{FrameType, OwnerId, types::Phase};
use crate::heap;
use crate::ids::{EntryIndex, Frames, Level, Mfn};
use crate::machine::Machine;
use crate::paging::descriptor::is_allowed_as_it_is;
use crate::paging::entry::EntryRights;
use crate::paging::layout;

use super::invariant::Breach;
use super::recount::{Holders, Recount, frames, present_entries};

/// The frames of the shared M2P defaults.
const DEFAULTS: u64 = 3;

impl<M: Machine> Recount<'_, M> {
    /// Tables and descriptor pages hold only what they may.
    pub(super) fn check_contents(&mut self, holders: &impl Holders) {
        for mfn in frames(self.ram) {
            let state = self.ram.frames.type_state(mfn);
            if state.phase != Phase::Valid {
                continue;
            }
            match state.kind {
                FrameType::Table(level) => self.check_table(mfn, level, holders),
                FrameType::Descriptor => self.check_descriptors(mfn),
                FrameType::None | FrameType::Writable => {}
            }
        }
    }

    fn check_table(&mut self, mfn: Mfn, level: Level, holders: &impl Holders) {
        let owner = self.ram.frames.holding(mfn).owner;
        let devices = holders.has_devices(owner);
        let rights = EntryRights {
            devices,
            no_execute: self.ram.frames.no_execute(),
        };
        for (index, entry) in present_entries(self.ram, mfn, level, EntryIndex::COUNT) {
            let target = self.ram.frames.lookup(entry.frame_number());
            let leads_well = match (target, level.below()) {
                (None, Some(_)) => false,
                (None, None) => devices && self.ram.frames.is_device_memory(entry.frame_number()),
                (Some(target), Some(below)) => {
                    let state = self.ram.frames.type_state(target);
                    state.is_valid_table(below) && self.ram.frames.holding(target).owner == owner
                }
                (Some(target), None) => {
                    let owner = self.ram.frames.holding(target).owner;
                    owner != OwnerId::NONE && owner != OwnerId::HYPERVISOR
                }
            };
            if entry.normalise(level, rights) != Ok(entry) || !leads_well {
                let (index, value) = (index.get(), entry.0);
                self.report.add(Breach::Entry {
                    frame: mfn,
                    index,
                    value,
                });
            }
        }
        if level == Level::L4 {
            self.check_slots(mfn, owner);
        }
    }

    fn check_slots(&mut self, mfn: Mfn, owner: OwnerId) {
        let view = self.ram.frames.view_slot(owner);
        let fixed = self.ram.machine.hypervisor_slots();
        let wanted = core::iter::once(view).chain(fixed);
        for (index, wanted) in layout::hypervisor_slots().zip(wanted) {
            let value = self.ram.machine.read_entry(mfn, index);
            let blank_view = value == 0 && u64::from(index.get()) == layout::VIEW_SLOT;
            if value != wanted && !blank_view {
                let index = index.get();
                self.report.add(Breach::HypervisorSlot {
                    frame: mfn,
                    index,
                    value,
                });
            }
        }
    }

    fn check_descriptors(&mut self, mfn: Mfn) {
        for index in EntryIndex::all() {
            let value = self.ram.machine.read_entry(mfn, index);
            if !is_allowed_as_it_is(value) {
                let index = index.get();
                self.report.add(Breach::Descriptor {
                    frame: mfn,
                    index,
                    value,
                });
            }
        }
    }

    /// Accounts, conservation, views. `None`: there was no memory for it.
    pub(super) fn check_sums(&mut self, holders: &impl Holders) -> Option<()> {
        let table = self.ram.frames;
        let mut owners: Vec<(OwnerId, u64)> = heap::list(table.accounts().count()).ok()?;
        let room = owners.capacity();
        owners.extend(table.accounts().map(|(owner, _)| (owner, 0)).take(room));
        let mut hypervisor = 0_u64;
        for mfn in frames(self.ram) {
            let owner = table.holding(mfn).owner;
            if owner == OwnerId::HYPERVISOR {
                hypervisor = hypervisor.saturating_add(1);
            } else if let Some((_, count)) = owners.iter_mut().find(|(known, _)| *known == owner) {
                *count = count.saturating_add(1);
            }
        }
        let (mut owned, mut overhead) = (0_u64, 0_u64);
        for (owner, counted) in owners {
            let Some(account) = table.account(owner) else {
                continue;
            };
            let (domid, expected) = (account.domid(), Frames::new(counted));
            let found = account
                .total()
                .get()
                .saturating_add(account.special().get());
            if counted != found {
                let found = Frames::new(found);
                self.report.add(Breach::Account {
                    domid,
                    expected,
                    found,
                });
            }
            owned = owned.saturating_add(found);
            overhead = overhead.saturating_add(account.overhead().get());
            self.check_view(owner, domid, holders.records(owner), account.overhead());
        }
        let sum = table
            .free()
            .get()
            .saturating_add(owned)
            .saturating_add(hypervisor);
        let expected = table.total();
        if sum != expected.get() || hypervisor != overhead.saturating_add(DEFAULTS) {
            self.report.add(Breach::Conservation {
                expected,
                found: Frames::new(sum),
            });
        }
        Some(())
    }

    fn check_view(&mut self, owner: OwnerId, domid: u16, records: Frames, overhead: Frames) {
        let frames = self.ram.frames;
        let mut counted = records.get();
        let report = &mut self.report;
        self.ram.walk_view(
            owner,
            &mut |_| counted = counted.saturating_add(1),
            &mut |number| {
                let own = |mfn| frames.holding(mfn).owner == owner;
                if !frames.lookup(number).is_some_and(own) {
                    report.add(Breach::View { domid, number });
                }
            },
        );
        if counted != overhead.get() {
            let (expected, found) = (Frames::new(counted), overhead);
            self.report.add(Breach::Account {
                domid,
                expected,
                found,
            });
        }
    }
}
