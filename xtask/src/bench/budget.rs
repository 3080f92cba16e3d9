//! Instruction budgets of hot paths: the step of `cargo xtask test` that sees a path become slower.

use anyhow::{Result, bail};

use crate::bench::sides::{Mitigations, Side};
use crate::test::suite::Suite;

/// Instructions that a row may cost at most: what it costs, and a little for the compiler's moods.
const BUDGETS: &[(&str, u32)] = &[("null hypercall", 850), ("unknown hypercall", 850)];

/// Every row with a budget, measured here.
pub(crate) fn budgets(suite: &mut Suite<'_>) -> Result<()> {
    let images = suite.images()?;
    let figures = Side::paravane(&images).measure(suite.workspace(), Mitigations::Off)?;
    for &(name, budget) in BUDGETS {
        let held = match figures.count(name) {
            None => Err(anyhow::anyhow!("the row was not measured")),
            Some(cost) if cost > f64::from(budget) => {
                Err(anyhow::anyhow!("{cost} instructions, budget {budget}"))
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
