//! Figures of both sides in rows, as a table, as JSON, and as `docs/benchmarks.md`.

use std::fmt::Write;

use anyhow::{Result, bail};
use serde_json::{Value, json};

use crate::bench::figures::{Figures, KEPT, KEPT_EACH};
use crate::bench::{notes, sides};
use crate::child::Call;
use crate::workspace::Workspace;

/// What a row may cost at most, as a part of what it costs on Xen.
const GOAL: f64 = 0.8;
/// Rows that everything else rests on.
const HALF: &[&str] = &["null hypercall", "update_va_mapping INVLPG"];

/// One operation on both sides.
#[derive(Debug, Clone)]
pub(crate) struct Row {
    /// The operation.
    pub(crate) name: String,
    unit: &'static str,
    paravane: f64,
    xen: Option<f64>,
    paravane_defaults: Option<f64>,
    xen_defaults: Option<f64>,
}

impl Row {
    fn ratio(&self) -> Option<f64> {
        self.xen.map(|xen| self.paravane / xen)
    }

    fn ratio_defaults(&self) -> Option<f64> {
        Some(self.paravane_defaults? / self.xen_defaults?)
    }

    fn goal(&self) -> f64 {
        match self.name.as_str() {
            name if HALF.contains(&name) => 0.5,
            KEPT | KEPT_EACH => 1.0,
            name if name.contains("domains present") => {
                let asks = name.starts_with("create") || name.starts_with("list");
                if asks { 0.1 } else { 0.25 }
            }
            _ => GOAL,
        }
    }

    fn misses(&self) -> bool {
        self.ratio().is_some_and(|ratio| ratio > self.goal())
    }
}

/// All rows.
#[derive(Debug)]
pub(crate) struct Report {
    /// In the order in which they were measured.
    pub(crate) rows: Vec<Row>,
}

impl Report {
    /// Rows of our side alone.
    pub(crate) fn new(off: &Figures, defaults: &Figures) -> Self {
        let rows = off.rows.iter().map(|figure| Row {
            name: figure.name.clone(),
            unit: figure.unit,
            paravane: figure.count,
            xen: None,
            paravane_defaults: defaults.count(&figure.name),
            xen_defaults: None,
        });
        Self {
            rows: rows.collect(),
        }
    }

    /// Adds the other side.
    pub(crate) fn compare(&mut self, off: &Figures, defaults: &Figures) -> Result<()> {
        for row in &mut self.rows {
            row.xen = off.count(&row.name);
            row.xen_defaults = defaults.count(&row.name);
            if row.xen.is_none() {
                bail!("`{}` was not measured on the other side", row.name);
            }
        }
        Ok(())
    }

    /// The rows as columns of text.
    pub(crate) fn table(&self) -> String {
        let mut text = format!(
            "{:<54} {:>13} {:>13} {:>6}  {:>10}\n",
            "row", "paravane", "xen", "ratio", "defaults"
        );
        for row in &self.rows {
            let _infallible = writeln!(
                text,
                "{:<54} {:>13} {:>13} {:>6}  {:>10} {}",
                row.name,
                count(Some(row.paravane)),
                count(row.xen),
                ratio(row.ratio()),
                ratio(row.ratio_defaults()),
                if row.misses() { "misses its goal" } else { "" },
            );
        }
        text
    }

    /// The rows as one object.
    pub(crate) fn json(&self) -> Value {
        let rows = self.rows.iter().map(|row| {
            json!({
                "name": row.name,
                "unit": row.unit,
                "paravane": row.paravane,
                "xen": row.xen,
                "ratio": row.ratio(),
                "paravane_defaults": row.paravane_defaults,
                "xen_defaults": row.xen_defaults,
                "ratio_defaults": row.ratio_defaults(),
                "goal": row.goal(),
            })
        });
        json!({ "rows": rows.collect::<Vec<_>>() })
    }

