//! Model-specific registers as a guest kernel sees them (pv-abi 6.6). The default answer is #GP(0).
//!
//! Reads give a value or fault; writes give what has to change in the vCPU, or fault. Registers whose value is in hardware
//! while the vCPU runs are only named here: the caller fetches or stores them.

use crate::vcpu::context::is_canonical;

/// A register of the vCPU that an MSR stands for.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[expect(missing_docs, reason = "each variant is the register of its name")]
pub enum Register {
    FsBase,
    GsBaseActive,
    GsBaseUser,
    TscAux,
    Tsc,
}

/// The answer to RDMSR.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Read {
    /// This value.
    Value(u64),
    /// The value of this register.
    Register(Register),
    /// #GP(0).
    Fault,
}

/// The answer to WRMSR.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Write {
    /// Nothing happens, without a fault.
    Ignored,
    /// This register changes.
    Register(Register, u64),
    /// #GP(0).
    Fault,
}

/// What the answers depend on.
#[derive(Clone, Copy, Debug)]
pub struct View {
    /// AMD's line, else Intel's.
    pub amd: bool,
    /// vCPU 0.
    pub first_vcpu: bool,
    /// Whether CPUID shows RDTSCP or RDPID.
    pub has_tsc_aux: bool,
    /// EFER of the host.
    pub efer: u64,
    /// The microcode's revision, 0 if there is none.
    pub microcode: u64,
    /// MISC_ENABLE of the host, if it has one.
    pub misc_enable: Option<u64>,
}

/// PAT of every guest: WB, WT, UC-, UC, WC, WP, UC, UC. It is part of the ABI and programmed so on each CPU.
pub const PAT: u64 = 0x0000_0501_0007_0406;

/// EFER as shown: SCE, LME, LMA, NXE, FFXSR.
const EFER_SHOWN: u64 = 1 | 1 << 8 | 1 << 10 | 1 << 11 | 1 << 14;
/// Performance monitoring and MONITOR are not there.
const MISC_ENABLE_CLEARED: u64 = 1 << 7 | 1 << 18;
/// Branch tracing, PEBS and xTPR are not there.
const MISC_ENABLE_SET: u64 = 1 << 11 | 1 << 12 | 1 << 23;

fn misc_enable(view: &View) -> Option<u64> {
    view.misc_enable
        .map(|value| value & !MISC_ENABLE_CLEARED | MISC_ENABLE_SET)
}

/// RDMSR of the guest kernel.
#[must_use]
pub fn read(msr: u32, view: &View) -> Read {
    let intel = !view.amd;
    match msr {
        0x10 => Read::Register(Register::Tsc),
        0x1b => Read::Value(0xfee0_0800 | u64::from(view.first_vcpu) << 8),
        0x17 | 0x198 | 0x199 | 0x19c if intel => Read::Value(0),
        0x3a if intel => Read::Value(1),
        0x8b => Read::Value(view.microcode),
        0xce | 0x140 | 0x179 | 0x345 => Read::Value(0),
        0x1a0 => misc_enable(view).map_or(Read::Fault, Read::Value),
        0x277 => Read::Value(PAT),
        0x4000_0000 => Read::Value(0),
        0xc000_0080 => Read::Value(view.efer & EFER_SHOWN),
        0xc000_0100 => Read::Register(Register::FsBase),
        0xc000_0101 => Read::Register(Register::GsBaseActive),
        0xc000_0102 => Read::Register(Register::GsBaseUser),
        0xc000_0103 if view.has_tsc_aux => Read::Register(Register::TscAux),
        0xc001_0015 | 0xc001_001f | 0xc001_0041 | 0xc001_0042 | 0xc001_0061..=0xc001_006b
            if view.amd =>
        {
            Read::Value(0)
        }
        0xc001_1029 if view.amd => Read::Value(2),
        _ => Read::Fault,
    }
}

