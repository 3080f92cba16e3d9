//! Why rows miss their goals: what their instructions do, by a trace of one round. A note whose row meets its goal is not
//! shown.

use crate::bench::report::Report;

/// Row and explanation.
const NOTES: &[(&str, &str)] = &[
    (
        "update_va_mapping INVLPG",
        "some 190 of the instructions are the way in and out: all registers saved and restored, the exit's tests. The call \
         itself reads arguments and flags (60), takes the lock of the tables (15), looks up where the last walk ended and \
         checks type and owner of the L1 table (45), brings the entry into its normal form (25), reads and exchanges it, \
         each behind the test that the frame is the pool's (40), checks the frame's owner and takes or gives back the \
         writable type (60). The general reference stays where it is.",
    ),
    (
        "pin and unpin of an L1",
        "512 entries, each twice: a general and a writable reference are taken, and given back, by one compare-exchange \
         each, behind a look-up of the frame's record in its chunk and the test that its owner is not being destroyed. \
         That is 180 instructions per entry and direction.",
    ),
    (
        "pin and unpin of a four-level tree",
        "as for the L1 in it; the 512 slots of each of the three tables above are read one by one too, and slots of the \
         hypervisor are written at promotion and cleared at demotion.",
    ),
    (
        "mmu_update of 1",
        "as `update_va_mapping`, with one request more to copy in, a batch to begin and end, and the table found by its \
         machine address.",
    ),
    (
        "kernel-root switch",
        "the batch around a single operation costs 150; the new root's references are taken and the old one's given back, \
         the M2P's slot is written, 16 slots of the LDT's window are looked at, and the flush clock is moved on before and \
         behind the load of CR3.",
    ),
    (
        "grant map and unmap",
        "two calls. Records and handles lie in frames charged to their domain, so each access goes through the test that \
         the frame is the pool's; domain table, grant table and handles have a lock each.",
    ),
    (
        "grant copy of 4 KiB",
        "512 of the instructions copy words; the rest takes both domains, the grant's record and the frames' references, \
         and gives them back.",
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
