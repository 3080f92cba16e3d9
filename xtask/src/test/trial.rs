//! A trial: one machine, started to see one verdict on its serial line.
//!
//! A test kernel prints a line per check and ends with `Test result: SUCCESS`, `SKIP`, `ERROR` or `FAILURE`. One that
//! says nothing of the kind has crashed or hung, and the log tells more.

use std::collections::VecDeque;
use std::path::Path;
use std::sync::{Mutex, PoisonError};
use std::thread;
use std::time::Duration;

use anyhow::{Result, bail};

use crate::child;
use crate::run::qemu::{End, Input, Machine, NO_FIRST_DOMAIN, PANICKED, POWERED_OFF};
use crate::run::serial::Echo;
use crate::test::suite::Suite;
use crate::workspace::Workspace;

/// Trials that run side by side: as many as a small machine has CPUs.
const ABREAST: usize = 2;

/// How long after its last word a machine may take to be gone.
const GRACE: Duration = Duration::from_millis(500);

/// How long after its verdict a machine may take to power off.
const FAREWELL: Duration = Duration::from_secs(10);

/// What is tried.
#[derive(Debug, Clone)]
pub(crate) struct Trial {
    /// Its name in reports, and its log's.
    pub(crate) name: String,
    /// The machine.
    pub(crate) machine: Machine,
    /// How long until the verdict.
    pub(crate) limit: Duration,
    /// What is waited for.
    pub(crate) wanted: Wanted,
    /// Whether the machine must power off by itself in order.
    pub(crate) ending: Ending,
}

/// What ends the waiting.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Wanted {
    /// A test kernel's verdict.
    Verdict,
    /// A line with these words, which is all that is asked.
    Line(&'static str),
}

/// What follows the verdict.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Ending {
    /// An orderly power-off, told by QEMU's exit code.
    PowerOff,
    /// The hypervisor's own word that there is no first domain to start.
    Refusal,
    /// The hypervisor's panic.
    Panic,
    /// Nothing that matters: the machine is ended from outside.
    Whatever,
}

/// A kernel's own judgement.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) enum Verdict {
    /// All checks held.
    Success,
    /// It could not be tried here.
    Skip(String),
    /// A check failed, or the test itself did.
    Failure(String),
}

/// What begins the last line.
pub(crate) const MARK: &str = "Test result: ";

/// Reads what a test kernel said; `None` before its last line.
pub(crate) fn verdict(lines: &[String]) -> Option<Verdict> {
    let word = lines.iter().find_map(|line| line.split_once(MARK))?.1;
    let said = |marks: &[&str]| -> String {
        let chosen = lines
            .iter()
            .filter(|line| marks.iter().any(|mark| line.contains(mark)));
        chosen.map(String::as_str).collect::<Vec<_>>().join("\n")
    };
    Some(match word.trim() {
        "SUCCESS" => Verdict::Success,
        "SKIP" => Verdict::Skip(said(&["skipped: "])),
        _ => Verdict::Failure(said(&["FAIL", "error: ", MARK])),
    })
}

/// Runs all trials, a few side by side, and reports them in order.
pub(crate) fn run_all(suite: &mut Suite<'_>, trials: Vec<Trial>) {
    let workspace = suite.workspace();
    let names: Vec<String> = trials.iter().map(|trial| trial.name.clone()).collect();
    let waiting: Mutex<VecDeque<(usize, Trial)>> =
        Mutex::new(trials.into_iter().enumerate().collect());
    let mut results: Vec<(usize, Result<Verdict>)> = thread::scope(|scope| {
        let workers: Vec<_> = (0..ABREAST)
            .map(|_| {
                scope.spawn(|| {
                    let mut results = Vec::new();
                    loop {
                        let next = waiting
                            .lock()
                            .unwrap_or_else(PoisonError::into_inner)
                            .pop_front();
                        let Some((number, trial)) = next else {
                            return results;
                        };
                        results.push((number, run(workspace, &trial)));
                    }
                })
            })
            .collect();
        workers
            .into_iter()
            .flat_map(|worker| worker.join().unwrap_or_default())
            .collect()
    });
    results.sort_by_key(|(number, _)| *number);
    for (name, (_, result)) in names.iter().zip(results) {
        match result {
            Ok(Verdict::Success) => suite.pass(name),
            Ok(Verdict::Skip(why)) => suite.skip(name, &why),
            Ok(Verdict::Failure(why)) => suite.fail(name, &why),
            Err(error) => suite.fail(name, &format!("{error:#}")),
        }
    }
}

/// Held by a trial with a large machine: two of them at once may be more than the host has.
static LARGE: Mutex<()> = Mutex::new(());

/// From so many MiB on a machine is large.
const LARGE_MIB: u64 = 4096;

/// Runs one trial to its end.
pub(crate) fn run(workspace: &Workspace, trial: &Trial) -> Result<Verdict> {
    let _alone = (trial.machine.memory_mib >= LARGE_MIB)
        .then(|| LARGE.lock().unwrap_or_else(PoisonError::into_inner));
    let log = workspace.log(&trial.name.replace(['/', ' '], "-"))?;
    let mut running = trial.machine.start(&log, Echo::Quiet, Input::None)?;
    let explain = |what: String, line: &str| explain(&what, &log, line);
    let line = running.line().to_owned();
    let mark = match trial.wanted {
        Wanted::Verdict => MARK,
        Wanted::Line(words) => words,
    };
    let said = running
        .serial()
        .wait_for(trial.limit, |line| line.contains(mark));
    let judged = said.and_then(|_| match trial.wanted {
        Wanted::Verdict => verdict(&running.serial().lines()),
        Wanted::Line(_) => Some(Verdict::Success),
    });
    let Some(verdict) = judged else {
        let what = match running.wait(GRACE)? {
            End::No => format!("no `{mark}` within {} s", trial.limit.as_secs()),
            end @ (End::Code(_) | End::Signal) => format!("no `{mark}`: {}", end.describe()),
        };
        bail!(explain(what, &line));
    };
    let code = match trial.ending {
        Ending::PowerOff => Some(POWERED_OFF),
        Ending::Refusal => Some(NO_FIRST_DOMAIN),
        Ending::Panic => Some(PANICKED),
        Ending::Whatever => None,
    };
    if let Some(code) = code {
        let end = running.wait(FAREWELL)?;
        if end != End::Code(code) {
            bail!(explain(
                format!("after {verdict:?}: {}", end.describe()),
                &line
            ));
        }
    }
    Ok(match verdict {
        Verdict::Failure(why) => Verdict::Failure(explain(why, &line)),
        held @ (Verdict::Success | Verdict::Skip(_)) => held,
    })
}

/// A complaint with the log's end, the command and the log's path.
pub(crate) fn explain(what: &str, log: &Path, line: &str) -> String {
    format!(
        "{what}\n{}\n  command: {line}\n  log:     {}",
        child::tail(log, 25),
        log.display()
    )
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn verdicts_are_read_with_their_reasons() {
        let judge = |text: &str| verdict(&text.lines().map(str::to_owned).collect::<Vec<_>>());
        assert_eq!(
            judge("ok   a\nTest result: SUCCESS"),
            Some(Verdict::Success)
        );
        assert_eq!(
            judge("skipped: one CPU\nTest result: SKIP"),
            Some(Verdict::Skip("skipped: one CPU".into()))
        );
        assert_eq!(
            judge("ok   a\nFAIL b\nTest result: FAILURE"),
            Some(Verdict::Failure("FAIL b\nTest result: FAILURE".into()))
        );
        assert_eq!(judge("ok   a\nSUCCESS"), None);
    }
}
