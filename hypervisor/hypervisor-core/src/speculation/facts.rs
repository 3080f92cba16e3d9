//! What a CPU says of itself, as far as speculation goes.

use bitflags::bitflags;

/// Who made the CPU.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Vendor {
    /// GenuineIntel.
    Intel,
    /// AuthenticAMD, and HygonGenuine, whose CPUs are AMD's first generation.
    Amd,
    /// Anybody else.
    Other,
}

bitflags! {
    /// Bits of CPUID leaf 7, EDX.
    #[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
    pub struct Leaf7: u32 {
        /// Microcode serves SRBDS.
        const SRBDS_CTRL = 1 << 9;
        /// VERW clears buffers.
        const MD_CLEAR = 1 << 10;
        /// SPEC_CTRL.IBRS and PRED_CMD.IBPB.
        const IBRS_IBPB = 1 << 26;
        /// SPEC_CTRL.STIBP.
        const STIBP = 1 << 27;
        /// FLUSH_CMD.
        const L1D_FLUSH = 1 << 28;
        /// SPEC_CTRL.SSBD.
        const SSBD = 1 << 31;
    }

    /// Bits of the register ARCH_CAPABILITIES.
    #[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
    pub struct ArchCapabilities: u64 {
        /// No Meltdown.
        const RDCL_NO = 1;
        /// IBRS may stay set.
        const IBRS_ALL = 1 << 1;
        /// Not vulnerable to store bypass.
        const SSB_NO = 1 << 4;
        /// No MDS.
        const MDS_NO = 1 << 5;
        /// No TAA.
        const TAA_NO = 1 << 8;
        /// The three kinds of stale MMIO data: none of them.
        const MMIO_NO = 7 << 13;
        /// VERW clears the fill buffers.
        const FB_CLEAR = 1 << 17;
        /// No branch history injection.
        const BHI_NO = 1 << 20;
        /// Microcode serves GDS.
        const GDS_CTRL = 1 << 25;
        /// No GDS.
        const GDS_NO = 1 << 26;
        /// No RFDS.
        const RFDS_NO = 1 << 27;
        /// VERW clears the register files' remains.
        const RFDS_CLEAR = 1 << 28;
        /// No ITS.
        const ITS_NO = 1 << 62;
    }

    /// Bits of CPUID leaf 0x80000008, EBX (AMD).
    #[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
    pub struct Leaf8: u32 {
        /// PRED_CMD.IBPB.
        const IBPB = 1 << 12;
        /// SPEC_CTRL.IBRS.
        const IBRS = 1 << 14;
        /// SPEC_CTRL.STIBP.
        const STIBP = 1 << 15;
        /// IBRS may stay set.
        const IBRS_ALWAYS = 1 << 16;
        /// SPEC_CTRL.SSBD.
        const SSBD = 1 << 24;
        /// Not vulnerable to store bypass.
        const SSB_NO = 1 << 26;
        /// No branch type confusion.
        const BTC_NO = 1 << 29;
    }

    /// Bits of CPUID leaf 0x80000021 (AMD): EAX below, ECX above.
    #[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
    pub struct Leaf21: u64 {
        /// VERW clears what TSA leaks.
        const VERW_CLEAR = 1 << 5;
        /// EFER.AIBRSE.
        const AUTOMATIC_IBRS = 1 << 8;
        /// No SRSO.
        const SRSO_NO = 1 << 29;
        /// No SRSO across rings.
        const SRSO_USER_KERNEL_NO = 1 << 30;
        /// No TSA by the store queue or the first cache.
        const TSA_NO = 3 << 33;
    }
}

const ARCH_CAPABILITIES: u32 = 0x10a;
/// Leaf 7, EDX: the register above exists.
const HAS_ARCH_CAPABILITIES: u32 = 1 << 29;
/// Leaf 7, EBX.
const RTM: u32 = 1 << 11;
/// Leaf 7, EBX.
const SMEP: u32 = 1 << 7;
/// Leaf 7.2, EDX.
const BHI_CTRL: u32 = 1 << 4;
/// Leaf 1, EDX: the package has several logical processors.
const HTT: u32 = 1 << 28;

