//! Wrong input: each kind is refused with a reason and an exit code, and leaves nothing behind.

use std::fs;
use std::path::Path;
use std::time::Duration;

use anyhow::{Context, Result, ensure};

use super::bench::Bench;

/// A kernel file that is made wrong.
#[derive(Debug, Clone, Copy)]
pub(crate) struct WrongKernel {
    name: &'static str,
    spoil: fn(&mut Vec<u8>),
}

const PROGRAM_HEADERS: usize = 64;
const PROGRAM_HEADER: usize = 56;
const PT_NOTE: u32 = 4;

/// All ways to spoil a kernel.
pub(crate) fn wrong_kernels() -> [WrongKernel; 8] {
    let wrong = |name, spoil| WrongKernel { name, spoil };
    [
        wrong("an empty kernel file", |kernel| kernel.clear()),
        wrong("a truncated kernel", |kernel| {
            kernel.truncate(kernel.len() / 3)
        }),
        wrong("a kernel cut in its header", |kernel| kernel.truncate(40)),
        wrong("a kernel that is no ELF", |kernel| {
            *kernel = b"#!/bin/sh\nexit 0\n".repeat(99)
        }),
        wrong("a 32-bit kernel", |kernel| put(kernel, 4, &[1])),
        wrong("a kernel with overlapping segments", |kernel| {
            let first = get(kernel, PROGRAM_HEADERS + 16);
            let first_physical = get(kernel, PROGRAM_HEADERS + 24);
            put(kernel, PROGRAM_HEADERS + PROGRAM_HEADER + 16, &first);
            put(
                kernel,
                PROGRAM_HEADERS + PROGRAM_HEADER + 24,
                &first_physical,
            );
        }),
        wrong("a kernel with a segment that wraps", |kernel| {
            put(kernel, PROGRAM_HEADERS + 40, &u64::MAX.to_le_bytes());
        }),
        wrong("a kernel without notes", |kernel| {
            for number in 0..8 {
                let at = PROGRAM_HEADERS + number * PROGRAM_HEADER;
                if kernel.get(at..at + 4) == Some(&PT_NOTE.to_le_bytes()) {
                    put(kernel, at, &0_u32.to_le_bytes());
                }
            }
            blank_section_names(kernel);
        }),
    ]
}

fn get(bytes: &[u8], at: usize) -> [u8; 8] {
    bytes
        .get(at..)
        .and_then(|rest| rest.first_chunk())
        .copied()
        .unwrap_or_default()
}

fn put(bytes: &mut [u8], at: usize, new: &[u8]) {
    if let Some(place) = bytes.get_mut(at..at + new.len()) {
        place.copy_from_slice(new);
    }
}

/// Takes the section headers away: a loader must not find notes through them either.
fn blank_section_names(kernel: &mut [u8]) {
    put(kernel, 40, &[0; 8]);
    put(kernel, 58, &[0; 6]);
}

impl WrongKernel {
    pub(crate) fn name(&self) -> &'static str {
        self.name
    }

    pub(crate) fn is_refused(&self, bench: &Bench<'_, '_>) -> Result<()> {
        let mut kernel = read(&bench.images().kernel("demo"))?;
        (self.spoil)(&mut kernel);
        let file = bench.scratch("spoiled-kernel")?;
        fs::write(&file, &kernel).context("cannot write the kernel")?;
        bench.leaves_nothing(|| {
            let path = file.to_string_lossy();
            let (said, json) = bench.refused(&["create", "--name", "wrong", "--kernel", &path])?;
            ensure!(
                json["error"]["code"] == "bad-image",
                "`{}` was refused for another reason: {json}",
                said.command
            );
            Ok(())
        })
    }
}

