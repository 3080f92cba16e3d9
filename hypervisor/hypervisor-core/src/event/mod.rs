//! Event channels: a domain's ports, and the interrupts that the hypervisor itself raises.
//!
//! A port is free, waits for a domain, is connected to a port of another domain, or stands for an interrupt: a virtual one, a
//! device's, or one between the domain's own vCPUs. [`table`] keeps the records, `bind` changes them under locks, `deliver` sets the
//! bits and wakes, without any lock of ports. Every domain begins with two-level events (`two_level`, bitmaps in `shared_info`); one
//! that registers a control block changes to queues (`fifo`) until its next reset.

mod bind;
mod deliver;
mod error;
mod fifo;
mod line;
mod op;
mod port;
mod queues;
mod table;
mod two_level;
mod virq;

use crate::domain::Domain;
use crate::hypervisor::Hypervisor;
use crate::machine::Machine;
use crate::sync::Held;

pub use bind::{Last, close_some};
pub use error::EventError;
pub use line::{DeviceLines, device_interrupt};
pub(crate) use op::operation;
pub use port::{Binding, Port, Record, VirqNumber};
pub use queues::{drop_queues, for_each_frame};
pub use table::{DOMAIN_PORTS, EventTable, FIRST_DOMAIN_PORTS};
pub use virq::{Virq, send_first_domain, send_virq};

/// Whether a port exists and is pending, for `SCHEDOP_poll`; `None` if it does not.
pub fn is_pending<M: Machine>(
    hv: &Hypervisor<M>,
    domain: &Domain,
    port: u32,
    held: &mut Held<'_, 0>,
) -> Option<bool> {
    let port = domain.events.port(port)?;
    if domain.events.record(port).binding == Binding::Free {
        return None;
    }
    let queued = domain
        .events
        .with_queues(held, |fifo| fifo.is_pending(hv.machine(), port));
    Some(queued.unwrap_or_else(|| two_level::is_pending(hv.machine(), domain.shared_info(), port)))
}

#[cfg(test)]
mod tests;
