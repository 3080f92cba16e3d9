//! Virtual debug registers: what a guest may put into DR0..DR7, and what of it reaches the hardware (pv-abi 5.11).

use hypercall_abi::errno::Errno;

use crate::paging::layout::is_guest;

/// DR6 with nothing reported.
pub const DR6_DEFAULT: u64 = 0xffff_0ff0;
/// DR7 with nothing enabled.
pub const DR7_DEFAULT: u64 = 0x400;
/// DR6: single step.
pub const DR6_STEP: u64 = 1 << 14;
const DR6_BREAKPOINTS: u64 = 0xf;
const DR7_ENABLES: u64 = 0xff;
const DR7_GENERAL_DETECT: u64 = 1 << 13;
/// Reserved bits 11, 12, 14 and 15 read as zero; bit 10 reads as one.
const DR7_ZERO: u64 = 0xd800;
/// R/W field of an I/O breakpoint.
const IO_TYPE: u64 = 2;

/// The debug registers of a vCPU.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct DebugRegisters {
    /// DR0..DR3: linear addresses outside the hypervisor's range.
    pub address: [u64; 4],
    /// DR6.
    pub dr6: u64,
    /// DR7 as the hardware has it.
    pub dr7: u64,
    /// Enable bits of I/O breakpoints, kept apart: never in hardware.
    pub dr7_io: u64,
}

impl DebugRegisters {
    /// The state at reset.
    #[must_use]
    pub const fn new() -> Self {
        Self {
            address: [0; 4],
            dr6: DR6_DEFAULT,
            dr7: DR7_DEFAULT,
            dr7_io: 0,
        }
    }

    /// Whether DR0..DR3 have to be loaded at all.
    #[must_use]
    pub const fn armed(&self) -> bool {
        self.dr7 & DR7_ENABLES != 0
    }

    /// Reads a register. `extensions`: virtual CR4.DE.
    ///
    /// # Errors
    /// `ENODEV` for registers that do not exist.
    pub fn read(&self, register: u64, extensions: bool) -> Result<u64, Errno> {
        match register {
            0..=3 => usize::try_from(register)
                .ok()
                .and_then(|n| self.address.get(n))
                .copied()
                .ok_or(Errno::ENODEV),
            4 if !extensions => Ok(self.dr6),
            5 if !extensions => Ok(self.dr7 | self.dr7_io),
            6 => Ok(self.dr6),
            7 => Ok(self.dr7 | self.dr7_io),
            _ => Err(Errno::ENODEV),
        }
    }

    /// Writes a register. `extensions`: virtual CR4.DE.
    ///
    /// # Errors
    /// `EPERM` for addresses of the hypervisor and forbidden DR7 bits, `EINVAL` for wide values, `ENODEV` for registers
    /// that do not exist; nothing has changed then.
    pub fn write(&mut self, register: u64, value: u64, extensions: bool) -> Result<(), Errno> {
        match register {
            0..=3 => {
                // Never inside the hypervisor's range, nor where no address is.
                if !is_guest(value) {
                    return Err(Errno::EPERM);
                }
                let slot = usize::try_from(register)
                    .ok()
                    .and_then(|n| self.address.get_mut(n));
                *slot.ok_or(Errno::ENODEV)? = value;
                Ok(())
            }
            4 if !extensions => self.write_dr6(value),
            5 if !extensions => self.write_dr7(value, extensions),
            6 => self.write_dr6(value),
            7 => self.write_dr7(value, extensions),
            _ => Err(Errno::ENODEV),
        }
    }

    /// Bits of DR6 for the I/O breakpoints that an access of `width` bytes to `port` meets. `extensions`: virtual CR4.DE.
    #[must_use]
    pub fn io_hits(&self, port: u16, width: u8, extensions: bool) -> u64 {
        if self.dr7_io == 0 || !extensions {
            return 0;
        }
        let (port, end) = (
            u64::from(port),
            u64::from(port).saturating_add(width.into()),
        );
        let mut hits = 0;
        for (slot, address) in (0_u32..).zip(self.address) {
            let enabled = self.dr7_io & 3 << slot.wrapping_mul(2) != 0;
            let length = match self.dr7 >> slot.wrapping_mul(4).wrapping_add(18) & 3 {
                0 => 1_u64,
                1 => 2,
                2 => 8,
                _ => 4,
            };
            let start = address & !length.wrapping_sub(1);
            if enabled && start < end && start.saturating_add(length) > port {
                hits |= 1 << slot;
            }
        }
        hits
    }

