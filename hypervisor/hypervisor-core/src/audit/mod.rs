//! The recount: all counts computed anew from owners and memory, and compared with what the frame table says.
//!
//! It starts from what is recorded (allocations, pins, roots, descriptor pages, grants, entries of valid and partial
//! tables), shares nothing with the code that keeps the counts but the layout of an entry, and names the first breach by
//! the ids of docs/invariants.md. The models run it after every step, `AUDIT` beside running guests: docs/adr/0008 says why
//! it is exact there.

#[cfg(any(test, feature = "breach"))]
pub(crate) mod breach;
mod contents;
pub mod invariant;
pub(crate) mod links;
pub mod recount;
pub mod report;
mod sums;
mod views;

pub use invariant::Breach;
pub use recount::{Hold, Holders, Pace, Recount, audit};
pub use report::Report;

#[cfg(test)]
mod tests;
