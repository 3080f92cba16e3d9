//! What is done on CPUs that exist. A fixture has the leaves that count, as the CPU reports them with the microcode named.

use std::format;
use std::string::String;
use std::vec::Vec;

use super::facts::{ArchCapabilities, Leaf8, Leaf21};
use super::*;

/// One CPU's answers.
#[derive(Clone, Copy, Default)]
struct Cpu {
    vendor: &'static [u8],
    signature: u32,
    threads: u32,
    leaf7_ebx: u32,
    leaf7_edx: u32,
    leaf7_2_edx: u32,
    capabilities: Option<u64>,
    leaf8_ebx: u32,
    leaf21: u64,
}

const INTEL: &[u8] = b"GenuineIntel";
const AMD: &[u8] = b"AuthenticAMD";
const SMEP: u32 = 1 << 7;
const RTM: u32 = 1 << 11;

const fn intel(signature: u32) -> Cpu {
    Cpu {
        vendor: INTEL,
        signature,
        threads: 2,
        leaf7_ebx: SMEP,
        leaf7_edx: 0,
        leaf7_2_edx: 0,
        capabilities: None,
        leaf8_ebx: 0,
        leaf21: 0,
    }
}

const fn amd(signature: u32, leaf8_ebx: u32, leaf21: u64) -> Cpu {
    Cpu {
        vendor: AMD,
        leaf8_ebx,
        leaf21,
        ..intel(signature)
    }
}

/// Core i7-4770 as it was sold.
const HASWELL_2013: Cpu = intel(0x306c3);
/// Core i7-6700, microcode of 2019: no ARCH_CAPABILITIES.
const SKYLAKE_CLIENT: Cpu = Cpu {
    leaf7_ebx: 0x029c_67af,
    leaf7_edx: 0xbc00_2e00 & !(1 << 29),
    ..intel(0x506e3)
};
/// Xeon Gold 6140, microcode of 2019.
const SKYLAKE_SERVER: Cpu = Cpu {
    leaf7_ebx: 0xd39f_fffb,
    leaf7_edx: 0x9c00_2400,
    ..intel(0x50654)
};
/// Xeon Gold 6248.
const CASCADE_LAKE: Cpu = Cpu {
    leaf7_ebx: 0xd39f_fffb,
    leaf7_edx: 0xbc00_0400,
    capabilities: Some(0xab),
    ..intel(0x50657)
};
/// Xeon Gold 6338, microcode that serves stale MMIO data and GDS.
const ICE_LAKE_SERVER: Cpu = Cpu {
    leaf7_ebx: 0xf3bf_ffef & !RTM,
    leaf7_edx: 0xbc04_0412,
    capabilities: Some(0x16b | 1 << 17 | 1 << 25),
    ..intel(0x606a6)
};
/// Xeon Platinum 8480.
const SAPPHIRE_RAPIDS: Cpu = Cpu {
    leaf7_edx: 0xbc00_0400,
    leaf7_2_edx: 0x17,
    capabilities: Some(0x16b | 7 << 13 | 1 << 26 | 1 << 27 | 1 << 62),
    ..intel(0x806f8)
};
/// Core i7-12700, microcode that serves RFDS.
const ALDER_LAKE: Cpu = Cpu {
    leaf7_edx: 0xbc00_0400,
    leaf7_2_edx: 0x17,
    capabilities: Some(0x16b | 7 << 13 | 1 << 26 | 1 << 28 | 1 << 62),
    ..intel(0x90672)
};
/// Celeron J3455: Goldmont.
const APOLLO_LAKE: Cpu = Cpu {
    threads: 1,
    leaf7_edx: 0x2c00_0000,
    capabilities: Some(0),
    ..intel(0x506c9)
};
/// EPYC 7551: IBPB and no IBRS.
const ZEN1: Cpu = amd(0x80_0f12, 0x1007, 0);
/// EPYC 7742.
const ZEN2: Cpu = amd(
    0x83_0f10,
    Leaf8::IBPB
        .union(Leaf8::IBRS)
        .union(Leaf8::STIBP)
        .union(Leaf8::SSBD)
        .bits(),
    0,
);
/// EPYC 7763.
const ZEN3: Cpu = amd(0xa0_0f11, 0x111e_f657, 0);
/// EPYC 9554, microcode that serves TSA.
const ZEN4: Cpu = amd(
    0xa1_0f11,
    0x791e_f257,
    Leaf21::AUTOMATIC_IBRS.union(Leaf21::VERW_CLEAR).bits(),
);
/// EPYC 9755.
const ZEN5: Cpu = amd(
    0xb0_0f21,
    0x791e_f257,
    Leaf21::AUTOMATIC_IBRS
        .union(Leaf21::SRSO_USER_KERNEL_NO)
        .union(Leaf21::TSA_NO)
        .bits(),
);
/// QEMU's model of that name under its emulator.
const QEMU64: Cpu = Cpu {
    threads: 1,
    leaf7_ebx: 0,
    ..amd(0x6_0fb1, 0, 0)
};

