//! The date: the instant of system time 0, in every `shared_info` (pv-abi 7.1.1).

use crate::domain::Domain;
use crate::hypervisor::Hypervisor;
use crate::ids::Nanos;
use crate::machine::Machine;
use crate::sync::{Held, Ordering};

use super::clock::write_versioned;

/// Offset in `shared_info` of the version; seconds, nanoseconds and the seconds' upper half follow.
const OFFSET: usize = 0xc00;
const BILLION: u64 = 1_000_000_000;

/// Shows a domain the date.
pub fn write<M: Machine>(hv: &Hypervisor<M>, domain: &Domain) {
    let origin = hv.wallclock.load(Ordering::Acquire);
    write_versioned(hv.machine(), domain.shared_info(), OFFSET, &body(origin));
}

/// Sets the date, now, and shows it to every domain.
pub fn set<M: Machine, const TOP: u8>(hv: &Hypervisor<M>, now: Nanos, held: &mut Held<'_, TOP>) {
    let origin = now.saturating_sub(hv.machine().now());
    hv.wallclock.store(origin.get(), Ordering::Release);
    let mut next = 0;
    while let Some(domain) = hv.domains.next_from(next, held) {
        write(hv, &domain);
        next = domain.id().get().saturating_add(1);
    }
}

fn body(origin: u64) -> [u8; 12] {
    let seconds = origin.checked_div(BILLION).unwrap_or(0).to_le_bytes();
    let rest = origin.checked_rem(BILLION).unwrap_or(0).to_le_bytes();
    let [s0, s1, s2, s3, s4, s5, s6, s7] = seconds;
    let [n0, n1, n2, n3, ..] = rest;
    [s0, s1, s2, s3, n0, n1, n2, n3, s4, s5, s6, s7]
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn seconds_are_split_around_the_nanoseconds() {
        let origin = 0x1_0000_0002 * BILLION + 3;
        assert_eq!(body(origin), [2, 0, 0, 0, 3, 0, 0, 0, 1, 0, 0, 0]);
    }
}
