//! Debian's Xen with ordinary domains: Linux is the first domain, Xen's own tools manage the others.
//!
//! Nothing is installed. Kernel, tools and libraries are unpacked from packages under `target/peers`. A
//! [`session::Session`] packs what a first domain needs of them ([`tree`]), the guests' files and a script, boots QEMU,
//! and returns what the script left: the consoles of the guests and its own words.

mod archive;
pub(crate) mod guest;
pub(crate) mod session;
mod tree;

use std::fs;
use std::path::{Path, PathBuf};

use anyhow::{Context, Result, anyhow};

use crate::peer::xen;
use crate::setup::peers;
use crate::workspace::Workspace;

/// Everything that the machine boots, unpacked.
#[derive(Debug, Clone)]
pub(crate) struct XenLinux {
    xen: PathBuf,
    kernel: PathBuf,
    linux: PathBuf,
    tools: PathBuf,
    scratch: PathBuf,
}

impl XenLinux {
    /// Downloads and unpacks what is not there yet.
    pub(crate) fn ensure(workspace: &Workspace) -> Result<Self> {
        let xen = xen::hypervisor(workspace)?;
        let scratch = workspace.output("oracle")?;
        let linux = peers::linux(workspace, peers::LINUX)?;
        let kernel = scratch.join("linux.elf");
        if !kernel.is_file() {
            let new = kernel.with_extension(format!("{}.new", std::process::id()));
            let context = || format!("cannot write {}", kernel.display());
            fs::write(&new, kernel_elf(&linux)?).with_context(context)?;
            fs::rename(&new, &kernel).with_context(context)?;
        }
        Ok(Self {
            xen,
            kernel,
            tools: peers::xen_tools(workspace)?,
            linux,
            scratch,
        })
    }
}

/// The kernel of an unpacked package as an ELF: Xen starts one at once, and needs seconds to unpack another.
pub(crate) fn kernel_elf(package: &Path) -> Result<Vec<u8>> {
    let boot = package.join("boot");
    let image = fs::read_dir(&boot)
        .with_context(|| format!("cannot list {}", boot.display()))?
        .filter_map(|entry| entry.ok().map(|entry| entry.path()))
        .find(|path| {
            path.file_name()
                .is_some_and(|name| name.to_string_lossy().starts_with("vmlinuz-"))
        })
        .with_context(|| format!("no kernel in {}", boot.display()))?;
    dom0ctl::image::read_kernel(&image)
        .map_err(|failure| anyhow!("{} cannot be unpacked: {failure:?}", image.display()))
}
