//! The logs of one kernel on two hypervisors, compared line by line, with the differences that are expected and why.

use std::collections::BTreeMap;

/// Lines that may be on one side only or differ, by words in them, and why.
const EXPECTED: &[(&str, &str)] = &[
    ("Xen version: ", "each tells its own build"),
    ("tsc: Detected ", "measured by each hypervisor"),
    ("BogoMIPS", "measured by each hypervisor"),
    ("clocksource: tsc", "measured by each hypervisor"),
    ("sched_clock: Marking stable", "times"),
    ("audit: type=2000", "the date"),
    (
        "Memory: ",
        "what the kernel holds while it prints this, which depends on its clock",
    ),
    (
        "mce: Unable to init MCE device",
        "Paravane hides machine checks",
    ),
];

/// A line without its time stamp.
pub(super) fn essence(line: &str) -> String {
    let text = line
        .trim_start()
        .strip_prefix('[')
        .and_then(|rest| rest.split_once("] "))
        .map_or(line, |(_, text)| text);
    text.trim_end().to_owned()
}

/// The kernel's part of a log: what comes behind depends on when one looked.
fn up_to_init(lines: &[String]) -> impl Iterator<Item = &String> {
    lines
        .iter()
        .take_while(|line| !line.contains(super::FIRST_LINE))
        .filter(|line| !line.is_empty())
}

/// Prints the lines that only one side has, each with its reason; returns how many have none.
pub(super) fn print(theirs: &[String], ours: &[String]) -> usize {
    let mut count: BTreeMap<String, i64> = BTreeMap::new();
    for line in up_to_init(theirs) {
        *count.entry(essence(line)).or_default() -= 1;
    }
    for line in up_to_init(ours) {
        *count.entry(essence(line)).or_default() += 1;
    }
    let mut unexplained = 0;
    println!("Lines up to init that only one kernel log has (- Xen's, + ours):");
    for (line, balance) in count.into_iter().filter(|(_, balance)| *balance != 0) {
        let sign = if balance < 0 { '-' } else { '+' };
        let reason = EXPECTED.iter().find(|(words, _)| line.contains(words));
        match reason {
            Some((_, why)) => println!("  {sign} {line}\n      ({why})"),
            None => {
                println!("  {sign} {line}\n      (NOT EXPLAINED)");
                unexplained += 1;
            }
        }
    }
    unexplained
}
