//! The end of a domain's memory, in bounded steps (pv-abi 4.6 P8).
//!
//! First the roots and descriptor pages of all vCPUs, then, frame by frame, pins, partial tables and the allocation itself:
//! the domain's M2P view leads to its frames, so this takes as long as the domain is large, not the machine.
//! There are no linear tables, so that order takes down every tree. What others still map stays until they unmap it; the
//! M2P view goes last, when no frame of the domain's own is left that it could describe. Progress is this value and the frames themselves.

use crate::domain::account::DomainMemory;
use crate::frame::{Ram, types::Phase};
use crate::ids::Mfn;
use crate::machine::Machine;
use crate::sync::Held;

use super::tables::{Step, Tables};
use super::vcpu::{Pending, VcpuMemory};

/// Frames between two preemption checks where there is little to do for each.
const STRIDE: u32 = 256;

/// Frames that a page of a view is for.
const VIEW_PAGE: u64 = 512;

/// How far the end of a domain's memory has come.
#[derive(Debug, Default)]
pub struct Teardown {
    vcpus_done: bool,
    /// Whether all frames are looked at, not only those that the domain's view tells of.
    all: bool,
    /// The frame to look at next.
    next: u64,
    /// Up to there the view has a page.
    page_end: u64,
    pending: Pending,
}

/// What is left to do.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[must_use]
pub enum Remains {
    /// More steps.
    Work,
    /// Nothing but what others hold: shared pages, and frames that others map.
    Others,
    /// Nothing: the account can be closed.
    Nothing,
}

impl Teardown {
    /// Nothing is done yet.
    #[must_use]
    pub fn new() -> Self {
        Self::default()
    }

    /// Does a part of the work. The account is marked as dying, no vCPU of the domain runs or will run, and no CPU has one
    /// of its roots loaded. With [`Remains::Others`] call again when a shared page or a foreign mapping is gone.
    pub fn step<M: Machine, const TOP: u8>(
        &mut self,
        ram: Ram<'_, M>,
        domain: &DomainMemory,
        vcpus: impl Iterator<Item = impl core::ops::Deref<Target = VcpuMemory>>,
        held: &mut Held<'_, TOP>,
    ) -> Remains {
        let Some(account) = domain.account(ram.frames) else {
            return Remains::Nothing;
        };
        debug_assert!(account.is_dying(), "only a dying domain is taken down");
        if !self.vcpus_done {
            let (tables, _held) = Tables::with_pending(ram, domain, &self.pending, held);
            for vcpu in vcpus {
                tables.drop_roots(&vcpu);
                tables.drop_descriptors(&vcpu);
                // The frames that it names are partial, and found by the walk.
                while let Some(mfn) = vcpu.pending.first(ram.frames) {
                    vcpu.pending.forget(mfn, ram.frames);
                }
            }
            self.vcpus_done = true;
        }
        if account.total().get() != 0 && self.walk(ram, domain, held) == Step::Again {
            return Remains::Work;
        }
        if account.total().get() != 0 && !self.all {
            // Frames without a place in the view, if they are not others' to give back: the pool has them all.
            (self.all, self.next) = (true, 0);
            if self.walk(ram, domain, held) == Step::Again {
                return Remains::Work;
            }
        }
        // Whoever was charged before the domain was dying may be given its frames behind the walk: the next goes over all again.
        (self.next, self.page_end) = (0, 0);
        if account.total().get() != 0 {
            return Remains::Others;
        }
        // What the hypervisor shares with it needs no number any more; whoever ends that need not wait for the view then.
        if !ram.drop_view_step(domain.owner()) {
            Remains::Work
        } else if account.special().get() != 0 {
            Remains::Others
        } else {
            Remains::Nothing
        }
    }

    /// The frames that the domain may own, once.
    fn walk<M: Machine, const TOP: u8>(
        &mut self,
        ram: Ram<'_, M>,
        domain: &DomainMemory,
        held: &mut Held<'_, TOP>,
    ) -> Step<()> {
        let (tables, _held) = Tables::with_pending(ram, domain, &self.pending, held);
        let mut looked = 0_u32;
        while let Some(mfn) =
            next_candidate(ram, domain, &mut self.next, &mut self.page_end, self.all)
        {
            if tables.owns(mfn) && tables.end_frame(mfn) == Step::Again {
                return Step::Again;
            }
            self.next = mfn.get().saturating_add(1);
            looked = looked.wrapping_add(1);
            if looked.is_multiple_of(STRIDE) && ram.machine.preempt_due() {
                return Step::Again;
            }
        }
        Step::Done(())
    }
}

/// The next frame from `next` on that the domain may own: of those that its view has a page of its own for, or of all.
fn next_candidate<M: Machine>(
    ram: Ram<'_, M>,
    domain: &DomainMemory,
    next: &mut u64,
    page_end: &mut u64,
    all: bool,
) -> Option<Mfn> {
    loop {
        let found = ram.frames.next_frame(*next)?;
        if all || found.get() < *page_end {
            return Some(found);
        }
        let page = found.get() & !(VIEW_PAGE.wrapping_sub(1));
        let (first, _) = ram.next_view_page(domain.owner(), page, &mut 0)?;
        *next = found.get().max(first);
        *page_end = first.saturating_add(VIEW_PAGE);
    }
}

impl<M: Machine> Tables<'_, M> {
    /// Takes the pin, an unfinished state and the allocation from a frame of the domain.
    fn end_frame(&self, mfn: Mfn) -> Step<()> {
        let state = self.ram.frames.type_state(mfn);
        if state.pinned
            && let crate::frame::FrameType::Table(level) = state.kind
            && self.ram.clear_pin(mfn)
            && self.release_table(mfn, level) == Step::Again
        {
            return Step::Again;
        }
        if matches!(self.ram.frames.type_state(mfn).phase, Phase::Partial(_))
            && self.demote_partial(mfn) == Step::Again
        {
            return Step::Again;
        }
        // Shared pages refuse: whoever shares them ends that.
        let _shared = self
            .ram
            .end_allocation(self.domain.owner(), mfn.get())
            .is_err();
        Step::Done(())
    }
}
