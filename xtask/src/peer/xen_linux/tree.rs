//! The first domain's file system: a few programs, the libraries that they name, the kernel's modules, `/init`.

use std::collections::BTreeSet;
use std::fs;
use std::path::{Path, PathBuf};

use anyhow::{Context, Result};

use crate::build::archive::Archive;
use crate::build::file;
use crate::setup::libraries;

/// Programs, as the packages place them.
const PROGRAMS: &[&str] = &[
    "bin/bash",
    "bin/busybox",
    "usr/bin/xenstore-exists",
    "usr/bin/xenstore-list",
    "usr/bin/xenstore-ls",
    "usr/bin/xenstore-read",
    "usr/bin/xenstore-rm",
    "usr/bin/xenstore-write",
    "usr/lib/xen-4.17/bin/xen-init-dom0",
    "usr/lib/xen-4.17/bin/xenconsole",
    "usr/lib/xen-4.17/bin/xenconsoled",
    "usr/lib/xen-4.17/bin/xenstored",
    "usr/lib/xen-4.17/bin/xl",
];

/// Libraries that are opened by name while a program runs.
const OPENED: &[&str] = &["libgcc_s.so.1"];

/// The kernel's modules, in the order in which they can be loaded.
const MODULES: &[&str] = &[
    "xen-evtchn",
    "xen-gntdev",
    "xen-gntalloc",
    "xen-privcmd",
    "xenfs/xenfs",
];

/// Directories that programs expect.
const DIRECTORIES: &[&str] = &[
    "dev",
    "etc",
    "proc",
    "run",
    "sys",
    "tmp",
    "var/lib/xen",
    "var/log/xen",
];

/// Writes all of it into an archive.
pub(super) fn write(archive: &mut Archive, tools: &Path, linux: &Path) -> Result<()> {
    for directory in DIRECTORIES {
        archive.directory(directory)?;
    }
    archive.link("var/run", "/run")?;
    archive.link("var/lock", "/run/lock")?;
    archive.file("init", include_bytes!("init.sh"))?;
    // Xen's tools complain where it is missing.
    archive.file("etc/xen/xl.conf", &[])?;
    let mut wanted: BTreeSet<String> = OPENED.iter().map(|&name| name.to_owned()).collect();
    wanted.insert("ld-linux-x86-64.so.2".to_owned());
    for program in PROGRAMS {
        let bytes = file::read(&tools.join(program))?;
        wanted.extend(libraries::needed(&bytes, program)?);
        archive.file(program, &bytes)?;
    }
    archive.link(libraries::LOADER.0, libraries::LOADER.1)?;
    for (place, bytes) in libraries::closure(tools, wanted)? {
        archive.file(&place, &bytes)?;
    }
    let drivers = drivers(linux)?;
    for (number, module) in MODULES.iter().enumerate() {
        let bytes = file::read(&drivers.join(format!("{module}.ko")))?;
        archive.file(&format!("modules/{number}.ko"), &bytes)?;
    }
    Ok(())
}

/// The directory of the kernel's drivers for Xen.
fn drivers(linux: &Path) -> Result<PathBuf> {
    let modules = linux.join("lib/modules");
    let version = fs::read_dir(&modules)
        .with_context(|| format!("cannot list {}", modules.display()))?
        .find_map(|entry| entry.ok().map(|entry| entry.path()))
        .with_context(|| format!("nothing in {}", modules.display()))?;
    Ok(version.join("kernel/drivers/xen"))
}
