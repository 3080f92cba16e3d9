//! What a domain is made from.

use alloc::{
    string::{String, ToString},
    sync::Arc,
    vec::Vec,
};
use hypercall_abi::start::MAX_GUEST_CMDLINE;
use kernel_image::{ImageError, Kind, Layout, LayoutError, LoadPlan};
use thiserror::Error;

/// A kernel that has been read and understood, its ramdisk and its command line.
#[derive(Clone, Debug)]
pub struct Recipe {
    kernel: Arc<Vec<u8>>,
    ramdisk: Option<Arc<Vec<u8>>>,
    cmdline: String,
    plan: LoadPlan,
    minimum_frames: u64,
}

/// Why nothing can be made from it.
#[derive(Clone, Copy, PartialEq, Eq, Debug, Error)]
pub enum RecipeError {
    /// The kernel cannot be loaded.
    #[error(transparent)]
    Image(#[from] ImageError),
    /// It can, but not with this ramdisk or not in an ordinary domain.
    #[error(transparent)]
    Layout(#[from] LayoutError),
    /// A command line that the start page has no room for.
    #[error("the command line has {0} bytes, and a kernel can be given {max}", max = MAX_GUEST_CMDLINE - 1)]
    CommandLine(usize),
}

impl Recipe {
    /// Reads a kernel.
    ///
    /// # Errors
    /// Why a domain cannot be made from it.
    pub fn new(
        kernel: Arc<Vec<u8>>,
        ramdisk: Option<Arc<Vec<u8>>>,
        cmdline: &str,
    ) -> Result<Self, RecipeError> {
        if cmdline.len() >= MAX_GUEST_CMDLINE {
            return Err(RecipeError::CommandLine(cmdline.len()));
        }
        let plan = kernel_image::plan(&kernel)?;
        let ramdisk_bytes = length(ramdisk.as_deref());
        let minimum_frames = kernel_image::minimum_pages(&plan, ramdisk_bytes, Kind::Domain)?;
        Ok(Self {
            kernel,
            ramdisk,
            cmdline: cmdline.to_string(),
            plan,
            minimum_frames,
        })
    }

    /// Frames that a domain needs at least to be built from this.
    #[must_use]
    pub const fn minimum_frames(&self) -> u64 {
        self.minimum_frames
    }

    /// The command line.
    #[must_use]
    pub fn cmdline(&self) -> &str {
        &self.cmdline
    }

    pub(super) const fn plan(&self) -> &LoadPlan {
        &self.plan
    }

    pub(super) fn kernel(&self) -> &[u8] {
        &self.kernel
    }

    pub(super) fn ramdisk(&self) -> &[u8] {
        self.ramdisk.as_deref().map_or(&[], Vec::as_slice)
    }

    /// Where everything lies in a domain of so many frames.
    pub(super) fn layout(&self, frames: u64) -> Result<Layout, LayoutError> {
        kernel_image::layout(
            &self.plan,
            frames,
            length(self.ramdisk.as_deref()),
            Kind::Domain,
        )
    }
}

fn length(ramdisk: Option<&Vec<u8>>) -> u64 {
    ramdisk.map_or(0, |bytes| u64::try_from(bytes.len()).unwrap_or(u64::MAX))
}
