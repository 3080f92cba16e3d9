//! Speculative execution: from what a CPU says of itself to what is done about it (pv-abi A.37).
//!
//! [`Facts`] are read once per machine from CPUID and two registers; [`Plan::of`] is a pure function of them, so a host test
//! shows for each kind of CPU what is done and what is left open. The machine code carries the plan out: bits that stay set
//! cost nothing, barriers are paid where a CPU goes to another domain, and what must happen at every entry or exit is an
//! instruction that boot takes out of the code where it is not needed.
//!
//! What is left open is said in the log and in `docs/threat-model.md`.

mod facts;
mod plan;
#[cfg(test)]
mod tests;

pub use facts::{Facts, Vendor};
pub use plan::{Mode, Plan, Threat, Threats};
