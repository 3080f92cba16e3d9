//! What a reader of a row should know: what it consists of, or why it misses its goal.

use crate::bench::figures;
use crate::bench::report::Report;

/// Row and explanation.
const NOTES: &[(&str, &str)] = &[(
    figures::KEPT_EACH,
    "64 KiB of it are the domain's own view of the machine-to-physical table, 8 bytes for each of its frames, and 12 KiB the \
         three tables of that view ([ADR 3](adr/0003-m2p-per-domain.md)): no guest sees which frames others have. 4 KiB are the \
         shared page, 4 KiB the first frame of the grant table. A domain whose frames are not aligned to 2 MiB has one page \
         more of the view; one that has more than 24 grants or 8 mappings of others' a frame of records for each of the two. \
         Xen has one machine-to-physical table for all, 2 MiB on a host of 1 GiB, in the row for the host. In that row here is \
         the heap, from which each of these domains has 31 KiB: 16 KiB for two vCPUs' registers, trap tables and vector state, \
         8 KiB for 1024 ports, 4 KiB for what others may see of two vCPUs, 1 KiB for the domain, 1.4 KiB for lists of frames \
         and virtual interrupts.",
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
