//! The bare images: hypervisor, dom0 and the guest kernels, in one call of cargo of their own.
//!
//! Host packages are never named in the same call: cargo unifies the features of shared crates per call.

use std::path::{Path, PathBuf};

use anyhow::{Result, bail};

use crate::build::metadata::Metadata;
use crate::build::symbols;
use crate::child::Call;
use crate::setup::toolchain::{TARGET, Toolchain};
use crate::workspace::Workspace;

/// The bare images, built.
#[derive(Debug, Clone)]
pub(crate) struct Images {
    directory: PathBuf,
    kernels: Vec<String>,
    conformance: Vec<String>,
}

impl Images {
    /// The hypervisor.
    pub(crate) fn hypervisor(&self) -> PathBuf {
        self.directory.join("paravane")
    }

    /// The management domain.
    pub(crate) fn dom0(&self) -> PathBuf {
        self.directory.join("dom0")
    }

    /// One of the guest kernels.
    pub(crate) fn kernel(&self, name: &str) -> PathBuf {
        self.directory.join(name)
    }

    /// The names of the conformance suite's kernels.
    pub(crate) fn conformance(&self) -> &[String] {
        &self.conformance
    }

    /// The names of all guest kernels.
    pub(crate) fn kernels(&self) -> &[String] {
        &self.kernels
    }
}

/// A cargo call over all bare packages, with the release profile.
pub(crate) fn call(workspace: &Workspace, toolchain: Toolchain, subcommand: &str) -> Result<Call> {
    let metadata = Metadata::read(workspace)?;
    let mut call = toolchain.cargo(workspace, subcommand)?.arg("--release");
    for package in metadata.bare_members() {
        call = call.arg("-p").arg(package);
    }
    Ok(call)
}

/// Builds all bare images.
pub(crate) fn build(workspace: &Workspace, toolchain: Toolchain) -> Result<Images> {
    println!("build: hypervisor, dom0 and guest kernels");
    call(workspace, toolchain, "build")?.logged(&workspace.log("build-bare")?)?;
    let metadata = Metadata::read(workspace)?;
    let images = Images {
        directory: toolchain
            .target_directory(workspace)
            .join(TARGET)
            .join("release"),
        kernels: metadata.binaries("guest-kernels"),
        conformance: metadata.binaries("guest-conformance"),
    };
    for image in [images.hypervisor(), images.dom0()] {
        require(&image)?;
    }
    for kernel in images.kernels().iter().chain(images.conformance()) {
        require(&images.kernel(kernel))?;
    }
    symbols::fill(&images.hypervisor())?;
    Ok(images)
}

/// Builds the hypervisor that breaks its own invariants when it is asked to, apart from the one that is used. How fast it is
/// does not matter.
pub(crate) fn build_breaking(workspace: &Workspace, toolchain: Toolchain) -> Result<PathBuf> {
    println!("build: hypervisor that breaks invariants");
    let target = toolchain.target_directory(workspace).join("breach");
    let call = toolchain
        .cargo(workspace, "build")?
        .env("CARGO_PROFILE_RELEASE_LTO", "off")
        .env("CARGO_PROFILE_RELEASE_CODEGEN_UNITS", "16");
    call.args(["--release", "-p", "paravane", "--features", "breach"])
        .arg("--target-dir")
        .arg(&target)
        .logged(&workspace.log("build-breach")?)?;
    let image = target.join(TARGET).join("release").join("paravane");
    require(&image)?;
    symbols::fill(&image)?;
    Ok(image)
}

fn require(image: &Path) -> Result<()> {
    if !image.is_file() {
        bail!("the build left no {}", image.display());
    }
    Ok(())
}
