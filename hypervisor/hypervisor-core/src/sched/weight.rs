//! Virtual time: how fast a vCPU's claim on the CPU is used up by running.

use crate::ids::Nanos;

/// The weight of an ordinary domain.
pub const DEFAULT_WEIGHT: u32 = 256;
/// The least weight; less would let virtual time run off.
pub const MIN_WEIGHT: u32 = 8;
/// The most.
pub const MAX_WEIGHT: u32 = 65535;

/// Virtual nanoseconds for `ran` real ones, of a domain with `weight` that shares it among `active` vCPUs.
///
/// The weight belongs to the domain: two busy vCPUs of a domain run at half the speed of one alone.
#[must_use]
pub fn virtual_time(ran: Nanos, weight: u32, active: u32) -> u64 {
    let scaled = ran
        .get()
        .saturating_mul(u64::from(DEFAULT_WEIGHT))
        .saturating_mul(u64::from(active.max(1)));
    scaled
        .checked_div(u64::from(weight.clamp(MIN_WEIGHT, MAX_WEIGHT)))
        .unwrap_or(scaled)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn virtual_time_is_inverse_to_weight_and_grows_with_active_vcpus() {
        let ran = Nanos::new(1000);
        assert_eq!(virtual_time(ran, DEFAULT_WEIGHT, 1), 1000);
        assert_eq!(virtual_time(ran, 512, 1), 500);
        assert_eq!(virtual_time(ran, 256, 4), 4000);
        assert_eq!(virtual_time(ran, 0, 1), 32000);
    }
}
