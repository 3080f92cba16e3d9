//! Grant tables, version 1: frames that a domain lends to another, to map or to copy (pv-abi 8.2).
//!
//! Each domain has a *table* of entries that it writes itself, in frames shared with the hypervisor, and beside it the
//! *active* records, which only the hypervisor knows: how often an entry is pinned, by whom, and which frame that means. A
//! domain that maps gets a *handle* for each mapping.
//!
//! Who owns what: a mapping's page-table entry owns its references on the frame, a device mapping's are the handle's, and a
//! pin is nothing but the two flags that tell the granter "in use". A guest that overwrites the entry gives the references
//! back with it; the pins stay until the handle is unmapped or the domain ends.

mod active;
mod cache;
mod copy;
mod entry;
mod handle;
#[cfg(any(test, feature = "fake"))]
pub mod judge;
mod map;
mod op;
mod query;
mod status;
mod table;
mod unmap;
mod world;

pub(crate) use handle::Use;
pub use op::{GrantOutcome, grant_table_op};
pub use status::Status;
pub use table::GrantTable;
pub use unmap::end_one;
pub use world::{GrantCall, Member, World};

#[cfg(test)]
mod tests;
