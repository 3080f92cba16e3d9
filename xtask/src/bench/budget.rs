//! Instruction budgets of hot paths: the step of `cargo xtask test` that sees a path become slower.

use anyhow::{Result, bail};

use crate::bench::figures::KEPT;
use crate::bench::sides::{Mitigations, Side};
use crate::test::suite::Suite;

/// Instructions that a row may cost at most, or its KiB: what it costs, and a little for the compiler's moods.
const BUDGETS: &[(&str, u32)] = &[
    ("null hypercall", 106),
    ("unknown hypercall", 177),
    ("multicall of 32", 5_060),
    ("event send to self", 400),
    ("event delivery to upcall and back", 735),
    ("update_va_mapping without flush", 386),
    ("update_va_mapping INVLPG", 393),
    ("update_va_mapping full flush", 453),
    ("mmu_update of 1", 632),
    ("mmu_update of 32", 11_800),
    ("mmu_update of 128", 46_200),
    ("pin and unpin of an L1", 110_200),
    ("pin and unpin of a four-level tree", 155_700),
    ("kernel-root switch", 786),
    ("exception to guest and back (#UD)", 535),
    ("exception to guest and back (#PF)", 536),
    ("emulated CPUID", 342),
    ("emulated RDMSR", 508),
    ("emulated CR read", 485),
    ("guest user syscall to guest kernel and back", 510),
    ("yield alone", 1_275),
    ("yield between two vCPUs", 2_920),
    ("set timer", 450),
    ("grant map and unmap", 1_955),
    ("grant copy of 4 KiB", 1_540),
    ("console write of 64 bytes", 1_290),
    // 13.0 MiB.
    (KEPT, 13 << 10),
];

/// Every row with a budget, measured here.
pub(crate) fn budgets(suite: &mut Suite<'_>) -> Result<()> {
    let images = suite.images()?;
    let figures = Side::paravane(&images).measure(suite.workspace(), Mitigations::Off)?;
    for &(name, budget) in BUDGETS {
        let held = match figures.count(name) {
            None => Err(anyhow::anyhow!("the row was not measured")),
            Some(cost) if cost > f64::from(budget) => {
                Err(anyhow::anyhow!("it is {cost}, its budget {budget}"))
            }
            Some(_) => Ok(()),
        };
        suite.case(&format!("budget of {name}"), held);
    }
    if figures.rows.is_empty() {
        bail!("nothing was measured");
    }
    Ok(())
}
