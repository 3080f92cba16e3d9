//! Time: the time stamp counter and the APIC timer, both measured once (`pit`).
//!
//! The hypervisor's clock is nanoseconds since the calibration, computed from the counter by a multiplier and a shift
//! that guests get too (pv-abi 7.1), so that both compute the same. All CPUs' counters are taken to agree; boot checks
//! it when a CPU comes up.

use crate::cpu::{apic, percpu};
use crate::pit;
use core::arch::asm;
use spin::Once;

/// What the calibration found.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Clock {
    /// The counter at time 0.
    pub(crate) origin: u64,
    /// Nanoseconds = ticks shifted by `shift`, times this, over 2^32.
    pub(crate) multiplier: u32,
    /// Left shift of the ticks, right if negative.
    pub(crate) shift: i8,
    /// Ticks of the counter per millisecond.
    pub(crate) khz: u64,
    /// Ticks of the APIC timer per millisecond.
    pub(crate) apic_khz: u64,
    /// Ticks of the counter per nanosecond, over 2^32; rounded up.
    per_nano: u64,
    /// Ticks of the APIC timer per nanosecond, over 2^32; rounded up.
    apic_per_nano: u64,
}

static CLOCK: Once<Clock> = Once::new();

/// The counter, read after everything before it has been done.
pub(crate) fn read() -> u64 {
    let (low, high): (u32, u32);
    // SAFETY: every x86-64 CPU has both instructions, and CR4.TSD does not concern ring 0.
    unsafe {
        asm!("lfence", "rdtsc", out("eax") low, out("edx") high, options(nostack, preserves_flags));
    }
    u64::from(high) << 32 | u64::from(low)
}

/// Nanoseconds since the calibration, 0 before it.
pub(crate) fn nanos() -> u64 {
    CLOCK.get().map_or(0, |clock| clock.nanos_at(read()))
}

/// The clock; [`calibrate`] has been called.
pub(crate) fn clock() -> Clock {
    *CLOCK.get().expect("boot calibrates the clock first")
}

impl Clock {
    /// The time when the counter showed `ticks`; 0 if that was before the origin.
    pub(crate) fn nanos_at(&self, ticks: u64) -> u64 {
        let ticks = ticks.saturating_sub(self.origin);
        let shifted = if self.shift < 0 {
            ticks >> self.shift.unsigned_abs()
        } else {
            ticks << self.shift.unsigned_abs()
        };
        // 2^64 ns are 584 years, to which a shift to the left brings the ticks too.
        ((u128::from(shifted) * u128::from(self.multiplier)) >> 32) as u64
    }

    /// Ticks of the APIC timer that take at least this long; as many as the timer counts if it is longer.
    pub(crate) fn apic_ticks(&self, nanos: u64) -> u32 {
        let ticks = (u128::from(nanos) * u128::from(self.apic_per_nano)) >> 32;
        u32::try_from(ticks + 1).unwrap_or(u32::MAX)
    }

    /// What the counter shows at a time, or a little later; its end if it never gets there.
    fn ticks_at(&self, nanos: u64) -> u64 {
        let ticks = (u128::from(nanos) * u128::from(self.per_nano)) >> 32;
        u64::try_from(ticks)
            .unwrap_or(u64::MAX)
            .saturating_add(self.origin)
    }
}

/// Measures both counters; the clock begins at 0 now. The boot CPU's APIC must be on.
pub(crate) fn calibrate() -> Clock {
    *CLOCK.call_once(|| {
        let (khz, apic_khz) = pit::measure();
        let (multiplier, shift) = scale(khz);
        Clock {
            origin: read(),
            multiplier,
            shift,
            khz,
            apic_khz,
            per_nano: per_nano(khz),
            apic_per_nano: per_nano(apic_khz),
        }
    })
}

/// Ticks per nanosecond, over 2^32, for a frequency.
fn per_nano(khz: u64) -> u64 {
    (khz << 32).div_ceil(1_000_000)
}

/// Multiplier and shift for a frequency, the multiplier as large as 32 bits allow.
fn scale(khz: u64) -> (u32, i8) {
    let mut shift = 0_i8;
    let mut shifted = khz;
    // The multiplier is 2^32 * 10^6 / shifted: below 2^32 only for more than 10^6 kHz.
    while shifted <= 1_000_000 {
        shifted <<= 1;
        shift += 1;
    }
    while shifted > 2_000_000 {
        shifted >>= 1;
        shift -= 1;
    }
    // Ticks shifted right lose bits; the frequency must be shifted without loss.
    let exact = if shift < 0 {
        (1_000_000_u128 << 32 << shift.unsigned_abs()) / u128::from(khz)
    } else {
        (1_000_000_u128 << 32 >> shift.unsigned_abs()) / u128::from(khz)
    };
    (u32::try_from(exact).unwrap_or(u32::MAX), shift)
}

/// Sets this CPU's timer to a time, or stops it. A time too far for the timer makes it come early.
pub(crate) fn set_deadline(at: Option<u64>) {
    let deadline = at.unwrap_or(u64::MAX);
    let local = percpu::local();
    if local.deadline.replace(deadline) == deadline {
        return;
    }
    local
        .deadline_ticks
        .set(at.map_or(u64::MAX, |at| clock().ticks_at(at)));
    let ticks = at.map_or(0, |at| clock().apic_ticks(at.saturating_sub(nanos())));
    apic::set_timer(ticks);
}

/// Notes that this CPU's timer has fired, so that it is set anew even for the same time.
pub(crate) fn timer_fired() {
    let local = percpu::local();
    local.deadline.set(u64::MAX);
    local.deadline_ticks.set(u64::MAX);
}

/// Whether this CPU's deadline has come.
pub(crate) fn deadline_passed() -> bool {
    read() >= percpu::local().deadline_ticks.get()
}

/// Waits for at least this long.
pub(crate) fn delay_micros(micros: u64) {
    let end = nanos() + micros * 1000;
    while nanos() < end {
        core::hint::spin_loop();
    }
}
