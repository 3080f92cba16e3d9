//! Programs and headers that the distribution installs: found by use, not by asking the package manager, so that another
//! distribution, or a build from source, serves as well. As root they are installed, otherwise the one line is printed.

use std::fmt;
use std::path::Path;

use anyhow::{Context, Result, bail};

use crate::child::Call;
use crate::workspace::Workspace;

/// Something that must be on the host.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Need {
    /// Debian's package that brings it.
    pub(crate) package: &'static str,
    /// What it is good for.
    pub(crate) purpose: &'static str,
    evidence: Evidence,
}

#[derive(Debug, Clone, Copy)]
enum Evidence {
    /// This command ends well.
    Runs(&'static str, &'static str),
    /// This file is there.
    File(&'static str),
}

/// What `cargo xtask run` needs.
pub(crate) const RUN: &[Need] = &[Need {
    package: "qemu-system-x86",
    purpose: "the machine",
    evidence: Evidence::Runs("qemu-system-x86_64", "--version"),
}];

/// What a CD image needs.
pub(crate) const ISO: &[Need] = &[
    Need {
        package: "grub-common",
        purpose: "the image that GRUB boots",
        evidence: Evidence::Runs("grub-mkrescue", "--version"),
    },
    Need {
        package: "grub-pc-bin",
        purpose: "GRUB's parts for BIOS",
        evidence: Evidence::File("/usr/lib/grub/i386-pc/multiboot2.mod"),
    },
    Need {
        package: "xorriso",
        purpose: "the image's file system",
        evidence: Evidence::Runs("xorriso", "-version"),
    },
    Need {
        package: "mtools",
        purpose: "the image's file system",
        evidence: Evidence::Runs("mtools", "--version"),
    },
];

/// What `cargo xtask test` needs besides.
pub(crate) const TEST: &[Need] = &[
    Need {
        package: "git",
        purpose: "the list of files to check",
        evidence: Evidence::Runs("git", "--version"),
    },
    Need {
        package: "gcc",
        purpose: "comparing structures with C's headers",
        evidence: Evidence::Runs("gcc", "--version"),
    },
    Need {
        package: "libc6-dev",
        purpose: "comparing structures with C's headers",
        evidence: Evidence::File("/usr/include/stdio.h"),
    },
    Need {
        package: "libxen-dev",
        purpose: "Xen's public headers, which the guest ABI is compared with",
        evidence: Evidence::File("/usr/include/xen/xen.h"),
    },
];

impl Need {
    /// Whether it is there.
    pub(crate) fn is_met(&self) -> bool {
        match self.evidence {
            Evidence::Runs(program, argument) => Call::new(program).arg(argument).succeeds(),
            Evidence::File(path) => Path::new(path).exists(),
        }
    }
}

/// Something is missing that only the user can install; what to do is said in the text.
#[derive(Debug)]
pub(crate) struct Missing(String);

impl fmt::Display for Missing {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.0)
    }
}

impl std::error::Error for Missing {}

/// Installs what is missing of `needs`, or tells the line that does.
pub(crate) fn ensure(workspace: &Workspace, needs: &[&[Need]]) -> Result<()> {
    let missing: Vec<&Need> = needs
        .iter()
        .copied()
        .flatten()
        .filter(|need| !need.is_met())
        .collect();
    if missing.is_empty() {
        return Ok(());
    }
    let packages: Vec<&str> = missing.iter().map(|need| need.package).collect();
    install(workspace, &packages)?;
    match missing.iter().find(|need| !need.is_met()) {
        None => Ok(()),
        Some(need) => bail!(
            "{} is installed, but {} still fails",
            need.package,
            need.purpose
        ),
    }
}

/// Installs Debian packages, reading the package lists anew only when that fails without.
///
/// Downloading may be interrupted: apt goes on where it was. What follows may not, as half-installed packages would stay
/// behind; where a machine went down in the middle, `dpkg` finishes that first.
pub(crate) fn install(workspace: &Workspace, packages: &[&str]) -> Result<()> {
    let words = packages.join(" ");
    if !Call::new("apt-get").arg("--version").succeeds() {
        let text = format!("missing on this machine, which has no apt-get: {words}");
        return Err(Missing(text).into());
    }
    let line = format!("apt-get install --yes {} {words}", OPTIONS.join(" "));
    if !rustix::process::geteuid().is_root() {
        let text =
            format!("missing on this machine; run this once, then try again:\n\n    sudo {line}\n");
        return Err(Missing(text).into());
    }
    println!("setup: {line}");
    let log = workspace.log("setup-apt-install")?;
    let call = |more: &[&str]| {
        Call::new("apt-get")
            .env("DEBIAN_FRONTEND", "noninteractive")
            .args(["install", "--yes"])
            .args(OPTIONS)
            .args(more)
            .args(packages)
    };
    let download = call(&["--download-only"]);
    if download.logged(&log).is_err() {
        Call::new("dpkg")
            .args(["--configure", "-a"])
            .unbroken()
            .logged(&log)?;
        update_lists(workspace)?;
        download
            .logged(&log)
            .with_context(|| format!("cannot download {words}"))?;
    }
    call(&["--no-download"])
        .unbroken()
        .logged(&log)
        .with_context(|| format!("cannot install {words}"))
}

/// No more than what was asked for, and nothing taken away.
const OPTIONS: [&str; 2] = ["--no-install-recommends", "--no-remove"];

/// `apt-get update`.
pub(crate) fn update_lists(workspace: &Workspace) -> Result<()> {
    println!("setup: apt-get update");
    Call::new("apt-get")
        .arg("update")
        .logged(&workspace.log("setup-apt-update")?)
        .context("cannot read the distribution's package lists")
}
