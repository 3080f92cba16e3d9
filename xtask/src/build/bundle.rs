//! The one boot module: a newc cpio with `kernel`, and if they are wanted `ramdisk` and `cmdline`.

use std::path::{Path, PathBuf};

use anyhow::Result;

use crate::build::archive::Archive;
use crate::build::bare::Images;
use crate::build::file;
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
        let mut archive = Archive::default();
        archive.file("demo", &file::read(&images.kernel("demo"))?)?;
        file::write_whole(&ramdisk, &archive.finish()?)?;
        Ok(Self {
            kernel: images.dom0(),
            ramdisk: Some(ramdisk),
            cmdline: None,
        })
    }

    /// Packs it into `path`; the file appears whole or not at all.
    pub(crate) fn write(&self, path: &Path) -> Result<()> {
        let mut archive = Archive::default();
        archive.file("kernel", &file::read(&self.kernel)?)?;
        if let Some(ramdisk) = &self.ramdisk {
            archive.file("ramdisk", &file::read(ramdisk)?)?;
        }
        if let Some(cmdline) = &self.cmdline {
            archive.file("cmdline", cmdline.as_bytes())?;
        }
        file::write_whole(path, &archive.finish()?)
    }
}
