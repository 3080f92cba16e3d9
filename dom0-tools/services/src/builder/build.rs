//! A build under way: frames first, then contents, then what makes a domain of them.

use super::{
    Recipe,
    pages::{Inputs, Run, runs, to_len},
};
use crate::{
    DomId,
    control::{Host, HostError, Ring},
};
use alloc::{boxed::Box, sync::Arc, vec::Vec};
use hypercall_abi::{RawMfn, RawPort, vcpu::VcpuGuestContext};
use kernel_image::{Layout, LayoutError, Rings, first_context};
use thiserror::Error;
use zerocopy::FromZeros;

/// Frames given in one step.
const FRAMES_PER_STEP: usize = 1024;
/// Pages written in one step: a MiB.
const PAGES_PER_STEP: u64 = 256;

/// Why a build failed.
#[derive(Clone, Copy, PartialEq, Eq, Debug, Error)]
pub enum BuildError {
    /// The hypervisor refused something.
    #[error(transparent)]
    Host(#[from] HostError),
    /// The domain is too small, or nothing fits.
    #[error(transparent)]
    Layout(#[from] LayoutError),
    /// Memory ran out, although there was enough at first.
    #[error("the hypervisor gave {got} of {wanted} frames")]
    Frames {
        /// Frames given.
        got: usize,
        /// Frames wanted.
        wanted: usize,
    },
}

/// How far a step got.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Step {
    /// There is more to do.
    More,
    /// The domain is ready to be told of and unpaused.
    Done(Built),
}

/// What a finished domain's servers need to know.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct Built {
    /// The domain's port for its console.
    pub console_port: u32,
    /// The frame of its console ring.
    pub console_frame: u64,
    /// The domain's port for the xenstore.
    pub store_port: u32,
    /// The frame of its xenstore ring.
    pub store_frame: u64,
}

/// A build under way.
#[derive(Debug)]
pub struct Build {
    domain: DomId,
    recipe: Arc<Recipe>,
    layout: Layout,
    shared_info: RawMfn,
    rings: Rings,
    /// Frames given so far, by page.
    frames: Vec<u64>,
    runs: Vec<Run>,
    /// Pages written of the first run that is left.
    written: u64,
}

impl Build {
    /// Begins to fill a domain that has just been created.
    ///
    /// # Errors
    /// The domain is too small, or the hypervisor gives no ports.
    pub fn begin(
        host: &mut impl Host,
        domain: DomId,
        shared_info: RawMfn,
        recipe: Arc<Recipe>,
        frames: u64,
    ) -> Result<Self, BuildError> {
        let layout = recipe.layout(frames)?;
        let rings = Rings {
            xenstore_port: RawPort(host.alloc_port(domain)?),
            console_port: RawPort(host.alloc_port(domain)?),
        };
        let mut runs = runs(&recipe, &layout);
        // Taken from the end.
        runs.reverse();
        Ok(Self {
            domain,
            layout,
            shared_info,
            rings,
            frames: Vec::with_capacity(to_len(frames)),
            runs,
            written: 0,
            recipe,
        })
    }

    /// Does a bounded part of what is left.
    ///
    /// # Errors
    /// What went wrong; the domain is to be destroyed then.
    pub fn step(&mut self, host: &mut impl Host) -> Result<Step, BuildError> {
        let wanted = to_len(self.layout.nr_pages);
        if self.frames.len() < wanted {
            self.add_frames(host, wanted)?;
            return Ok(Step::More);
        }
        if let Some(run) = self.runs.last() {
            let count = (run.count - self.written).min(PAGES_PER_STEP);
            self.write(host, run, count)?;
            self.written += count;
            if self.written == run.count {
                self.runs.pop();
                self.written = 0;
            }
            return Ok(Step::More);
        }
        self.finish(host).map(Step::Done)
    }

    /// Frames given, of all; for progress.
    #[must_use]
    pub fn frames_given(&self) -> u64 {
        u64::try_from(self.frames.len()).unwrap_or(u64::MAX)
    }

    fn add_frames(&mut self, host: &mut impl Host, wanted: usize) -> Result<(), BuildError> {
        let have = self.frames.len();
        let first = self.frames_given();
        let more = (wanted - have).min(FRAMES_PER_STEP);
        let mut list: Vec<u64> = (first..).take(more).collect();
        let got = host.populate(self.domain, &mut list);
        if got < more {
            return Err(BuildError::Frames {
                got: have + got,
                wanted,
            });
        }
        self.frames.extend(list);
        Ok(())
    }

    fn write(&self, host: &mut impl Host, run: &Run, count: u64) -> Result<(), BuildError> {
        let contents = self.inputs().contents(run, self.written, count);
        let start = to_len(run.pfn + self.written);
        let frames = self
            .frames
            .get(start..)
            .and_then(|frames| frames.get(..to_len(count)));
        host.write_frames(self.domain, frames.unwrap_or(&[]), &contents)?;
        Ok(())
    }

    fn finish(&self, host: &mut impl Host) -> Result<Built, BuildError> {
        let frame_of = |pfn: u64| self.frames.get(to_len(pfn)).copied().unwrap_or(u64::MAX);
        let ring_frame =
            |page: Option<kernel_image::Page>| page.map_or(u64::MAX, |page| frame_of(page.pfn));
        let (console_frame, store_frame) = (
            ring_frame(self.layout.console),
            ring_frame(self.layout.xenstore),
        );
        host.seed_grant(self.domain, Ring::Console, console_frame)?;
        host.seed_grant(self.domain, Ring::Store, store_frame)?;
        let root = frame_of(self.layout.root.pfn);
        host.pin_root(self.domain, root)?;
        // 5 KiB: on the heap, stacks are small.
        let mut context: Box<VcpuGuestContext> = new_context();
        first_context(&mut context, self.recipe.plan(), &self.layout, RawMfn(root));
        host.set_context(self.domain, 0, &context)?;
        Ok(Built {
            console_port: self.rings.console_port.0,
            console_frame,
            store_port: self.rings.xenstore_port.0,
            store_frame,
        })
    }

    fn inputs(&self) -> Inputs<'_> {
        Inputs {
            recipe: &self.recipe,
            layout: &self.layout,
            frames: &self.frames,
            shared_info: self.shared_info,
            rings: self.rings,
        }
    }
}

fn new_context() -> Box<VcpuGuestContext> {
    Box::new(VcpuGuestContext::new_zeroed())
}
