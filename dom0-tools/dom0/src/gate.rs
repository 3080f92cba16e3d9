//! How often a domain's events are listened to.
//!
//! A port is closed by its event and opened when its ring has been looked at. A guest that sends events without end thus
//! gets a bounded number of looks in each span of time; after that its port stays closed until the span is over. Nothing
//! is lost: what came meanwhile is pending.

use alloc::collections::{BTreeMap, BTreeSet};

use dom0_services::control::LocalPort;
use guest_kernel::hypercall;
use guest_kernel::timer::MILLISECOND;
use hypercall_abi::RawPort;

/// A span, in nanoseconds, and looks at one ring in it: enough for a guest that fills its rings all the time.
const SPAN: u64 = 100 * MILLISECOND;
const LOOKS: u32 = 128;

/// Looks at one ring since its span began.
#[derive(Clone, Copy, Debug)]
struct Meter {
    ends: u64,
    looks: u32,
}

/// The ports of all rings.
#[derive(Debug, Default)]
pub(crate) struct Gate {
    meters: BTreeMap<LocalPort, Meter>,
    closed: BTreeSet<LocalPort>,
}

impl Gate {
    /// Opens the ports whose rings have just been looked at, but for those that have had their share.
    pub(crate) fn served(&mut self, ports: &BTreeSet<LocalPort>, now: u64) {
        for &port in ports {
            let fresh = Meter {
                ends: now + SPAN,
                looks: 0,
            };
            let meter = self.meters.entry(port).or_insert(fresh);
            if now >= meter.ends {
                *meter = fresh;
            }
            meter.looks += 1;
            if meter.looks < LOOKS {
                open(port);
            } else {
                self.closed.insert(port);
            }
        }
    }

    /// Opens the ports whose span is over; gives the time when the next one's is.
    pub(crate) fn reopen(&mut self, now: u64) -> Option<u64> {
        self.meters.retain(|port, meter| {
            let over = now >= meter.ends;
            if over && self.closed.remove(port) {
                open(*port);
            }
            !over
        });
        let waiting = self.closed.iter().filter_map(|port| self.meters.get(port));
        waiting.map(|meter| meter.ends).min()
    }
}

fn open(port: LocalPort) {
    // A port that has been closed for good meanwhile is opened for nobody.
    let _opened = hypercall::event::unmask(RawPort(port.0));
}
