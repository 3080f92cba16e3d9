//! System time: nanoseconds since the hypervisor started, from the record that it keeps for this vCPU.

use core::sync::atomic::{AtomicU64, Ordering};

use hypercall_abi::time::XEN_PVCLOCK_TSC_STABLE_BIT;

use crate::event::shared::{self, VcpuTime};
use crate::hypercall::time_stamp;

/// The latest time that any vCPU has told, where the vCPUs' clocks may differ.
static LATEST: AtomicU64 = AtomicU64::new(0);

/// One consistent record.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
struct Record {
    tsc_timestamp: u64,
    system_time: u64,
    multiplier: u32,
    shift: i8,
    stable: bool,
}

impl Record {
    fn read(time: &VcpuTime) -> Self {
        loop {
            let version = time.version.load(Ordering::Acquire);
            let [shift, flags, _, _] = time.shift_and_flags.load(Ordering::Relaxed).to_le_bytes();
            let record = Self {
                tsc_timestamp: time.tsc_timestamp.load(Ordering::Relaxed),
                system_time: time.system_time.load(Ordering::Relaxed),
                multiplier: time.tsc_to_system_mul.load(Ordering::Relaxed),
                shift: i8::from_le_bytes([shift]),
                stable: flags & XEN_PVCLOCK_TSC_STABLE_BIT != 0,
            };
            core::sync::atomic::fence(Ordering::Acquire);
            if version & 1 == 0 && time.version.load(Ordering::Relaxed) == version {
                return record;
            }
            core::hint::spin_loop();
        }
    }

    /// System time at a TSC value.
    fn at(self, tsc: u64) -> u64 {
        self.system_time
            .wrapping_add(self.nanoseconds(tsc.wrapping_sub(self.tsc_timestamp)))
    }

    /// How long so many ticks of the TSC last.
    fn nanoseconds(self, ticks: u64) -> u64 {
        let distance = u32::from(self.shift.unsigned_abs());
        let scaled = if self.shift < 0 {
            ticks >> distance
        } else {
            ticks << distance
        };
        let product = u128::from(scaled) * u128::from(self.multiplier);
        u64::try_from(product >> 32).unwrap_or(u64::MAX)
    }
}

/// System time in nanoseconds. It never goes back, on any vCPU.
#[must_use]
pub fn now() -> u64 {
    let record = Record::read(&shared::vcpu_info().time);
    let now = record.at(time_stamp());
    if record.stable {
        now
    } else {
        LATEST.fetch_max(now, Ordering::Relaxed).max(now)
    }
}

/// Nanoseconds since the TSC showed `tsc` on this vCPU.
#[must_use]
pub fn since(tsc: u64) -> u64 {
    let record = Record::read(&shared::vcpu_info().time);
    record.nanoseconds(time_stamp().wrapping_sub(tsc))
}

/// Nanoseconds since 1970, UTC.
#[must_use]
pub fn wall_clock() -> u64 {
    let page = shared::page();
    loop {
        let version = page.wc_version.load(Ordering::Acquire);
        let seconds = u64::from(page.wc_sec.load(Ordering::Relaxed))
            | u64::from(page.wc_sec_hi.load(Ordering::Relaxed)) << 32;
        let nanoseconds = u64::from(page.wc_nsec.load(Ordering::Relaxed));
        core::sync::atomic::fence(Ordering::Acquire);
        if version & 1 == 0 && page.wc_version.load(Ordering::Relaxed) == version {
            return seconds
                .wrapping_mul(super::SECOND)
                .wrapping_add(nanoseconds)
                .wrapping_add(now());
        }
        core::hint::spin_loop();
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn time_advances_by_the_scaled_tsc_difference() {
        // 2 GHz: half a nanosecond per tick, as the fraction 2^31 / 2^32.
        let record = Record {
            tsc_timestamp: 1_000,
            system_time: 5_000,
            multiplier: 1 << 31,
            ..Record::default()
        };
        assert_eq!(record.at(1_000), 5_000);
        assert_eq!(record.at(3_000), 6_000);
        assert_eq!(
            Record {
                shift: -1,
                ..record
            }
            .at(3_000),
            5_500
        );
        assert_eq!(Record { shift: 1, ..record }.at(3_000), 7_000);
    }
}
