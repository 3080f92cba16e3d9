//! The ways a machine ends.
//!
//! Under QEMU with `isa-debug-exit` at port 0xf4 the exit code tells which: value `v` makes QEMU end with
//! `v << 1 | 1`. Without that device the write goes nowhere, and ACPI's soft-off follows.

use x86_64::instructions::{hlt, interrupts, port::Port};

const DEBUG_EXIT: u16 = 0xf4;
/// PM1a control of QEMU's machine types `pc` and `q35`.
const ACPI_CONTROL: u16 = 0x604;
/// SLP_EN with sleep type 0, which is S5 there.
const SOFT_OFF: u16 = 0x2000;

/// Why the machine ends; the number is what the debug-exit device is given.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
#[repr(u32)]
pub(crate) enum Ending {
    /// The first domain asked for it.
    PowerOff = 0x10,
    /// The first domain asked for a restart.
    Reboot = 0x11,
    /// The first domain crashed.
    FirstDomainCrashed = 0x12,
    /// The hypervisor is broken.
    HypervisorPanic = 0x13,
    /// There is no first domain that could run.
    NoFirstDomain = 0x14,
}

/// Ends the machine.
pub(crate) fn end(how: Ending) -> ! {
    interrupts::disable();
    let mut exit: Port<u32> = Port::new(DEBUG_EXIT);
    // SAFETY: the port of the debug-exit device, or of nothing.
    unsafe { exit.write(how as u32) };
    let mut control: Port<u16> = Port::new(ACPI_CONTROL);
    // SAFETY: the port of the power management, or of nothing.
    unsafe { control.write(SOFT_OFF) };
    loop {
        hlt();
    }
}
