//! Whether answers are as they must be: by the suite's rules, by each other, and by the list of known differences.

use std::collections::{BTreeMap, BTreeSet};
use std::fmt::Write;

use anyhow::Result;
use serde_json::{Value, json};

use super::answer::{Answer, Answers};
use super::asked::{self, Ask};
use super::listed::Table;
use super::place::Place;

/// Counts of one hypervisor.
#[derive(Debug, Default, Clone, Copy, PartialEq, Eq)]
pub(crate) struct Counts {
    /// Checks that the kernels know of.
    pub(crate) total: u64,
    /// Checks that answered as they must.
    pub(crate) passed: u64,
    /// Checks that did not, and kernels that did not come to their end.
    pub(crate) failed: u64,
    /// Checks that could not be tried, each with its reason.
    pub(crate) skipped: u64,
}

/// What one place answered to one check, by the check's role and name.
type Told = BTreeMap<(String, String), String>;

/// All that was found.
#[derive(Debug)]
pub(crate) struct Report {
    listed: Table,
    ours: Option<Counts>,
    theirs: Option<Counts>,
    our_answers: Told,
    their_answers: Told,
    rules: Told,
    /// What Xen could not be asked.
    not_for_xen: BTreeSet<(String, String)>,
    names: BTreeSet<String>,
    /// What Paravane was asked, in both roles.
    asked: BTreeSet<Ask>,
    complaints: Vec<String>,
    unlisted: u64,
}

impl Report {
    /// Nothing found yet.
    pub(crate) fn new(listed: Table) -> Self {
        Self {
            listed,
            ours: None,
            theirs: None,
            our_answers: Told::new(),
            their_answers: Told::new(),
            rules: Told::new(),
            not_for_xen: BTreeSet::new(),
            names: BTreeSet::new(),
            asked: BTreeSet::new(),
            complaints: Vec::new(),
            unlisted: 0,
        }
    }

    /// Adds the answers of one place.
    pub(crate) fn add(&mut self, place: Place, answers: &Answers) -> Result<()> {
        let side = if place.is_xen() {
            &mut self.theirs
        } else {
            &mut self.ours
        };
        let counts = side.get_or_insert_default();
        for (subject, last) in &answers.broken {
            counts.total += 1;
            counts.failed += 1;
            self.complaints.push(format!(
                "{} on {}: the kernel did not come to its end; it said last:\n{last}",
                subject,
                place.name()
            ));
        }
        for (name, answer) in answers.all() {
            counts.total += 1;
            self.names.insert(name.clone());
            let key = (name.clone(), place.role().to_owned());
            let Answer::Told { answer, rule, asks } = answer else {
                counts.skipped += 1;
                if place.is_xen() {
                    self.not_for_xen.insert(key);
                }
                continue;
            };
            let listed = self.listed.get(&key);
            let excused = !place.is_xen() && listed.is_some_and(|row| row.paravane == *answer);
            if answer == rule || excused {
                counts.passed += 1;
            } else {
                counts.failed += 1;
                self.complaints.push(format!(
                    "{name} on {}: {answer}, where the rule says {rule}",
                    place.name()
                ));
            }
            let told = if place.is_xen() {
                &mut self.their_answers
            } else {
                &mut self.our_answers
            };
            told.insert(key.clone(), answer.clone());
            if !place.is_xen() {
                self.asked.extend(asks);
            }
            self.rules.insert(key, rule.clone());
        }
        Ok(())
    }

    /// Compares what can be compared. Where only one hypervisor was asked, the rule stands for the other. `whole` says
    /// that no check was left out on purpose.
    pub(crate) fn conclude(&mut self, whole: bool) {
        let mut complaints = Vec::new();
        for (key, ours) in &self.our_answers {
            let theirs = self.their_answers.get(key).or_else(|| self.rules.get(key));
            let Some(theirs) = theirs.filter(|theirs| *theirs != ours) else {
                continue;
            };
            let row = self.listed.get(key);
            if row.is_none_or(|row| row.paravane != *ours || row.xen != *theirs) {
                self.unlisted += 1;
                let (name, role) = key;
                complaints.push(format!(
                    "not in docs/divergences.md: | `{name}` | {role} | `{theirs}` | `{ours}` |"
                ));
            }
        }
        for key in self.listed.keys().filter(|_| whole) {
            let (name, role) = key;
            let stale = match self.our_answers.get(key) {
                None => self.ours.is_some().then_some("no such check was tried"),
                Some(ours) => {
                    let theirs = self.their_answers.get(key).or_else(|| self.rules.get(key));
                    (theirs == Some(ours)).then_some("there is no difference any more")
                }
            };
            if let Some(why) = stale {
                complaints.push(format!(
                    "docs/divergences.md lists {name} ({role}), but {why}"
                ));
            }
        }
        if self.ours.is_some() && self.theirs.is_some() {
            let asked = |told: &Told, role: &str| told.keys().any(|(_, other)| other == role);
            for key in self.our_answers.keys() {
                let excused = self.not_for_xen.contains(key);
                if asked(&self.their_answers, &key.1)
                    && !self.their_answers.contains_key(key)
                    && !excused
                {
                    self.unlisted += 1;
                    complaints.push(format!("{} ({}): Xen gave no answer", key.0, key.1));
                }
            }
            for key in self.their_answers.keys() {
                if asked(&self.our_answers, &key.1) && !self.our_answers.contains_key(key) {
                    self.unlisted += 1;
                    complaints.push(format!("{} ({}): Paravane gave no answer", key.0, key.1));
                }
            }
        }
        self.complaints.append(&mut complaints);
    }

