//! Direct paging: guests own the tables that the CPU walks, and the hypervisor checks every change (pv-abi 4).
//!
//! [`Tables`] is a domain's tables under their lock; promotion, demotion, pins and single updates are its methods. The
//! hypercalls stand on top: [`mmu_update`] and [`mmuext_op`] (by [`batch`]), [`update_va_mapping`], and those of
//! [`descriptor`]. [`root`] loads address spaces, [`write_fault`] carries out a guest's plain store into
//! an L1 table, [`Teardown`] ends a domain's memory.

pub mod batch;
pub(crate) mod count;
pub mod descriptor;
pub mod entry;
pub mod error;
mod ext;
mod flush;
mod grant;
mod invalidate;
pub mod layout;
pub(crate) mod leaf;
mod mmu_update;
mod pin;
pub mod root;
mod slot;
mod tables;
mod teardown;
mod update;
mod va_update;
mod validate;
pub mod vcpu;
pub mod world;
mod write;

pub use batch::{BatchArgs, BatchEnd, finish_pending};
pub use error::PagingError;
pub use ext::mmuext_op;
pub use mmu_update::mmu_update;
pub use slot::Slot;
pub use tables::{Source, Step, Tables};
pub use teardown::{Remains, Teardown};
pub use va_update::{update_va_mapping, update_va_mapping_otherdomain};
pub use vcpu::VcpuMemory;
pub use world::{Call, World};
pub use write::{Trap, WriteEnd, write_fault};
