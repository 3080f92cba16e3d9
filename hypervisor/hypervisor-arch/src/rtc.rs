//! The wall clock at boot, from the CMOS clock, which runs in UTC.

use crate::tsc;
use x86_64::instructions::port::Port;

const INDEX: u16 = 0x70;
const DATA: u16 = 0x71;
const STATUS_A: u8 = 0x0a;
const UPDATING: u8 = 1 << 7;
const STATUS_B: u8 = 0x0b;
const BINARY: u8 = 1 << 2;
const HOURS_24: u8 = 1 << 1;
const AFTERNOON: u8 = 1 << 7;
/// Seconds, minutes, hours, day, month, year.
const REGISTERS: [u8; 6] = [0x00, 0x02, 0x04, 0x07, 0x08, 0x09];
/// Two readings agree earlier, in nanoseconds. An update takes 2 ms; QEMU's ends when its main loop has a turn, which takes many
/// times that on a busy host.
const PATIENCE: u64 = 1_000_000_000;

/// Seconds since 1970; 0 if the clock shows no sensible time.
pub(crate) fn seconds() -> u64 {
    let mut before = [0; 6];
    let end = tsc::nanos() + PATIENCE;
    while tsc::nanos() < end {
        if read(STATUS_A) & UPDATING != 0 {
            continue;
        }
        let now = REGISTERS.map(read);
        if now == before {
            return convert(now, read(STATUS_B)).unwrap_or(0);
        }
        before = now;
    }
    0
}

fn read(register: u8) -> u8 {
    // SAFETY: the index register; bit 7, which masks NMIs, stays clear.
    unsafe { Port::new(INDEX).write(register) };
    // SAFETY: reading the clock's registers has no effect.
    unsafe { Port::new(DATA).read() }
}

fn convert(fields: [u8; 6], status: u8) -> Option<u64> {
    let decimal = |field: u8| {
        if status & BINARY != 0 {
            u64::from(field)
        } else {
            u64::from(field >> 4) * 10 + u64::from(field & 15)
        }
    };
    let [seconds, minutes, hours, day, month, year] = fields;
    let hour = if status & HOURS_24 != 0 {
        decimal(hours)
    } else {
        let noon = if hours & AFTERNOON != 0 { 12 } else { 0 };
        decimal(hours & !AFTERNOON) % 12 + noon
    };
    let (day, month, year) = (decimal(day), decimal(month), 2000 + decimal(year));
    if !(1..=31).contains(&day) || !(1..=12).contains(&month) {
        return None;
    }
    let time = (hour * 60 + decimal(minutes)) * 60 + decimal(seconds);
    Some(days_since_1970(year, month, day) * 86_400 + time)
}

/// Days from 1970 to a date, in the Gregorian calendar; the year begins in March, so that leap days come last.
fn days_since_1970(year: u64, month: u64, day: u64) -> u64 {
    let (year, month) = if month > 2 {
        (year, month - 3)
    } else {
        (year - 1, month + 9)
    };
    let days_before_month = (153 * month + 2) / 5;
    let days_before_year = 365 * year + year / 4 - year / 100 + year / 400;
    days_before_year + days_before_month + day - 1 - DAYS_TO_1970
}

/// Days from March of the year 0 to 1970.
const DAYS_TO_1970: u64 = 719_468;