fn facts(cpu: &Cpu) -> Facts {
    let words = |bytes: &[u8]| -> Vec<u32> {
        bytes
            .chunks(4)
            .map(|word| u32::from_le_bytes(word.try_into().unwrap()))
            .collect()
    };
    let name = words(cpu.vendor);
    let capabilities = cpu.capabilities.map_or(0, |_| 1 << 29);
    let cpuid = |leaf, subleaf| match (leaf, subleaf) {
        (0, _) => [0x1f, name[0], name[2], name[1]],
        (1, _) => [cpu.signature, 0, 0, 1 << 28],
        (7, 0) => [2, cpu.leaf7_ebx, 0, cpu.leaf7_edx | capabilities],
        (7, 2) => [0, 0, 0, cpu.leaf7_2_edx],
        (0xb, 0) => [1, cpu.threads, 0x100, 0],
        (0x8000_0000, _) => [0x8000_0021, 0, 0, 0],
        (0x8000_0008, _) => [0x3030, cpu.leaf8_ebx, 0, 0],
        (0x8000_001e, _) => [0, (cpu.threads - 1) << 8, 0, 0],
        (0x8000_0021, _) => {
            let halves = [cpu.leaf21, cpu.leaf21 >> 32];
            let [low, high] = halves.map(|half| u32::try_from(half & 0xffff_ffff).unwrap());
            [low, 0, high, 0]
        }
        _ => [0; 4],
    };
    Facts::read(cpuid, |msr| (msr == 0x10a).then_some(cpu.capabilities?))
}

fn plan(cpu: &Cpu) -> Plan {
    Plan::of(&facts(cpu), Mode::Default)
}

fn measures(cpu: &Cpu) -> String {
    plan(cpu).measures().collect::<Vec<_>>().join(", ")
}

fn open(cpu: &Cpu) -> String {
    format!("{}", plan(cpu).open)
}

#[test]
fn signatures_are_read_with_their_extended_parts() {
    let of = |cpu| {
        let facts = facts(cpu);
        (facts.vendor, facts.family, facts.model, facts.smt)
    };
    assert_eq!(of(&SKYLAKE_CLIENT), (Vendor::Intel, 6, 0x5e, true));
    assert_eq!(of(&ZEN1), (Vendor::Amd, 0x17, 0x01, true));
    assert_eq!(of(&ZEN4), (Vendor::Amd, 0x19, 0x11, true));
    assert_eq!(of(&ZEN5), (Vendor::Amd, 0x1a, 0x02, true));
    assert_eq!(of(&QEMU64), (Vendor::Amd, 0xf, 0x6b, false));
}

#[test]
fn a_cpu_without_microcode_has_everything_open_and_is_left_alone() {
    assert_eq!(measures(&HASWELL_2013), "");
    assert_eq!(
        open(&HASWELL_2013),
        "Spectre v1, Spectre v2, Meltdown, L1TF, store bypass, MDS, stale MMIO data, SRBDS, sibling threads"
    );
    assert_eq!(measures(&QEMU64), "return stack filled between domains");
    assert_eq!(open(&QEMU64), "Spectre v1, Spectre v2, store bypass");
}