/// WRMSR of the guest kernel.
#[must_use]
pub fn write(msr: u32, value: u64, view: &View) -> Write {
    let intel = !view.amd;
    let base = |register| {
        if is_canonical(value) {
            Write::Register(register, value)
        } else {
            Write::Fault
        }
    };
    match msr {
        0x8b if intel && value == 0 => Write::Ignored,
        0x140 if value == 0 => Write::Ignored,
        0x199 if intel => Write::Ignored,
        0x1a0 if view.misc_enable.is_some() => Write::Ignored,
        0xc000_0080 if value == view.efer & EFER_SHOWN => Write::Ignored,
        0xc000_0100 => base(Register::FsBase),
        0xc000_0101 => base(Register::GsBaseActive),
        0xc000_0102 => base(Register::GsBaseUser),
        0xc000_0103 if view.has_tsc_aux && value >> 32 == 0 => {
            Write::Register(Register::TscAux, value)
        }
        0xc001_0015
        | 0xc001_001f
        | 0xc001_0041
        | 0xc001_0042
        | 0xc001_0061..=0xc001_006b
        | 0xc001_1029
            if view.amd =>
        {
            Write::Ignored
        }
        _ => Write::Fault,
    }
}

/// Whether a faulting RDMSR reads as 0 instead, while the guest has no handler for #GP: kernels probe before they have one.
#[must_use]
pub const fn may_probe(msr: u32) -> bool {
    msr >> 16 != 0x4000
}

#[cfg(test)]
mod tests {
    use super::*;

    const INTEL: View = View {
        amd: false,
        first_vcpu: true,
        has_tsc_aux: true,
        efer: 0xd01 | 1 << 12,
        microcode: 5 << 32,
        misc_enable: Some(1 << 18 | 1),
    };
    const AMD: View = View {
        amd: true,
        misc_enable: None,
        ..INTEL
    };

    #[test]
    fn reads_follow_the_table() {
        for (msr, view, expected) in [
            (0x1b, INTEL, Read::Value(0xfee0_0900)),
            (
                0x1b,
                View {
                    first_vcpu: false,
                    ..INTEL
                },
                Read::Value(0xfee0_0800),
            ),
            (0x277, AMD, Read::Value(PAT)),
            (0xc000_0080, INTEL, Read::Value(0xd01)),
            (0x8b, AMD, Read::Value(5 << 32)),
            (0x1a0, INTEL, Read::Value(1 | MISC_ENABLE_SET)),
            (0x1a0, AMD, Read::Fault),
            (0x3a, AMD, Read::Fault),
            (0xc001_1029, AMD, Read::Value(2)),
            (0xc001_1029, INTEL, Read::Fault),
            (0xc000_0081, INTEL, Read::Fault),
            (0x174, INTEL, Read::Fault),
            (0x4000_0000, INTEL, Read::Value(0)),
            (0x4000_0001, INTEL, Read::Fault),
            (0xffff_ffff, INTEL, Read::Fault),
        ] {
            assert_eq!(read(msr, &view), expected, "{msr:#x}");
        }
    }

    #[test]
    fn segment_bases_must_be_canonical() {
        for msr in [0xc000_0100, 0xc000_0101, 0xc000_0102] {
            assert_eq!(write(msr, 1 << 47, &INTEL), Write::Fault);
            assert!(matches!(
                write(msr, 0xffff_8000_0000_0000, &INTEL),
                Write::Register(..)
            ));
        }
    }

    #[test]
    fn writes_that_would_take_power_fault() {
        for msr in [
            0x1b,
            0x277,
            0xc000_0081,
            0xc000_0082,
            0x176,
            0x4000_0000,
            0xc000_0084,
            0x10,
        ] {
            assert_eq!(write(msr, 0, &INTEL), Write::Fault, "{msr:#x}");
        }
        assert_eq!(write(0xc000_0080, 0xd01, &INTEL), Write::Ignored);
        assert_eq!(write(0xc000_0080, 0xd00, &INTEL), Write::Fault);
    }

    #[test]
    fn tsc_aux_is_32_bits_wide() {
        assert_eq!(
            write(0xc000_0103, 7, &AMD),
            Write::Register(Register::TscAux, 7)
        );
        assert_eq!(write(0xc000_0103, 1 << 32, &AMD), Write::Fault);
        assert_eq!(
            read(
                0xc000_0103,
                &View {
                    has_tsc_aux: false,
                    ..AMD
                }
            ),
            Read::Fault
        );
    }

    #[test]
    fn the_hypervisor_range_has_no_mercy_for_probing() {
        assert!(may_probe(0x1d9));
        assert!(!may_probe(0x4000_0001));
    }
}
