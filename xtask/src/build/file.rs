//! Files read, and written so that they appear whole or not at all, whoever else does so meanwhile.

use std::fs;
use std::path::Path;

use anyhow::{Context, Result};

/// Reads a file.
pub(crate) fn read(path: &Path) -> Result<Vec<u8>> {
    fs::read(path).with_context(|| format!("cannot read {}", path.display()))
}

/// Writes a file beside its place, then moves it there.
pub(crate) fn write_whole(path: &Path, bytes: &[u8]) -> Result<()> {
    let scratch = path.with_extension(format!("{}.new", std::process::id()));
    fs::write(&scratch, bytes)
        .and_then(|()| fs::rename(&scratch, path))
        .with_context(|| format!("cannot write {}", path.display()))
}
