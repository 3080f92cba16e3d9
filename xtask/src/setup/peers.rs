//! Programs of others that the tests run beside ours: Debian packages, downloaded and unpacked under `target/peers`.
//!
//! A package's directory appears by one rename when it is complete: what is there is whole, and a second run does
//! nothing.

use std::fs;
use std::path::{Path, PathBuf};

use anyhow::{Context, Result, bail};

use crate::child::Call;
use crate::setup::packages;
use crate::workspace::Workspace;

/// Debian's Xen, the reference for what guests see.
pub(crate) const XEN: &str = "xen-hypervisor-4.17-amd64";

/// What a Linux first domain on Xen needs to manage ordinary domains: the tools, and every library that they load.
const XEN_TOOLS: (&str, &[&str]) = (
    "xen-tools-4.17",
    &[
        "bash",
        "busybox-static",
        "libbz2-1.0",
        "libc6",
        "libcom-err2",
        "libext2fs2",
        "libgcc-s1",
        "liblzma5",
        "libtinfo6",
        "libuuid1",
        "libxencall1",
        "libxendevicemodel1",
        "libxenevtchn1",
        "libxenforeignmemory1",
        "libxengnttab1",
        "libxenhypfs1",
        "libxenmisc4.17",
        "libxenstore4",
        "libxentoolcore1",
        "libxentoollog1",
        "libyajl2",
        "libzstd1",
        "xen-utils-4.17",
        "xenstore-utils",
        "zlib1g",
    ],
);

/// A program that keeps a Linux busy in many ways, and every library that it loads.
const STRESS_NG: (&str, &[&str]) = (
    "stress-ng",
    &[
        "libapparmor1",
        "libbsd0",
        "libc6",
        "libcrypt1",
        "libdrm2",
        "libegl1",
        "libexpat1",
        "libffi8",
        "libgbm1",
        "libgles2",
        "libglvnd0",
        "libipsec-mb1",
        "libjpeg62-turbo",
        "libjudydebian1",
        "libkmod2",
        "liblzma5",
        "libmd0",
        "libsctp1",
        "libssl3",
        "libwayland-server0",
        "libxxhash0",
        "libzstd1",
        "stress-ng",
        "zlib1g",
    ],
);

/// Debian's packages that name the newest kernel of a flavour; `cloud` cannot be Xen's first domain.
pub(crate) const LINUX: &str = "linux-image-amd64";

/// The same for virtual machines, with fewer drivers.
pub(crate) const LINUX_CLOUD: &str = "linux-image-cloud-amd64";

/// Debian's busybox, one program that needs no library.
pub(crate) const BUSYBOX: &str = "busybox-static";

/// GRUB's parts for being a PV kernel.
pub(crate) const GRUB_XEN: &str = "grub-xen-bin";

/// All peers that tests use.
pub(crate) const ALL: &[&str] = &[
    XEN,
    XEN_TOOLS.0,
    LINUX,
    LINUX_CLOUD,
    BUSYBOX,
    STRESS_NG.0,
    GRUB_XEN,
];

/// Where a peer is, or would be.
pub(crate) fn directory(workspace: &Workspace, name: &str) -> PathBuf {
    workspace.target().join("peers").join(name)
}

/// One package's directory, downloaded if it must be.
pub(crate) fn ensure(workspace: &Workspace, package: &str) -> Result<PathBuf> {
    ensure_all(workspace, package, || Ok(vec![package.to_owned()]))
}

/// The directory of Xen's tools and their libraries.
pub(crate) fn xen_tools(workspace: &Workspace) -> Result<PathBuf> {
    ensure_set(workspace, XEN_TOOLS)
}

/// The directory of `stress-ng` and its libraries.
pub(crate) fn stress_ng(workspace: &Workspace) -> Result<PathBuf> {
    ensure_set(workspace, STRESS_NG)
}

