//! The RAM disk of a Linux guest: a newc archive of busybox, an init and what a case adds, packed by gzip.

use std::fs::{self, File};
use std::io::{BufWriter, Write};
use std::path::{Path, PathBuf};

use anyhow::{Context, Result};
use cpio::newc;
use flate2::Compression;
use flate2::write::GzEncoder;

use crate::setup::{libraries, peers};
use crate::workspace::Workspace;

const DIRECTORY: u32 = 0o040_755;
const PROGRAM: u32 = 0o100_755;
const LINK: u32 = 0o120_777;
const DEVICE: u32 = 0o020_600;

/// Directories that are there before anything runs.
const DIRECTORIES: [&str; 8] = ["bin", "sbin", "dev", "proc", "sys", "tmp", "root", "etc"];

/// Programs that end the system, as the kernel and people call them.
const ENDS: [&str; 3] = ["sbin/poweroff", "sbin/reboot", "sbin/halt"];

/// A RAM disk in the making.
#[derive(Debug, Clone)]
pub(crate) struct Initramfs {
    members: Vec<Member>,
}

#[derive(Debug, Clone)]
struct Member {
    name: String,
    mode: u32,
    device: (u32, u32),
    bytes: Vec<u8>,
}

impl Initramfs {
    /// One with Debian's busybox that gives a shell on the console.
    pub(crate) fn with_busybox(workspace: &Workspace) -> Result<Self> {
        let busybox = peers::ensure(workspace, peers::BUSYBOX)?.join("bin/busybox");
        let busybox =
            fs::read(&busybox).with_context(|| format!("cannot read {}", busybox.display()))?;
        let mut disk = Self {
            members: Vec::new(),
        };
        for name in DIRECTORIES {
            disk.put(name, DIRECTORY, (0, 0), Vec::new());
        }
        // The first line of init goes there, before anything is mounted.
        disk.put("dev/kmsg", DEVICE, (1, 11), Vec::new());
        disk.put("dev/console", DEVICE, (5, 1), Vec::new());
        disk.add_program("bin/busybox", busybox);
        disk.add_program("init", include_bytes!("init.sh").to_vec());
        disk.add_program("sbin/hotplug", include_bytes!("hotplug.sh").to_vec());
        for name in ENDS {
            disk.add_program(name, include_bytes!("end.sh").to_vec());
        }
        Ok(disk)
    }

    /// Adds a program.
    pub(crate) fn add_program(&mut self, name: &str, bytes: Vec<u8>) {
        self.put(name, PROGRAM, (0, 0), bytes);
    }

    /// Adds Debian's `stress-ng` with the libraries that it loads.
    pub(crate) fn add_stress_ng(&mut self, workspace: &Workspace) -> Result<()> {
        let tree = peers::stress_ng(workspace)?;
        let program = tree.join("usr/bin/stress-ng");
        let bytes =
            fs::read(&program).with_context(|| format!("cannot read {}", program.display()))?;
        let wanted = libraries::needed(&bytes, "stress-ng")?;
        for directory in ["lib", "lib/x86_64-linux-gnu", "lib64"] {
            self.put(directory, DIRECTORY, (0, 0), Vec::new());
        }
        for (place, bytes) in libraries::closure(&tree, wanted.into_iter().collect())? {
            // All of them side by side, where the loader looks.
            let name = place.rsplit('/').next().unwrap_or(&place);
            self.add_program(&format!("lib/x86_64-linux-gnu/{name}"), bytes);
        }
        let (loader, place) = libraries::LOADER;
        self.put(loader, LINK, (0, 0), place.as_bytes().to_vec());
        self.add_program("bin/stress-ng", bytes);
        Ok(())
    }

    fn put(&mut self, name: &str, mode: u32, device: (u32, u32), bytes: Vec<u8>) {
        self.members.push(Member {
            name: name.to_owned(),
            mode,
            device,
            bytes,
        });
    }

    /// Writes it packed to `target/linux/NAME.gz`.
    pub(crate) fn write(&self, workspace: &Workspace, name: &str) -> Result<PathBuf> {
        let packed = |file| {
            let packer = GzEncoder::new(file, Compression::best());
            Ok(self.archive(packer)?.finish()?)
        };
        write_whole(
            &workspace.output("linux")?.join(format!("{name}.gz")),
            packed,
        )
    }

    /// Writes it as it is to `target/linux/NAME.cpio`.
    pub(crate) fn write_plain(&self, workspace: &Workspace, name: &str) -> Result<PathBuf> {
        let path = workspace.output("linux")?.join(format!("{name}.cpio"));
        write_whole(&path, |file| self.archive(file))
    }

    fn archive<W: Write>(&self, mut to: W) -> Result<W> {
        for (number, member) in (1_u32..).zip(&self.members) {
            let size = u32::try_from(member.bytes.len())
                .with_context(|| format!("{} is too large for an archive", member.name))?;
            let mut entry = newc::Builder::new(&member.name)
                .ino(number)
                .mode(member.mode)
                .rdev_major(member.device.0)
                .rdev_minor(member.device.1)
                .write(to, size);
            entry.write_all(&member.bytes)?;
            to = entry.finish()?;
        }
        Ok(newc::trailer(to)?)
    }
}

/// Writes a file that appears whole or not at all.
fn write_whole(
    path: &Path,
    write: impl FnOnce(BufWriter<File>) -> Result<BufWriter<File>>,
) -> Result<PathBuf> {
    let scratch = path.with_extension(format!("{}.new", std::process::id()));
    let whole = || -> Result<()> {
        write(BufWriter::new(File::create(&scratch)?))?.flush()?;
        Ok(fs::rename(&scratch, path)?)
    };
    whole().with_context(|| format!("cannot write {}", path.display()))?;
    Ok(path.to_path_buf())
}
