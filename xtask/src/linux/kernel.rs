//! Debian's kernels, byte for byte as shipped.

use std::fs;
use std::path::PathBuf;

use anyhow::{Context, Result};

use crate::setup::peers;
use crate::workspace::Workspace;

/// Debian's builds of one kernel.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Flavour {
    /// For any machine.
    Usual,
    /// For virtual machines, with fewer drivers.
    Cloud,
}

impl Flavour {
    /// The package that always depends on the current build.
    pub(crate) fn package(self) -> &'static str {
        match self {
            Self::Usual => peers::LINUX,
            Self::Cloud => peers::LINUX_CLOUD,
        }
    }
}

/// The bzImage of a flavour's current kernel, downloaded if it must be.
pub(crate) fn ensure(workspace: &Workspace, flavour: Flavour) -> Result<PathBuf> {
    let boot = peers::linux(workspace, flavour.package())?.join("boot");
    fs::read_dir(&boot)
        .with_context(|| format!("cannot list {}", boot.display()))?
        .filter_map(|entry| entry.ok().map(|entry| entry.path()))
        .find(|path| {
            path.file_name()
                .is_some_and(|name| name.to_string_lossy().starts_with("vmlinuz-"))
        })
        .with_context(|| format!("{} has no kernel", flavour.package()))
}
