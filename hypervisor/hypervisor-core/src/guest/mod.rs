//! Guest memory: the two functions by which everything else reaches it.

pub mod copy;

pub use copy::{GuestMemory, NoAccess};