    /// Takes what the hardware reported with a #DB: breakpoint bits are replaced, the others accumulate.
    pub fn report(&mut self, hardware_dr6: u64) {
        let fresh = (hardware_dr6 ^ DR6_DEFAULT) & 0xffff_ffff;
        self.dr6 = (self.dr6 & !DR6_BREAKPOINTS) | (fresh & (DR6_BREAKPOINTS | 0xe000));
        self.dr6 |= DR6_DEFAULT;
    }

    fn write_dr6(&mut self, value: u64) -> Result<(), Errno> {
        if value >> 32 != 0 {
            return Err(Errno::EINVAL);
        }
        self.dr6 = (value | DR6_DEFAULT) & !(1 << 12);
        Ok(())
    }

    fn write_dr7(&mut self, value: u64, extensions: bool) -> Result<(), Errno> {
        if value >> 32 != 0 {
            return Err(Errno::EINVAL);
        }
        if value & DR7_GENERAL_DETECT != 0 {
            return Err(Errno::EPERM);
        }
        let value = (value & !DR7_ZERO) | DR7_DEFAULT;
        let mut io = 0;
        if value & DR7_ENABLES != 0 {
            for slot in 0..4_u32 {
                let enables = 3 << slot.wrapping_mul(2);
                let kind = value >> slot.wrapping_mul(4).wrapping_add(16) & 3;
                if kind == IO_TYPE && value & enables != 0 {
                    io |= value & enables;
                }
                // The type without enable bits is refused too: enabling the slot later must meet this check again.
                if kind == IO_TYPE && !extensions {
                    return Err(Errno::EPERM);
                }
            }
        }
        self.dr7 = value & !io;
        self.dr7_io = io;
        Ok(())
    }
}

impl Default for DebugRegisters {
    fn default() -> Self {
        Self::new()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn no_breakpoint_on_hypervisor_addresses() {
        let mut registers = DebugRegisters::new();
        assert_eq!(
            registers.write(0, 0xffff_8000_0000_0000, false),
            Err(Errno::EPERM)
        );
        assert_eq!(registers.write(0, 0xffff_8800_0000_0000, false), Ok(()));
        assert_eq!(registers.read(0, false), Ok(0xffff_8800_0000_0000));
    }

    #[test]
    fn dr4_and_dr5_are_aliases_only_without_debug_extensions() {
        let mut registers = DebugRegisters::new();
        assert_eq!(registers.write(5, 1, false), Ok(()));
        assert_eq!(registers.read(7, false), Ok(0x401));
        assert_eq!(registers.write(5, 1, true), Err(Errno::ENODEV));
        assert_eq!(registers.read(4, true), Err(Errno::ENODEV));
    }

    #[test]
    fn general_detect_and_wide_values_are_refused() {
        let mut registers = DebugRegisters::new();
        assert_eq!(registers.write(7, 1 << 13, false), Err(Errno::EPERM));
        assert_eq!(registers.write(7, 1 << 32, false), Err(Errno::EINVAL));
        assert_eq!(registers.write(6, 1 << 32, false), Err(Errno::EINVAL));
        assert_eq!(registers, DebugRegisters::new());
    }

    #[test]
    fn io_breakpoints_stay_out_of_the_hardware() {
        let mut registers = DebugRegisters::new();
        let io = 2 << 16 | 1;
        assert_eq!(registers.write(7, io, false), Err(Errno::EPERM));
        assert_eq!(registers.write(7, io, true), Ok(()));
        assert!(!registers.armed());
        assert_eq!(registers.read(7, true), Ok(io | DR7_DEFAULT));
    }

    #[test]
    fn io_breakpoints_are_met_by_every_access_that_touches_them() {
        let mut registers = DebugRegisters::new();
        registers.write(1, 0x71, true).unwrap();
        registers.write(7, 2 << 20 | 1 << 22 | 4, true).unwrap();
        for (port, width, hits) in [
            (0x70, 1, 2),
            (0x71, 1, 2),
            (0x6e, 4, 2),
            (0x72, 1, 0),
            (0x6f, 1, 0),
        ] {
            assert_eq!(registers.io_hits(port, width, true), hits, "{port:#x}");
        }
        assert_eq!(registers.io_hits(0x70, 1, false), 0, "CR4.DE is clear");
        registers.write(7, 0, true).unwrap();
        assert_eq!(registers.io_hits(0x70, 1, true), 0);
    }

    #[test]
    fn a_report_replaces_breakpoints_and_adds_single_steps() {
        let mut registers = DebugRegisters::new();
        registers.report(DR6_DEFAULT | 1);
        registers.report(DR6_DEFAULT | 2 | DR6_STEP);
        assert_eq!(registers.dr6, DR6_DEFAULT | 2 | DR6_STEP);
        registers.report(DR6_DEFAULT);
        assert_eq!(registers.dr6, DR6_DEFAULT | DR6_STEP);
    }
}
