//! Event channels: a domain's ports, and the interrupts that the hypervisor itself raises.
//!
//! A port is free, waits for a domain, is connected to a port of another domain, or stands for an interrupt: a virtual one, a
//! device's, or one between the domain's own vCPUs. [`table`] keeps the records, `bind` changes them under locks, `deliver` sets the
//! bits in `shared_info` and wakes, without any lock of ports. Two-level events only: the FIFO form answers `ENOSYS`, and guests that
//! ask for it fall back.

mod bind;
mod deliver;
mod error;
mod line;
mod op;
mod port;
mod table;
mod two_level;
mod virq;

use crate::domain::Domain;
use crate::hypervisor::Hypervisor;
use crate::machine::Machine;

pub use bind::{Last, close_some};
pub use error::EventError;
pub use line::{DeviceLines, device_interrupt};
pub(crate) use op::operation;
pub use port::{Binding, Port, Record, VirqNumber};
pub use table::{DOMAIN_PORTS, EventTable, FIRST_DOMAIN_PORTS};
pub use virq::{Virq, send_first_domain, send_virq};

/// Whether a port exists and is pending, for `SCHEDOP_poll`; `None` if it does not.
pub fn is_pending<M: Machine>(hv: &Hypervisor<M>, domain: &Domain, port: u32) -> Option<bool> {
    let port = domain.events.port(port)?;
    let used = domain.events.record(port).binding != Binding::Free;
    used.then(|| two_level::is_pending(hv.machine(), domain.shared_info(), port))
}

#[cfg(test)]
mod tests;
