//! The frame table: who owns each frame of the pool, how often it is referred to, and what it may be used for.
//!
//! Two words per frame carry everything: [`owner`] has the owner and the *general* count (why the frame still exists),
//! [`types`] the type and the *type* count (why nobody may see it as something else). Both change by compare-exchange in
//! their own file alone. A general reference is a [`FrameRef`] token until it is recorded as an entry, a pin, a root or a
//! grant; [`WritableRef`] adds a type reference, always after the general one, and gives it back before.
//!
//! A frame whose general count reaches 0 goes onto the lock-free stack of freed frames; [`pool`] takes it from there,
//! waits until no CPU can hold a stale translation ([`epoch`]), scrubs it and only then gives it out again.

pub mod account;
pub mod epoch;
pub mod m2p;
pub mod owner;
pub mod pool;
pub mod scrub;
pub mod stolen;
pub mod table;
pub(crate) mod tally;
pub mod token;
pub mod types;
pub mod words;

pub use account::{Account, AccountError};
pub use owner::OwnerId;
pub use pool::{AllocError, Allocation};
pub use table::{FrameRange, FrameTable, Layout, LayoutError, Ram};
pub(crate) use token::Located;
pub use token::{FrameRef, ReferenceError, WritableRef};
pub use types::{FrameType, TypeState};
pub use words::DomainWords;

#[cfg(test)]
pub(crate) mod tests;
