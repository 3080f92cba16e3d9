//! Programs for a Linux guest, written here in C without a library, and built by the host's compiler.
//!
//! Each does what user space asks of a processor and a kernel, and prints what came of it: the same everywhere.

use std::fs;
use std::path::PathBuf;

use anyhow::{Context, Result};

use crate::child::Call;
use crate::linux::initramfs::Initramfs;
use crate::workspace::Workspace;

/// What runs all programs that print the same everywhere, one after the other, or the one that `$only` names.
pub(crate) const RUN_ALL: &str = "/bin/programs";

/// What each line of theirs begins with, and the name of the program.
pub(crate) const MARK: char = '@';

/// For whom a program is built.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Bits {
    Sixtyfour,
    Thirtytwo,
}

/// A program.
#[derive(Debug, Clone, Copy)]
struct Program {
    name: &'static str,
    bits: Bits,
    source: &'static str,
}

macro_rules! program {
    ($name:literal, $bits:ident) => {
        Program {
            name: $name,
            bits: Bits::$bits,
            source: include_str!(concat!("programs/", $name, ".c")),
        }
    };
}

/// Programs whose output is the same on every machine.
const PROGRAMS: &[Program] = &[
    program!("signals", Sixtyfour),
    program!("step", Sixtyfour),
    program!("watch", Sixtyfour),
    program!("ldt", Sixtyfour),
    program!("forks", Sixtyfour),
    program!("threads", Sixtyfour),
    program!("vectors", Sixtyfour),
    program!("clocks", Sixtyfour),
    program!("entries32", Thirtytwo),
];

/// Reads the clock without asking the kernel.
const VDSO: Program = program!("vdso", Sixtyfour);

/// Ticks every 10 ms and measures the longest gap until it is told to end.
const TICKS: Program = program!("ticks", Sixtyfour);

/// What they share.
const HEADERS: [(&str, &str); 2] = [
    ("line.h", include_str!("programs/line.h")),
    ("program.h", include_str!("programs/program.h")),
];

const FLAGS: [&str; 14] = [
    "-O2",
    "-Wall",
    "-Wextra",
    "-Werror",
    "-ffreestanding",
    "-nostdlib",
    "-static",
    "-no-pie",
    "-fno-pie",
    "-fno-stack-protector",
    "-fno-tree-loop-distribute-patterns",
    "-fcf-protection=none",
    "-mno-red-zone",
    "-Wl,--build-id=none",
];

/// Names of the programs that [`RUN_ALL`] runs.
pub(crate) fn names() -> impl Iterator<Item = &'static str> {
    PROGRAMS.iter().map(|program| program.name)
}

/// Builds all programs and adds them to a RAM disk, with the script that runs them.
pub(crate) fn add_all(workspace: &Workspace, disk: &mut Initramfs) -> Result<()> {
    let mut script = "#!/bin/sh\n".to_owned();
    for program in PROGRAMS {
        disk.add_program(&format!("bin/{}", program.name), &program.build(workspace)?)?;
        script.push_str(&format!(
            "[ \"${{only:-{0}}}\" = {0} ] && {{ /bin/{0}; echo \"ended with $?\"; }} 2>&1 | sed 's/^/{MARK}{0}: /'\n",
            program.name
        ));
    }
    script.push_str("true\n");
    disk.add_program(RUN_ALL.trim_start_matches('/'), script.as_bytes())
}

/// Builds the programs that tell of clocks, and adds them to a RAM disk as `/bin/ticks` and `/bin/vdso`.
pub(crate) fn add_clocks(workspace: &Workspace, disk: &mut Initramfs) -> Result<()> {
    disk.add_program("bin/ticks", &TICKS.build(workspace)?)?;
    disk.add_program("bin/vdso", &VDSO.build(workspace)?)
}

impl Program {
    fn build(&self, workspace: &Workspace) -> Result<Vec<u8>> {
        let directory = workspace.output("linux/programs")?;
        let source = directory.join(format!("{}.c", self.name));
        write(&source, self.source)?;
        for (name, text) in HEADERS {
            write(&directory.join(name), text)?;
        }
        let program = directory.join(self.name);
        let width: &[&str] = match self.bits {
            Bits::Sixtyfour => &["-m64"],
            // Its registers are few, and the compiler shall leave the vector registers alone.
            Bits::Thirtytwo => &["-m32", "-mgeneral-regs-only"],
        };
        Call::new("gcc")
            .args(FLAGS)
            .args(width)
            .arg("-o")
            .arg(&program)
            .arg(&source)
            .logged(&workspace.log(&format!("build-linux-{}", self.name))?)?;
        fs::read(&program).with_context(|| format!("cannot read {}", program.display()))
    }
}

fn write(path: &PathBuf, text: &str) -> Result<()> {
    fs::write(path, text).with_context(|| format!("cannot write {}", path.display()))
}
