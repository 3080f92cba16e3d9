//! Debian's Linux as a guest: its kernel as shipped, a RAM disk made here, and the talk with the shell in it.
//!
//! - [`compare`]: how long a boot takes here and on Xen;
//! - [`kernel`]: the packages, downloaded and unpacked under `target/peers`;
//! - [`grub`]: a first kernel that starts the second;
//! - [`initramfs`]: busybox, an init and what else a case wants, as one packed archive;
//! - [`programs`]: programs written here that a guest runs;
//! - [`shell`]: commands typed on a guest's console and what they print.

pub(crate) mod compare;
pub(crate) mod grub;
pub(crate) mod initramfs;
pub(crate) mod kernel;
pub(crate) mod programs;
pub(crate) mod shell;

use std::process::ExitCode;

use anyhow::Result;

use crate::linux::initramfs::Initramfs;
use crate::linux::kernel::Flavour;
use crate::workspace::Workspace;

/// `cargo xtask linux`: makes what a Linux guest needs, and prints the line that starts one.
pub(crate) fn run(workspace: &Workspace) -> Result<ExitCode> {
    let kernel = kernel::ensure(workspace, Flavour::Usual)?;
    let ramdisk = Initramfs::with_busybox(workspace)?.write(workspace, "shell")?;
    println!(
        "cargo run -q -p dom0ctl -- create --name deb --kernel {} --ramdisk {} --memory 256MiB --max-memory 512MiB \
         --vcpus 2 --max-vcpus 4 --cmdline \"console=hvc0\"",
        kernel.display(),
        ramdisk.display()
    );
    Ok(ExitCode::SUCCESS)
}
