//! Why rows miss their goals: what their instructions do, by a trace of one round. A note whose row meets its goal is not
//! shown.

use crate::bench::figures;
use crate::bench::report::Report;

/// Row and explanation.
const NOTES: &[(&str, &str)] = &[(
    figures::KEPT_EACH,
    "64 KiB of it are the domain's own view of the machine-to-physical table, 8 bytes for each of its frames, and 12 KiB the \
         tables of that view ([ADR 3](adr/0003-m2p-per-domain.md)): no guest sees which frames others have. Xen has one table \
         for all, 2 MiB on a host of 1 GiB, which is in the row for the host.",
)];

/// The note about a row.
pub(crate) fn about(row: &str) -> Option<&'static str> {
    NOTES
        .iter()
        .find(|(name, _)| *name == row)
        .map(|(_, why)| *why)
}

/// Whether each note's row exists.
pub(crate) fn are_about(report: &Report) -> bool {
    NOTES
        .iter()
        .all(|(name, _)| report.rows.iter().any(|row| row.name == *name))
}
