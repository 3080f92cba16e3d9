//! The RAM disk of a Linux guest: a newc archive of busybox, an init and what a case adds, packed by gzip.

use std::io::Write;
use std::path::PathBuf;

use anyhow::Result;
use flate2::Compression;
use flate2::write::GzEncoder;

use crate::build::archive::Archive;
use crate::build::file;
use crate::setup::{libraries, peers};
use crate::workspace::Workspace;

/// Directories that are there before anything runs.
const DIRECTORIES: [&str; 8] = ["bin", "sbin", "dev", "proc", "sys", "tmp", "root", "etc"];

/// Programs that end the system, as the kernel and people call them.
const ENDS: [&str; 3] = ["sbin/poweroff", "sbin/reboot", "sbin/halt"];

/// A RAM disk in the making.
#[derive(Debug)]
pub(crate) struct Initramfs {
    archive: Archive,
}

impl Initramfs {
    /// One with Debian's busybox that gives a shell on the console.
    pub(crate) fn with_busybox(workspace: &Workspace) -> Result<Self> {
        let busybox = peers::ensure(workspace, peers::BUSYBOX)?.join("bin/busybox");
        let mut disk = Self {
            archive: Archive::default(),
        };
        for name in DIRECTORIES {
            disk.archive.directory(name)?;
        }
        // The first line of init goes there, before anything is mounted.
        disk.archive.device("dev/kmsg", (1, 11))?;
        disk.archive.device("dev/console", (5, 1))?;
        disk.add_program("bin/busybox", &file::read(&busybox)?)?;
        disk.add_program("init", include_bytes!("init.sh"))?;
        disk.add_program("sbin/hotplug", include_bytes!("hotplug.sh"))?;
        for name in ENDS {
            disk.add_program(name, include_bytes!("end.sh"))?;
        }
        Ok(disk)
    }

    /// Adds a program.
    pub(crate) fn add_program(&mut self, name: &str, bytes: &[u8]) -> Result<()> {
        self.archive.file(name, bytes)
    }

    /// Adds Debian's `stress-ng` with the libraries that it loads.
    pub(crate) fn add_stress_ng(&mut self, workspace: &Workspace) -> Result<()> {
        let tree = peers::stress_ng(workspace)?;
        let bytes = file::read(&tree.join("usr/bin/stress-ng"))?;
        let wanted = libraries::needed(&bytes, "stress-ng")?;
        for (place, bytes) in libraries::closure(&tree, wanted.into_iter().collect())? {
            // All of them side by side, where the loader looks.
            let name = place.rsplit('/').next().unwrap_or(&place);
            self.add_program(&format!("lib/x86_64-linux-gnu/{name}"), &bytes)?;
        }
        let (loader, place) = libraries::LOADER;
        self.archive.link(loader, place)?;
        self.add_program("bin/stress-ng", &bytes)
    }

    /// Writes it packed to `target/linux/NAME.gz`.
    pub(crate) fn write(self, workspace: &Workspace, name: &str) -> Result<PathBuf> {
        let mut packer = GzEncoder::new(Vec::new(), Compression::best());
        packer.write_all(&self.archive.finish()?)?;
        let path = workspace.output("linux")?.join(format!("{name}.gz"));
        file::write_whole(&path, &packer.finish()?)?;
        Ok(path)
    }

    /// Writes it as it is to `target/linux/NAME.cpio`.
    pub(crate) fn write_plain(self, workspace: &Workspace, name: &str) -> Result<PathBuf> {
        let path = workspace.output("linux")?.join(format!("{name}.cpio"));
        file::write_whole(&path, &self.archive.finish()?)?;
        Ok(path)
    }
}
