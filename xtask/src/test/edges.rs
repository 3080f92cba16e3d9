//! Dependencies: between our crates they point one way, and no bare image carries two versions of one crate.

use std::collections::{BTreeMap, BTreeSet};

use anyhow::{Result, bail};

use crate::build::metadata::Metadata;
use crate::setup::toolchain::TARGET;
use crate::test::suite::Suite;

/// The picture: who builds directly on whom. An edge along a path of it is in order too, as it points the same way.
const PICTURE: &[(&str, &[&str])] = &[
    ("hypercall-abi", &[]),
    ("kernel-image", &["hypercall-abi"]),
    ("hypervisor-core", &["hypercall-abi", "kernel-image"]),
    ("paravane", &["hypervisor-core"]),
    ("guest-kernel", &["hypercall-abi"]),
    ("guest-kernels", &["guest-kernel"]),
    ("guest-conformance", &["guest-kernel"]),
    ("dom0-protocol", &[]),
    (
        "dom0-services",
        &["dom0-protocol", "hypercall-abi", "kernel-image"],
    ),
    ("dom0", &["guest-kernel", "dom0-services"]),
    ("dom0ctl", &["dom0-protocol", "kernel-image"]),
    ("xtask", &["dom0ctl", "hypercall-abi", "kernel-image"]),
];

/// Every edge of the workspace is in the picture.
pub(crate) fn edges(suite: &mut Suite<'_>) -> Result<()> {
    let metadata = Metadata::read(suite.workspace())?;
    let reachable = closure();
    for member in metadata.members() {
        let outcome = match reachable.get(member.name.as_str()) {
            None => Err(anyhow::anyhow!(
                "{} is not in the picture of crates",
                member.name
            )),
            Some(allowed) => member
                .edges
                .iter()
                .find(|edge| !allowed.contains(edge.as_str()))
                .map_or(Ok(()), |edge| {
                    Err(anyhow::anyhow!("{} must not depend on {edge}", member.name))
                }),
        };
        suite.case(&member.name, outcome);
    }
    Ok(())
}

fn closure() -> BTreeMap<&'static str, BTreeSet<&'static str>> {
    let direct: BTreeMap<_, _> = PICTURE.iter().copied().collect();
    let mut reachable = BTreeMap::new();
    for &(from, edges) in PICTURE {
        let mut found = BTreeSet::new();
        let mut open: Vec<&str> = edges.to_vec();
        while let Some(next) = open.pop() {
            if found.insert(next) {
                open.extend(direct.get(next).copied().unwrap_or_default());
            }
        }
        reachable.insert(from, found);
    }
    reachable
}

/// `cargo tree` names no crate twice for any of the bare images.
pub(crate) fn duplicates(suite: &mut Suite<'_>) -> Result<()> {
    let metadata = Metadata::read(suite.workspace())?;
    let packages: Vec<String> = metadata.bare_members().map(str::to_owned).collect();
    for package in packages {
        let tree = crate::child::Call::new("cargo")
            .directory(suite.workspace().root())
            .args([
                "tree",
                "--locked",
                "--duplicates",
                "--edges",
                "normal,no-proc-macro",
            ])
            .args(["--target", TARGET, "--depth", "0", "--package", &package])
            .output()?;
        let outcome = || {
            let twice: Vec<&str> = tree.lines().filter(|line| !line.is_empty()).collect();
            if !twice.is_empty() {
                bail!("more than one version of: {}", twice.join(", "));
            }
            Ok(())
        };
        suite.case(&package, outcome());
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn nothing_in_the_picture_reaches_itself() {
        for (from, reached) in closure() {
            assert!(!reached.contains(from), "{from} reaches itself");
        }
    }

    #[test]
    fn an_edge_along_a_path_is_allowed_and_its_reverse_is_not() {
        let reachable = closure();
        assert!(reachable["dom0"].contains("hypercall-abi"));
        assert!(!reachable["hypercall-abi"].contains("dom0"));
        assert!(!reachable["dom0ctl"].contains("hypervisor-core"));
    }
}
