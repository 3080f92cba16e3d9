//! What one run of the benchmark kernel said.

use anyhow::{Context, Result, bail};

/// One row: an operation and what it costs.
#[derive(Debug, Clone, PartialEq)]
pub(crate) struct Figure {
    /// The operation.
    pub(crate) name: String,
    /// What is counted.
    pub(crate) unit: &'static str,
    /// How many.
    pub(crate) count: f64,
}

/// All that a run said.
#[derive(Debug, Clone, Default, PartialEq)]
pub(crate) struct Figures {
    /// In the order in which they were measured.
    pub(crate) rows: Vec<Figure>,
    /// How the hypervisor names itself.
    pub(crate) version: String,
}

/// What counted instructions are called.
pub(crate) const INSTRUCTIONS: &str = "instructions";
const KIB: &str = "KiB";
const BYTES: &str = "bytes";

/// From reset to the first domain's first instruction.
pub(crate) const START: &str = "hypervisor start to first domain's first instruction";
/// From a domain's making to what it does first.
pub(crate) const FIRST_CALL: &str = "create of a domain's vCPU to the domain's first hypercall";
/// Memory of the hypervisor for a domain, beside the domain's own.
pub(crate) const KEPT_EACH: &str = "memory kept by the hypervisor for a domain of 32 MiB";
/// Memory of the hypervisor itself.
pub(crate) const KEPT: &str = "memory kept by the hypervisor on a host of 1 GiB";

impl Figures {
    /// Reads the kernel's lines: `row COST OPERATIONS EQUAL/ROUNDS NAME`, `start TIME`, `memory KEPT FREE`, `each KEPT`.
    pub(crate) fn read(lines: &[String]) -> Result<Self> {
        let mut figures = Self::default();
        for line in lines {
            let Some((word, rest)) = line.split_once(' ') else {
                continue;
            };
            match word {
                "row" => {
                    let row = row(rest).with_context(|| format!("cannot read `{line}`"))?;
                    figures.rows.push(row);
                }
                "each" => figures.add(KEPT_EACH, KIB, number(rest)?),
                "start" => figures.add(START, INSTRUCTIONS, number(rest)?),
                "memory" => {
                    let frames = rest.split(' ').next().unwrap_or_default();
                    figures.add(KEPT, KIB, number(frames)? * 4.0);
                }
                _ => {}
            }
            if line.contains("Xen version ") || line.contains("Paravane ") {
                let from = line.find("Xen version ").or_else(|| line.find("Paravane "));
                let named = line.get(from.unwrap_or_default()..).unwrap_or_default();
                if figures.version.is_empty() {
                    named
                        .trim_end_matches(" starts")
                        .clone_into(&mut figures.version);
                }
            }
        }
        Ok(figures)
    }

    /// Adds another run's rows.
    pub(crate) fn extend(&mut self, more: Self) {
        self.rows.extend(more.rows);
    }

    /// Adds a row.
    pub(crate) fn add(&mut self, name: &str, unit: &'static str, count: f64) {
        self.rows.push(Figure {
            name: name.to_owned(),
            unit,
            count,
        });
    }

    /// Adds what the hypervisor keeps for a domain, in KiB.
    pub(crate) fn add_each(&mut self, kib: f64) {
        self.add(KEPT_EACH, KIB, kib);
    }

    /// Adds the size of the image that was booted.
    pub(crate) fn add_image(&mut self, in_file: u32, in_memory: u32) {
        self.add("size of the image in the file", BYTES, f64::from(in_file));
        self.add("size of the image in memory", BYTES, f64::from(in_memory));
    }

    /// The count of a row.
    pub(crate) fn count(&self, name: &str) -> Option<f64> {
        self.rows
            .iter()
            .find(|row| row.name == name)
            .map(|row| row.count)
    }
}

fn number(text: &str) -> Result<f64> {
    text.trim()
        .parse()
        .with_context(|| format!("`{text}` is no number"))
}

fn row(rest: &str) -> Result<Figure> {
    let mut words = rest.splitn(4, ' ');
    let mut next = || words.next().context("a word is missing");
    let (cost, operations, equal, name) = (next()?, next()?, next()?, next()?);
    let (same, rounds) = equal.split_once('/').context("no rounds")?;
    // An interrupt may fall into a few rounds; where it does into most, the middle says nothing.
    if number(same)? * 2.0 < number(rounds)? {
        bail!("only {equal} rounds were equal");
    }
    Ok(Figure {
        name: name.to_owned(),
        unit: INSTRUCTIONS,
        count: number(cost)? / number(operations)?,
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    fn read(text: &str) -> Result<Figures> {
        Figures::read(&text.lines().map(str::to_owned).collect::<Vec<_>>())
    }

    #[test]
    fn rows_are_divided_by_their_operations() {
        let figures = read("noise\nrow 300 2 33/33 yield alone\nmemory 10 99\nstart 7");
        let figures = figures.expect("all lines are well formed");
        assert_eq!(figures.count("yield alone"), Some(150.0));
        assert_eq!(figures.count(KEPT), Some(40.0));
        assert_eq!(figures.count(START), Some(7.0));
    }

    #[test]
    fn rows_that_do_not_repeat_are_refused() {
        assert!(read("row 300 2 5/33 yield alone").is_err());
        assert!(read("row 300 2 yield").is_err());
    }
}
