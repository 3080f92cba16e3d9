//! Host tests: `cargo test` over the default members and the guest library, counted by what libtest says.

use std::fs;
use std::time::Duration;

use anyhow::{Context, Result};

use crate::build::metadata::Metadata;
use crate::child::Call;
use crate::test::suite::Suite;

/// The bare library with parts that need no kernel: they have unit tests.
const TESTED_ON_HOST: &str = "guest-kernel";

/// Building included, on a slow machine.
const LIMIT: Duration = Duration::from_secs(900);

/// Atomics whose order a test chooses are another build of the hypervisor's core.
const INTERLEAVED: [&str; 7] = [
    "test",
    "-p",
    "hypervisor-core",
    "--features",
    "shuttle",
    "--lib",
    "interleave",
];

pub(crate) fn host(suite: &mut Suite<'_>) -> Result<()> {
    let mut call = Call::new("cargo")
        .directory(suite.workspace().root())
        .args(["test", "--no-fail-fast", "--workspace"]);
    for package in Metadata::read(suite.workspace())?.bare_members() {
        if package != TESTED_ON_HOST {
            call = call.args(["--exclude", package]);
        }
    }
    run(suite, "host", call)?;
    let call = Call::new("cargo").directory(suite.workspace().root());
    run(suite, "interleave", call.args(INTERLEAVED))
}

/// Runs tests and counts what they say.
fn run(suite: &mut Suite<'_>, name: &str, call: Call) -> Result<()> {
    let log = suite.workspace().log(name)?;
    let outcome = call.limit(LIMIT).logged(&log);
    let text =
        fs::read_to_string(&log).with_context(|| format!("cannot read {}", log.display()))?;
    let count = Count::of(&text);
    if count.passed > 0 {
        suite.pass_many(count.passed, "cargo test");
    }
    for failed in &count.failed {
        suite.fail(failed, "see the log");
    }
    for ignored in &count.ignored {
        suite.skip(ignored, "it is marked #[ignore]");
    }
    // Whatever failed beside single tests: a build, a test program that died, an empty run.
    if count.failed.is_empty() {
        outcome?;
        anyhow::ensure!(
            count.passed > 0,
            "cargo test ran nothing, see {}",
            log.display()
        );
    } else if let Err(error) = outcome {
        println!("         {error:#}");
    }
    Ok(())
}

/// What libtest's output tells.
#[derive(Debug, Default, PartialEq, Eq)]
struct Count {
    passed: u64,
    failed: Vec<String>,
    ignored: Vec<String>,
}

impl Count {
    fn of(text: &str) -> Self {
        let mut count = Self::default();
        for line in text.lines() {
            let Some((name, verdict)) = line
                .strip_prefix("test ")
                .and_then(|rest| rest.rsplit_once(" ... "))
            else {
                continue;
            };
            match verdict.split([',', ' ']).next() {
                Some("ok") => count.passed += 1,
                Some("FAILED") => count.failed.push(name.to_owned()),
                Some("ignored") => count.ignored.push(name.to_owned()),
                _ => {}
            }
        }
        count
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn results_are_counted_by_their_verdict() {
        let text = "running 4 tests\ntest a::b ... ok\ntest c - should panic ... ok\ntest d ... FAILED\n\
                    test e ... ignored, too slow\ntest result: FAILED. 2 passed; 1 failed\n";
        let count = Count::of(text);
        assert_eq!(count.passed, 2);
        assert_eq!(count.failed, ["d"]);
        assert_eq!(count.ignored, ["e"]);
    }
}