    /// Demands that Paravane was asked all that the hypercall table documents.
    pub(crate) fn require_rows(&mut self) {
        if self.ours.is_some() {
            self.complaints.extend(asked::missing(&self.asked));
        }
    }

    /// Whether all is as it must be.
    pub(crate) fn holds(&self) -> bool {
        self.complaints.is_empty() && self.ours.or(self.theirs).is_some()
    }

    /// What is not.
    pub(crate) fn complaints(&self) -> &[String] {
        &self.complaints
    }

    /// Counts of Paravane and of Xen, as far as they were asked.
    pub(crate) fn counts(&self) -> [(&'static str, Option<Counts>); 2] {
        [("paravane", self.ours), ("xen", self.theirs)]
    }

    /// For people.
    pub(crate) fn text(&self) -> String {
        let mut text = String::new();
        for complaint in &self.complaints {
            // Writing to a string cannot fail.
            writeln!(text, "{complaint}").ok();
        }
        for (name, counts) in self.counts() {
            if let Some(counts) = counts {
                writeln!(
                    text,
                    "{name}: {} checks, {} passed, {} failed, {} skipped",
                    counts.total, counts.passed, counts.failed, counts.skipped
                )
                .ok();
            }
        }
        writeln!(
            text,
            "{} rules; {} listed differences, {} unlisted",
            self.names.len(),
            self.listed.len(),
            self.unlisted
        )
        .ok();
        text
    }

    /// For programs, in one line.
    pub(crate) fn json(&self) -> String {
        let side = |counts: Option<Counts>| -> Value {
            counts.map_or(Value::Null, |counts| {
                json!({
                    "total": counts.total, "passed": counts.passed,
                    "failed": counts.failed, "skipped": counts.skipped,
                })
            })
        };
        json!({
            "paravane": side(self.ours),
            "xen": side(self.theirs),
            "rules": self.names.len(),
            "unlisted_differences": self.unlisted,
        })
        .to_string()
    }
}

#[cfg(test)]
mod tests {
    use super::super::listed;
    use super::*;

    fn table(rows: &str) -> Table {
        listed::read(&format!("## Answers that differ\n{rows}")).unwrap()
    }

    fn answers(role: &str, told: &str) -> Answers {
        let mut answers = Answers::default();
        let line = format!("check a role={role} asks= verdict=x answer={told} rule=-22");
        answers
            .take("check-x", role, &[line, "Test result: x".to_owned()])
            .unwrap();
        answers
    }

    fn judged(rows: &str, ours: &str, theirs: &str) -> Report {
        let mut report = Report::new(table(rows));
        report
            .add(Place::ParavaneFirst, &answers("first", ours))
            .unwrap();
        report
            .add(Place::XenFirst, &answers("first", theirs))
            .unwrap();
        report.conclude(true);
        report
    }

    #[test]
    fn equal_answers_by_the_rule_pass() {
        assert!(judged("", "-22", "-22").holds());
    }

    #[test]
    fn a_difference_fails_unless_it_is_listed_with_both_answers() {
        let report = judged("", "-38", "-22");
        assert_eq!(report.unlisted, 1);
        assert_eq!(report.ours.map(|counts| counts.failed), Some(1));
        let row = "| `x.a` | first | `-22` | `-38` | not yet | later |\n";
        assert!(judged(row, "-38", "-22").holds());
        assert!(!judged(row, "-1", "-22").holds());
    }

    #[test]
    fn a_listed_difference_that_is_none_fails() {
        let row = "| `x.a` | first | `-22` | `-38` | not yet | later |\n";
        assert!(!judged(row, "-22", "-22").holds());
        assert!(judged(row, "-38", "-22").holds());
    }

    #[test]
    fn a_wrong_answer_of_both_is_a_wrong_rule() {
        let report = judged("", "0", "0");
        assert_eq!(report.theirs.map(|counts| counts.failed), Some(1));
        assert!(!report.holds());
    }
}
