//! Virtual CR0, CR4 and XCR0: what a guest reads and what it may change (pv-abi 6.2).

/// CR0.TS.
pub const CR0_TS: u64 = 1 << 3;
/// CR0 as every guest sees it, TS apart: PG, AM, WP, NE, ET, MP, PE.
pub const CR0_SHOWN: u64 = 0x8005_0033;

/// CR4.TSD.
pub const CR4_TSD: u64 = 1 << 2;
/// CR4.DE.
pub const CR4_DE: u64 = 1 << 3;
/// CR4.FSGSBASE.
pub const CR4_FSGSBASE: u64 = 1 << 16;
/// CR4.OSXSAVE.
pub const CR4_OSXSAVE: u64 = 1 << 18;
/// The bits that are the guest's.
pub const CR4_GUEST: u64 = CR4_TSD | CR4_DE | CR4_FSGSBASE | CR4_OSXSAVE;
/// The bits that every guest sees set: PAE, MCE, OSFXSR, OSXMMEXCPT.
pub const CR4_SHOWN: u64 = 1 << 5 | 1 << 6 | 1 << 9 | 1 << 10;

const X87: u64 = 1;
const SSE: u64 = 1 << 1;
const AVX: u64 = 1 << 2;
const AVX512: u64 = 7 << 5;
/// The components that a guest may ever enable: no MPX, no protection keys, no AMX.
pub const XCR0_OFFERED: u64 = X87 | SSE | AVX | AVX512;

/// What MOV from CR0 gives.
#[must_use]
pub const fn read_cr0(task_switched: bool) -> u64 {
    CR0_SHOWN | if task_switched { CR0_TS } else { 0 }
}

/// MOV to CR0: the new TS, or `None` (#GP) if any other bit would change.
#[must_use]
pub const fn write_cr0(value: u64) -> Option<bool> {
    if value & !CR0_TS == CR0_SHOWN {
        Some(value & CR0_TS != 0)
    } else {
        None
    }
}

/// What MOV from CR4 gives, for the guest's part `own`.
#[must_use]
pub const fn read_cr4(own: u64) -> u64 {
    CR4_SHOWN | own
}

/// MOV to CR4: the guest's new part. Bits that are not offered are dropped in silence.
#[must_use]
pub const fn write_cr4(value: u64, offered: u64) -> u64 {
    value & CR4_GUEST & offered
}

/// Whether XCR0 may become `value` on a CPU that supports `supported`.
#[must_use]
pub const fn is_valid_xcr0(value: u64, supported: u64) -> bool {
    let avx512 = value & AVX512;
    value & X87 != 0
        && value & !(supported & XCR0_OFFERED) == 0
        && (value & AVX == 0 || value & SSE != 0)
        && (avx512 == 0 || (avx512 == AVX512 && value & AVX != 0))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_ts_of_cr0_can_change() {
        assert_eq!(write_cr0(read_cr0(true)), Some(true));
        assert_eq!(write_cr0(read_cr0(false)), Some(false));
        assert_eq!(write_cr0(CR0_SHOWN & !(1 << 16)), None);
        assert_eq!(write_cr0(CR0_SHOWN | 1 << 40), None);
    }

    #[test]
    fn cr4_takes_only_what_is_offered() {
        assert_eq!(
            write_cr4(u64::MAX, CR4_DE | CR4_FSGSBASE),
            CR4_DE | CR4_FSGSBASE
        );
        assert_eq!(read_cr4(CR4_DE), 0x668);
    }

    #[test]
    fn xcr0_dependencies_hold() {
        let all = XCR0_OFFERED;
        for (value, valid) in [
            (1, true),
            (3, true),
            (0, false),
            (2, false),
            (5, false),
            (7, true),
            (0xe7, true),
        ] {
            assert_eq!(is_valid_xcr0(value, all), valid, "{value:#x}");
        }
        assert!(!is_valid_xcr0(0x67, all));
        assert!(!is_valid_xcr0(0xe3, all));
        assert!(!is_valid_xcr0(7, 3));
        assert!(!is_valid_xcr0(1 << 9 | 3, u64::MAX));
    }
}
