//! What is no kernel for a domain, made from Debian's own: each is refused with a reason, and leaves nothing behind.

use std::fs::{self, File};
use std::path::{Path, PathBuf};

use anyhow::{Context, Result, anyhow, ensure};

use crate::test::e2e::bench::Bench;

/// A way to spoil a bzImage.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Spoiled {
    pub(crate) name: &'static str,
    spoil: fn(&mut Vec<u8>),
}

const fn spoiled(name: &'static str, spoil: fn(&mut Vec<u8>)) -> Spoiled {
    Spoiled { name, spoil }
}

/// Where the payload begins in the file: behind the set-up sectors, at the offset that the header names.
fn payload(file: &[u8]) -> (usize, usize) {
    let word = |at: usize| -> usize {
        let bytes = file.get(at..at + 4).and_then(|word| word.first_chunk());
        bytes.map_or(0, |word| {
            usize::try_from(u32::from_le_bytes(*word)).unwrap_or(0)
        })
    };
    let sectors = file.get(0x1f1).copied().map_or(0, usize::from);
    ((sectors + 1) * 512 + word(0x248), word(0x24c))
}

fn change(file: &mut [u8], at: usize) {
    if let Some(byte) = file.get_mut(at) {
        *byte ^= 0x5a;
    }
}

/// Cut and damaged at every stage of its unpacking.
pub(crate) const SPOILED: &[Spoiled] = &[
    spoiled("a bzImage cut before its signature", |file| {
        file.truncate(0x200);
    }),
    spoiled("a bzImage cut in its header", |file| file.truncate(0x240)),
    spoiled("a bzImage cut in its set-up", |file| file.truncate(0x400)),
    spoiled("a bzImage cut in the middle", |file| {
        file.truncate(file.len() / 2);
    }),
    spoiled("a bzImage whose payload lacks a byte", |file| {
        let (start, length) = payload(file);
        file.truncate(start + length - 1);
    }),
    spoiled("a bzImage of another packing", |file| {
        let (start, _) = payload(file);
        change(file, start);
    }),
    spoiled("a bzImage with a damaged first block", |file| {
        let (start, _) = payload(file);
        change(file, start + 100);
    }),
    spoiled("a bzImage with a damaged middle", |file| {
        let (start, length) = payload(file);
        change(file, start + length / 2);
    }),
    spoiled("a bzImage that states to be smaller than it is", |file| {
        let (start, length) = payload(file);
        change(file, start + length - 3);
    }),
    spoiled("a bzImage that states to be of 4 GiB", |file| {
        let (start, length) = payload(file);
        if let Some(stated) = file.get_mut(start + length - 4..start + length) {
            stated.fill(0xff);
        }
    }),
    spoiled("a bzImage with a payload beyond the file", |file| {
        if let Some(length) = file.get_mut(0x24c..0x250) {
            length.fill(0xff);
        }
    }),
];

impl Spoiled {
    /// `create` says that it is no kernel.
    pub(crate) fn is_refused(&self, bench: &Bench<'_, '_>, kernel: &Path) -> Result<()> {
        let mut bytes = read(kernel)?;
        (self.spoil)(&mut bytes);
        refused(bench, &write(bench, &bytes)?, &[], "bad-image").map(|_| ())
    }
}

/// The same kernel without the notes of PV support, as one that was built without it: the message says what is missing.
pub(crate) fn without_pv_support(bench: &Bench<'_, '_>, kernel: &Path) -> Result<()> {
    let mut elf = dom0ctl::image::read_kernel(kernel)
        .map_err(|failure| anyhow!("{}: {failure:?}", kernel.display()))?;
    let note = b"\x04\0\0\0";
    let owner = b"Xen\0";
    for at in 0..elf.len().saturating_sub(16) {
        if elf.get(at..at + 4) == Some(note) && elf.get(at + 12..at + 16) == Some(owner) {
            change(&mut elf, at + 12);
        }
    }
    let said = refused(bench, &write(bench, &elf)?, &[], "bad-image")?;
    ensure!(
        said.contains("PV"),
        "it does not say what is missing: {said}"
    );
    Ok(())
}

/// A kernel that does not fit into the domain once it is unpacked.
pub(crate) fn kernel_too_large(bench: &Bench<'_, '_>, kernel: &Path) -> Result<()> {
    refused(bench, kernel, &["--memory", "24MiB"], "below-minimum").map(|_| ())
}

/// A RAM disk that does not fit into the domain.
pub(crate) fn ramdisk_too_large(bench: &Bench<'_, '_>, kernel: &Path) -> Result<()> {
    let disk = bench.scratch("large-ramdisk")?;
    File::create(&disk)
        .and_then(|file| file.set_len(30 << 20))
        .with_context(|| format!("cannot write {}", disk.display()))?;
    let words = ["--ramdisk", &disk.to_string_lossy(), "--memory", "48MiB"];
    let outcome = refused(bench, kernel, &words, "below-minimum");
    fs::remove_file(&disk).with_context(|| format!("cannot remove {}", disk.display()))?;
    outcome.map(|_| ())
}

/// A command line for which the start page has no room.
pub(crate) fn command_line_too_long(bench: &Bench<'_, '_>, kernel: &Path) -> Result<()> {
    let line = "x".repeat(1024);
    let words = ["--cmdline", line.as_str()];
    refused(bench, kernel, &words, "invalid-argument").map(|_| ())
}

/// Holds that `create` refuses with this code, in words, and leaves nothing behind; returns the words.
fn refused(bench: &Bench<'_, '_>, kernel: &Path, words: &[&str], code: &str) -> Result<String> {
    let kernel = kernel.to_string_lossy();
    let mut all = vec!["create", "--name", "wrong", "--kernel", &kernel];
    all.extend(words);
    bench.leaves_nothing(|| {
        let (said, json) = bench.refused(&all)?;
        ensure!(
            json["error"]["code"] == code,
            "`{}` was refused for another reason: {json}",
            said.command
        );
        Ok(json["error"].to_string())
    })
}

fn write(bench: &Bench<'_, '_>, bytes: &[u8]) -> Result<PathBuf> {
    let path = bench.scratch("spoiled-linux")?;
    fs::write(&path, bytes).with_context(|| format!("cannot write {}", path.display()))?;
    Ok(path)
}

fn read(path: &Path) -> Result<Vec<u8>> {
    fs::read(path).with_context(|| format!("cannot read {}", path.display()))
}
