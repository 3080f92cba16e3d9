//! Programs and headers that the distribution installs: found by use, not by asking the package manager, so that another
//! distribution, or a build from source, serves as well. As root they are installed, otherwise the one line is printed.

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

/// Installs what is missing of `needs`, or tells the line that does.
pub(crate) fn ensure(workspace: &Workspace, needs: &[Need]) -> Result<()> {
    let missing: Vec<&Need> = needs.iter().filter(|need| !need.is_met()).collect();
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
pub(crate) fn install(workspace: &Workspace, packages: &[&str]) -> Result<()> {
    let line = format!(
        "apt-get install --yes --no-install-recommends --no-remove {}",
        packages.join(" ")
    );
    if !Call::new("apt-get").arg("--version").succeeds() {
        bail!(
            "missing on this machine, and there is no apt-get here: {}",
            packages.join(" ")
        );
    }
    if !rustix::process::geteuid().is_root() {
        bail!("missing on this machine; run this once, then try again:\n\n    sudo {line}\n");
    }
    println!("setup: {line}");
    let install = Call::new("apt-get")
        .env("DEBIAN_FRONTEND", "noninteractive")
        .args(["install", "--yes", "--no-install-recommends", "--no-remove"])
        .args(packages);
    if install.logged(&workspace.log("setup-apt-install")?).is_ok() {
        return Ok(());
    }
    update_lists(workspace)?;
    install
        .logged(&workspace.log("setup-apt-install")?)
        .with_context(|| format!("cannot install {}", packages.join(" ")))
}

/// `apt-get update`.
pub(crate) fn update_lists(workspace: &Workspace) -> Result<()> {
    println!("setup: apt-get update");
    Call::new("apt-get")
        .arg("update")
        .logged(&workspace.log("setup-apt-update")?)
        .context("cannot read the distribution's package lists")
}
