//! Why rows miss their goals: what their instructions do, by a trace of one round. A note whose row meets its goal is not
//! shown.

use crate::bench::report::Report;

/// Row and explanation.
const NOTES: &[(&str, &str)] = &[
    (
        "kernel-root switch",
        "the batch around a single operation costs 150; the new root's references are taken and the old one's given back, \
         the M2P's slot is written, 16 slots of the LDT's window are looked at, and the flush clock is moved on before and \
         behind the load of CR3.",
    ),
    (
        "unknown hypercall",
        "it takes the way of every other call, which saves and restores all registers and passes all tests of the exit; \
         only the question for the version has a shorter one.",
    ),
    (
        "multicall of 32",
        "some 190 per element: 64 bytes are copied in by a checked copy, the result is copied out, and each element asks \
         whether something waits for the CPU.",
    ),
    (
        "set timer",
        "the timer moves in an ordered queue under a lock, and the CPU's own deadline is looked for and computed anew by the \
         exit loop.",
    ),
    (
        "emulated CPUID",
        "the policy's view is made anew for each leaf: vendor and features are asked of the CPU by CPUID itself, three times.",
    ),
    (
        "exception to guest and back (#UD)",
        "two entries, of about 190 each for registers and tests of the exit. Eight bytes of code are read to tell a forced \
         CPUID, nine words go to the guest's stack and nine come back, and the event mask is read and written in the shared \
         page each time.",
    ),
    (
        "exception to guest and back (#PF)",
        "as for #UD; instead of the code, the window of the LDT and the emulation of table writes are ruled out, and the \
         address is stored in the shared page.",
    ),
    (
        "event send to self",
        "the argument is copied in, two records of ports are read, pending bit, mask, selector and upcall flag are each \
         changed by an atomic operation behind the test that the frame is the pool's, and each vCPU is asked whether it \
         polls.",
    ),
    (
        "event delivery to upcall and back",
        "the sum of sending and of an exception's way.",
    ),
    (
        "guest user syscall to guest kernel and back",
        "two entries and two loads of CR3, as for an exception; GS bases are exchanged, and roots are looked up again \
         before they are loaded.",
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
