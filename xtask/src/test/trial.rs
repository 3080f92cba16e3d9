//! A trial: one machine, started to see one verdict on its serial line.
//!
//! A test kernel ends with a line `verdict: success`, `skip`, `error` or `failure`, the last three with the reason
//! behind them. A kernel that says nothing of the kind has crashed or hung, and the log tells more.

use std::collections::VecDeque;
use std::path::Path;
use std::sync::{Mutex, PoisonError};
use std::thread;
use std::time::Duration;

use anyhow::{Result, bail};

use crate::child;
use crate::run::qemu::{End, Input, Machine, POWERED_OFF};
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
    /// Whether the machine must power off by itself in order.
    pub(crate) ending: Ending,
}

/// What follows the verdict.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Ending {
    /// An orderly power-off, told by QEMU's exit code.
    PowerOff,
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

/// Reads a verdict line.
pub(crate) fn verdict(line: &str) -> Option<Verdict> {
    let (_, said) = line.split_once("verdict: ")?;
    let said = said.trim();
    let (word, reason) = said.split_once([' ', ':', ',']).unwrap_or((said, ""));
    let reason = reason.trim_start_matches([' ', ':']).to_owned();
    match word {
        "success" => Some(Verdict::Success),
        "skip" => Some(Verdict::Skip(reason)),
        "failure" | "error" => Some(Verdict::Failure(said.to_owned())),
        _ => None,
    }
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

/// Runs one trial to its end.
pub(crate) fn run(workspace: &Workspace, trial: &Trial) -> Result<Verdict> {
    let log = workspace.log(&trial.name.replace(['/', ' '], "-"))?;
    let mut running = trial.machine.start(&log, Echo::Quiet, Input::None)?;
    let explain = |what: String, line: &str| explain(&what, &log, line);
    let line = running.line().to_owned();
    let said = running
        .serial()
        .wait_for(trial.limit, |line| verdict(line).is_some());
    let Some(verdict) = said.as_deref().and_then(verdict) else {
        let what = match running.wait(GRACE)? {
            End::No => format!("no verdict within {} s", trial.limit.as_secs()),
            end @ (End::Code(_) | End::Signal) => format!("no verdict: {}", end.describe()),
        };
        bail!(explain(what, &line));
    };
    if trial.ending == Ending::PowerOff {
        let end = running.wait(FAREWELL)?;
        if end != End::Code(POWERED_OFF) {
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
        assert_eq!(verdict("verdict: success"), Some(Verdict::Success));
        assert_eq!(
            verdict("verdict: skip: one CPU only"),
            Some(Verdict::Skip("one CPU only".into()))
        );
        assert_eq!(
            verdict("(d0) verdict: failure: 2 checks"),
            Some(Verdict::Failure("failure: 2 checks".into()))
        );
        assert_eq!(verdict("verdict: unknown"), None);
        assert_eq!(verdict("success"), None);
    }
}
