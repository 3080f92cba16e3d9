//! Turns a kernel's bytes into a load plan, and a load plan into the layout of a new domain's memory.
//!
//! [`plan`] reads an ELF image and its notes and refuses, with one reason, whatever is not a 64-bit PV kernel that can be loaded.
//! [`layout()`] says where in the domain's memory everything lies: image, ramdisk, P2M, start info, rings, page tables, stack.
//! [`Layout::fill_table`] gives the contents of the page tables, [`start_info`] and [`first_context`] those of the start page and
//! of vCPU 0. Nothing here touches memory of a domain; the hypervisor does so for the first domain, dom0's builder for all others,
//! by the same plan.
//!
//! [`bundle()`] finds the first domain's kernel, ramdisk and command line in what the boot loader handed over.
//!
//! The bytes are hostile: every number in them is a claim, arithmetic is checked, nothing is allocated.
#![no_std]
#![forbid(unsafe_code)]

mod bundle;
mod error;
mod image;
mod layout;
mod note;
mod plan;
mod start;
mod tables;
#[cfg(test)]
mod tests;

pub use bundle::{Bundle, BundleError, Module, bundle};
pub use error::{ImageError, LayoutError};
pub use layout::{Kind, Layout, P2m, Page, Ramdisk, TableCounts, layout, minimum_pages};
pub use plan::{Features, LoadPlan, MAX_SEGMENTS, Segment, plan};
pub use start::{Rings, first_context, start_info};
