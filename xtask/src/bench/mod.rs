//! `cargo xtask bench`: what each operation of the interface costs, in executed instructions, here and on Debian's Xen.
//!
//! The same benchmark kernel is the first domain of both, on one CPU whose time counts instructions, so a figure repeats
//! to the instruction and does not depend on the host. With `--against xen` the command writes `docs/benchmarks.md`.

mod budget;
mod figures;
mod notes;
mod report;
mod sides;
mod tools;

pub(crate) use budget::budgets;

use std::fs;
use std::process::ExitCode;

use anyhow::{Context, Result, bail};

use crate::bench::report::{Report, Versions};
use crate::bench::sides::{Mitigations, Side};
use crate::build::bare;
use crate::setup::{packages, toolchain};
use crate::workspace::Workspace;

/// `cargo xtask bench`'s options.
#[derive(Debug, clap::Args)]
pub(crate) struct Options {
    /// Run the same kernel on another hypervisor too, and write docs/benchmarks.md.
    #[arg(long, value_enum)]
    against: Option<Peer>,
    /// Measure the commands of management too, with 1, 8 and 64 domains present: minutes.
    #[arg(long)]
    tools: bool,
    /// End with one line of JSON.
    #[arg(long)]
    json: bool,
}

/// Another hypervisor.
#[derive(Debug, Clone, Copy, PartialEq, Eq, clap::ValueEnum)]
enum Peer {
    /// Debian's Xen 4.17.
    Xen,
}

/// Measures and reports.
pub(crate) fn run(workspace: &Workspace, options: &Options) -> Result<ExitCode> {
    let _turn = workspace.turn()?;
    packages::ensure(workspace, &[packages::RUN])?;
    let toolchain = toolchain::ensure(workspace)?;
    let images = bare::build(workspace, toolchain)?;
    let measure = |side: &Side, mitigations: Mitigations| {
        println!(
            "bench: {} with mitigations {}",
            side.name(),
            mitigations.word()
        );
        side.measure(workspace, mitigations)
    };
    let ours = Side::paravane(&images);
    let mut off = measure(&ours, Mitigations::Off)?;
    let defaults = measure(&ours, Mitigations::Defaults)?;
    if options.tools {
        println!("bench: commands of management on paravane");
        off.extend(tools::paravane(workspace, &images)?);
    }
    let mut report = Report::new(&off, &defaults);
    if let Some(Peer::Xen) = options.against {
        let xen = Side::xen(workspace, &images)?;
        let mut their_off = measure(&xen, Mitigations::Off)?;
        let their_defaults = measure(&xen, Mitigations::Defaults)?;
        if options.tools {
            println!("bench: commands of management on xen");
            their_off.extend(tools::xen(workspace, &images)?);
        }
        report.compare(&their_off, &their_defaults)?;
        let versions = Versions::find(workspace, &off, &their_off)?;
        let document = workspace.root().join("docs/benchmarks.md");
        fs::write(&document, report.document(&versions))
            .with_context(|| format!("cannot write {}", document.display()))?;
        println!("wrote {}", document.display());
    }
    print!("{}", report.table());
    if options.json {
        println!("{}", report.json());
    }
    if options.tools && !notes::are_about(&report) {
        bail!("a note of xtask/src/bench/notes.rs is about a row that is not there");
    }
    Ok(ExitCode::SUCCESS)
}
