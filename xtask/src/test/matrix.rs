//! The boot matrix: machine types, CPU models, numbers of CPUs, amounts of memory; each pair of values at least once.

use std::time::Duration;

use anyhow::Result;

use crate::run::qemu::Machine;
use crate::test::suite::Suite;
use crate::test::trial::{self, Ending, Trial, Wanted};

/// The kernel that is booted everywhere: the smallest one.
const KERNEL: &str = "hello";

/// Long enough for 16 GiB and eight CPUs that take turns on one.
const LIMIT: Duration = Duration::from_secs(120);

/// Machine type, CPU model, CPUs, MiB.
const MACHINES: &[(&str, &str, u32, u64)] = &[
    ("pc", "qemu64", 1, 256),
    ("q35", "max", 1, 2048),
    ("pc", "max", 1, 16384),
    ("q35", "max", 2, 256),
    ("pc", "qemu64", 2, 2048),
    ("q35", "qemu64", 2, 16384),
    ("q35", "qemu64", 8, 256),
    ("pc", "max", 8, 2048),
    ("q35", "max", 8, 16384),
];

pub(crate) fn matrix(suite: &mut Suite<'_>) -> Result<()> {
    let images = suite.images()?;
    let kernel = images.kernel(KERNEL);
    let trials = MACHINES
        .iter()
        .map(|&(kind, cpu, cpus, memory_mib)| Trial {
            name: format!("boot {kind} {cpu} {cpus} CPUs {memory_mib} MiB"),
            machine: Machine {
                kind: kind.to_owned(),
                cpu: cpu.to_owned(),
                cpus,
                memory_mib,
                append: "loglvl=debug".to_owned(),
                initrd: Some(kernel.clone().into_os_string()),
                ..Machine::new(images.hypervisor())
            },
            limit: LIMIT,
            wanted: Wanted::Verdict,
            ending: Ending::PowerOff,
        })
        .collect();
    trial::run_all(suite, trials);
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::collections::BTreeSet;

    /// All pairs of values of two columns.
    fn pairs<A: Ord, B: Ord>(
        first: impl Fn(&(&'static str, &'static str, u32, u64)) -> A,
        second: impl Fn(&(&'static str, &'static str, u32, u64)) -> B,
    ) -> usize {
        MACHINES
            .iter()
            .map(|machine| (first(machine), second(machine)))
            .collect::<BTreeSet<_>>()
            .len()
    }

    #[test]
    fn every_pair_of_values_is_booted() {
        assert_eq!(pairs(|m| m.0, |m| m.1), 4);
        assert_eq!(pairs(|m| m.0, |m| m.2), 6);
        assert_eq!(pairs(|m| m.0, |m| m.3), 6);
        assert_eq!(pairs(|m| m.1, |m| m.2), 6);
        assert_eq!(pairs(|m| m.1, |m| m.3), 6);
        assert_eq!(pairs(|m| m.2, |m| m.3), 9);
    }
}
