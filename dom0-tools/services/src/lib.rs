//! dom0's services as pure state machines: xenstore, consoles, the domain builder, admission and the control server.
//!
//! Nothing here knows a ring's address, an event port or an executor: requests come in as values, replies and effects go
//! out as values, shared pages and hypercalls are reached through small traits. So all of it runs, and is attacked, under
//! plain `cargo test`; `dom0` joins it to the machine.
#![no_std]
#![forbid(unsafe_code)]

extern crate alloc;

pub mod builder;
pub mod console;
pub mod control;
mod domain_id;
pub mod resources;
pub mod shared_page;
mod sorted;
pub mod xenstore;

pub use domain_id::DomId;
