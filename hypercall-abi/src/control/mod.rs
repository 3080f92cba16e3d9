//! Hypercall 56, `paravane_op(op, argument)`: the interface between hypervisor and management domain, and the query that is open to
//! every domain.
//!
//! RDI is the operation, RSI the address of its structure. The structure is copied in once and, on success, copied out once; its
//! header says which version the caller speaks and how long it is. Answers are distinct, never a guess:
//!
//! | error | meaning |
//! |---|---|
//! | `ENOSYS` | there is no such operation |
//! | `EPERM` | the caller is not the management domain (all operations but the query) |
//! | `EFAULT` | the structure, or a list that it names, cannot be read or written |
//! | `EOPNOTSUPP` | the structure is of a newer version than this hypervisor knows |
//! | `EINVAL` | version 0, a wrong size, a flag or reserved field that is not zero, a bad value |
//!
//! They are looked for in this order. Reserved fields are zero in both directions, so that they can mean something later.

use zerocopy::{FromBytes, Immutable, IntoBytes, KnownLayout};

pub mod audit;
pub mod counters;
pub mod device;
pub mod domain;
pub mod grant;
pub mod host;
pub mod memory;
pub mod sched;
pub mod vcpu;
pub mod version;

/// What every structure of hypercall 56 begins with.
#[derive(
    Clone, Copy, Debug, Default, PartialEq, Eq, FromBytes, IntoBytes, Immutable, KnownLayout,
)]
#[repr(C)]
pub struct ControlHeader {
    /// Version of the structure, from 1.
    pub version: u16,
    /// Zero.
    pub flags: u16,
    /// Bytes of the whole structure, this header included.
    pub size: u32,
}
layout!(ControlHeader = "": 8 { version @ 0, flags @ 2, size @ 4 });

/// A structure of hypercall 56. `control!` implements it beside each one.
pub trait ControlArgument: FromBytes + IntoBytes + Immutable + KnownLayout + Copy {
    /// The operation that takes it.
    const OPERATION: u32;
    /// The version declared here.
    const VERSION: u16;
    /// The header that such a structure begins with.
    const HEADER: ControlHeader;

    /// The header in this one.
    fn header(&self) -> ControlHeader;
    /// Whether what is reserved in it is zero.
    fn reserves_zero(&self) -> bool;
}

/// Ties a structure to its operation and version, and names its reserved fields.
macro_rules! control {
    ($type:ident is $operation:ident version $version:literal $(, reserves $($field:ident),+)?) => {
        impl $crate::control::ControlArgument for $type {
            const OPERATION: u32 = $operation;
            const VERSION: u16 = $version;
            const HEADER: $crate::control::ControlHeader = $crate::control::ControlHeader {
                version: $version,
                flags: 0,
                size: $crate::control::structure_size::<Self>(),
            };

            fn header(&self) -> $crate::control::ControlHeader {
                self.header
            }

            fn reserves_zero(&self) -> bool {
                true $($(&& $crate::control::is_zero(&self.$field))+)?
            }
        }
    };
}
pub(crate) use control;

pub(crate) fn is_zero(field: &(impl IntoBytes + Immutable)) -> bool {
    field.as_bytes().iter().all(|&byte| byte == 0)
}

#[expect(
    clippy::cast_possible_truncation,
    reason = "no structure is larger than a page"
)]
pub(crate) const fn structure_size<T>() -> u32 {
    size_of::<T>() as u32
}
