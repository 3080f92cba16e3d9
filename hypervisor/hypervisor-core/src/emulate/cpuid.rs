//! CPUID as a domain sees it: the host's leaves with all hidden that a PV guest could not use (pv-abi 6.5).
//!
//! Each mask below is written as "host and not hidden". What is hidden would be fatal if it were shown: page sizes that
//! validation refuses, opcodes that are privileged, registers that fault.

use super::control::XCR0_OFFERED;
use crate::vcpu::Mode;

/// EAX, EBX, ECX, EDX.
pub type Leaf = [u32; 4];

/// Who asks, and the few answers that depend on it.
#[derive(Clone, Copy, Debug)]
pub struct View {
    /// The mode that executes the instruction.
    pub mode: Mode,
    /// Asked by the forced-emulation prefix, as kernels do.
    pub forced: bool,
    /// Virtual CR4.OSXSAVE.
    pub os_xsave: bool,
    /// Virtual XCR0.
    pub xcr0: u64,
    /// The first domain.
    pub privileged: bool,
    /// Bits of the highest machine address.
    pub address_width: u8,
    /// Of the time stamp counter.
    pub tsc_khz: u32,
    /// pvclock's multiplier.
    pub tsc_multiplier: u32,
    /// pvclock's shift.
    pub tsc_shift: i8,
    /// Whether all CPUs read one counter.
    pub tsc_stable: bool,
}

const ZERO: Leaf = [0; 4];
const BASE: u32 = 0x4000_0000;
/// Family 15.3 "xen-3.0": what `xen_version` reports.
pub const INTERFACE_VERSION: u32 = 0x0004_0011;

const fn bits(list: &[u32]) -> u32 {
    let mut mask = 0;
    let mut rest = list;
    while let [bit, tail @ ..] = rest {
        mask |= 1 << *bit;
        rest = tail;
    }
    mask
}

const LEAF1_EDX_HIDDEN: u32 = bits(&[1, 3, 7, 12, 13, 14, 17, 18, 21, 22, 29, 31]);
const LEAF1_ECX_HIDDEN: u32 = bits(&[2, 3, 4, 5, 6, 7, 8, 11, 14, 15, 17, 18, 21, 24, 27]);
const LEAF1_EDX_SEP: u32 = 1 << 11;
const LEAF1_ECX_XSAVE: u32 = 1 << 26;
const LEAF1_ECX_OSXSAVE: u32 = 1 << 27;
const LEAF1_ECX_HYPERVISOR: u32 = 1 << 31;
const LEAF7_EBX_HIDDEN: u32 = bits(&[1, 2, 4, 7, 10, 11, 12, 14, 15, 20, 25]);
const LEAF7_ECX_HIDDEN: u32 = bits(&[2, 3, 4, 5, 7, 16, 24, 29, 31]);
const LEAF7_EDX_HIDDEN: u32 = bits(&[5, 15, 18, 19, 20, 22, 24, 25, 26, 27, 28, 29, 30, 31]);
const LEAF7_1_EAX_SHOWN: u32 = bits(&[4, 5, 10, 11, 12, 23]);
const LEAF7_1_EDX_SHOWN: u32 = bits(&[4, 5]);
const EXTENDED_EDX_OWN: u32 = bits(&[11, 20, 22, 25, 27, 29, 30, 31]);
const EXTENDED_EDX_INTEL: u32 = bits(&[11, 20, 27, 29]);
const EXTENDED_EDX_RDTSCP: u32 = 1 << 27;
const EXTENDED_EDX_MUST: u32 = bits(&[11, 29]);
/// Bits of 0x80000001 EDX that AMD repeats from leaf 1.
const EXTENDED_EDX_SHARED: u32 = 0x0183_f3ff;
/// Bit 26 among them: address masks of breakpoints are registers that are not switched.
const EXTENDED_ECX_HIDDEN: u32 = bits(&[2, 3, 4, 9, 10, 12, 13, 15, 19, 22, 23, 24, 26, 28, 29]);
const CAPACITY_EBX_SHOWN: u32 = bits(&[0, 2, 9]);
const HIGHEST: u32 = 0xd;
const HIGHEST_EXTENDED: u32 = 0x8000_0008;
/// Leaf 0xd: legacy region and header, before any other component.
const XSAVE_HEADER_END: u32 = 576;

