//! Answers, as kernels tell them on their consoles.

use std::collections::BTreeMap;

use anyhow::{Context, Result, bail};

use super::asked::Ask;

/// What a kernel's file is called before its subject.
const PREFIX: &str = "check-";

/// The last line of a kernel that came to its end.
pub(crate) const END: &str = "Test result: ";

/// What a kernel is about, by its file's name.
pub(crate) fn subject_of(kernel: &str) -> &str {
    kernel.strip_prefix(PREFIX).unwrap_or(kernel)
}

/// What became of one check.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) enum Answer {
    /// It was tried: the hypervisor's answer, and the one that the rule demands.
    Told {
        /// What the hypervisor answered.
        answer: String,
        /// What the rule demands.
        rule: String,
        /// What it asked of which rows of the hypercall table.
        asks: Vec<Ask>,
    },
    /// It could not be tried, for this reason.
    Skipped(String),
}

/// The answers of kernels in one place, by the checks' full names.
#[derive(Debug, Default)]
pub(crate) struct Answers {
    found: BTreeMap<String, Answer>,
    /// Kernels that did not come to their end, with what they said last.
    pub(crate) broken: BTreeMap<String, String>,
}

impl Answers {
    /// Takes what one kernel said.
    pub(crate) fn take(&mut self, kernel: &str, role: &str, lines: &[String]) -> Result<()> {
        let subject = subject_of(kernel);
        for line in lines {
            let parsed = parse(line).with_context(|| format!("{kernel} said: {line}"))?;
            let Some((name, told_role, answer)) = parsed else {
                continue;
            };
            if told_role != role {
                bail!("{kernel} ran as {role} domain, but takes itself for the {told_role} one");
            }
            if self
                .found
                .insert(format!("{subject}.{name}"), answer)
                .is_some()
            {
                bail!("two checks are called {subject}.{name}");
            }
        }
        if !lines.iter().any(|line| line.contains(END)) {
            let last = lines.iter().rev().take(12).rev();
            let last: Vec<&str> = last.map(String::as_str).collect();
            self.broken.insert(subject.to_owned(), last.join("\n"));
        }
        Ok(())
    }

    /// Keeps the checks whose names have this in them.
    pub(crate) fn retain(&mut self, filter: &str) {
        self.found.retain(|name, _| name.contains(filter));
    }

    /// All of them.
    pub(crate) fn all(&self) -> &BTreeMap<String, Answer> {
        &self.found
    }
}

/// A check's name, role and answer, if the line tells one.
fn parse(line: &str) -> Result<Option<(&str, &str, Answer)>> {
    Ok(told(line)?.or_else(|| skipped(line)))
}

fn told(line: &str) -> Result<Option<(&str, &str, Answer)>> {
    let parts = || {
        let (_, rest) = line.split_once("check ")?;
        let (name, rest) = rest.split_once(" role=")?;
        let (role, rest) = rest.split_once(" asks=")?;
        let (asks, rest) = rest.split_once(" verdict=")?;
        let (_, rest) = rest.split_once(" answer=")?;
        let (answer, rule) = rest.split_once(" rule=")?;
        Some((name, role, asks, answer, rule))
    };
    let Some((name, role, asks, answer, rule)) = parts() else {
        return Ok(None);
    };
    let told = Answer::Told {
        answer: answer.to_owned(),
        rule: rule.trim_end().to_owned(),
        asks: asks
            .split_terminator(',')
            .map(Ask::read)
            .collect::<Result<_>>()?,
    };
    Ok(Some((name, role, told)))
}

fn skipped(line: &str) -> Option<(&str, &str, Answer)> {
    let (_, rest) = line.split_once("skip ")?;
    let (name, rest) = rest.split_once(" role=")?;
    let (role, reason) = rest.split_once(" reason=")?;
    Some((name, role, Answer::Skipped(reason.trim_end().to_owned())))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn lines(text: &str) -> Vec<String> {
        text.lines().map(str::to_owned).collect()
    }

    #[test]
    fn answers_are_read_with_their_rules() {
        let mut answers = Answers::default();
        let text = "noise\ncheck a.b role=first asks=12.3=-22,20.0=s-3 verdict=fail answer=(0, [1]) rule=-22\r\n\
                    skip c role=first reason=no device\nTest result: FAILURE";
        answers.take("check-x", "first", &lines(text)).unwrap();
        let told = Answer::Told {
            answer: "(0, [1])".into(),
            rule: "-22".into(),
            asks: vec![
                Ask::read("12.3=-22").unwrap(),
                Ask::read("20.0=s-3").unwrap(),
            ],
        };
        assert_eq!(answers.all()["x.a.b"], told);
        assert_eq!(answers.all()["x.c"], Answer::Skipped("no device".into()));
        assert!(answers.broken.is_empty());
    }

    #[test]
    fn a_kernel_without_an_end_is_broken() {
        let mut answers = Answers::default();
        answers
            .take("check-x", "first", &lines("one\ntwo"))
            .unwrap();
        assert_eq!(answers.broken["x"], "one\ntwo");
    }

    #[test]
    fn names_are_not_used_twice_and_roles_are_as_expected() {
        let line = "check a role=first asks= verdict=pass answer=0 rule=0";
        let twice = Answers::default().take("check-x", "first", &lines(&format!("{line}\n{line}")));
        assert!(twice.is_err());
        assert!(
            Answers::default()
                .take("check-x", "ordinary", &lines(line))
                .is_err()
        );
    }
}
