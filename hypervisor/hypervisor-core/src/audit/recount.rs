//! The enumerators of references, one per kind, and the comparison.
//!
//! Counts are computed for as many frames at a time as there is memory for; each such window walks all tables once.

use alloc::vec::Vec;

use crate::frame::{FrameType, OwnerId, Ram, types::Phase};
use crate::heap;
use crate::ids::{EntryIndex, Frames, Level, Mfn};
use crate::machine::Machine;
use crate::paging::VcpuMemory;
use crate::paging::entry::Entry;
use crate::paging::layout;

use super::invariant::Breach;
use super::report::Report;

/// The fewest frames that are counted at a time.
const SMALLEST_WINDOW: usize = 1 << 12;

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
    /// Frames that hold records of a domain, its M2P view apart.
    fn records(&self, owner: OwnerId) -> Frames;
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

pub(super) struct Recount<'a, M: Machine> {
    pub(super) ram: Ram<'a, M>,
    /// Valid and partial tables, and how many of their entries hold references.
    tables: Vec<(Mfn, Level, u16)>,
    start: u64,
    window: Vec<Expected>,
    pub(super) report: Report,
}

/// Recounts everything. `None`: there was no memory for it.
pub fn audit<M: Machine>(ram: Ram<'_, M>, holders: &impl Holders) -> Option<Report> {
    let limit = ram.frames.limit().get();
    let mut recount = Recount {
        ram,
        tables: find_tables(ram)?,
        start: 0,
        window: make_window(usize::try_from(limit).ok()?)?,
        report: Report::default(),
    };
    recount.check_contents(holders);
    recount.check_sums(holders)?;
    while recount.start < limit {
        recount.window.fill(Expected::default());
        recount.count_frames();
        recount.count_entries();
        recount.count_holders(holders);
        recount.compare();
        recount.start = recount.end();
    }
    Some(recount.report)
}

/// Room for the counts of `frames` frames, or of as many as possible.
fn make_window(frames: usize) -> Option<Vec<Expected>> {
    let mut window = Vec::new();
    let mut length = frames;
    while heap::reserve_exact(&mut window, length).is_err() {
        length >>= 1;
        if length < SMALLEST_WINDOW {
            return None;
        }
    }
    window.resize(length, Expected::default());
    Some(window)
}

fn find_tables<M: Machine>(ram: Ram<'_, M>) -> Option<Vec<(Mfn, Level, u16)>> {
    let table = |mfn| {
        let state = ram.frames.type_state(mfn);
        let FrameType::Table(level) = state.kind else {
            return None;
        };
        match state.phase {
            Phase::Idle | Phase::Changing => None,
            Phase::Valid => Some((mfn, level, EntryIndex::COUNT)),
            Phase::Partial(index) => Some((mfn, level, index)),
        }
    };
    let mut tables = heap::list(frames(ram).filter_map(table).count()).ok()?;
    // Within the room reserved, even if a table was made meanwhile.
    let room = tables.capacity();
    tables.extend(frames(ram).filter_map(table).take(room));
    Some(tables)
}

/// All frames of the pool.
pub(super) fn frames<M: Machine>(ram: Ram<'_, M>) -> impl Iterator<Item = Mfn> {
    frames_from(ram, 0)
}

fn frames_from<M: Machine>(ram: Ram<'_, M>, start: u64) -> impl Iterator<Item = Mfn> {
    let next = move |mfn: &Mfn| ram.frames.next_frame(mfn.get().saturating_add(1));
    core::iter::successors(ram.frames.next_frame(start), next)
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

    /// One beyond the last frame of the window.
    fn end(&self) -> u64 {
        self.start
            .saturating_add(u64::try_from(self.window.len()).unwrap_or(1))
    }

    /// Allocations, pins and partial states.
    fn count_frames(&mut self) {
        let (ram, end) = (self.ram, self.end());
        for mfn in frames_from(ram, self.start).take_while(|mfn| mfn.get() < end) {
            let holding = ram.frames.holding(mfn);
            let state = ram.frames.type_state(mfn);
            if holding.allocated {
                self.expect(mfn, holding.special.then_some(FrameType::Writable));
            }
            if state.pinned {
                self.expect(mfn, Some(state.kind));
            }
            if matches!(state.phase, Phase::Partial(_)) {
                self.expect(mfn, Some(state.kind));
            }
        }
    }

    /// The entries of all tables.
    fn count_entries(&mut self) {
        for at in 0..self.tables.len() {
            let Some(&(table, level, below)) = self.tables.get(at) else {
                continue;
            };
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
        let (ram, end) = (self.ram, self.end());
        for mfn in frames_from(ram, self.start).take_while(|mfn| mfn.get() < end) {
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
}

/// The present entries of a table that are the guest's, below an index.
pub(super) fn present_entries<M: Machine>(
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