    /// `docs/benchmarks.md`.
    pub(crate) fn document(&self, versions: &Versions) -> String {
        let mut text = String::from(HEAD);
        let _infallible = write!(text, "\n{}\n", versions.text());
        text.push_str("\n| row | unit | Paravane | Xen | ratio | goal | ratio, defaults |\n");
        text.push_str("| --- | --- | ---: | ---: | ---: | ---: | ---: |\n");
        for row in &self.rows {
            let _infallible = writeln!(
                text,
                "| {} | {} | {} | {} | {}{} | {:.1} | {} |",
                row.name,
                row.unit,
                count(Some(row.paravane)),
                count(row.xen),
                ratio(row.ratio()),
                if row.misses() { " (misses)" } else { "" },
                row.goal(),
                ratio(row.ratio_defaults()),
            );
        }
        text.push_str("\n## Notes\n\n");
        for row in &self.rows {
            let unknown = row.misses().then_some("Not looked into yet.");
            if let Some(note) = notes::about(&row.name).or(unknown) {
                let _infallible = writeln!(text, "- **{}**: {note}", row.name);
            }
        }
        text
    }
}

/// What the document begins with.
const HEAD: &str = "\
# Benchmarks

Made by the command below; do not edit.

```console
$ cargo xtask bench --against xen --tools
```

One kernel (`guest-kernel/kernels/src/bin/bench`), the same binary, is the first domain of Paravane and of Debian's Xen. The
machine has one CPU and 1 GiB, and its time counts executed instructions (`-icount shift=0,sleep=off`), so that a figure repeats
to the instruction on any host. A row is the middle of 33 rounds, less an empty round; it has the hypervisor's instructions and
the few of the kernel that belong to the operation, the same on both. Memory and image are told in their units. The ratio is
taken with mitigations off on both sides (Paravane: `spec-ctrl=off`; Xen: `spec-ctrl=no xpti=no pv-l1tf=no tsx=yes`); the last
column has both at what they choose on this CPU model.
";

/// What exactly was compared.
#[derive(Debug)]
pub(crate) struct Versions {
    paravane: String,
    xen: String,
    qemu: String,
    rustc: String,
}

impl Versions {
    /// Asks the programs, and takes the hypervisors by their word.
    pub(crate) fn find(workspace: &Workspace, ours: &Figures, xen: &Figures) -> Result<Self> {
        let first_line = |call: Call| -> Result<String> {
            Ok(call.output()?.lines().next().unwrap_or_default().to_owned())
        };
        let git = ["log", "-1", "--format=%h of %cs"];
        let commit = first_line(Call::new("git").args(git).directory(workspace.root()))?;
        Ok(Self {
            paravane: format!(
                "{}, built from a tree that follows commit {commit}",
                ours.version
            ),
            xen: xen.version.clone(),
            qemu: first_line(Call::new("qemu-system-x86_64").arg("--version"))?,
            rustc: first_line(Call::new("rustc").arg("--version"))?,
        })
    }

    fn text(&self) -> String {
        format!(
            "- {}, by {}\n- {}\n- {}, CPU model `{}`",
            self.paravane,
            self.rustc,
            self.xen,
            self.qemu,
            sides::CPU
        )
    }
}

fn count(count: Option<f64>) -> String {
    count.map_or_else(String::new, |count| {
        let text = format!("{count:.1}");
        text.trim_end_matches(".0").to_owned()
    })
}

fn ratio(ratio: Option<f64>) -> String {
    ratio.map_or_else(String::new, |ratio| format!("{ratio:.2}"))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn figures(lines: &[&str]) -> Figures {
        let lines: Vec<String> = lines.iter().map(|&line| line.to_owned()).collect();
        Figures::read(&lines).expect("the lines are well formed")
    }

    #[test]
    fn a_row_over_its_goal_is_told_with_its_ratio() {
        let ours = figures(&["row 60 1 3/3 null hypercall", "row 60 1 3/3 yield alone"]);
        let theirs = figures(&["row 100 1 3/3 null hypercall", "row 100 1 3/3 yield alone"]);
        let mut report = Report::new(&ours, &ours);
        report
            .compare(&theirs, &theirs)
            .expect("both have both rows");
        let misses: Vec<bool> = report.rows.iter().map(Row::misses).collect();
        assert_eq!(
            misses,
            [true, false],
            "half is the goal of one, 0.8 of the other"
        );
        assert_eq!(report.json()["rows"][0]["ratio"], 0.6);
    }

    #[test]
    fn a_row_that_one_side_lacks_is_an_error() {
        let ours = figures(&["row 60 1 3/3 null hypercall"]);
        assert!(
            Report::new(&ours, &ours)
                .compare(&figures(&[]), &ours)
                .is_err()
        );
    }
}
