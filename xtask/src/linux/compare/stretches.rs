//! Where a boot's time goes: the stretches between lines that both logs have, the longest first.

use std::collections::BTreeMap;

use super::differences::essence;

/// How many stretches are printed.
const SHOWN: usize = 12;

/// By how much of the longer one two stretches may differ for the work in them to be the kernel's own, in which no hypervisor
/// has a part.
const ALIKE: f64 = 0.02;

/// A stretch of the boot, named by the line at its end, in seconds on each side.
#[derive(Debug, Clone, PartialEq)]
struct Stretch {
    end: String,
    theirs: f64,
    ours: f64,
}

/// A log line's stamp, in seconds of the guest's clock.
pub(super) fn stamp(line: &str) -> Option<f64> {
    let (stamp, _) = line.trim_start().strip_prefix('[')?.split_once(']')?;
    stamp.trim().parse().ok()
}

impl Stretch {
    /// How long it is on both sides, if that is the same.
    fn alike(&self) -> Option<f64> {
        let longer = self.theirs.max(self.ours);
        ((self.theirs - self.ours).abs() <= longer * ALIKE).then_some(self.theirs.min(self.ours))
    }
}

/// Prints the longest stretches of both logs side by side; returns the sum of those that take both sides the same time.
pub(super) fn print(theirs: &[String], ours: &[String]) -> f64 {
    let mut stretches = between_common_lines(theirs, ours);
    let alike = stretches.iter().filter_map(Stretch::alike).sum();
    stretches.sort_by(|a, b| {
        let longest = |stretch: &Stretch| stretch.theirs.max(stretch.ours);
        longest(b).total_cmp(&longest(a))
    });
    println!("Longest stretches, by the line at their end:\n    Xen s   ours s");
    for stretch in stretches.iter().take(SHOWN) {
        println!(
            "  {:7.3}  {:7.3}  {}",
            stretch.theirs, stretch.ours, stretch.end
        );
    }
    alike
}

/// Cuts both logs at the lines that both have once and in one order.
fn between_common_lines(theirs: &[String], ours: &[String]) -> Vec<Stretch> {
    let stamped = |lines: &[String]| -> BTreeMap<String, f64> {
        lines
            .iter()
            .filter_map(|line| Some((essence(line), stamp(line)?)))
            .collect()
    };
    let theirs = stamped(theirs);
    let (mut before_theirs, mut before_ours) = (0.0, 0.0);
    let mut stretches = Vec::new();
    for line in ours {
        let end = essence(line);
        let (Some(our_end), Some(&their_end)) = (stamp(line), theirs.get(&end)) else {
            continue;
        };
        if their_end < before_theirs || our_end < before_ours {
            continue;
        }
        stretches.push(Stretch {
            end,
            theirs: their_end - before_theirs,
            ours: our_end - before_ours,
        });
        (before_theirs, before_ours) = (their_end, our_end);
    }
    stretches
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn stretches_lie_between_lines_that_both_logs_have() {
        let log = |text: &str| text.lines().map(str::to_owned).collect::<Vec<_>>();
        let theirs = log("[    0.500000] a\n[    0.750000] only there\n[    2.000000] b");
        let ours = log("[    0.250000] a\nno stamp\n[    1.000000] b");
        let stretch = |end: &str, theirs, ours| Stretch {
            end: end.to_owned(),
            theirs,
            ours,
        };
        assert_eq!(
            between_common_lines(&theirs, &ours),
            [stretch("a", 0.5, 0.25), stretch("b", 1.5, 0.75)]
        );
    }

    #[test]
    fn stretches_are_alike_up_to_a_fiftieth() {
        let alike = |theirs, ours| {
            let end = String::new();
            Stretch { end, theirs, ours }.alike()
        };
        assert_eq!(alike(1.0, 0.99), Some(0.99));
        assert_eq!(alike(0.97, 1.0), None);
    }
}