/// All that the plan depends on.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Facts {
    /// Who made it.
    pub vendor: Vendor,
    /// Family, with the extended part.
    pub family: u32,
    /// Model, with the extended part.
    pub model: u32,
    /// Whether a core has several threads.
    pub smt: bool,
    /// Transactional memory.
    pub rtm: bool,
    /// Supervisor mode execution prevention.
    pub smep: bool,
    /// SPEC_CTRL.BHI_DIS_S.
    pub bhi_control: bool,
    /// CPUID leaf 7.
    pub leaf7: Leaf7,
    /// The register; empty where there is none.
    pub capabilities: ArchCapabilities,
    /// CPUID leaf 0x80000008.
    pub leaf8: Leaf8,
    /// CPUID leaf 0x80000021.
    pub leaf21: Leaf21,
}

impl Facts {
    /// Asks the CPU by CPUID (leaf and subleaf to EAX, EBX, ECX, EDX) and RDMSR.
    pub fn read(
        cpuid: impl Fn(u32, u32) -> [u32; 4],
        read_msr: impl Fn(u32) -> Option<u64>,
    ) -> Self {
        let [last, b, c, d] = cpuid(0, 0);
        let leaf = |number: u32, subleaf| {
            let first = number & 0x8000_0000;
            let last = if first == 0 { last } else { cpuid(first, 0)[0] };
            if number <= last {
                cpuid(number, subleaf)
            } else {
                [0; 4]
            }
        };
        // Nothing is allocated: boot asks before there is a heap.
        let vendor = match [b, d, c].map(u32::to_le_bytes).as_flattened() {
            b"GenuineIntel" => Vendor::Intel,
            b"AuthenticAMD" | b"HygonGenuine" => Vendor::Amd,
            _ => Vendor::Other,
        };
        let [signature, _, _, features] = leaf(1, 0);
        let field = |shift: u32, mask: u32| (signature >> shift) & mask;
        let family = match field(8, 0xf) {
            0xf => field(20, 0xff).saturating_add(0xf),
            family => family,
        };
        let model = match field(8, 0xf) {
            6 | 0xf => field(16, 0xf) << 4 | field(4, 0xf),
            _ => field(4, 0xf),
        };
        let [subleaves, leaf7_b, _, leaf7_d] = leaf(7, 0);
        let leaf7_2 = if subleaves >= 2 { leaf(7, 2) } else { [0; 4] };
        let capabilities = if leaf7_d & HAS_ARCH_CAPABILITIES != 0 {
            read_msr(ARCH_CAPABILITIES).unwrap_or(0)
        } else {
            0
        };
        let [leaf21_a, _, leaf21_c, _] = leaf(0x8000_0021, 0);
        let threads = match vendor {
            Vendor::Amd => (leaf(0x8000_001e, 0)[1] >> 8 & 0xff).saturating_add(1),
            Vendor::Intel | Vendor::Other => leaf(0xb, 0)[1] & 0xffff,
        };
        Self {
            vendor,
            family,
            model,
            smt: features & HTT != 0 && threads > 1,
            rtm: leaf7_b & RTM != 0,
            smep: leaf7_b & SMEP != 0,
            bhi_control: leaf7_2[3] & BHI_CTRL != 0,
            leaf7: Leaf7::from_bits_truncate(leaf7_d),
            capabilities: ArchCapabilities::from_bits_truncate(capabilities),
            leaf8: Leaf8::from_bits_truncate(leaf(0x8000_0008, 0)[1]),
            leaf21: Leaf21::from_bits_truncate(u64::from(leaf21_c) << 32 | u64::from(leaf21_a)),
        }
    }
}
