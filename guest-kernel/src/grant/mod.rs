//! Memory lent to other domains, and borrowed from them.
//!
//! [`Grant`] lends one frame; [`map`] borrows frames that others lent. A borrowed frame is mapped in the area and seen
//! as [`Memory`]: the other side writes it too.

mod borrow;
mod lend;

pub use crate::hypercall::grant::GrantError;
pub use borrow::map;
pub use lend::{Grant, InUse};

#[doc(no_inline)]
pub use crate::paging::{Access, Memory};
