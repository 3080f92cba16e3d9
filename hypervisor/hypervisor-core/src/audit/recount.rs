//! The enumerators of references, one per kind, and the comparison.
//!
//! Counts of a window of frames are computed at a time, so that the memory needed is bounded; each window walks all tables.

use alloc::vec::Vec;

use crate::frame::{FrameType, OwnerId, Ram, types::Phase};
use crate::ids::{EntryIndex, Frames, Level, Mfn};
use crate::machine::Machine;
use crate::paging::VcpuMemory;
use crate::paging::descriptor::is_allowed_as_it_is;
use crate::paging::entry::{Entry, EntryRights};
use crate::paging::layout;

use super::invariant::Breach;
use super::report::Report;

/// Frames counted at a time.
const WINDOW: usize = 1 << 16;

/// A recorded reference that is in no table.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Hold {
    /// A general reference: a read-only grant, a temporary hold.
    Read,
    /// A general and a writable one: a writable grant, a registered `vcpu_info`.
    Write,
}

/// Who holds references besides tables, pins and allocations.
pub trait Holders {
    /// Calls `found` with every vCPU there is.
    fn for_each_vcpu(&self, found: &mut dyn FnMut(&VcpuMemory));
    /// Calls `found` with every frame held by a grant in use, a registered area, or anything else that is recorded.
    fn for_each_hold(&self, found: &mut dyn FnMut(Mfn, Hold));
    /// Whether a domain may map device memory.
    fn has_devices(&self, owner: OwnerId) -> bool;
}

/// What the references of a frame add up to.
#[derive(Clone, Copy, Default)]
struct Expected {
    general: u32,
    typed: u32,
    /// The first use that is not the frame's type.
    conflict: Option<FrameType>,
}

struct Recount<'a, M: Machine> {
    ram: Ram<'a, M>,
    start: u64,
    window: Vec<Expected>,
    report: Report,
}

/// Recounts everything. `None`: there was no memory for a window.
pub fn audit<M: Machine>(ram: Ram<'_, M>, holders: &impl Holders) -> Option<Report> {
    let mut window = Vec::new();
    let length = usize::try_from(ram.frames.limit().get())
        .unwrap_or(WINDOW)
        .min(WINDOW);
    window.try_reserve_exact(length).ok()?;
    window.resize(length, Expected::default());
    let mut recount = Recount {
        ram,
        start: 0,
        window,
        report: Report::default(),
    };
    recount.check_contents(holders);
    recount.check_sums();
    while recount.start < ram.frames.limit().get() {
        recount.window.fill(Expected::default());
        recount.count_frames();
        recount.count_holders(holders);
        recount.compare();
        recount.start = recount
            .start
            .saturating_add(u64::try_from(length).unwrap_or(1));
    }
    Some(recount.report)
}

/// All frames of the pool.
fn frames<M: Machine>(ram: Ram<'_, M>) -> impl Iterator<Item = Mfn> {
    let next = move |mfn: &Mfn| ram.frames.next_frame(mfn.get().saturating_add(1));
    core::iter::successors(ram.frames.next_frame(0), next)
}

