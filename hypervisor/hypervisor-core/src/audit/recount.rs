//! The recount: enumerators of references, one per kind, and the comparison, in steps beside running guests.
//!
//! It takes a window of frames at a time (`frame/tally.rs` says how counts stay true meanwhile):
//!
//! 1. *Scan*: every table is counted, a few at a time, under the lock of its owner's tables, which nobody else holds for
//!    long. The first window's scan looks at the contents as well.
//! 2. *Compare*: while all other CPUs stand still for a moment, a batch of frames is compared; what is in no table (roots,
//!    descriptor pages, registered areas, devices' mappings, pins, allocations) is counted in that moment.
//!
//! Each frame is compared in exactly one such moment, at which no operation is under way: so every comparison is exact,
//! whatever guests do before and after. At the last one the sums are checked, then views, then ports and grants.

use crate::domain::account::DomainMemory;
use crate::frame::{FrameType, OwnerId, Ram, tally::Change, types::Phase};
use crate::ids::{EntryIndex, Frames, Level, Mfn};
use crate::machine::Machine;
use crate::paging::{Tables, VcpuMemory, vcpu::Pending};
use crate::sync::Held;

use super::invariant::{Breach, Place};
use super::report::Report;

/// The fewest frames that are counted at a time on a machine that has more.
const SMALLEST_WINDOW: u64 = 1 << 12;
/// The most: nobody stands still for longer than it takes to forget the counts of so many.
const LARGEST_WINDOW: u64 = 1 << 18;

/// How much work is done at a time.
#[derive(Clone, Copy, Debug)]
pub struct Pace {
    /// One window is this part of all frames: what the counts cost in memory against how often tables are walked.
    pub windows: u64,
    /// Frames of one step of the scan.
    pub frames: usize,
    /// Tables of one step of the scan.
    pub tables: usize,
    /// Frames compared while other CPUs stand still.
    pub batch: u64,
}

impl Pace {
    /// Steps of some tens of microseconds, comparisons of less than a millisecond.
    pub const LIVE: Self = Self {
        windows: 8,
        frames: 512,
        tables: 4,
        batch: 8192,
    };
}

/// A recorded reference that is in no table.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Hold {
    /// A general reference: a read-only grant, a temporary hold.
    Read,
    /// A general and a writable one: a writable grant, a registered `vcpu_info`.
    Write,
}

/// Who holds references besides tables, pins and allocations, and how to make them hold still.
pub trait Holders {
    /// Calls `found` with every vCPU there is.
    fn for_each_vcpu(&self, found: &mut dyn FnMut(&VcpuMemory));
    /// Calls `found` with every frame held by a grant in use, a registered area, or anything else that is recorded.
    fn for_each_hold(&self, found: &mut dyn FnMut(Mfn, Hold));
    /// Frames that hold records of a domain, its M2P view apart.
    fn records(&self, owner: OwnerId) -> Frames;
    /// Calls `work` with the memory of the domain that `owner` means, if there is one.
    fn with_memory(&self, owner: OwnerId, work: &mut dyn FnMut(&DomainMemory));
    /// Runs `work`, which is short, while no other CPU is in the middle of an operation.
    fn stand_still(&self, work: &mut dyn FnMut());
    /// Checks what else belongs to the domain with the lowest number from `first` on. Gives the next number; `None` when
    /// there is no such domain.
    fn check_links(&self, _first: u16, _report: &mut Report) -> Option<u16> {
        None
    }
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Stage {
    Scan,
    Compare,
    Views,
    Links,
    Done,
}

/// A recount under way.
#[derive(Debug)]
pub struct Recount {
    pace: Pace,
    stage: Stage,
    /// The frame, or the domain, to look at next.
    next: u64,
    /// Whether the scan looks at contents.
    contents: bool,
    pub(super) view: super::views::Place,
    pub(super) report: Report,
}

/// Recounts everything in one go. `None`: there was no memory for it.
pub fn audit<M: Machine>(ram: Ram<'_, M>, holders: &impl Holders) -> Option<Report> {
    let mut recount = Recount::begin(ram, holders, Pace::LIVE)?;
    while !recount.step(ram, holders) {}
    Some(recount.report)
}

/// All frames of the pool from number `start` on.
pub(super) fn frames_from<M: Machine>(ram: Ram<'_, M>, start: u64) -> impl Iterator<Item = Mfn> {
    let next = move |mfn: &Mfn| ram.frames.next_frame(mfn.get().saturating_add(1));
    core::iter::successors(ram.frames.next_frame(start), next)
}

impl Recount {
    /// Begins a recount. `None`: there is no memory for it. Only one may be under way.
    pub fn begin<M: Machine>(ram: Ram<'_, M>, holders: &impl Holders, pace: Pace) -> Option<Self> {
        let limit = ram.frames.limit().get();
        let mut length = limit.div_ceil(pace.windows.max(1)).min(LARGEST_WINDOW);
        if pace.windows == Pace::LIVE.windows {
            length = length.max(SMALLEST_WINDOW.min(limit));
        }
        let reserved = |length: u64| {
            let length = usize::try_from(length).unwrap_or(usize::MAX);
            let mut counts = ram.frames.tally().counts();
            counts.reserve(length, ram.frames.owners())
        };
        while !reserved(length) {
            length >>= 1;
            if length < SMALLEST_WINDOW {
                return None;
            }
        }
        holders.stand_still(&mut || ram.frames.open_window(0));
        Some(Self {
            pace,
            stage: Stage::Scan,
            next: 0,
            contents: true,
            view: super::views::Place::default(),
            report: Report::default(),
        })
    }

