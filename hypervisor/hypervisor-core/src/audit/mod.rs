//! The recount: all counts computed anew from owners and memory, and compared with what the frame table says.
//!
//! It starts from what is recorded (allocations, pins, roots, descriptor pages, grants, entries of valid and partial
//! tables), shares nothing with the code that keeps the counts but the layout of an entry, and names the first breach by
//! the ids of docs/invariants.md. It is exact while nothing else changes memory; the models run it after every step.

mod contents;
pub mod invariant;
pub mod recount;
pub mod report;

pub use invariant::Breach;
pub use recount::{Hold, Holders, audit};
pub use report::Report;

#[cfg(test)]
mod tests;
