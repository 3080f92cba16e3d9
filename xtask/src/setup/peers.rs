//! Programs of others that the tests run beside ours: Debian packages, downloaded and unpacked under `target/peers`.
//!
//! A package's directory appears by one rename when it is complete: what is there is whole, and a second run does
//! nothing.

use std::fs;
use std::path::PathBuf;

use anyhow::{Context, Result, bail};

use crate::child::Call;
use crate::setup::packages;
use crate::workspace::Workspace;

/// Debian's Xen, the reference for what guests see.
pub(crate) const XEN: &str = "xen-hypervisor-4.17-amd64";

/// All peers that tests use.
pub(crate) const ALL: &[&str] = &[XEN];

/// Where a peer is, or would be.
pub(crate) fn directory(workspace: &Workspace, package: &str) -> PathBuf {
    workspace.target().join("peers").join(package)
}

/// A peer's directory, downloaded if it must be.
pub(crate) fn ensure(workspace: &Workspace, package: &str) -> Result<PathBuf> {
    let there = directory(workspace, package);
    if there.is_dir() {
        return Ok(there);
    }
    println!("setup: download {package} and unpack it under target/peers");
    let scratch = workspace
        .output("peers")?
        .join(format!(".{package}.{}", std::process::id()));
    let outcome = fetch(workspace, package, &scratch).and_then(|()| {
        fs::rename(scratch.join("tree"), &there)
            .with_context(|| format!("cannot move {package} to {}", there.display()))
    });
    if scratch.exists() {
        fs::remove_dir_all(&scratch)
            .with_context(|| format!("cannot remove {}", scratch.display()))?;
    }
    outcome.map(|()| there)
}

fn fetch(workspace: &Workspace, package: &str, scratch: &std::path::Path) -> Result<()> {
    fs::create_dir_all(scratch).with_context(|| format!("cannot create {}", scratch.display()))?;
    let log = workspace.log(&format!("setup-peer-{package}"))?;
    // apt drops its rights for the download unless told not to, and then cannot write here.
    let download = Call::new("apt-get").directory(scratch).args([
        "-o",
        "APT::Sandbox::User=root",
        "download",
        package,
    ]);
    if let Err(first) = download.logged(&log) {
        if !rustix::process::geteuid().is_root() {
            return Err(first).context("run `sudo apt-get update` once, then try again");
        }
        packages::update_lists(workspace)?;
        download.logged(&log)?;
    }
    let archive = fs::read_dir(scratch)
        .context("cannot list the download")?
        .filter_map(|entry| entry.ok().map(|entry| entry.path()))
        .find(|path| path.extension().is_some_and(|extension| extension == "deb"));
    let Some(archive) = archive else {
        bail!("apt-get download {package} left no package");
    };
    Call::new("dpkg-deb")
        .arg("-x")
        .arg(archive)
        .arg(scratch.join("tree"))
        .logged(&log)
}
