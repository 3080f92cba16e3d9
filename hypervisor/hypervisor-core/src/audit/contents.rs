//! What tables and descriptor pages hold: only what they may.

use crate::domain::account::DomainMemory;
use crate::frame::{FrameType, OwnerId, Ram};
use crate::ids::{EntryIndex, Level, Mfn};
use crate::machine::Machine;
use crate::paging::count::present_entries;
use crate::paging::descriptor::is_allowed_as_it_is;
use crate::paging::entry::{Entry, EntryRights};
use crate::paging::layout;

use super::invariant::{Breach, Place};
use super::recount::Recount;

impl Recount {
    /// Looks at a valid table or descriptor page. Its owner's tables are locked.
    pub(super) fn check_contents<M: Machine>(
        &mut self,
        ram: Ram<'_, M>,
        mfn: Mfn,
        kind: FrameType,
        memory: Option<&DomainMemory>,
    ) {
        match kind {
            FrameType::Table(level) => {
                self.check_table(
                    ram,
                    mfn,
                    level,
                    memory.is_some_and(DomainMemory::has_devices),
                );
                if level == Level::L4 {
                    self.check_slots(ram, mfn);
                }
            }
            FrameType::Descriptor => self.check_descriptors(ram, mfn),
            FrameType::None | FrameType::Writable => {}
        }
    }

    fn check_table<M: Machine>(&mut self, ram: Ram<'_, M>, mfn: Mfn, level: Level, devices: bool) {
        let rights = EntryRights {
            devices,
            no_execute: ram.frames.no_execute(),
        };
        for (index, entry) in present_entries(ram, mfn, level, 0..EntryIndex::COUNT) {
            if entry.normalise(level, rights) != Ok(entry)
                || !leads_well(ram, mfn, entry, level, devices)
            {
                let (index, value) = (index.get(), entry.0);
                let at = Place::of(ram, mfn);
                self.report.add(Breach::Entry { at, index, value });
            }
        }
    }

    fn check_slots<M: Machine>(&mut self, ram: Ram<'_, M>, mfn: Mfn) {
        let view = ram.frames.view_slot(ram.frames.holding(mfn).owner);
        let wanted = core::iter::once(view).chain(ram.machine.hypervisor_slots());
        for (index, wanted) in layout::hypervisor_slots().zip(wanted) {
            let value = ram.machine.read_entry(mfn, index);
            let blank_view = value == 0 && u64::from(index.get()) == layout::VIEW_SLOT;
            if value != wanted && !blank_view {
                let index = index.get();
                let (at, expected) = (Place::of(ram, mfn), wanted);
                self.report.add(Breach::HypervisorSlot {
                    at,
                    index,
                    expected,
                    value,
                });
            }
        }
    }

    fn check_descriptors<M: Machine>(&mut self, ram: Ram<'_, M>, mfn: Mfn) {
        for index in EntryIndex::all() {
            let value = ram.machine.read_entry(mfn, index);
            if !is_allowed_as_it_is(value) {
                let index = index.get();
                let at = Place::of(ram, mfn);
                self.report.add(Breach::Descriptor { at, index, value });
            }
        }
    }
}

fn leads_well<M: Machine>(
    ram: Ram<'_, M>,
    table: Mfn,
    entry: Entry,
    level: Level,
    devices: bool,
) -> bool {
    let number = entry.frame_number();
    match (ram.frames.lookup(number), level.below()) {
        (None, Some(_)) => false,
        (None, None) => devices && ram.frames.is_device_memory(number),
        (Some(target), below) => {
            let owner = ram.frames.holding(target).owner;
            below.map_or(
                owner != OwnerId::NONE && owner != OwnerId::HYPERVISOR,
                |below| {
                    let state = ram.frames.type_state(target);
                    state.is_valid_table(below) && owner == ram.frames.holding(table).owner
                },
            )
        }
    }
}
