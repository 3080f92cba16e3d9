//! Archives in the form that boot loaders and Linux unpack (cpio, `newc`), made in memory.

use std::collections::BTreeSet;
use std::io::Write;

use anyhow::{Context, Result};
use cpio::newc;

const DIRECTORY: u32 = 0o040_755;
const PROGRAM: u32 = 0o100_755;
const LINK: u32 = 0o120_777;
const DEVICE: u32 = 0o020_600;

/// An archive in the making; all of it belongs to the superuser, whoever makes it.
#[derive(Debug, Default)]
pub(crate) struct Archive {
    bytes: Vec<u8>,
    directories: BTreeSet<String>,
    members: u32,
}

impl Archive {
    /// A directory, with all above it.
    pub(crate) fn directory(&mut self, path: &str) -> Result<()> {
        self.above(path)?;
        if self.directories.insert(path.to_owned()) {
            self.member(path, DIRECTORY, (0, 0), &[])?;
        }
        Ok(())
    }

    /// A file, which may be run.
    pub(crate) fn file(&mut self, path: &str, bytes: &[u8]) -> Result<()> {
        self.above(path)?;
        self.member(path, PROGRAM, (0, 0), bytes)
    }

    /// A symbolic link.
    pub(crate) fn link(&mut self, path: &str, to: &str) -> Result<()> {
        self.above(path)?;
        self.member(path, LINK, (0, 0), to.as_bytes())
    }

    /// A character device with its two numbers.
    pub(crate) fn device(&mut self, path: &str, numbers: (u32, u32)) -> Result<()> {
        self.above(path)?;
        self.member(path, DEVICE, numbers, &[])
    }

    /// All of it, with its end.
    pub(crate) fn finish(self) -> Result<Vec<u8>> {
        newc::trailer(self.bytes).context("cannot end an archive")
    }

    fn above(&mut self, path: &str) -> Result<()> {
        path.rsplit_once('/')
            .map_or(Ok(()), |(above, _)| self.directory(above))
    }

    fn member(&mut self, path: &str, mode: u32, device: (u32, u32), bytes: &[u8]) -> Result<()> {
        let context = || format!("cannot put {path} into an archive");
        let size = u32::try_from(bytes.len()).with_context(context)?;
        // Two members with one inode number and links would be one file.
        self.members += 1;
        let mut member = newc::Builder::new(path)
            .mode(mode)
            .ino(self.members)
            .rdev_major(device.0)
            .rdev_minor(device.1)
            .write(&mut self.bytes, size);
        member.write_all(bytes).with_context(context)?;
        member.finish().map(|_| ()).with_context(context)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn members_come_back_in_order_below_their_directories() {
        let mut archive = Archive::default();
        archive.file("kernel", b"abc").unwrap();
        archive.file("a/b/c", b"").unwrap();
        archive.link("a/d", "c").unwrap();
        let bytes = archive.finish().unwrap();
        let (mut names, mut rest) = (Vec::new(), bytes.as_slice());
        loop {
            let reader = newc::Reader::new(rest).unwrap();
            if reader.entry().is_trailer() {
                break;
            }
            names.push((reader.entry().name().to_owned(), reader.entry().file_size()));
            rest = reader.finish().unwrap();
        }
        let wanted = [
            ("kernel", 3),
            ("a", 0),
            ("a/b", 0),
            ("a/b/c", 0),
            ("a/d", 1),
        ];
        assert_eq!(names, wanted.map(|(name, size)| (name.to_owned(), size)));
    }
}
