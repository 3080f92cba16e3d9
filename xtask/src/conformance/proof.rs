//! Each check seen failing: the kernels run with a broken hypervisor put in between by their command line.
//!
//! `guest-kernel/conformance/src/sabotage.rs` tells the kinds. A check is proven when it fails under one of them, or when
//! the kernel dies in it. A check that passes under all would pass on a hypervisor that does nothing: that fails here.

use std::collections::{BTreeMap, BTreeSet};
use std::process::ExitCode;

use anyhow::{Result, bail};

use super::answer::{Answer, Answers, END};
use super::place::{abreast, alone};
use crate::build::bare::Images;
use crate::workspace::Workspace;

/// The kinds of sabotage.
const KINDS: &[&str] = &["refuse", "hollow", "blind"];

/// How often a kernel may die of one kind before something else must be wrong.
const DEATHS: usize = 40;

/// Shows every check failing, and tells those that do not.
pub(crate) fn run(
    workspace: &Workspace,
    images: &Images,
    kernels: &[String],
    filter: Option<&str>,
) -> Result<ExitCode> {
    let mut checks: BTreeSet<String> = BTreeSet::new();
    let mut seen: BTreeMap<&str, BTreeSet<String>> = BTreeMap::new();
    for found in abreast(kernels, |kernel| one(workspace, images, kernel))? {
        checks.extend(found.all);
        for (kind, failed) in found.failed {
            seen.entry(kind).or_default().extend(failed);
        }
    }
    if let Some(filter) = filter {
        checks.retain(|name| name.contains(filter));
    }
    for kind in KINDS {
        let failed = seen.get(kind).map_or(0, BTreeSet::len);
        println!("{kind}: {failed} checks fail");
    }
    let survivors: Vec<&String> = checks
        .iter()
        .filter(|name| !seen.values().any(|failed| failed.contains(*name)))
        .collect();
    for name in &survivors {
        println!("{name} was not seen failing");
    }
    println!(
        "{} checks, {} seen failing, {} not",
        checks.len(),
        checks.len() - survivors.len(),
        survivors.len()
    );
    Ok(if survivors.is_empty() && !checks.is_empty() {
        ExitCode::SUCCESS
    } else {
        ExitCode::FAILURE
    })
}

/// What one kernel showed.
#[derive(Debug, Default)]
struct Found {
    all: Vec<String>,
    failed: BTreeMap<&'static str, BTreeSet<String>>,
}

fn one(workspace: &Workspace, images: &Images, kernel: &str) -> Result<Found> {
    let honest = alone(workspace, images, kernel, "conformance")?;
    // In the order in which the kernel tries them: the place in this list is what `from` counts.
    let order = names(&honest);
    let told = |answer: &Answer| matches!(answer, Answer::Told { .. });
    let all = parsed(kernel, &honest)?
        .all()
        .iter()
        .filter(|(_, answer)| told(answer))
        .map(|(name, _)| name.clone())
        .collect();
    let mut failed = BTreeMap::new();
    for kind in KINDS {
        failed.insert(*kind, failing(workspace, images, kernel, kind, &order)?);
    }
    Ok(Found { all, failed })
}

/// The checks of a kernel that fail under one kind of sabotage, or that the kernel dies in.
fn failing(
    workspace: &Workspace,
    images: &Images,
    kernel: &str,
    kind: &str,
    order: &[String],
) -> Result<BTreeSet<String>> {
    let subject = super::answer::subject_of(kernel);
    let mut failed = BTreeSet::new();
    let mut from = 0;
    for _ in 0..DEATHS {
        let cmdline = format!("conformance sabotage={kind} from={from}");
        let lines = alone(workspace, images, kernel, &cmdline)?;
        for (name, answer) in parsed(kernel, &lines)?.all() {
            if matches!(answer, Answer::Told { answer, rule } if answer != rule) {
                failed.insert(name.clone());
            }
        }
        if lines.iter().any(|line| line.contains(END)) {
            return Ok(failed);
        }
        let done = from + names(&lines).len();
        let Some(deadly) = order.get(done) else {
            return Ok(failed);
        };
        failed.insert(format!("{subject}.{deadly}"));
        from = done + 1;
    }
    bail!("{kernel} dies of {kind} again and again");
}

fn parsed(kernel: &str, lines: &[String]) -> Result<Answers> {
    let mut answers = Answers::default();
    answers.take(kernel, "first", lines)?;
    Ok(answers)
}

/// The names of checks and skips in a kernel's words, in order.
fn names(lines: &[String]) -> Vec<String> {
    lines
        .iter()
        .filter_map(|line| {
            let (mark, rest) = line.split_once(' ')?;
            let name = rest.split_once(" role=")?.0;
            (mark == "check" || mark == "skip").then(|| name.to_owned())
        })
        .collect()
}
