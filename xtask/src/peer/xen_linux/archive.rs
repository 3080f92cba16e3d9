//! Archives in the form that Linux unpacks as its first file system (cpio, `newc`).

use std::collections::BTreeSet;
use std::fs::File;
use std::io::{BufWriter, Write};
use std::path::Path;

use anyhow::{Context, Result};
use cpio::newc;

const DIRECTORY: u32 = 0o040_755;
const PROGRAM: u32 = 0o100_755;
const LINK: u32 = 0o120_777;

/// An archive that is being written; all of it belongs to the superuser, whoever writes it.
pub(super) struct Archive {
    file: BufWriter<File>,
    directories: BTreeSet<String>,
    inode: u32,
}

impl Archive {
    /// Starts an archive in a new file.
    pub(super) fn create(path: &Path) -> Result<Self> {
        let file =
            File::create(path).with_context(|| format!("cannot create {}", path.display()))?;
        Ok(Self {
            file: BufWriter::new(file),
            directories: BTreeSet::new(),
            inode: 1,
        })
    }

    /// A directory, with all above it.
    pub(super) fn directory(&mut self, path: &str) -> Result<()> {
        if let Some((above, _)) = path.rsplit_once('/') {
            self.directory(above)?;
        }
        if !path.is_empty() && self.directories.insert(path.to_owned()) {
            self.member(path, DIRECTORY, &[])?;
        }
        Ok(())
    }

    /// A file, which may be run.
    pub(super) fn file(&mut self, path: &str, bytes: &[u8]) -> Result<()> {
        self.above(path)?;
        self.member(path, PROGRAM, bytes)
    }

    /// A symbolic link.
    pub(super) fn link(&mut self, path: &str, to: &str) -> Result<()> {
        self.above(path)?;
        self.member(path, LINK, to.as_bytes())
    }

    /// Writes the end.
    pub(super) fn finish(self) -> Result<()> {
        let mut file = newc::trailer(self.file).context("cannot write an archive")?;
        file.flush().context("cannot write an archive")
    }

    fn above(&mut self, path: &str) -> Result<()> {
        path.rsplit_once('/')
            .map_or(Ok(()), |(above, _)| self.directory(above))
    }

    fn member(&mut self, path: &str, mode: u32, bytes: &[u8]) -> Result<()> {
        let context = || format!("cannot write {path} into an archive");
        let size = u32::try_from(bytes.len()).with_context(context)?;
        // Two members with one inode number and links would be one file.
        self.inode += 1;
        let mut member = newc::Builder::new(path)
            .mode(mode)
            .ino(self.inode)
            .write(&mut self.file, size);
        member.write_all(bytes).with_context(context)?;
        member.finish().with_context(context)?;
        Ok(())
    }
}
