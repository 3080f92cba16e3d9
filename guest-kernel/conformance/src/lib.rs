//! What the kernels of the conformance suite share: asking, observing, and telling answers on the console.
//!
//! A check has a name, the answer that the ABI's rule demands, and a closure that finds the real one. What it is about goes
//! through [`call`] or [`mod@instruction`], what it looks at afterwards through [`seen`]: these are the places where
//! [`sabotage`] can put a broken hypervisor between kernel and machine, so that each check is seen failing. Everything that
//! only prepares a check uses [`prepare`] and plain accesses.
#![no_std]

pub mod fixture;
pub mod instruction;
pub mod multicall;
pub mod report;
pub mod returns;
pub mod sabotage;
pub mod shared;

mod asked;
mod gate;

pub use asked::note;
pub use gate::{
    Registers, address_of, call, call_by, call_marked, call_with_registers, event, prepare,
};
pub use report::{Role, check, finish, role, skip, start, unless_first};
pub use sabotage::{sabotaged, seen};

/// An address of the hypervisor's part.
pub const HYPERVISOR: u64 = 0xffff_8300_0000_0000;
/// An address that is not canonical.
pub const NOT_CANONICAL: u64 = 0x0000_8000_0000_0000;
/// A canonical guest address at which nothing is mapped.
pub const UNMAPPED: u64 = 0xffff_9008_0000_0000;
/// `DOMID_SELF`.
pub const SELF: u64 = 0x7ff0;
/// `DOMID_IO`.
pub const IO: u64 = 0x7ff1;
/// A frame number that no machine of the tests has RAM at.
pub const NO_FRAME: u64 = 0xff_ffff;
/// A number that no domain has.
pub const NOBODY: u64 = 1234;

/// Errors, as calls return them.
#[expect(missing_docs, reason = "the ABI's own names")]
pub mod errno {
    pub const EPERM: i64 = -1;
    pub const ENOENT: i64 = -2;
    pub const ESRCH: i64 = -3;
    pub const ENXIO: i64 = -6;
    pub const E2BIG: i64 = -7;
    pub const EAGAIN: i64 = -11;
    pub const ENOMEM: i64 = -12;
    pub const EACCES: i64 = -13;
    pub const EFAULT: i64 = -14;
    pub const EBUSY: i64 = -16;
    pub const EEXIST: i64 = -17;
    pub const ENODEV: i64 = -19;
    pub const EINVAL: i64 = -22;
    pub const ENOSPC: i64 = -28;
    pub const ENOSYS: i64 = -38;
    pub const EOPNOTSUPP: i64 = -95;
    pub const ENOBUFS: i64 = -105;
}
