//! Memory: our own page tables and heap, the pool of guest frames, and the way into guest memory.

pub(crate) mod devices;
pub(crate) mod fixup;
pub(crate) mod guest_access;
pub(crate) mod heap;
pub(crate) mod layout;
pub(crate) mod own_tables;
pub(crate) mod pool;
