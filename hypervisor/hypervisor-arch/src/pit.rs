//! The old interval timer, only to measure the others by.
//!
//! Both ends of the measurement are readings of all three counters, each the tightest of several: a virtual machine may lose
//! its CPU between any two instructions, and such a reading is not taken.

use crate::cpu::apic;
use crate::tsc;
use x86_64::instructions::port::Port;

/// Ticks per second.
const HZ: u64 = 1_193_182;
/// Length of a measurement in ticks: 10 ms of the 55 that the counter has.
const TICKS: u64 = 11_932;
/// How many measurements are made. One during which the counter has wrapped around unseen gives too much: the least counts.
const MEASUREMENTS: usize = 3;
/// Readings of which the tightest counts.
const READINGS: usize = 16;

const CHANNEL2: u16 = 0x42;
const COMMAND: u16 = 0x43;
/// Channel 2, low and high byte, mode 0: counts down once.
const ONE_SHOT: u8 = 0b1011_0000;
/// Keeps the count of channel 2 for reading.
const LATCH: u8 = 0b1000_0000;
const GATE: u16 = 0x61;
const GATE_ENABLE: u8 = 1;
const GATE_SPEAKER: u8 = 2;

/// All three counters at one time.
#[derive(Debug, Clone, Copy)]
struct Reading {
    /// Ticks of the time stamp counter that it took.
    width: u64,
    tsc: u64,
    /// Counts down.
    apic: u32,
    /// Counts down.
    pit: u16,
}

/// Ticks per millisecond of the time stamp counter and of the APIC timer.
pub(crate) fn measure() -> (u64, u64) {
    let measurements = [(); MEASUREMENTS].map(|()| measure_once());
    let least = measurements.into_iter().min();
    least.expect("there are several measurements")
}

fn measure_once() -> (u64, u64) {
    start();
    apic::set_timer(u32::MAX);
    let first = tightest();
    let mut last = tightest();
    while elapsed(first, last) < TICKS {
        last = tightest();
    }
    apic::set_timer(0);
    let per_millisecond = |ticks: u64| (ticks * HZ / (elapsed(first, last) * 1000)).max(1);
    let apic_ticks = u64::from(first.apic.wrapping_sub(last.apic));
    (
        per_millisecond(last.tsc.wrapping_sub(first.tsc)),
        per_millisecond(apic_ticks),
    )
}

fn elapsed(first: Reading, last: Reading) -> u64 {
    u64::from(first.pit.wrapping_sub(last.pit))
}

fn start() {
    // SAFETY: reading port 0x61 has no effect.
    let idle = unsafe { Port::<u8>::new(GATE).read() } & !(GATE_SPEAKER | GATE_ENABLE);
    write(GATE, idle | GATE_ENABLE);
    write(COMMAND, ONE_SHOT);
    write(CHANNEL2, u8::MAX);
    write(CHANNEL2, u8::MAX);
}

fn tightest() -> Reading {
    let mut best = reading();
    for _ in 1..READINGS {
        let other = reading();
        if other.width < best.width {
            best = other;
        }
    }
    best
}

fn reading() -> Reading {
    let before = tsc::read();
    write(COMMAND, LATCH);
    let apic = apic::timer_count();
    let after = tsc::read();
    // SAFETY: gives the low byte of the count that was kept, then the high one; both are read, so the next begins anew.
    let [low, high] = core::array::from_fn(|_| unsafe { Port::<u8>::new(CHANNEL2).read() });
    Reading {
        width: after.wrapping_sub(before),
        tsc: u64::midpoint(before, after),
        apic,
        pit: u16::from_le_bytes([low, high]),
    }
}

/// Writes to one of the ports above.
fn write(port: u16, value: u8) {
    // SAFETY: channel 2 drives nothing but the speaker, which stays off.
    unsafe { Port::new(port).write(value) };
}
