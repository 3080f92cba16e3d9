//! The first domain's file system: a few programs, the libraries that they name, the kernel's modules, `/init`.

use std::collections::BTreeSet;
use std::fs;
use std::path::{Path, PathBuf};

use anyhow::{Context, Result};
use elf::ElfBytes;
use elf::abi::DT_NEEDED;
use elf::endian::LittleEndian;

use super::archive::Archive;

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

/// Where packages place libraries; the loader looks there by itself.
const LIBRARIES: &[&str] = &["lib/x86_64-linux-gnu", "usr/lib/x86_64-linux-gnu"];

/// The loader, which every program names by this path.
const LOADER: (&str, &str) = (
    "lib64/ld-linux-x86-64.so.2",
    "/lib/x86_64-linux-gnu/ld-linux-x86-64.so.2",
);

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
        let bytes = read(&tools.join(program))?;
        wanted.extend(needed(&bytes, program)?);
        archive.file(program, &bytes)?;
    }
    archive.link(LOADER.0, LOADER.1)?;
    libraries(archive, tools, wanted)?;
    let drivers = drivers(linux)?;
    for (number, module) in MODULES.iter().enumerate() {
        let bytes = read(&drivers.join(format!("{module}.ko")))?;
        archive.file(&format!("modules/{number}.ko"), &bytes)?;
    }
    Ok(())
}

/// Adds libraries, and those that they name in turn.
fn libraries(archive: &mut Archive, tools: &Path, mut wanted: BTreeSet<String>) -> Result<()> {
    let mut there = BTreeSet::new();
    while let Some(name) = wanted.pop_first() {
        if !there.insert(name.clone()) {
            continue;
        }
        let places = LIBRARIES.iter().map(|place| format!("{place}/{name}"));
        let place = places
            .into_iter()
            .find(|place| tools.join(place).exists())
            .with_context(|| format!("no package of Xen's tools brings {name}"))?;
        let bytes = read(&tools.join(&place))?;
        wanted.extend(needed(&bytes, &name)?);
        archive.file(&place, &bytes)?;
    }
    Ok(())
}

/// The libraries that a program or library names.
fn needed(bytes: &[u8], name: &str) -> Result<Vec<String>> {
    let context = || format!("cannot read {name}");
    let file = ElfBytes::<LittleEndian>::minimal_parse(bytes).with_context(context)?;
    let Some(dynamic) = file.dynamic().with_context(context)? else {
        return Ok(Vec::new());
    };
    let (_, strings) = file
        .dynamic_symbol_table()
        .with_context(context)?
        .with_context(context)?;
    dynamic
        .into_iter()
        .filter(|entry| entry.d_tag == DT_NEEDED)
        .map(|entry| {
            let offset = usize::try_from(entry.d_val()).with_context(context)?;
            Ok(strings.get(offset).with_context(context)?.to_owned())
        })
        .collect()
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

fn read(path: &Path) -> Result<Vec<u8>> {
    fs::read(path).with_context(|| format!("cannot read {}", path.display()))
}