#[test]
fn old_intel_cpus_write_ibrs_at_each_entry_and_clear_buffers_at_each_exit() {
    assert_eq!(
        measures(&SKYLAKE_CLIENT),
        "IBRS at each entry, STIBP, VERW at each exit, IBPB between domains, return stack filled between domains, \
         L1D flush between domains"
    );
    assert_eq!(
        open(&SKYLAKE_CLIENT),
        "Spectre v1, Meltdown, L1TF, store bypass, GDS, sibling threads"
    );
    assert_eq!(measures(&SKYLAKE_SERVER), measures(&SKYLAKE_CLIENT));
    assert_eq!(plan(&SKYLAKE_SERVER).spec_ctrl, 0b11);
}

#[test]
fn later_intel_cpus_keep_ibrs_set() {
    assert_eq!(
        measures(&CASCADE_LAKE),
        "IBRS, STIBP, VERW at each exit, IBPB between domains, return stack filled between domains"
    );
    assert_eq!(
        open(&CASCADE_LAKE),
        "Spectre v1, store bypass, GDS, branch history injection, ITS, sibling threads"
    );
    assert_eq!(
        open(&ICE_LAKE_SERVER),
        "Spectre v1, store bypass, branch history injection, ITS, sibling threads"
    );
    assert!(plan(&ICE_LAKE_SERVER).verw_at_exit);
    let newest = plan(&SAPPHIRE_RAPIDS);
    assert!(!newest.verw_at_exit && !newest.write_at_entry && !newest.flush_l1d);
    assert_eq!(newest.spec_ctrl, 0b100_0000_0011);
    assert_eq!(open(&SAPPHIRE_RAPIDS), "Spectre v1, store bypass");
    assert!(plan(&ALDER_LAKE).verw_at_exit);
    assert_eq!(open(&ALDER_LAKE), "Spectre v1, store bypass");
}

#[test]
fn small_intel_cores_have_what_they_have() {
    assert_eq!(
        open(&APOLLO_LAKE),
        "Spectre v1, Meltdown, store bypass, RFDS"
    );
}

#[test]
fn each_generation_of_zen_has_its_own_measures() {
    assert_eq!(
        measures(&ZEN1),
        "IBPB between domains, return stack filled between domains"
    );
    assert_eq!(
        open(&ZEN1),
        "Spectre v1, Spectre v2, store bypass, Retbleed, SRSO, divider leak"
    );
    assert_eq!(
        measures(&ZEN2),
        "IBRS at each entry, STIBP, IBPB between domains, return stack filled between domains, Zenbleed bit"
    );
    assert_eq!(open(&ZEN2), "Spectre v1, store bypass, Retbleed, SRSO");
    assert_eq!(
        open(&ZEN3),
        "Spectre v1, store bypass, SRSO, TSA, sibling threads"
    );
    assert_eq!(
        measures(&ZEN4),
        "automatic IBRS, STIBP, VERW at each exit, IBPB between domains, return stack filled between domains"
    );
    assert_eq!(
        open(&ZEN4),
        "Spectre v1, store bypass, SRSO, sibling threads"
    );
    assert_eq!(open(&ZEN5), "Spectre v1, store bypass");
}

#[test]
fn off_does_nothing_and_says_what_is_open() {
    for cpu in [&SKYLAKE_CLIENT, &SAPPHIRE_RAPIDS, &ZEN2, &ZEN4] {
        let off = Plan::of(&facts(cpu), Mode::Off);
        assert_eq!(off.measures().count(), 0);
        assert!(off.open.contains(plan(cpu).open | Threats::SPECTRE_V2));
    }
}

#[test]
fn max_adds_ssbd_where_it_exists_and_verw_anywhere() {
    let max = Plan::of(&facts(&SAPPHIRE_RAPIDS), Mode::Max);
    assert_eq!(max.open, Threats::SPECTRE_V1);
    assert!(max.verw_at_exit && max.spec_ctrl & 4 != 0);
    let max = Plan::of(&facts(&QEMU64), Mode::Max);
    assert!(max.verw_at_exit && max.spec_ctrl == 0);
}

#[test]
fn capabilities_are_asked_for_only_where_the_register_exists() {
    let without = Cpu {
        capabilities: None,
        ..CASCADE_LAKE
    };
    let without = Cpu {
        leaf7_edx: without.leaf7_edx & !(1 << 29),
        ..without
    };
    assert_eq!(facts(&without).capabilities, ArchCapabilities::empty());
}
