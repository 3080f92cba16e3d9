//! How often a domain's events are listened to.
//!
//! A port is closed by its event and opened when its ring has been looked at. A guest that sends events without end thus
//! gets a burst of looks, and then one in each span of time. Nothing is lost: what came meanwhile is pending, and one look
//! takes all that is in the ring.

use alloc::collections::{BTreeMap, BTreeSet};

use dom0_services::control::LocalPort;
use guest_kernel::hypercall;
use guest_kernel::timer::MILLISECOND;
use hypercall_abi::RawPort;

/// Looks at one ring that need not be waited for, and how long it takes to earn another, in nanoseconds. Kernels notify for
/// every few bytes that they print and spin while the ring is full, so the wait must be short.
const BURST: u32 = 128;
const SPAN: u64 = 800 * MILLISECOND / 1000;

/// Looks at one ring that are left, counted up to a time.
#[derive(Clone, Copy, Debug)]
struct Meter {
    left: u32,
    since: u64,
}

impl Meter {
    /// Adds the looks that were earned until `now`; none is kept beyond a burst.
    fn earn(&mut self, now: u64) {
        let spans = now.saturating_sub(self.since) / SPAN;
        self.since += spans * SPAN;
        let earned = u32::try_from(spans).unwrap_or(u32::MAX);
        self.left = self.left.saturating_add(earned).min(BURST);
    }
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
            let meter = self.meters.entry(port).or_insert(Meter {
                left: BURST,
                since: now,
            });
            meter.earn(now);
            meter.left = meter.left.saturating_sub(1);
            if meter.left > 0 {
                open(port);
            } else {
                self.closed.insert(port);
            }
        }
    }

    /// Opens the closed ports that have earned a look; gives the time when the next one will have.
    pub(crate) fn reopen(&mut self, now: u64) -> Option<u64> {
        self.meters.retain(|port, meter| {
            meter.earn(now);
            if meter.left > 0 && self.closed.remove(port) {
                open(*port);
            }
            meter.left < BURST
        });
        let waiting = self.closed.iter().filter_map(|port| self.meters.get(port));
        waiting.map(|meter| meter.since + SPAN).min()
    }
}

fn open(port: LocalPort) {
    // A port that has been closed for good meanwhile is opened for nobody.
    let _opened = hypercall::event::unmask(RawPort(port.0));
}
