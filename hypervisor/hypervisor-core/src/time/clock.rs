//! pvclock: the record from which a guest computes system time (pv-abi 7.1).
//!
//! One scale serves all vCPUs for the life of the system; a record is written anew when it is older than a second as its
//! vCPU is switched in, always by the same scale.

use hypercall_abi::time::XEN_PVCLOCK_TSC_STABLE_BIT;

use crate::caller::is_guest_range;
use crate::hypervisor::Hypervisor;
use crate::ids::{Mfn, Nanos};
use crate::machine::{ClockScale, Machine};
use crate::sync::{Ordering, fence};
use crate::vcpu::shared::Vcpu;

/// Bytes of a record.
pub const RECORD: usize = 32;
/// A record older than this is written anew.
const OLD: Nanos = Nanos::new(1_000_000_000);

/// Multiplier and shift for a counter of `hertz`: nanoseconds are `(ticks << shift) * multiplier >> 32`.
#[must_use]
pub fn scale(hertz: u64) -> (u32, i8) {
    const BILLION: u64 = 1_000_000_000;
    let (mut rate, mut shift) = (hertz.max(1), 0_i8);
    while rate > BILLION.saturating_mul(2) {
        rate >>= 1;
        shift = shift.saturating_sub(1);
    }
    while rate <= BILLION {
        rate <<= 1;
        shift = shift.saturating_add(1);
    }
    let multiplier = (BILLION << 32).checked_div(rate).unwrap_or(0);
    (u32::try_from(multiplier).unwrap_or(u32::MAX), shift)
}

/// System time at a counter value: what a guest computes.
#[must_use]
pub fn system_time(clock: &ClockScale, tsc: u64) -> Nanos {
    let ticks = tsc.wrapping_sub(clock.tsc_origin);
    let amount = u32::from(clock.shift.unsigned_abs());
    let scaled = if clock.shift < 0 {
        ticks.checked_shr(amount).unwrap_or(0)
    } else {
        ticks.checked_shl(amount).unwrap_or(0)
    };
    let product = u128::from(scaled).wrapping_mul(clock.multiplier.into()) >> 32;
    clock
        .system_origin
        .saturating_add(Nanos::new(u64::try_from(product).unwrap_or(u64::MAX)))
}

/// The body of a record, behind its version: 28 bytes.
fn body(clock: &ClockScale, tsc: u64, stable: bool) -> [u8; RECORD] {
    let mut bytes = [0; RECORD];
    let mut put = |at: usize, value: &[u8]| {
        if let Some(field) = bytes.get_mut(at..at.saturating_add(value.len())) {
            field.copy_from_slice(value);
        }
    };
    put(8, &tsc.to_le_bytes());
    put(16, &system_time(clock, tsc).get().to_le_bytes());
    put(24, &clock.multiplier.to_le_bytes());
    put(28, &clock.shift.to_le_bytes());
    put(
        29,
        &[if stable {
            XEN_PVCLOCK_TSC_STABLE_BIT
        } else {
            0
        }],
    );
    bytes
}

/// Writes a vCPU's record in its `vcpu_info`. By its own CPU, or while it does not run.
pub fn write_record<M: Machine>(hv: &Hypervisor<M>, vcpu: &Vcpu) {
    let Some(info) = vcpu.info() else { return };
    let machine = hv.machine();
    let (clock, tsc) = (machine.clock(), machine.read_tsc());
    let bytes = body(&clock, tsc, hv.tsc_stable());
    write_versioned(
        machine,
        info.frame(),
        info.time(),
        bytes.get(4..).unwrap_or(&[]),
    );
    vcpu.time_written
        .store(machine.now().get(), Ordering::Relaxed);
}

/// Writes the record and its copy for user space, if they are old. False where the copy cannot be written now.
pub fn refresh<M: Machine>(hv: &Hypervisor<M>, vcpu: &Vcpu, now: Nanos) -> bool {
    let written = Nanos::new(vcpu.time_written.load(Ordering::Relaxed));
    if now.saturating_sub(written) < OLD {
        return true;
    }
    write_record(hv, vcpu);
    write_area(hv, vcpu)
}

/// Copies the record to the area that the guest registered. False where it cannot be written in this address space.
pub fn write_area<M: Machine>(hv: &Hypervisor<M>, vcpu: &Vcpu) -> bool {
    let (address, Some(info)) = (vcpu.time_area.load(Ordering::Acquire), vcpu.info()) else {
        return true;
    };
    if address == 0 || !is_guest_range(address, RECORD) {
        return true;
    }
    let machine = hv.machine();
    let mut bytes = [0; RECORD];
    machine.read_frame(info.frame(), info.time(), &mut bytes);
    let [v0, v1, v2, v3, rest @ ..] = bytes;
    let stable = u32::from_le_bytes([v0, v1, v2, v3]);
    let steps = [
        (0, &stable.wrapping_sub(1).to_le_bytes()[..]),
        (4, &rest[..]),
        (0, &stable.to_le_bytes()[..]),
    ];
    steps.into_iter().all(|(offset, part)| {
        fence(Ordering::Release);
        let written = machine.copy_out(address.wrapping_add(offset), part);
        written.is_ok()
    })
}

/// Writes what stands behind a version word: odd while it is being written, even and greater afterwards.
pub(super) fn write_versioned<M: Machine>(machine: &M, frame: Mfn, offset: usize, rest: &[u8]) {
    let version = machine.load_u32(frame, offset) | 1;
    machine.store_u32(frame, offset, version);
    fence(Ordering::Release);
    machine.write_frame(frame, offset.saturating_add(4), rest);
    fence(Ordering::Release);
    machine.store_u32(frame, offset, version.wrapping_add(1));
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_scale_keeps_the_multiplier_in_its_upper_half() {
        for hertz in [
            1_000_000,
            999_999_999,
            1_000_000_000,
            2_500_000_000,
            5_000_000_001,
        ] {
            let (multiplier, shift) = scale(hertz);
            assert!(multiplier >= 1 << 31, "{hertz}");
            let clock = ClockScale {
                tsc_origin: 1000,
                system_origin: Nanos::new(7),
                multiplier,
                shift,
                frequency_khz: hertz / 1000,
            };
            let second = system_time(&clock, 1000 + hertz).get();
            assert!(second.abs_diff(1_000_000_007) < 20, "{hertz}: {second}");
        }
    }

    #[test]
    fn the_record_has_its_fields_where_the_abi_has_them() {
        let clock = ClockScale {
            tsc_origin: 0,
            system_origin: Nanos::new(5),
            multiplier: 1 << 31,
            shift: 1,
            frequency_khz: 1_000_000,
        };
        let bytes = body(&clock, 100, true);
        assert_eq!(bytes[8..16], 100_u64.to_le_bytes());
        assert_eq!(bytes[16..24], 105_u64.to_le_bytes());
        assert_eq!(bytes[24..28], (1_u32 << 31).to_le_bytes());
        assert_eq!(bytes[28..], [1, 1, 0, 0]);
    }
}
