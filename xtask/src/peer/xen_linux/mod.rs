//! Debian's Xen with ordinary domains: Linux is the first domain, Xen's own tools manage the others.
//!
//! Nothing is installed. Kernel, tools and libraries are unpacked from packages under `target/peers`. A
//! [`session::Session`] packs what a first domain needs of them ([`tree`]), the guests' files and a script, boots QEMU,
//! and returns what the script left: the consoles of the guests and its own words.

pub(crate) mod guest;
pub(crate) mod session;
mod tree;

use std::path::PathBuf;

use anyhow::{Result, anyhow};

use crate::build::file;
use crate::linux::kernel::{self, Flavour};
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
            // Xen starts an ELF at once, and needs seconds to unpack another.
            let packed = kernel::ensure(workspace, Flavour::Usual)?;
            let elf = dom0ctl::image::read_kernel(&packed)
                .map_err(|failure| anyhow!("cannot unpack {}: {failure:?}", packed.display()))?;
            file::write_whole(&kernel, &elf)?;
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