/// Whether the CPU is of AMD's line, by the vendor string of leaf 0.
pub fn is_amd(host: &impl Fn(u32, u32) -> Leaf) -> bool {
    let [_, ebx, _, _] = host(0, 0);
    matches!(
        ebx.to_le_bytes(),
        [b'A', b'u', b't', b'h'] | [b'H', b'y', b'g', b'o']
    )
}

/// XCR0 bits that a guest may set on this CPU; 0 without XSAVE.
pub fn xcr0_supported(host: &impl Fn(u32, u32) -> Leaf) -> u64 {
    if host(1, 0)[2] & LEAF1_ECX_XSAVE == 0 || host(0, 0)[0] < HIGHEST {
        return 0;
    }
    let [low, _, _, high] = host(0xd, 0);
    (u64::from(low) | u64::from(high) << 32) & XCR0_OFFERED
}

/// CR4 bits that a guest may set on this CPU.
pub fn cr4_offered(host: &impl Fn(u32, u32) -> Leaf) -> u64 {
    use super::control::{CR4_DE, CR4_FSGSBASE, CR4_OSXSAVE, CR4_TSD};
    let [_, _, _, edx] = host(1, 0);
    let mut offered = 0;
    if edx & 1 << 2 != 0 {
        offered |= CR4_DE;
    }
    if edx & 1 << 4 != 0 {
        offered |= CR4_TSD;
    }
    if host(0, 0)[0] >= 7 && host(7, 0)[1] & 1 != 0 {
        offered |= CR4_FSGSBASE;
    }
    if xcr0_supported(host) != 0 {
        offered |= CR4_OSXSAVE;
    }
    offered
}

/// One leaf. What does not exist is all zero.
pub fn leaf(host: &impl Fn(u32, u32) -> Leaf, leaf: u32, subleaf: u32, view: &View) -> Leaf {
    match leaf {
        0..=HIGHEST => basic(host, leaf, subleaf, view),
        BASE..=0x4000_0005 => hypervisor(host, leaf, subleaf, view),
        0x8000_0000..=HIGHEST_EXTENDED => extended(host, leaf, view),
        _ => ZERO,
    }
}

fn basic(host: &impl Fn(u32, u32) -> Leaf, leaf: u32, subleaf: u32, view: &View) -> Leaf {
    let [highest, vendor_b, vendor_c, vendor_d] = host(0, 0);
    if leaf > highest {
        return ZERO;
    }
    let amd = is_amd(host);
    match leaf {
        0 => [highest.min(HIGHEST), vendor_b, vendor_c, vendor_d],
        1 => features(host, amd, view),
        2 if !amd => host(2, 0),
        4 if !amd => {
            let [a, b, c, d] = host(4, subleaf);
            [a & !(0xf << 10), b, c, d & 7]
        }
        7 => structured(host, subleaf),
        0xd => xsave(host, subleaf, view),
        _ => ZERO,
    }
}

fn features(host: &impl Fn(u32, u32) -> Leaf, amd: bool, view: &View) -> Leaf {
    let [eax, ebx, host_ecx, host_edx] = host(1, 0);
    let mut edx = host_edx & !LEAF1_EDX_HIDDEN;
    if amd {
        edx &= !LEAF1_EDX_SEP;
    }
    let mut ecx = host_ecx & !LEAF1_ECX_HIDDEN | LEAF1_ECX_HYPERVISOR;
    if xcr0_supported(host) == 0 {
        ecx &= !LEAF1_ECX_XSAVE;
    } else if view.os_xsave || (view.forced && view.mode == Mode::Kernel) {
        // Linux drops XSAVE unless it sees OSXSAVE before it ever sets CR4.
        ecx |= LEAF1_ECX_OSXSAVE;
    }
    [eax & !(3 << 12), ebx & 0x00ff_ffff, ecx, edx]
}

