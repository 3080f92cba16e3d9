//! GRUB as a guest's kernel: it has the real kernel and its RAM disk inside, builds new page tables for them by hypercalls
//! and jumps, so that a domain's second kernel starts in a domain that has been used.

use std::fs;
use std::path::{Path, PathBuf};

use anyhow::{Context, Result};

use crate::child::Call;
use crate::setup::peers;
use crate::workspace::Workspace;

/// What GRUB does without asking.
const SCRIPT: &str = "linux (memdisk)/kernel console=hvc0\ninitrd (memdisk)/ramdisk\nboot\n";

/// Makes a GRUB that starts this kernel with this RAM disk.
pub(crate) fn image(workspace: &Workspace, kernel: &Path, ramdisk: &Path) -> Result<PathBuf> {
    let modules = peers::ensure(workspace, peers::GRUB_XEN)?.join("usr/lib/grub/x86_64-xen");
    let directory = workspace.output("linux")?;
    let (script, image) = (directory.join("grub.cfg"), directory.join("grub.elf"));
    fs::write(&script, SCRIPT).with_context(|| format!("cannot write {}", script.display()))?;
    Call::new("grub-mkstandalone")
        .args(["-O", "x86_64-xen", "--modules=linux xzio gzio", "-d"])
        .arg(modules)
        .arg("-o")
        .arg(&image)
        .arg(format!("boot/grub/grub.cfg={}", script.display()))
        .arg(format!("kernel={}", kernel.display()))
        .arg(format!("ramdisk={}", ramdisk.display()))
        .logged(&workspace.log("build-linux-grub")?)?;
    Ok(image)
}
