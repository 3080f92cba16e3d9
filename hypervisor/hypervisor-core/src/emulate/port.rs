//! I/O ports: who may execute IN and OUT, and what answers (pv-abi 6.4).
//!
//! Permission is the guest kernel's business, by virtual IOPL and bitmap. What a permitted access does is ours: no domain owns
//! a port, so reads give all ones and writes go nowhere, but for the two latches that probing kernels read back, and for the
//! interval timer's counter.

use super::decode::Width;
use crate::vcpu::Mode;

/// The latches of a domain, for 0xcf8 and 0x70.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Latches {
    /// Last value written to port 0xcf8.
    pub pci_address: u32,
    /// Last index written to port 0x70.
    pub rtc_index: u8,
}

/// The port of the counter of the interval timer's second channel.
const INTERVAL_TIMER: u16 = 0x42;

/// Whether the virtual IOPL alone permits I/O instructions, CLI and STI.
#[must_use]
pub const fn iopl_permits(iopl: u8, mode: Mode, architectural_iopl: bool) -> bool {
    let level = match mode {
        Mode::User => 3,
        Mode::Kernel => {
            if architectural_iopl {
                0
            } else {
                1
            }
        }
    };
    level <= iopl
}

/// Whether all of an access lies within a bitmap of `ports` ports, so that its two bytes have to be read.
#[must_use]
pub fn within_bitmap(port: u16, width: Width, ports: u32) -> bool {
    u32::from(port).saturating_add(u32::from(width.bytes())) <= ports
}

/// Whether the two bitmap bytes that begin at `port / 8` permit the access.
#[must_use]
pub fn bitmap_permits(bytes: [u8; 2], port: u16, width: Width) -> bool {
    let ones = match width {
        Width::One => 1_u16,
        Width::Two => 3,
        Width::Four => 15,
    };
    u16::from_le_bytes(bytes) & (ones << (port & 7)) == 0
}

/// A permitted read: all ones but for the latches and the counter of the interval timer's second channel, by which kernels
/// measure the time stamp counter. It stands at 0. A kernel that waits for it to leave 0xff gives up at the first look
/// instead of after 50,000, each of which would come here.
#[must_use]
pub fn read(latches: Latches, port: u16, width: Width) -> u32 {
    match (port, width) {
        (0xcf8, Width::Four) => latches.pci_address,
        (0x70, Width::One) => u32::from(latches.rtc_index),
        (INTERVAL_TIMER, Width::One) => 0,
        (_, Width::One) => 0xff,
        (_, Width::Two) => 0xffff,
        (_, Width::Four) => u32::MAX,
    }
}

/// A permitted write: of effect on the latches only.
pub fn write(latches: &mut Latches, port: u16, width: Width, value: u32) {
    match (port, width) {
        (0xcf8, Width::Four) => latches.pci_address = value,
        (0x70, _) => {
            let [low, ..] = value.to_le_bytes();
            latches.rtc_index = low;
        }
        _ => {}
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_kernel_counts_as_ring_one_without_the_assist() {
        for (iopl, mode, assist, permitted) in [
            (0, Mode::Kernel, false, false),
            (1, Mode::Kernel, false, true),
            (0, Mode::Kernel, true, true),
            (2, Mode::User, false, false),
            (3, Mode::User, false, true),
            (3, Mode::User, true, true),
        ] {
            assert_eq!(
                iopl_permits(iopl, mode, assist),
                permitted,
                "{iopl} {mode:?} {assist}"
            );
        }
    }

    #[test]
    fn the_bitmap_must_permit_every_byte() {
        assert!(bitmap_permits([0b1111_0111, 0xff], 3, Width::One));
        assert!(!bitmap_permits([0b1111_0111, 0xff], 3, Width::Two));
        assert!(bitmap_permits([0b0111_1111, 0xfe], 7, Width::Two));
        assert!(!within_bitmap(0xffff, Width::Two, 65536));
        assert!(within_bitmap(0xfffe, Width::Two, 65536));
    }

    #[test]
    fn the_interval_timer_stands_at_zero() {
        assert_eq!(read(Latches::default(), 0x42, Width::One), 0);
        assert_eq!(read(Latches::default(), 0x61, Width::One), 0xff);
    }

    #[test]
    fn unowned_ports_read_as_all_ones_and_latches_read_back() {
        let mut latches = Latches::default();
        write(&mut latches, 0xcf8, Width::Four, 0x8000_1234);
        write(&mut latches, 0x70, Width::One, 0x8f);
        write(&mut latches, 0x80, Width::One, 1);
        assert_eq!(read(latches, 0xcf8, Width::Four), 0x8000_1234);
        assert_eq!(read(latches, 0xcf8, Width::One), 0xff);
        assert_eq!(read(latches, 0x70, Width::One), 0x8f);
        assert_eq!(read(latches, 0x71, Width::Two), 0xffff);
    }
}