    /// Gives up what is left to do.
    pub fn abandon<M: Machine>(self, ram: Ram<'_, M>, holders: &impl Holders) {
        holders.stand_still(&mut || ram.frames.close_window());
        ram.frames.tally().counts().reserve(0, 0);
    }

    /// What was found so far.
    #[must_use]
    pub const fn report(&self) -> &Report {
        &self.report
    }

    /// Does a bounded part of the work. True when all is done.
    pub fn step<M: Machine>(&mut self, ram: Ram<'_, M>, holders: &impl Holders) -> bool {
        match self.stage {
            Stage::Scan => self.scan(ram, holders),
            Stage::Compare => self.compare(ram, holders),
            Stage::Views => {
                if !self.view_step(ram, holders) {
                    (self.stage, self.next) = (Stage::Links, 0);
                }
            }
            Stage::Links => {
                let (mut next, report) = (None, &mut self.report);
                let first = u16::try_from(self.next).unwrap_or(u16::MAX);
                holders.stand_still(&mut || next = holders.check_links(first, report));
                match next {
                    Some(next) => self.next = next.into(),
                    None => self.stage = Stage::Done,
                }
            }
            Stage::Done => {}
        }
        self.stage == Stage::Done
    }

    /// Counts some tables.
    fn scan<M: Machine>(&mut self, ram: Ram<'_, M>, holders: &impl Holders) {
        let mut tables = 0_usize;
        for mfn in frames_from(ram, self.next).take(self.pace.frames) {
            self.next = mfn.get().saturating_add(1);
            let state = ram.frames.type_state(mfn);
            let of_interest = match state.kind {
                FrameType::Table(_) => state.phase != Phase::Idle,
                FrameType::Descriptor => self.contents && state.phase == Phase::Valid,
                FrameType::None | FrameType::Writable => false,
            };
            if of_interest {
                self.look_at(ram, holders, mfn);
                tables = tables.saturating_add(1);
                if tables >= self.pace.tables {
                    return;
                }
            }
        }
        if ram.frames.next_frame(self.next).is_none() {
            self.stage = Stage::Compare;
            self.next = ram.frames.tally().counts().first();
            self.contents = false;
        }
    }

    /// Counts a table, and looks at what is in it.
    fn look_at<M: Machine>(&mut self, ram: Ram<'_, M>, holders: &impl Holders, mfn: Mfn) {
        let mut known = false;
        holders.with_memory(ram.frames.holding(mfn).owner, &mut |memory| {
            let (pending, mut held) = (Pending::default(), Held::enter());
            let _locked = Tables::with_pending(ram, memory, &pending, &mut held);
            known = true;
            self.look_at_locked(ram, mfn, Some(memory));
        });
        if !known {
            // No domain has the frame: then nobody changes it as a table either.
            self.look_at_locked(ram, mfn, None);
        }
    }

    fn look_at_locked<M: Machine>(
        &mut self,
        ram: Ram<'_, M>,
        mfn: Mfn,
        memory: Option<&DomainMemory>,
    ) {
        // Read again: only now it stays what it is.
        let state = ram.frames.type_state(mfn);
        let below = match state.phase {
            Phase::Valid => EntryIndex::COUNT,
            Phase::Partial(index) => index,
            Phase::Idle | Phase::Changing => return,
        };
        if let FrameType::Table(level) = state.kind {
            ram.count_table(mfn, level, below);
        }
        if self.contents && state.phase == Phase::Valid {
            self.report.tables = self.report.tables.saturating_add(1);
            self.check_contents(ram, mfn, state.kind, memory);
        }
    }

