//! A machine without hardware: dom0's real control server on a hypervisor that only counts, with guests that follow a
//! script, behind a unix socket that the real `dom0ctl` connects to.

mod guest;
mod host;
mod server;

pub(crate) use guest::Manners;
pub(crate) use host::{CPUS, TOTAL_FRAMES};
pub(crate) use server::Machine;
