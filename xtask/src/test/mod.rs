//! `cargo xtask test`: every check, in steps that announce themselves, and one last line that counts.
//!
//! A step is a name and a function that reports cases to [`Suite`]. A step's own failure (it could not do its work) is
//! a failed case too. Skipped cases are told and counted apart: they are never passes.

mod docs;
mod e2e;
mod edges;
mod format;
pub(crate) mod guest;
mod host;
mod instructions;
mod licences;
mod lines;
pub(crate) mod linux;
mod matrix;
mod modules;
mod rust_text;
pub(crate) mod suite;
pub(crate) mod trial;
mod unsafety;

use std::process::ExitCode;

use anyhow::{Result, bail};

use crate::bench;
use crate::setup::{packages, toolchain};
use crate::test::suite::{Length, Suite};
use crate::workspace::Workspace;

/// `cargo xtask test`'s options.
#[derive(Debug, clap::Args)]
pub(crate) struct Options {
    /// Run only this step; may be given several times.
    #[arg(long, value_name = "STEP")]
    only: Vec<String>,
    /// Run what can go on for long as long as it is worth: 1000 domains in a row, not 200.
    #[arg(long)]
    long: bool,
    /// Print the steps and end.
    #[arg(long)]
    list: bool,
}

/// One step of the run.
struct Step {
    name: &'static str,
    about: &'static str,
    run: fn(&mut Suite<'_>) -> Result<()>,
}

const fn step(
    name: &'static str,
    about: &'static str,
    run: fn(&mut Suite<'_>) -> Result<()>,
) -> Step {
    Step { name, about, run }
}

/// All steps, the quick ones first.
const STEPS: &[Step] = &[
    step(
        "fmt",
        "all code is formatted by rustfmt's defaults",
        format::fmt,
    ),
    step(
        "edges",
        "crates depend on each other one way only",
        edges::edges,
    ),
    step(
        "duplicates",
        "bare images have one version of each crate",
        edges::duplicates,
    ),
    step(
        "licences",
        "all crates have permissive licences",
        licences::licences,
    ),
    step("lines", "no source file is too long", lines::lines),
    step(
        "unsafe",
        "unsafe code is where it may be, counted",
        unsafety::unsafety,
    ),
    step(
        "clippy",
        "no lint complains about host packages",
        format::clippy_host,
    ),
    step(
        "clippy-bare",
        "no lint complains about bare packages",
        format::clippy_bare,
    ),
    step("host", "tests that run on the host", host::host),
    step("build", "the bare images build", instructions::build),
    step(
        "instructions",
        "no image has instructions that it must not have",
        instructions::scan,
    ),
    step(
        "guests",
        "test kernels succeed as Paravane's first domain",
        guest::guests,
    ),
    step(
        "oracle",
        "the same test kernels succeed as Xen's first domain",
        guest::oracle,
    ),
    step(
        "oracle-domain",
        "a test kernel succeeds as Xen's ordinary domain",
        guest::oracle_domain,
    ),
    step(
        "budgets",
        "hot paths stay within their instructions",
        bench::budgets,
    ),
    step(
        "conformance",
        "answers of Paravane and of Xen are as they must be",
        guest::conformance,
    ),
    step("matrix", "every kind of machine boots", matrix::matrix),
    step(
        "tour",
        "cargo xtask run shows the tour and ends well",
        e2e::tour,
    ),
    step(
        "churn",
        "domains come and go and leave nothing behind",
        e2e::churn,
    ),
    step(
        "crowd",
        "64 domains in 1 GiB, and what requests cost among them",
        e2e::crowd,
    ),
    step(
        "moves",
        "memory moves whole, ends have consequences, clients go away",
        e2e::moves,
    ),
    step(
        "changes",
        "memory and vCPUs change without downtime",
        e2e::changes,
    ),
    step(
        "neighbours",
        "what one does, others do not notice; nothing polls",
        e2e::neighbours,
    ),
    step(
        "scheduler",
        "CPU time goes by weight, cap and affinity",
        e2e::scheduler,
    ),
    step(
        "input",
        "wrong input is refused and leaves nothing behind",
        e2e::input,
    ),
    step(
        "linux",
        "Debian's unmodified kernel runs as a domain",
        linux::linux,
    ),
    step(
        "linux-input",
        "spoiled kernels, large RAM disks and long command lines are refused",
        linux::linux_input,
    ),
    step(
        "linux-life",
        "clocks, pauses, restarts and a panic of Linux domains",
        linux::linux_life,
    ),
    step(
        "linux-ticks",
        "a program in a Linux domain keeps its beat while memory and vCPUs change",
        linux::linux_ticks,
    ),
    step(
        "linux-programs",
        "programs in a Linux domain do what they do without a hypervisor",
        linux::linux_programs,
    ),
    step(
        "docs",
        "links and generated parts of the docs hold",
        docs::docs,
    ),
];

/// Runs the steps that were asked for.
pub(crate) fn run(workspace: &Workspace, options: &Options) -> Result<ExitCode> {
    if options.list {
        for step in STEPS {
            println!("{:<14} {}", step.name, step.about);
        }
        return Ok(ExitCode::SUCCESS);
    }
    if let Some(unknown) = options
        .only
        .iter()
        .find(|name| STEPS.iter().all(|step| step.name != name.as_str()))
    {
        bail!("there is no step `{unknown}`: `cargo xtask test --list` names them");
    }
    let _turn = workspace.turn()?;
    packages::ensure(workspace, &[packages::RUN, packages::ISO, packages::TEST])?;
    for component in toolchain::COMPONENTS {
        component.ensure(workspace)?;
    }
    let length = if options.long {
        Length::Long
    } else {
        Length::Usual
    };
    let mut suite = Suite::new(workspace, toolchain::ensure(workspace)?, length);
    for step in STEPS {
        if options.only.is_empty() || options.only.iter().any(|name| name == step.name) {
            suite.step(step.name, step.about, step.run);
        }
    }
    Ok(suite.conclude())
}