/// The directory of several packages.
fn ensure_set(workspace: &Workspace, (name, packages): (&str, &[&str])) -> Result<PathBuf> {
    ensure_all(workspace, name, || {
        Ok(packages.iter().map(|&package| package.to_owned()).collect())
    })
}

/// The directory of a Linux kernel and its modules, named by the package that depends on the newest of its flavour.
pub(crate) fn linux(workspace: &Workspace, flavour: &str) -> Result<PathBuf> {
    ensure_all(workspace, flavour, || {
        let listing = Call::new("apt-cache").args(["depends", flavour]).output()?;
        newest_kernel(&listing)
            .map(|package| vec![package.to_owned()])
            .with_context(|| format!("{flavour} names no kernel package"))
    })
}

/// The kernel package in what `apt-cache depends` says.
fn newest_kernel(listing: &str) -> Option<&str> {
    listing.lines().find_map(|line| {
        let package = line.trim().strip_prefix("Depends: ")?;
        package.starts_with("linux-image-").then_some(package)
    })
}

/// A directory with the files of packages, downloaded if it is not there; `packages` is asked for them only then.
fn ensure_all(
    workspace: &Workspace,
    name: &str,
    packages: impl Fn() -> Result<Vec<String>>,
) -> Result<PathBuf> {
    let there = directory(workspace, name);
    if there.is_dir() {
        return Ok(there);
    }
    println!("setup: download {name} and unpack it under target/peers");
    let scratch = workspace
        .output("peers")?
        .join(format!(".{name}.{}", std::process::id()));
    fs::create_dir_all(&scratch).with_context(|| format!("cannot create {}", scratch.display()))?;
    crate::child::remove_on_interrupt(&scratch, |path| {
        // This program ends here; who comes next removes nothing of ours, so try.
        fs::remove_dir_all(path).ok();
    });
    let outcome = fetch(workspace, name, &packages, &scratch).and_then(|()| {
        match fs::rename(scratch.join("tree"), &there) {
            // Another run was faster: what it unpacked is the same.
            Err(_) if there.is_dir() => Ok(()),
            moved => moved.with_context(|| format!("cannot move {name} to {}", there.display())),
        }
    });
    crate::child::keep_on_interrupt(&scratch);
    fs::remove_dir_all(&scratch).with_context(|| format!("cannot remove {}", scratch.display()))?;
    outcome.map(|()| there)
}

fn fetch(
    workspace: &Workspace,
    name: &str,
    packages: &impl Fn() -> Result<Vec<String>>,
    scratch: &Path,
) -> Result<()> {
    let log = workspace.log(&format!("setup-peer-{name}"))?;
    // apt drops its rights for the download unless told not to, and then cannot write here.
    let download = || -> Result<()> {
        Call::new("apt-get")
            .directory(scratch)
            .args(["-o", "APT::Sandbox::User=root", "download"])
            .args(packages()?)
            .logged(&log)
    };
    if let Err(first) = download() {
        if !rustix::process::geteuid().is_root() {
            return Err(first).context("run `sudo apt-get update` once, then try again");
        }
        packages::update_lists(workspace)?;
        download()?;
    }
    let archives: Vec<PathBuf> = fs::read_dir(scratch)
        .context("cannot list the download")?
        .filter_map(|entry| entry.ok().map(|entry| entry.path()))
        .filter(|path| path.extension().is_some_and(|extension| extension == "deb"))
        .collect();
    if archives.is_empty() {
        bail!("apt-get download {name} left no package");
    }
    for archive in archives {
        Call::new("dpkg-deb")
            .arg("-x")
            .arg(archive)
            .arg(scratch.join("tree"))
            .logged(&log)?;
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_newest_kernel_is_what_the_flavour_depends_on() {
        let listing =
            "linux-image-amd64\n  Depends: linux-image-6.1.0-56-amd64\n  Recommends: grub\n";
        assert_eq!(newest_kernel(listing), Some("linux-image-6.1.0-56-amd64"));
        assert_eq!(newest_kernel("linux-image-amd64\n"), None);
    }
}
