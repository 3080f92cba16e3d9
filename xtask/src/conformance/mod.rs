//! `cargo xtask conformance`: the kernels of `guest-kernel/conformance` on Paravane and on Debian's Xen, as first domain and
//! as ordinary domain, and their answers side by side.
//!
//! A check passes on Xen when it answers what the suite's rule says, and on Paravane also when `docs/divergences.md` lists
//! that very answer. What differs between the two and is not listed fails the run; so does a listed difference that is
//! none any more. And each row of the hypercall table must have been asked for all that it documents ([`asked`]).

mod answer;
mod asked;
mod judge;
mod listed;
mod place;
mod proof;

use std::process::ExitCode;

use anyhow::{Context, Result, bail};

pub(crate) use judge::Report;
use place::Place;

use crate::build::bare::{self, Images};
use crate::setup::{packages, toolchain};
use crate::workspace::Workspace;

/// `cargo xtask conformance`'s options.
#[derive(Debug, clap::Args)]
pub(crate) struct Options {
    /// Where to run the kernels.
    #[arg(long, value_enum, default_value = "both")]
    on: On,
    /// Only checks whose name has this in it; names begin with their subject, as in `events.send.port-0`.
    #[arg(long, value_name = "NAME")]
    filter: Option<String>,
    /// End with one line of JSON.
    #[arg(long)]
    json: bool,
    /// Show every check failing: run the kernels with a broken hypervisor in between.
    #[arg(long, conflicts_with_all = ["on", "json"])]
    self_test: bool,
}

/// Which hypervisors.
#[derive(Debug, Clone, Copy, PartialEq, Eq, clap::ValueEnum)]
enum On {
    /// Ours.
    Paravane,
    /// Debian's Xen 4.17.
    Xen,
    /// Both, compared.
    Both,
}

/// Runs the suite and tells what came out.
pub(crate) fn run(workspace: &Workspace, options: &Options) -> Result<ExitCode> {
    let _turn = workspace.turn()?;
    packages::ensure(workspace, &[packages::RUN])?;
    let images = bare::build(workspace, toolchain::ensure(workspace)?)?;
    let kernels = chosen(&images, options.filter.as_deref())?;
    if options.self_test {
        return proof::run(workspace, &images, &kernels, options.filter.as_deref());
    }
    let ours = options.on != On::Xen;
    let theirs = options.on != On::Paravane;
    let places = Place::ALL
        .into_iter()
        .filter(|place| if place.is_xen() { theirs } else { ours });
    let report = collect(
        workspace,
        &images,
        &kernels,
        places,
        options.filter.as_deref(),
    )?;
    print!("{}", report.text());
    if options.json {
        println!("{}", report.json());
    }
    Ok(if report.holds() {
        ExitCode::SUCCESS
    } else {
        ExitCode::FAILURE
    })
}

/// What is short enough for every test run: Paravane whole, Xen where the kernel is its first domain.
pub(crate) fn short(workspace: &Workspace, images: &Images) -> Result<Report> {
    let kernels = chosen(images, None)?;
    let places = [
        Place::ParavaneFirst,
        Place::ParavaneOrdinary,
        Place::XenFirst,
    ];
    collect(workspace, images, &kernels, places.into_iter(), None)
}

/// Runs the kernels at each place, and judges their answers.
fn collect(
    workspace: &Workspace,
    images: &Images,
    kernels: &[String],
    places: impl Iterator<Item = Place>,
    filter: Option<&str>,
) -> Result<Report> {
    let page = workspace.root().join("docs/divergences.md");
    let text = std::fs::read_to_string(&page)
        .with_context(|| format!("cannot read {}", page.display()))?;
    let mut report = Report::new(listed::read(&text)?);
    for place in places {
        println!("conformance: {} kernels on {}", kernels.len(), place.name());
        let mut answers = place.run(workspace, images, kernels)?;
        if let Some(filter) = filter {
            answers.retain(filter);
        }
        report.add(place, &answers)?;
    }
    report.conclude(filter.is_none());
    if filter.is_none() {
        report.require_rows();
    }
    Ok(report)
}

/// The kernels that may have a check of this name.
fn chosen(images: &Images, filter: Option<&str>) -> Result<Vec<String>> {
    let all = images.conformance();
    let named = |kernel: &&String| {
        filter.is_some_and(|filter| {
            let subject = answer::subject_of(kernel);
            filter == subject || filter.starts_with(&format!("{subject}."))
        })
    };
    let mut chosen: Vec<String> = all.iter().filter(named).cloned().collect();
    if chosen.is_empty() {
        chosen = all.to_vec();
    }
    if chosen.is_empty() {
        bail!("there are no conformance kernels");
    }
    Ok(chosen)
}
