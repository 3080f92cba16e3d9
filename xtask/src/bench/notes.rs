//! Why rows miss their goals: what their instructions do, by a trace of one round. A note whose row meets its goal is not
//! shown.

use crate::bench::report::Report;

/// Row and explanation.
const NOTES: &[(&str, &str)] = &[];

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
