//! `cargo xtask iso`: hypervisor and dom0 as an image that GRUB boots, from a CD or a USB stick.

use std::path::PathBuf;
use std::process::ExitCode;

use anyhow::Result;

use crate::build::bare;
use crate::build::bundle::Bundle;
use crate::build::iso::Iso;
use crate::setup::{packages, toolchain};
use crate::workspace::Workspace;

/// Where the image goes, and what it boots with.
#[derive(Debug, clap::Args)]
pub(crate) struct Options {
    /// The image's file.
    #[arg(long, default_value = "target/paravane.iso", value_name = "FILE")]
    output: PathBuf,
    /// The hypervisor's command line.
    #[arg(long, default_value = "", value_name = "WORDS")]
    append: String,
}

/// Sets up, builds, and writes the image.
pub(crate) fn run(workspace: &Workspace, options: &Options) -> Result<ExitCode> {
    packages::ensure(workspace, &[packages::ISO])?;
    let images = bare::build(workspace, toolchain::ensure(workspace)?)?;
    let iso = Iso {
        hypervisor: images.hypervisor(),
        append: options.append.clone(),
        bundle: Bundle::dom0(workspace, &images)?,
    };
    let output = workspace.root().join(&options.output);
    iso.write(workspace, &output)?;
    println!("iso: {}", output.display());
    Ok(ExitCode::SUCCESS)
}