    /// Compares some frames, all in one moment.
    fn compare<M: Machine>(&mut self, ram: Ram<'_, M>, holders: &impl Holders) {
        let limit = ram.frames.limit().get();
        let window = ram.frames.tally().counts().end().min(limit);
        let first = ram.frames.next_frame(self.next).map_or(window, Mfn::get);
        let end = first.saturating_add(self.pace.batch).min(window);
        self.next = end;
        holders.stand_still(&mut || {
            count_holders(ram, holders, first..end);
            let frames = frames_from(ram, first).take_while(|mfn| mfn.get() < end);
            frames.for_each(|mfn| self.compare_frame(ram, mfn));
            if end == limit {
                self.check_sums(ram);
                ram.frames.close_window();
            } else if end == window {
                // In the same moment: a change of owner between two windows would be missed.
                let first = ram.frames.next_frame(end).map_or(end, Mfn::get);
                ram.frames.open_window(first);
            }
        });
        if end == limit {
            ram.frames.tally().counts().reserve(0, 0);
            self.stage = Stage::Views;
        } else if end == window {
            (self.stage, self.next) = (Stage::Scan, 0);
        }
    }

    fn compare_frame<M: Machine>(&mut self, ram: Ram<'_, M>, mfn: Mfn) {
        let (holding, state) = (ram.frames.holding(mfn), ram.frames.type_state(mfn));
        let (counted, conflict) = {
            let mut counts = ram.frames.tally().counts();
            counts.count_owner(mfn, holding.owner);
            let conflict = counts.conflict.filter(|&(frame, _)| frame == mfn);
            let counted = counts.expected(mfn.get()).copied();
            (counted.unwrap_or_default(), conflict)
        };
        self.report.frames = self.report.frames.saturating_add(1);
        // An allocation; the pin and the partial state, which hold the type as well.
        let own = [state.pinned, matches!(state.phase, Phase::Partial(_))].map(u32::from);
        let shared = u32::from(holding.allocated && holding.special);
        let typed = own
            .iter()
            .fold(counted.typed.wrapping_add(shared), |n, &m| {
                n.wrapping_add(m)
            });
        let general = own
            .iter()
            .fold(counted.general, |n, &m| n.wrapping_add(m))
            .wrapping_add(holding.allocated.into());
        let kind = state.kind;
        let of_shared = holding.allocated && holding.special && kind != FrameType::Writable;
        let conflict = conflict
            .map(|(_, used)| used)
            .or(of_shared.then_some(FrameType::Writable));
        let at = || Place::of(ram, mfn);
        let past = state.pinned || state.count != 0 || holding.owner != OwnerId::NONE;
        if holding.count == 0 && counted.general == 0 && past {
            self.report.add(Breach::FreeFrame { at: at() });
            return;
        }
        if holding.count != general {
            let (at, expected, found) = (at(), general, holding.count);
            self.report.add(Breach::GeneralCount {
                at,
                expected,
                found,
            });
        }
        if state.phase == Phase::Changing {
            self.report.add(Breach::Changing { at: at() });
        } else if let Some(used) = conflict {
            self.report.add(Breach::TypeConflict {
                at: at(),
                kind,
                used,
            });
        } else if state.count != typed {
            let (at, expected, found) = (at(), typed, state.count);
            self.report.add(Breach::TypeCount {
                at,
                kind,
                expected,
                found,
            });
        }
    }
}

/// Roots and descriptor pages of vCPUs, registered areas, devices' mappings, of frames in a range.
fn count_holders<M: Machine>(
    ram: Ram<'_, M>,
    holders: &impl Holders,
    range: core::ops::Range<u64>,
) {
    let book = |mfn: Mfn, used| {
        if range.contains(&mfn.get()) {
            ram.book(mfn, used, Change::More);
        }
    };
    holders.for_each_vcpu(&mut |vcpu| {
        vcpu.for_each_root(ram.frames, &mut |mfn| {
            book(mfn, Some(FrameType::Table(Level::L4)));
        });
        vcpu.for_each_descriptor_page(ram.frames, &mut |mfn| {
            book(mfn, Some(FrameType::Descriptor));
        });
    });
    holders.for_each_hold(&mut |mfn, hold| {
        book(mfn, (hold == Hold::Write).then_some(FrameType::Writable));
    });
}
