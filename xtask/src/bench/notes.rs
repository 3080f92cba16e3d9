//! Why rows miss their goals: what their instructions do, by a trace of one round. A note whose row meets its goal is not
//! shown.

use crate::bench::report::Report;

/// Row and explanation.
const NOTES: &[(&str, &str)] = &[
    (
        "event send to self",
        "some 150 of the instructions are the way in and out: registers saved and restored (46), the CPU's state found and the \
         caller made of it (50), the handler found by call and operation (35), the effects, the log and the upcall flag looked \
         at (20). The port is copied in by a checked copy (29); the records of both ends are read and compared (41), so that a \
         port that was closed meanwhile is told of nothing; its pending bit is set and its mask read (33), selector and upcall \
         flag are set (25); the vCPU is asked whether it waits and where it runs (15), each whether it polls (16).",
    ),
    (
        "event delivery to upcall and back",
        "sending, as above, with the exit that finds the upcall due: the event mask is read and set, the frame's seven words are \
         composed and stored behind one check of their range (110). Then the upcall itself (30), and the call that returns \
         from it: some 220, of which the way in and out is 130; nine words are read and each register, selector and flag is \
         brought into the form that a guest may have (60).",
    ),
];

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
