//! The boot matrix: machine types, CPU models, numbers of CPUs, amounts of memory, loaders; each pair of values at least
//! once.

use std::time::Duration;

use anyhow::Result;

use crate::build::bundle::Bundle;
use crate::build::iso::Iso;
use crate::run::qemu::Machine;
use crate::test::suite::Suite;
use crate::test::trial::{self, Ending, Trial, Wanted};

/// The kernel that is booted everywhere: the smallest one.
const KERNEL: &str = "hello";

/// Long enough for 16 GiB and eight CPUs that take turns on one.
const LIMIT: Duration = Duration::from_secs(120);

/// What boots the hypervisor.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
enum Loader {
    /// QEMU itself, by PVH.
    Qemu,
    /// GRUB, by multiboot2.
    Grub,
}

/// Machine type, CPU model, CPUs, MiB, loader.
type Row = (&'static str, &'static str, u32, u64, Loader);

const MACHINES: &[Row] = &[
    ("pc", "qemu64", 1, 256, Loader::Qemu),
    ("q35", "qemu64", 2, 2048, Loader::Grub),
    ("pc", "qemu64", 8, 16384, Loader::Qemu),
    ("q35", "max", 2, 256, Loader::Qemu),
    ("pc", "max", 8, 2048, Loader::Qemu),
    ("pc", "max", 1, 16384, Loader::Grub),
    ("q35", "EPYC", 8, 256, Loader::Grub),
    ("pc", "EPYC", 1, 2048, Loader::Qemu),
    ("q35", "EPYC", 2, 16384, Loader::Qemu),
    ("q35", "Skylake-Client", 1, 256, Loader::Qemu),
    ("pc", "Skylake-Client", 2, 2048, Loader::Qemu),
    ("q35", "Skylake-Client", 8, 16384, Loader::Grub),
];

/// Boots them all; those that QEMU loads with the instructions against speculation at each exit, whatever the CPU needs.
pub(crate) fn matrix(suite: &mut Suite<'_>) -> Result<()> {
    let images = suite.images()?;
    let bundle = Bundle {
        kernel: images.kernel(KERNEL),
        ramdisk: Some(images.kernel(KERNEL)),
        cmdline: Some("from its own module".to_owned()),
    };
    let append = "loglvl=debug";
    let iso = Iso {
        hypervisor: images.hypervisor(),
        append: append.to_owned(),
        bundle: bundle.clone(),
    };
    let disc = suite.workspace().output("iso")?.join("matrix.iso");
    iso.write(suite.workspace(), &disc)?;
    let module = disc.with_extension("cpio");
    bundle.write(&module)?;
    let trials = MACHINES
        .iter()
        .map(|&(kind, cpu, cpus, memory_mib, loader)| Trial {
            name: format!("boot {kind} {cpu} {cpus} CPUs {memory_mib} MiB by {loader:?}"),
            machine: Machine {
                kind: kind.to_owned(),
                cpu: cpu.to_owned(),
                cpus,
                memory_mib,
                append: format!("{append} spec-ctrl=max"),
                initrd: Some(module.clone().into_os_string()),
                disc: (loader == Loader::Grub).then(|| disc.clone()),
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

    /// How many pairs of values two columns have.
    fn pairs<A: Ord, B: Ord>(first: impl Fn(&Row) -> A, second: impl Fn(&Row) -> B) -> usize {
        MACHINES
            .iter()
            .map(|row| (first(row), second(row)))
            .collect::<BTreeSet<_>>()
            .len()
    }

    #[test]
    fn every_pair_of_values_is_booted() {
        assert_eq!(pairs(|m| m.0, |m| m.1), 2 * 4);
        assert_eq!(pairs(|m| m.0, |m| m.2), 2 * 3);
        assert_eq!(pairs(|m| m.0, |m| m.3), 2 * 3);
        assert_eq!(pairs(|m| m.0, |m| m.4), 2 * 2);
        assert_eq!(pairs(|m| m.1, |m| m.2), 4 * 3);
        assert_eq!(pairs(|m| m.1, |m| m.3), 4 * 3);
        assert_eq!(pairs(|m| m.1, |m| m.4), 4 * 2);
        assert_eq!(pairs(|m| m.2, |m| m.3), 3 * 3);
        assert_eq!(pairs(|m| m.2, |m| m.4), 3 * 2);
        assert_eq!(pairs(|m| m.3, |m| m.4), 3 * 2);
    }
}