fn structured(host: &impl Fn(u32, u32) -> Leaf, subleaf: u32) -> Leaf {
    let [last, ..] = host(7, 0);
    match subleaf {
        0 => {
            let [eax, ebx, ecx, edx] = host(7, 0);
            [
                eax.min(1),
                ebx & !LEAF7_EBX_HIDDEN,
                ecx & !LEAF7_ECX_HIDDEN,
                edx & !LEAF7_EDX_HIDDEN,
            ]
        }
        1 if last >= 1 => {
            let [eax, _, _, edx] = host(7, 1);
            [eax & LEAF7_1_EAX_SHOWN, 0, 0, edx & LEAF7_1_EDX_SHOWN]
        }
        _ => ZERO,
    }
}

fn xsave(host: &impl Fn(u32, u32) -> Leaf, subleaf: u32, view: &View) -> Leaf {
    let supported = xcr0_supported(host);
    if supported == 0 {
        return ZERO;
    }
    match subleaf {
        0 => {
            let [b0, b1, b2, b3, ..] = supported.to_le_bytes();
            let mask = u32::from_le_bytes([b0, b1, b2, b3]);
            [
                mask,
                area_size(host, view.xcr0),
                area_size(host, supported),
                0,
            ]
        }
        1 => {
            let [eax, ..] = host(0xd, 1);
            [eax & 7, area_size(host, view.xcr0), 0, 0]
        }
        2..=62 if supported & 1 << subleaf != 0 => {
            let [eax, ebx, ecx, _] = host(0xd, subleaf);
            [eax, ebx, ecx & 2, 0]
        }
        _ => ZERO,
    }
}

/// Bytes of the standard-format area for the components in `mask`.
fn area_size(host: &impl Fn(u32, u32) -> Leaf, mask: u64) -> u32 {
    (2..63_u32)
        .filter(|component| mask & 1 << component != 0)
        .map(|component| {
            let [size, offset, ..] = host(0xd, component);
            offset.saturating_add(size)
        })
        .fold(XSAVE_HEADER_END, u32::max)
}

fn hypervisor(host: &impl Fn(u32, u32) -> Leaf, leaf: u32, subleaf: u32, view: &View) -> Leaf {
    match (leaf.wrapping_sub(BASE), subleaf) {
        (0, _) => [0x4000_0005, 0x566e_6558, 0x6558_4d4d, 0x4d4d_566e],
        (1, _) => [INTERFACE_VERSION, 0, 0, 0],
        (2, _) => [1, BASE, 1, 0],
        (3, 0) => {
            let [_, _, _, edx] = host(0x8000_0001, 0);
            let rdtscp = u32::from(edx & EXTENDED_EDX_RDTSCP != 0);
            let how = u32::from(view.tsc_stable) << 1 | rdtscp << 2;
            [how, 0, view.tsc_khz, 0]
        }
        (3, 1) => [
            0,
            0,
            view.tsc_multiplier,
            u32::from_le_bytes(i32::from(view.tsc_shift).to_le_bytes()),
        ],
        (3, 2) => [view.tsc_khz, 0, 0, 0],
        (5, 0) => [0, u32::from(view.address_width), 0, 0],
        _ => ZERO,
    }
}

