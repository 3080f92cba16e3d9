//! Unsafe code: only in the places that need it, and counted per crate.

use std::fs;
use std::path::Path;

use anyhow::{Context, Result, bail};

use crate::build::metadata::{Member, Metadata};
use crate::test::rust_text;
use crate::test::suite::Suite;

/// Where `unsafe` may stand: path prefixes from the top of the tree.
const PLACES: &[&str] = &[
    "hypervisor/hypervisor-arch/",
    "guest-kernel/src/start",
    "guest-kernel/src/hypercall",
    "guest-kernel/src/paging",
    "guest-kernel/src/heap",
    "guest-kernel/src/trap",
    "guest-kernel/src/smp",
    "guest-kernel/src/user",
    // The conformance suite issues every call raw, and tries instructions that must fault.
    "guest-kernel/conformance/src/fixture.rs",
    "guest-kernel/conformance/src/gate.rs",
    "guest-kernel/conformance/src/instruction.rs",
    "guest-kernel/conformance/src/returns.rs",
    "guest-kernel/conformance/src/shared.rs",
    "guest-kernel/conformance/src/bin/check-calls.rs",
    "guest-kernel/conformance/src/bin/check-frames/bench.rs",
    "guest-kernel/conformance/src/bin/check-returns.rs",
    "guest-kernel/conformance/src/bin/check-vcpus.rs",
    // Test kernels that try what the library would not do.
    "guest-kernel/kernels/src/bin/areas.rs",
    // Entries of its own, as short as the ABI permits.
    "guest-kernel/kernels/src/bin/bench/",
    "guest-kernel/kernels/src/bin/debug.rs",
    "guest-kernel/kernels/src/bin/descriptors.rs",
    "guest-kernel/kernels/src/bin/emulation.rs",
    "guest-kernel/kernels/src/bin/grants.rs",
    "guest-kernel/kernels/src/bin/memory.rs",
    "guest-kernel/kernels/src/bin/multicall.rs",
    "guest-kernel/kernels/src/bin/paging.rs",
    "guest-kernel/kernels/src/bin/preemption.rs",
    "guest-kernel/kernels/src/bin/storm",
    "guest-kernel/kernels/src/bin/time.rs",
    "guest-kernel/kernels/src/bin/traps.rs",
    "guest-kernel/kernels/src/bin/writes.rs",
    "dom0-tools/dom0/src/device",
];

/// A crate's figures.
#[derive(Debug, Default, Clone, Copy)]
struct Figures {
    lines: usize,
    blocks: usize,
    others: usize,
}

pub(crate) fn unsafety(suite: &mut Suite<'_>) -> Result<()> {
    let metadata = Metadata::read(suite.workspace())?;
    let files = suite.workspace().files()?;
    println!(
        "         {:<18} {:>8} {:>14} {:>22}",
        "crate", "lines", "unsafe blocks", "unsafe fn/impl/extern"
    );
    for member in metadata.members() {
        let home = member
            .directory
            .strip_prefix(suite.workspace().root())
            .unwrap_or(&member.directory);
        let own = files.iter().filter(|file| {
            let is_code = file.extension().is_some_and(|end| end == "rs");
            is_code && file.starts_with(home.join("src")) && !is_test(file)
        });
        let mut total = Figures::default();
        let mut misplaced = Vec::new();
        for file in own {
            let figures = count(&suite.workspace().root().join(file))?;
            if figures.blocks + figures.others > 0 && !is_place(file) {
                misplaced.push(file.display().to_string());
            }
            total.lines += figures.lines;
            total.blocks += figures.blocks;
            total.others += figures.others;
        }
        println!(
            "         {:<18} {:>8} {:>14} {:>22}",
            member.name, total.lines, total.blocks, total.others
        );
        suite.case(&member.name, judge(member, total, &misplaced));
    }
    Ok(())
}

/// Files that are compiled for tests only, by the names that the tree gives them.
fn is_test(file: &Path) -> bool {
    let names = ["tests", "tests.rs", "fake"];
    file.iter()
        .any(|part| names.iter().any(|name| part == *name))
}

fn is_place(file: &Path) -> bool {
    let file = file.to_string_lossy();
    PLACES.iter().any(|place| file.starts_with(place))
}

fn judge(member: &Member, total: Figures, misplaced: &[String]) -> Result<()> {
    if !misplaced.is_empty() {
        bail!("unsafe code where none may be: {}", misplaced.join(", "));
    }
    if total.blocks + total.others > 0 {
        return Ok(());
    }
    let forbids = ["src/lib.rs", "src/main.rs"].iter().any(|root| {
        fs::read_to_string(member.directory.join(root))
            .is_ok_and(|text| rust_text::code_of(&text).contains("#![forbid(unsafe_code)]"))
    });
    if !forbids && member.name != "guest-kernels" {
        bail!("it has no unsafe code: say `#![forbid(unsafe_code)]` in its root");
    }
    Ok(())
}

fn count(path: &Path) -> Result<Figures> {
    let source =
        fs::read_to_string(path).with_context(|| format!("cannot read {}", path.display()))?;
    Ok(figures(&source))
}

fn figures(source: &str) -> Figures {
    let code = rust_text::without_tests(&rust_text::code_of(source));
    let mut figures = Figures {
        lines: rust_text::lines_of_code(&code),
        ..Figures::default()
    };
    let words = code.split(|c: char| c.is_whitespace() || "(){}[]<>,;:#!=&".contains(c));
    let total = words.filter(|word| *word == "unsafe").count();
    let compact: String = code.split_whitespace().collect::<Vec<_>>().join(" ");
    figures.blocks = compact.matches("unsafe {").count();
    figures.others = total.saturating_sub(figures.blocks);
    figures
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn blocks_and_other_uses_are_told_apart() {
        let figures = figures(
            "unsafe fn a() {}\nfn b() { unsafe { a() } }\n#[unsafe(no_mangle)]\nfn c() {}\n// unsafe { }\n\
             #[cfg(test)]\nmod tests { fn t() { unsafe { b() } } }\n#![forbid(unsafe_code)]\n",
        );
        assert_eq!((figures.blocks, figures.others), (1, 2));
        assert_eq!(figures.lines, 5);
    }
}