/// A kernel that ends at any boundary of its headers, segments or sections, or one byte before, is refused or, where only what
/// no loader needs is missing, could be started.
pub(crate) fn truncated_everywhere(bench: &Bench<'_, '_>) -> Result<()> {
    let kernel = read(&bench.images().kernel("demo"))?;
    let file = bench.scratch("truncated-kernel")?;
    let path = file.to_string_lossy();
    let mut refused = 0;
    let boundaries = boundaries(&kernel)?;
    bench.leaves_nothing(|| {
        for &end in &boundaries {
            for length in [end.saturating_sub(1), end] {
                let part = kernel.get(..length).unwrap_or(&kernel);
                fs::write(&file, part).context("cannot write the kernel")?;
                let said =
                    bench
                        .client()
                        .say(&["create", "--kernel", &path, "--dry-run", "--json"]);
                // Behind that, sections may be missed or not; the whole file must do.
                let refused_rightly = length < kernel.len();
                let taken_rightly = length >= needed_bytes(&kernel)?;
                ensure!(
                    (said.code == 1 && refused_rightly) || (said.code == 0 && taken_rightly),
                    "cut to {length} of {} bytes: exit code {}: {}",
                    kernel.len(),
                    said.code,
                    said.err
                );
                ensure!(
                    said.code == 0 || said.err.contains("\"bad-image\""),
                    "cut to {length} bytes it is refused as {}",
                    said.err
                );
                refused += u32::from(said.code != 0);
            }
        }
        Ok(())
    })?;
    println!(
        "         {refused} of {} cuts were refused",
        boundaries.len() * 2
    );
    ensure!(refused > 4, "too few cuts were of what a loader needs");
    Ok(())
}

/// Offsets in an ELF file where something begins or ends.
fn boundaries(kernel: &[u8]) -> Result<std::collections::BTreeSet<usize>> {
    const SECTION_HEADER: usize = 64;
    let word = |at| usize::try_from(u64::from_le_bytes(get(kernel, at)));
    let half = |at: usize| {
        let bytes = kernel.get(at..at + 2).unwrap_or(&[0, 0]);
        usize::from(bytes.first().copied().unwrap_or(0))
            | usize::from(bytes.last().copied().unwrap_or(0)) << 8
    };
    let mut found = std::collections::BTreeSet::from([1, PROGRAM_HEADERS]);
    let (programs, sections) = (word(32)?, word(40)?);
    for number in 0..half(56) {
        let header = programs + number * PROGRAM_HEADER;
        found.extend([header, header + PROGRAM_HEADER]);
        let (offset, length) = (word(header + 8)?, word(header + 32)?);
        found.extend([offset, offset + length]);
    }
    for number in 0..half(60) {
        let header = sections + number * SECTION_HEADER;
        found.extend([header, header + SECTION_HEADER]);
        let (offset, length) = (word(header + 24)?, word(header + 32)?);
        found.extend([offset, offset.saturating_add(length)]);
    }
    found.retain(|&end| end > 0 && end <= kernel.len());
    Ok(found)
}

/// Where the last byte that a loader needs ends: headers, and what segments have in the file.
fn needed_bytes(kernel: &[u8]) -> Result<usize> {
    let word = |at| usize::try_from(u64::from_le_bytes(get(kernel, at)));
    let count = usize::from(u16::from_le_bytes([
        kernel.get(56).copied().unwrap_or(0),
        kernel.get(57).copied().unwrap_or(0),
    ]));
    let mut last = word(32)? + count * PROGRAM_HEADER;
    for number in 0..count {
        let header = word(32)? + number * PROGRAM_HEADER;
        last = last.max(word(header + 8)? + word(header + 32)?);
    }
    Ok(last)
}

/// A configuration file that is wrong.
#[derive(Debug, Clone, Copy)]
pub(crate) struct WrongFile {
    name: &'static str,
    text: &'static str,
    /// What the message must name.
    names: &'static str,
}

/// Wrong configuration files.
pub(crate) const WRONG_FILES: &[WrongFile] = &[
    WrongFile {
        name: "a configuration with an unknown key",
        text: "name = \"x\"\nmemroy = \"64MiB\"\n",
        names: "memroy",
    },
    WrongFile {
        name: "a configuration with a wrong type",
        text: "name = \"x\"\nvcpus = \"many\"\n",
        names: "vcpus",
    },
    WrongFile {
        name: "a configuration with a duplicate",
        text: "name = \"x\"\nname = \"y\"\n",
        names: "name",
    },
    WrongFile {
        name: "a configuration that is no TOML",
        text: "name = = x\n",
        names: "1",
    },
];