impl<M: Machine> Recount<'_, M> {
    fn expect(&mut self, mfn: Mfn, used: Option<FrameType>) {
        let at = mfn
            .get()
            .checked_sub(self.start)
            .and_then(|n| usize::try_from(n).ok());
        let Some(expected) = at.and_then(|at| self.window.get_mut(at)) else {
            return;
        };
        expected.general = expected.general.saturating_add(1);
        if let Some(used) = used {
            expected.typed = expected.typed.saturating_add(1);
            if self.ram.frames.type_state(mfn).kind != used {
                expected.conflict = Some(used);
            }
        }
    }

    /// Allocations, pins, partial states, and the entries of tables.
    fn count_frames(&mut self) {
        for mfn in frames(self.ram) {
            let holding = self.ram.frames.holding(mfn);
            let state = self.ram.frames.type_state(mfn);
            if holding.allocated {
                self.expect(mfn, holding.special.then_some(FrameType::Writable));
            }
            if state.pinned {
                self.expect(mfn, Some(state.kind));
            }
            let counted = match state.phase {
                Phase::Idle | Phase::Changing => 0,
                Phase::Valid => EntryIndex::COUNT,
                Phase::Partial(index) => {
                    self.expect(mfn, Some(state.kind));
                    index
                }
            };
            if let FrameType::Table(level) = state.kind {
                self.count_entries(mfn, level, counted);
            }
        }
    }

    fn count_entries(&mut self, table: Mfn, level: Level, below: u16) {
        for (_, entry) in present_entries(self.ram, table, level, below) {
            let Some(target) = self.ram.frames.lookup(entry.frame_number()) else {
                continue;
            };
            let used = match level.below() {
                Some(level) => Some(FrameType::Table(level)),
                None => entry.is_writable().then_some(FrameType::Writable),
            };
            self.expect(target, used);
        }
    }

    /// Roots and descriptor pages of vCPUs, grants, views, defaults of the views.
    fn count_holders(&mut self, holders: &impl Holders) {
        let ram = self.ram;
        holders.for_each_vcpu(&mut |vcpu| {
            vcpu.for_each_root(ram.frames, &mut |mfn| {
                self.expect(mfn, Some(FrameType::Table(Level::L4)));
            });
            vcpu.for_each_descriptor_page(ram.frames, &mut |mfn| {
                self.expect(mfn, Some(FrameType::Descriptor));
            });
        });
        holders.for_each_hold(&mut |mfn, hold| {
            self.expect(mfn, (hold == Hold::Write).then_some(FrameType::Writable));
        });
    }

    fn compare(&mut self) {
        for mfn in frames(self.ram) {
            let at = mfn
                .get()
                .checked_sub(self.start)
                .and_then(|n| usize::try_from(n).ok());
            let Some(&expected) = at.and_then(|at| self.window.get(at)) else {
                continue;
            };
            self.report.frames = self.report.frames.saturating_add(1);
            let holding = self.ram.frames.holding(mfn);
            let state = self.ram.frames.type_state(mfn);
            if holding.count != expected.general {
                let (expected, found) = (expected.general, holding.count);
                self.report.add(Breach::GeneralCount {
                    frame: mfn,
                    expected,
                    found,
                });
            }
            if let Some(used) = expected.conflict {
                self.report.add(Breach::TypeConflict {
                    frame: mfn,
                    kind: state.kind,
                    used,
                });
            } else if state.count != expected.typed {
                let (kind, expected, found) = (state.kind, expected.typed, state.count);
                self.report.add(Breach::TypeCount {
                    frame: mfn,
                    kind,
                    expected,
                    found,
                });
            }
            if state.phase == Phase::Changing {
                self.report.add(Breach::Changing { frame: mfn });
            }
            let past = state.pinned || state.count != 0 || holding.owner != OwnerId::NONE;
            if holding.count == 0 && past {
                self.report.add(Breach::FreeFrame { frame: mfn });
            }
        }
    }

    /// Tables and descriptor pages hold only what they may.
    fn check_contents(&mut self, holders: &impl Holders) {
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

    /// Accounts, conservation, views.
    fn check_sums(&mut self) {
        let frames_table = self.ram.frames;
        let mut owned = 0_u64;
        let mut overhead = 0_u64;
        for (owner, account) in frames_table.accounts() {
            let mine = |&mfn: &Mfn| frames_table.holding(mfn).owner == owner;
            let expected = frames(self.ram).filter(mine).count();
            let expected = Frames::new(u64::try_from(expected).unwrap_or(u64::MAX));
            let found = account
                .total()
                .get()
                .saturating_add(account.special().get());
            if expected.get() != found {
                let (domid, found) = (account.domid(), Frames::new(found));
                self.report.add(Breach::Account {
                    domid,
                    expected,
                    found,
                });
            }
            owned = owned.saturating_add(found);
            overhead = overhead.saturating_add(account.overhead().get());
            self.check_view(owner, account.domid(), account.overhead());
        }
        let hypervisor = |&mfn: &Mfn| frames_table.holding(mfn).owner == OwnerId::HYPERVISOR;
        let hypervisor = u64::try_from(frames(self.ram).filter(hypervisor).count()).unwrap_or(0);
        let sum = frames_table
            .free()
            .get()
            .saturating_add(owned)
            .saturating_add(hypervisor);
        let expected = frames_table.total();
        if sum != expected.get() || hypervisor != overhead.saturating_add(DEFAULTS) {
            self.report.add(Breach::Conservation {
                expected,
                found: Frames::new(sum),
            });
        }
    }

    fn check_view(&mut self, owner: OwnerId, domid: u16, overhead: Frames) {
        let ram = self.ram;
        let mut of_view = 0_u64;
        ram.for_each_of_view(owner, &mut |_| of_view = of_view.saturating_add(1));
        if of_view != overhead.get() {
            let (expected, found) = (Frames::new(of_view), overhead);
            self.report.add(Breach::Account {
                domid,
                expected,
                found,
            });
        }
        for mfn in frames(ram) {
            let foreign = ram.frames.holding(mfn).owner != owner;
            if foreign && ram.pfn(owner, mfn) != crate::ids::Pfn::NONE {
                self.report.add(Breach::View { domid, frame: mfn });
            }
        }
    }
}

/// The frames of the shared M2P defaults.
const DEFAULTS: u64 = 3;

/// The present entries of a table that are the guest's, below an index.
fn present_entries<M: Machine>(
    ram: Ram<'_, M>,
    table: Mfn,
    level: Level,
    below: u16,
) -> impl Iterator<Item = (EntryIndex, Entry)> {
    EntryIndex::all()
        .take_while(move |index| index.get() < below)
        .filter(move |&index| level != Level::L4 || !layout::is_hypervisor_slot(index))
        .map(move |index| (index, Entry(ram.machine.read_entry(table, index))))
        .filter(|(_, entry)| entry.is_present())
}
