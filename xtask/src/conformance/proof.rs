//! Each check seen failing: the kernels run with a broken hypervisor put in between by their command line.
//!
//! `guest-kernel/conformance/src/sabotage.rs` tells the kinds. One of them needs a hypervisor that is itself wrong about calls under
//! test; for that one each row of the hypercall table that is asked must have a check that notices.
//! A check is proven when it fails under one of them, or when
//! the kernel dies in it. A check that passes under all would pass on a hypervisor that does nothing: that fails here.

use std::collections::{BTreeMap, BTreeSet};
use std::path::Path;
use std::process::ExitCode;

use anyhow::{Result, bail};

use super::answer::{Answer, Answers, END};
use super::asked;
use super::place::{Place, abreast, alone, beside_dom0, one_domain};
use crate::build::bare::{self, Images};
use crate::setup::toolchain;
use crate::workspace::Workspace;

/// The kinds of sabotage.
const KINDS: &[&str] = &["refuse", "hollow", "blind", WRONG];

/// The kind that needs a hypervisor of its own.
const WRONG: &str = "wrong";

/// How often a kernel may die of one kind before something else must be wrong.
const DEATHS: usize = 40;

/// The roles in which the checks are shown failing.
const ROLES: [Place; 2] = [Place::ParavaneFirst, Place::ParavaneOrdinary];

/// Shows every check failing, and tells those that do not.
pub(crate) fn run(
    workspace: &Workspace,
    images: &Images,
    kernels: &[String],
    filter: Option<&str>,
) -> Result<ExitCode> {
    let wrong = bare::build_breaking(workspace, toolchain::ensure(workspace)?)?;
    let (mut proven, mut tried) = (true, 0);
    let (mut asked, mut noticed) = (BTreeSet::new(), BTreeSet::new());
    for place in ROLES {
        let beds = Beds {
            workspace,
            images,
            wrong: &wrong,
            place,
        };
        let found = beds.run(kernels)?;
        let (checks, survivors) = tell(&found, filter);
        proven &= survivors == 0;
        tried += checks;
        for found in found {
            asked.extend(found.asked);
            noticed.extend(found.noticed);
        }
    }
    let excused = asked::NEVER_WRONG.iter().map(|(row, _)| (*row).to_owned());
    noticed.extend(excused);
    let unnoticed: Vec<&String> = asked.difference(&noticed).collect();
    for row in &unnoticed {
        println!("{row}: no check about it alone noticed wrong answers");
    }
    println!(
        "{} rows asked, {} of them not noticed to be answered wrongly",
        asked.len(),
        unnoticed.len()
    );
    proven &= tried > 0 && (unnoticed.is_empty() || filter.is_some());
    Ok(if proven {
        ExitCode::SUCCESS
    } else {
        ExitCode::FAILURE
    })
}

/// Where kernels run for the proof.
struct Beds<'a> {
    workspace: &'a Workspace,
    images: &'a Images,
    wrong: &'a Path,
    place: Place,
}

impl Beds<'_> {
    fn run(&self, kernels: &[String]) -> Result<Vec<Found>> {
        println!("self-test: {}", self.place.name());
        abreast(kernels, |kernel| {
            if self.place == Place::ParavaneFirst {
                return self.one(kernel, &|hypervisor, cmdline| {
                    alone(self.workspace, self.images, hypervisor, kernel, cmdline)
                });
            }
            let boot = |hypervisor: &Path, name: &str| {
                let name = format!("{name}-{kernel}");
                beside_dom0(self.workspace, self.images, hypervisor, &name)
            };
            let right = boot(&self.images.hypervisor(), "beside")?;
            let wrong = boot(self.wrong, "beside-wrong")?;
            self.one(kernel, &|hypervisor, cmdline| {
                let stack = if hypervisor == self.wrong {
                    &wrong
                } else {
                    &right
                };
                one_domain(stack, self.images, kernel, cmdline)
            })
        })
    }
}

/// Tells which checks of one role were seen failing: how many there are, and how many were not.
fn tell(tried: &[Found], filter: Option<&str>) -> (usize, usize) {
    let mut checks: BTreeSet<&String> = BTreeSet::new();
    let mut seen: BTreeMap<&str, BTreeSet<&String>> = BTreeMap::new();
    for found in tried {
        checks.extend(&found.all);
        for (kind, failed) in &found.failed {
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
    let survivors: Vec<&&String> = checks
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
    (checks.len(), survivors.len())
}

/// What one kernel showed.
#[derive(Debug, Default)]
struct Found {
    all: Vec<String>,
    failed: BTreeMap<&'static str, BTreeSet<String>>,
    /// Rows that were asked.
    asked: BTreeSet<String>,
    /// Those that have a check about them alone, which failed when the hypervisor was wrong.
    noticed: BTreeSet<String>,
}

/// Runs a kernel on a hypervisor with a command line, and gives what it said.
type Run<'a> = &'a dyn Fn(&Path, &str) -> Result<Vec<String>>;

impl Beds<'_> {
    fn one(&self, kernel: &str, run: Run<'_>) -> Result<Found> {
        let right = self.images.hypervisor();
        let lines = run(&right, "conformance")?;
        let honest = parsed(kernel, self.place.role(), &lines)?;
        // In the order in which the kernel tries them: the place in this list is what `from` counts.
        let order = names(&lines);
        let mut found = Found::default();
        for kind in KINDS {
            let hypervisor = if *kind == WRONG { self.wrong } else { &right };
            let run = |cmdline: &str| run(hypervisor, cmdline);
            let failed = failing(kernel, &honest, self.place.role(), &run, kind, &order)?;
            found.failed.insert(kind, failed);
        }
        for (name, answer) in honest.all() {
            let Answer::Told { asks, .. } = answer else {
                continue;
            };
            found.all.push(name.clone());
            let rows = asked::rows_of(asks);
            let failed = found
                .failed
                .get(WRONG)
                .is_some_and(|failed| failed.contains(name));
            if failed && rows.len() == 1 {
                found.noticed.extend(rows.iter().cloned());
            }
            found.asked.extend(rows);
        }
        Ok(found)
    }
}

/// The checks of a kernel that fail under one kind of sabotage, or that the kernel dies in.
fn failing(
    kernel: &str,
    honest: &Answers,
    role: &str,
    run: &dyn Fn(&str) -> Result<Vec<String>>,
    kind: &str,
    order: &[String],
) -> Result<BTreeSet<String>> {
    let subject = super::answer::subject_of(kernel);
    let mut failed = BTreeSet::new();
    let mut from = 0;
    for _ in 0..DEATHS {
        let lines = run(&format!("conformance sabotage={kind} from={from}"))?;
        for (name, answer) in parsed(kernel, role, &lines)?.all() {
            if told(Some(answer)).is_some() && told(Some(answer)) != told(honest.all().get(name)) {
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

/// What the hypervisor answered, if the check was tried.
fn told(answer: Option<&Answer>) -> Option<&str> {
    match answer? {
        Answer::Told { answer, .. } => Some(answer),
        Answer::Skipped(_) => None,
    }
}

fn parsed(kernel: &str, role: &str, lines: &[String]) -> Result<Answers> {
    let mut answers = Answers::default();
    answers.take(kernel, role, lines)?;
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
