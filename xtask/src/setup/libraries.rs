//! The shared libraries that programs of an unpacked package name, and those that they name in turn.

use std::collections::BTreeSet;
use std::fs;
use std::path::Path;

use anyhow::{Context, Result};
use elf::ElfBytes;
use elf::abi::DT_NEEDED;
use elf::endian::LittleEndian;

/// Where packages place libraries; the loader looks there by itself.
const PLACES: &[&str] = &["lib/x86_64-linux-gnu", "usr/lib/x86_64-linux-gnu"];

/// The loader, which every program names by this path.
pub(crate) const LOADER: (&str, &str) = (
    "lib64/ld-linux-x86-64.so.2",
    "/lib/x86_64-linux-gnu/ld-linux-x86-64.so.2",
);

/// A file of a package: its place there, and its bytes.
pub(crate) type File = (String, Vec<u8>);

/// Every library below `tree` that is wanted, directly or by another, each once.
pub(crate) fn closure(tree: &Path, mut wanted: BTreeSet<String>) -> Result<Vec<File>> {
    let (mut there, mut files) = (BTreeSet::new(), Vec::new());
    while let Some(name) = wanted.pop_first() {
        if !there.insert(name.clone()) {
            continue;
        }
        let places = PLACES.iter().map(|place| format!("{place}/{name}"));
        let place = places
            .into_iter()
            .find(|place| tree.join(place).exists())
            .with_context(|| format!("no package in {} brings {name}", tree.display()))?;
        let path = tree.join(&place);
        let bytes = fs::read(&path).with_context(|| format!("cannot read {}", path.display()))?;
        wanted.extend(needed(&bytes, &name)?);
        files.push((place, bytes));
    }
    Ok(files)
}

/// The libraries that a program or library names.
pub(crate) fn needed(bytes: &[u8], name: &str) -> Result<Vec<String>> {
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