fn extended(host: &impl Fn(u32, u32) -> Leaf, leaf: u32, view: &View) -> Leaf {
    let [highest, vendor_b, vendor_c, vendor_d] = host(0x8000_0000, 0);
    if highest < 0x8000_0000 || leaf > highest {
        return ZERO;
    }
    let amd = is_amd(host);
    match leaf {
        0x8000_0000 if amd => [highest.min(HIGHEST_EXTENDED), vendor_b, vendor_c, vendor_d],
        0x8000_0000 => [highest.min(HIGHEST_EXTENDED), 0, 0, 0],
        0x8000_0001 => {
            let [eax, ebx, ecx, edx] = host(leaf, 0);
            let own = if amd {
                let [_, _, _, shared] = features(host, amd, view);
                edx & EXTENDED_EDX_OWN | shared & EXTENDED_EDX_SHARED
            } else {
                edx & EXTENDED_EDX_INTEL
            };
            [
                eax,
                ebx,
                ecx & !EXTENDED_ECX_HIDDEN,
                own | EXTENDED_EDX_MUST,
            ]
        }
        0x8000_0002..=0x8000_0004 => host(leaf, 0),
        0x8000_0005 if amd => host(leaf, 0),
        0x8000_0006 if amd => host(leaf, 0),
        0x8000_0006 => {
            let [_, _, ecx, _] = host(leaf, 0);
            [0, 0, ecx, 0]
        }
        0x8000_0007 => {
            let [_, _, _, edx] = host(leaf, 0);
            [0, 0, 0, if view.privileged { edx & 1 << 8 } else { 0 }]
        }
        0x8000_0008 => {
            let [eax, ebx, _, _] = host(leaf, 0);
            [
                eax & 0xff | 48 << 8,
                if amd { ebx & CAPACITY_EBX_SHOWN } else { 0 },
                0,
                0,
            ]
        }
        _ => ZERO,
    }
}

#[cfg(test)]
mod tests {
    use alloc::vec::Vec;

    use super::*;

    const VIEW: View = View {
        mode: Mode::Kernel,
        forced: true,
        os_xsave: false,
        xcr0: 3,
        privileged: false,
        address_width: 32,
        tsc_khz: 1_000_000,
        tsc_multiplier: 1 << 31,
        tsc_shift: 1,
        tsc_stable: true,
    };

    /// A host that shows every bit of every leaf.
    fn generous(vendor: &'static [u8; 12]) -> impl Fn(u32, u32) -> Leaf {
        move |leaf, subleaf| {
            let word = |at: usize| u32::from_le_bytes(vendor[at..at + 4].try_into().unwrap());
            match (leaf, subleaf) {
                (0, _) => [0x20, word(0), word(8), word(4)],
                (0x8000_0000, _) => [0x8000_0021, word(0), word(8), word(4)],
                (0xd, 2) => [256, 576, 0, 0],
                (0xd, 5) => [64, 1088, 0, 0],
                (0xd, 6) => [512, 1152, 0, 0],
                (0xd, 7) => [1024, 1664, 0, 0],
                _ => [u32::MAX; 4],
            }
        }
    }

    const INTEL: &[u8; 12] = b"GenuineIntel";
    const AMD: &[u8; 12] = b"AuthenticAMD";

    #[test]
    fn hidden_features_stay_hidden_on_a_host_that_has_them_all() {
        let host = generous(INTEL);
        let [_, ebx, ecx, edx] = leaf(&host, 1, 0, &VIEW);
        assert_eq!(ebx >> 24, 0, "APIC id");
        assert_eq!(edx & bits(&[1, 3, 7, 12, 13, 14, 17]), 0);
        assert_ne!(edx & bits(&[0, 4, 5, 6, 8, 15, 16, 23, 24, 25, 26]), 0);
        assert_eq!(ecx & bits(&[3, 5, 17, 21, 24]), 0);
        assert_ne!(ecx & LEAF1_ECX_HYPERVISOR, 0);
        let [_, ebx, ecx, edx] = leaf(&host, 7, 0, &VIEW);
        assert_eq!(
            (
                ebx & bits(&[7, 10, 14, 20]),
                ecx & bits(&[2, 3, 4, 16]),
                edx & bits(&[20, 26])
            ),
            (0, 0, 0)
        );
        let [_, _, ecx, edx] = leaf(&host, 0x8000_0001, 0, &VIEW);
        assert_eq!((ecx & 1 << 2, edx & 1 << 26), (0, 0));
        assert_eq!(edx & EXTENDED_EDX_MUST, EXTENDED_EDX_MUST);
    }