impl WrongFile {
    pub(crate) fn name(&self) -> &'static str {
        self.name
    }

    pub(crate) fn is_refused(&self, bench: &Bench<'_, '_>) -> Result<()> {
        let file = bench.scratch("wrong.toml")?;
        fs::write(&file, self.text).context("cannot write the configuration")?;
        bench.leaves_nothing(|| {
            let (said, json) = bench.refused(&["create", "-f", &file.to_string_lossy()])?;
            ensure!(
                said.code == 2,
                "`{}` ended with code {}: {json}",
                said.command,
                said.code
            );
            ensure!(
                said.err.contains(self.names),
                "it does not name `{}`: {json}",
                self.names
            );
            Ok(())
        })
    }
}

/// A command line that is wrong.
#[derive(Debug, Clone, Copy)]
pub(crate) struct WrongWords {
    name: &'static str,
    words: &'static [&'static str],
    code: u8,
}

const fn wrong(name: &'static str, words: &'static [&'static str], code: u8) -> WrongWords {
    WrongWords { name, words, code }
}

/// Wrong command lines, with their exit codes.
pub(crate) const WRONG_WORDS: &[WrongWords] = &[
    wrong("memory of 0", &["create", "--memory", "0MiB"], 2),
    wrong("memory without a unit", &["create", "--memory", "64"], 2),
    wrong(
        "memory below the image's need",
        &["create", "--memory", "1MiB"],
        4,
    ),
    wrong(
        "memory above the host's",
        &["create", "--memory", "1TiB"],
        4,
    ),
    wrong(
        "a maximum below the beginning",
        &["create", "--memory", "64MiB", "--max-memory", "32MiB"],
        2,
    ),
    wrong("0 vCPUs", &["create", "--vcpus", "0"], 2),
    wrong("1000 vCPUs", &["create", "--vcpus", "1000"], 4),
    wrong("a CPU that is not there", &["create", "--cpus", "63"], 4),
    wrong("a name with a slash", &["create", "--name", "a/b"], 2),
    wrong(
        "a kernel that is not there",
        &["create", "--kernel", "/no/such/kernel"],
        1,
    ),
    wrong("an unknown option", &["create", "--colour", "red"], 2),
    wrong("an unknown domain", &["show", "nobody"], 3),
    wrong("destroying dom0", &["destroy", "0"], 1),
];

impl WrongWords {
    pub(crate) fn name(&self) -> &'static str {
        self.name
    }

    pub(crate) fn is_refused(&self, bench: &Bench<'_, '_>) -> Result<()> {
        bench.leaves_nothing(|| {
            let (said, json) = bench.refused(self.words)?;
            ensure!(
                said.code == self.code,
                "`{}` ended with code {}, not {}: {json}",
                said.command,
                said.code,
                self.code
            );
            Ok(())
        })
    }
}

/// A name belongs to one domain at a time.
pub(crate) fn duplicate_name(bench: &Bench<'_, '_>) -> Result<()> {
    bench.leaves_nothing(|| {
        let words = ["create", "--name", "twin", "--memory", "16MiB"];
        bench.client().json(&words)?;
        let (said, json) = bench.refused(&words)?;
        ensure!(
            json["error"]["code"] == "name-taken",
            "`{}` was refused for another reason: {json}",
            said.command
        );
        bench.client().json(&["destroy", "twin"]).map(|_| ())
    })
}

/// A kernel that dom0 has never seen is sent to it, runs, and says so.
pub(crate) fn uploaded_kernel(bench: &Bench<'_, '_>) -> Result<()> {
    const LIMIT: Duration = Duration::from_secs(30);
    bench.leaves_nothing(|| {
        let kernel = bench.images().kernel("hello");
        let path = kernel.to_string_lossy();
        let words = [
            "create", "--name", "sent", "--kernel", &path, "--memory", "32MiB", "--paused",
        ];
        bench.client().json(&words)?;
        bench.client().console("sent", |console| {
            bench.client().json(&["unpause", "sent"])?;
            console.hear("its verdict", LIMIT, |line| {
                line.contains("Test result: SUCCESS").then_some(())
            })
        })?;
        // It powers off by itself, and is gone when that is done.
        bench.await_gone("sent", LIMIT)
    })
}

fn read(path: &Path) -> Result<Vec<u8>> {
    fs::read(path).with_context(|| format!("cannot read {}", path.display()))
}
