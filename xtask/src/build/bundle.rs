//! The one boot module: a newc cpio with `kernel`, and if they are wanted `ramdisk` and `cmdline`.

use std::fs::{self, File};
use std::io::{BufWriter, Write};
use std::path::{Path, PathBuf};

use anyhow::{Context, Result};
use cpio::newc;

use crate::build::bare::Images;
use crate::workspace::Workspace;

/// What the first domain gets.
#[derive(Debug, Clone)]
pub(crate) struct Bundle {
    /// Its kernel, an ELF.
    pub(crate) kernel: PathBuf,
    /// Its RAM disk.
    pub(crate) ramdisk: Option<PathBuf>,
    /// Its command line.
    pub(crate) cmdline: Option<String>,
}

impl Bundle {
    /// Our own dom0, whose RAM disk holds the demo kernel.
    pub(crate) fn dom0(workspace: &Workspace, images: &Images) -> Result<Self> {
        let ramdisk = workspace.output("bundle")?.join("ramdisk.cpio");
        let demo = read(&images.kernel("demo"))?;
        write_archive(&ramdisk, &[("demo", &demo)])?;
        Ok(Self {
            kernel: images.dom0(),
            ramdisk: Some(ramdisk),
            cmdline: None,
        })
    }

    /// Packs it into `path`; the file appears whole or not at all.
    pub(crate) fn write(&self, path: &Path) -> Result<()> {
        let kernel = read(&self.kernel)?;
        let ramdisk = self.ramdisk.as_deref().map(read).transpose()?;
        let mut members: Vec<(&str, &[u8])> = vec![("kernel", &kernel)];
        if let Some(ramdisk) = &ramdisk {
            members.push(("ramdisk", ramdisk));
        }
        if let Some(cmdline) = &self.cmdline {
            members.push(("cmdline", cmdline.as_bytes()));
        }
        write_archive(path, &members)
    }
}

fn read(path: &Path) -> Result<Vec<u8>> {
    fs::read(path).with_context(|| format!("cannot read {}", path.display()))
}

fn write_archive(path: &Path, members: &[(&str, &[u8])]) -> Result<()> {
    let scratch = path.with_extension(format!("{}.new", std::process::id()));
    let context = || format!("cannot write {}", path.display());
    let mut file = BufWriter::new(File::create(&scratch).with_context(context)?);
    for (name, bytes) in members {
        let size = u32::try_from(bytes.len())
            .with_context(|| format!("{name} is too large for a cpio archive"))?;
        let mut member = newc::Builder::new(name).mode(0o100_644).write(file, size);
        member.write_all(bytes).with_context(context)?;
        file = member.finish().with_context(context)?;
    }
    let mut file = newc::trailer(file).with_context(context)?;
    file.flush().with_context(context)?;
    fs::rename(&scratch, path).with_context(context)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn members_come_back_in_order() {
        let path = std::env::temp_dir().join(format!("bundle-test-{}", std::process::id()));
        write_archive(&path, &[("kernel", b"abc"), ("cmdline", b"")]).unwrap();
        let bytes = fs::read(&path).unwrap();
        fs::remove_file(&path).unwrap();
        let mut names = Vec::new();
        let mut rest = bytes.as_slice();
        loop {
            let reader = newc::Reader::new(rest).unwrap();
            if reader.entry().is_trailer() {
                break;
            }
            names.push((reader.entry().name().to_owned(), reader.entry().file_size()));
            rest = reader.finish().unwrap();
        }
        assert_eq!(names, [("kernel".to_owned(), 3), ("cmdline".to_owned(), 0)]);
    }
}