    #[test]
    fn os_xsave_shows_to_a_forced_kernel_and_where_cr4_has_it() {
        let host = generous(INTEL);
        let shows = |view| leaf(&host, 1, 0, &view)[2] & LEAF1_ECX_OSXSAVE != 0;
        assert!(shows(VIEW));
        assert!(!shows(View {
            mode: Mode::User,
            ..VIEW
        }));
        assert!(!shows(View {
            forced: false,
            ..VIEW
        }));
        assert!(shows(View {
            mode: Mode::User,
            os_xsave: true,
            ..VIEW
        }));
    }

    #[test]
    fn the_xsave_area_is_as_large_as_the_components_need() {
        let host = generous(INTEL);
        assert_eq!(leaf(&host, 0xd, 0, &VIEW), [0xe7, 576, 2688, 0]);
        assert_eq!(leaf(&host, 0xd, 0, &View { xcr0: 7, ..VIEW })[1], 832);
        assert_eq!(leaf(&host, 0xd, 9, &VIEW), ZERO);
        assert!(
            usize::try_from(leaf(&host, 0xd, 0, &VIEW)[2]).unwrap() <= crate::vcpu::fpu::FPU_AREA
        );
    }

    #[test]
    fn a_host_without_xsave_shows_none() {
        let host = |leaf, _| match leaf {
            0 => [0xd, 0, 0, 0],
            1 => [0, 0, 0, 0],
            _ => [u32::MAX; 4],
        };
        assert_eq!(xcr0_supported(&host), 0);
        assert_eq!(leaf(&host, 0xd, 0, &VIEW), ZERO);
        assert_eq!(
            leaf(&host, 1, 0, &VIEW)[2] & (LEAF1_ECX_XSAVE | LEAF1_ECX_OSXSAVE),
            0
        );
    }

    #[test]
    fn the_hypervisor_leaves_carry_the_signature() {
        let host = generous(AMD);
        let [max, b, c, d] = leaf(&host, 0x4000_0000, 0, &VIEW);
        let text: Vec<u8> = [b, c, d]
            .iter()
            .flat_map(|word| word.to_le_bytes())
            .collect();
        assert_eq!((max, text.as_slice()), (0x4000_0005, &b"XenVMMXenVMM"[..]));
        assert_eq!(leaf(&host, 0x4000_0001, 0, &VIEW)[0], 0x40011);
        assert_eq!(leaf(&host, 0x4000_0002, 0, &VIEW), [1, 0x4000_0000, 1, 0]);
        assert_eq!(leaf(&host, 0x4000_0005, 0, &VIEW), [0, 32, 0, 0]);
        assert_eq!(leaf(&host, 0x4000_0006, 0, &VIEW), ZERO);
    }

    #[test]
    fn leaves_out_of_range_are_zero() {
        let host = generous(AMD);
        for number in [
            3,
            5,
            6,
            0xa,
            0xb,
            0xe,
            0x14,
            0x8000_0009,
            0x8000_001e,
            0xffff_ffff,
        ] {
            assert_eq!(leaf(&host, number, 0, &VIEW), ZERO, "{number:#x}");
        }
        assert_eq!(leaf(&host, 2, 0, &VIEW), ZERO);
        assert_ne!(leaf(&generous(INTEL), 2, 0, &VIEW), ZERO);
    }

    #[test]
    fn amd_repeats_the_shared_bits_and_hides_sysenter() {
        let host = generous(AMD);
        let basic = leaf(&host, 1, 0, &VIEW)[3];
        assert_eq!(basic & LEAF1_EDX_SEP, 0);
        assert_eq!(
            leaf(&host, 0x8000_0001, 0, &VIEW)[3] & EXTENDED_EDX_SHARED,
            basic & EXTENDED_EDX_SHARED
        );
    }

    #[test]
    fn what_cr4_offers_is_what_cpuid_shows() {
        use super::super::control::CR4_GUEST;
        assert_eq!(cr4_offered(&generous(INTEL)), CR4_GUEST);
        assert_eq!(cr4_offered(&|_, _| ZERO), 0);
    }
}
