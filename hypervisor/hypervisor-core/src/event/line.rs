//! Interrupts of devices: lines of the machine that the first domain binds to ports.
//!
//! A line is *claimed* when a device's interrupt is routed to it (`MSIX_BIND`), *bound* when a port takes it, and stays the first
//! domain's. Its number is what the ABI calls a pirq.

use super::deliver;
use super::port::{Binding, Port};
use crate::domain::DomId;
use crate::effects::Effects;
use crate::hypervisor::Hypervisor;
use crate::machine::{DeviceLine, Machine};
use crate::sync::{AtomicU16, Held, Ordering};

/// Lines that a machine may have.
const LINES: usize = 256;
/// Word of a line that no device uses.
const IDLE: u16 = u16::MAX;
/// Word of a line that is claimed and not bound.
const UNBOUND: u16 = 0;

/// Which port each line is bound to.
#[derive(Debug)]
pub struct DeviceLines {
    ports: [AtomicU16; LINES],
}

impl Default for DeviceLines {
    fn default() -> Self {
        Self {
            ports: [const { AtomicU16::new(IDLE) }; LINES],
        }
    }
}

impl DeviceLines {
    /// A device's interrupt arrives on this line from now on.
    pub fn claim(&self, line: DeviceLine) {
        if let Some(word) = self.ports.get(usize::from(line.0)) {
            word.store(UNBOUND, Ordering::Release);
        }
    }

    /// Whether a device's interrupt arrives on this line.
    #[must_use]
    pub fn is_claimed(&self, line: DeviceLine) -> bool {
        self.word(line) != IDLE
    }

    /// The port that the line is bound to.
    #[must_use]
    pub fn port(&self, line: DeviceLine) -> Option<Port> {
        match self.word(line) {
            IDLE | UNBOUND => None,
            port => Port::new(port.into()),
        }
    }

    /// Binds a claimed line to a port, or to none. Under the lock of the first domain's ports.
    pub(super) fn bind(&self, line: DeviceLine, port: Option<Port>) {
        if let Some(word) = self.ports.get(usize::from(line.0)) {
            word.store(port.map_or(UNBOUND, Port::get), Ordering::Release);
        }
    }

    fn word(&self, line: DeviceLine) -> u16 {
        self.ports
            .get(usize::from(line.0))
            .map_or(IDLE, |word| word.load(Ordering::Acquire))
    }
}

/// A device's interrupt has arrived: tells the first domain, or drops it where no port is bound. Called by the CPU that takes the
/// interrupt, which holds no lock then.
pub fn device_interrupt<M: Machine>(hv: &Hypervisor<M>, line: DeviceLine, effects: &mut Effects) {
    let mut held = Held::enter();
    let Some(port) = hv.lines().port(line) else {
        return;
    };
    let Some(first) = hv.domains.get(DomId::FIRST, &mut held) else {
        return;
    };
    let record = first.events.record(port);
    if record.binding == Binding::Line(line) {
        deliver::raise(hv, &first, port, record.vcpu, effects, &mut held);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_line_is_claimed_then_bound_then_let_go() {
        let lines = DeviceLines::default();
        let (line, port) = (DeviceLine(3), Port::new(9));
        assert!(!lines.is_claimed(line));
        lines.claim(line);
        assert_eq!((lines.is_claimed(line), lines.port(line)), (true, None));
        lines.bind(line, port);
        assert_eq!(lines.port(line), port);
        lines.bind(line, None);
        assert_eq!((lines.is_claimed(line), lines.port(line)), (true, None));
    }
}
