//! The table: which threats a CPU has, what is done about each, and what stays open.
//!
//! Sources: Intel's "Affected Processors" list and its guides on each issue, AMD's security bulletins, Xen's advisories named in
//! pv-abi A.37. Model numbers are of family 6.

use core::fmt;

use bitflags::bitflags;

use super::facts::{ArchCapabilities, Facts, Leaf7, Leaf8, Leaf21, Vendor};

/// What the command line asks for (`spec-ctrl=`).
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum Mode {
    /// Nothing is done.
    Off,
    /// What the CPU needs.
    #[default]
    Default,
    /// The same, and whatever else is offered: SSBD, and the instructions at entry and exit on any CPU.
    Max,
}

bitflags! {
    /// The threats that are told apart.
    #[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
    pub struct Threats: u32 {
        /// Bounds checks passed by.
        const SPECTRE_V1 = 1;
        /// Trained branch targets.
        const SPECTRE_V2 = 1 << 1;
        /// Supervisor memory read at ring 3.
        const MELTDOWN = 1 << 2;
        /// Frames of non-present entries read from the first cache.
        const L1TF = 1 << 3;
        /// Loads before older stores.
        const STORE_BYPASS = 1 << 4;
        /// Remains in buffers.
        const MDS = 1 << 5;
        /// The same by aborted transactions.
        const TAA = 1 << 6;
        /// Stale data of device memory.
        const MMIO = 1 << 7;
        /// Remains in register files.
        const RFDS = 1 << 8;
        /// Remains of random numbers.
        const SRBDS = 1 << 9;
        /// Remains of vector registers by gathers.
        const GDS = 1 << 10;
        /// Branch history of ring 3 used at ring 0.
        const BRANCH_HISTORY = 1 << 11;
        /// Indirect branches that share a cache line.
        const ITS = 1 << 12;
        /// Branches of mistaken type, returns among them.
        const RETBLEED = 1 << 13;
        /// Returns steered on AMD.
        const SRSO = 1 << 14;
        /// Vector registers of Zen 2.
        const ZENBLEED = 1 << 15;
        /// Remains of Zen 1's divider.
        const DIVIDER = 1 << 16;
        /// Timed stores and loads of Zen 3 and 4.
        const TSA = 1 << 17;
        /// A sibling thread reads while its neighbour works.
        const SIBLINGS = 1 << 18;
    }
}

/// One threat, as people call it.
pub type Threat = (Threats, &'static str);

/// Names for logs.
const NAMES: [Threat; 19] = [
    (Threats::SPECTRE_V1, "Spectre v1"),
    (Threats::SPECTRE_V2, "Spectre v2"),
    (Threats::MELTDOWN, "Meltdown"),
    (Threats::L1TF, "L1TF"),
    (Threats::STORE_BYPASS, "store bypass"),
    (Threats::MDS, "MDS"),
    (Threats::TAA, "TAA"),
    (Threats::MMIO, "stale MMIO data"),
    (Threats::RFDS, "RFDS"),
    (Threats::SRBDS, "SRBDS"),
    (Threats::GDS, "GDS"),
    (Threats::BRANCH_HISTORY, "branch history injection"),
    (Threats::ITS, "ITS"),
    (Threats::RETBLEED, "Retbleed"),
    (Threats::SRSO, "SRSO"),
    (Threats::ZENBLEED, "Zenbleed"),
    (Threats::DIVIDER, "divider leak"),
    (Threats::TSA, "TSA"),
    (Threats::SIBLINGS, "sibling threads"),
];

impl fmt::Display for Threats {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let mut first = true;
        for (_, name) in NAMES.iter().filter(|(threat, _)| self.contains(*threat)) {
            f.write_str(if first { "" } else { ", " })?;
            f.write_str(name)?;
            first = false;
        }
        Ok(())
    }
}

/// SPEC_CTRL: branch prediction of lower rights is not used.
const IBRS: u64 = 1;
/// SPEC_CTRL: nor that of the sibling.
const STIBP: u64 = 1 << 1;
/// SPEC_CTRL: no load before an older store of unknown address.
const SSBD: u64 = 1 << 2;
/// SPEC_CTRL: branch history of lower rights is not used in ring 0.
const BHI_DIS_S: u64 = 1 << 10;

/// What is done on this machine.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Plan {
    /// Value of SPEC_CTRL while the machine runs; 0 where the register is left alone.
    pub spec_ctrl: u64,
    /// It is written again at each entry, which old CPUs need for IBRS to count.
    pub write_at_entry: bool,
    /// EFER.AIBRSE is set.
    pub automatic_ibrs: bool,
    /// Zen 2's chicken bit against Zenbleed is set.
    pub zenbleed_bit: bool,
    /// VERW is the last thing before ring 3.
    pub verw_at_exit: bool,
    /// PRED_CMD.IBPB where a CPU goes to another domain.
    pub prediction_barrier: bool,
    /// The return stack is filled there.
    pub fill_returns: bool,
    /// FLUSH_CMD is given there.
    pub flush_l1d: bool,
    /// What the CPU has and nothing is done about.
    pub open: Threats,
}

impl Plan {
    /// What is to be done on a CPU.
    #[must_use]
    pub fn of(facts: &Facts, mode: Mode) -> Self {
        let threats = threats(facts);
        if mode == Mode::Off {
            return Self {
                open: threats,
                ..Self::default()
            };
        }
        let mut plan = Self::default();
        let covered = plan.choose(facts, threats);
        if mode == Mode::Max {
            plan.verw_at_exit = true;
            plan.fill_returns = true;
        }
        let offers_ssbd = facts.leaf7.contains(Leaf7::SSBD) || facts.leaf8.contains(Leaf8::SSBD);
        let ssbd = mode == Mode::Max && offers_ssbd;
        if ssbd {
            plan.spec_ctrl |= SSBD;
        }
        plan.open = threats.difference(covered);
        plan.open.set(
            Threats::STORE_BYPASS,
            threats.contains(Threats::STORE_BYPASS) && !ssbd,
        );
        plan
    }

    /// Sets what covers threats, and gives those.
    fn choose(&mut self, facts: &Facts, threats: Threats) -> Threats {
        let Facts {
            leaf7,
            leaf8,
            leaf21,
            capabilities,
            ..
        } = *facts;
        let mut covered = Threats::empty();
        let mut cover = |threat: Threats, by: bool| {
            if by {
                covered |= threat;
            }
            by && threats.contains(threat)
        };

        let has_ibrs = leaf7.contains(Leaf7::IBRS_IBPB) || leaf8.contains(Leaf8::IBRS);
        let stays =
            capabilities.contains(ArchCapabilities::IBRS_ALL) || leaf8.contains(Leaf8::IBRS_ALWAYS);
        let has_barrier = leaf7.contains(Leaf7::IBRS_IBPB) || leaf8.contains(Leaf8::IBPB);
        self.automatic_ibrs = leaf21.contains(Leaf21::AUTOMATIC_IBRS);
        if has_ibrs && !self.automatic_ibrs {
            self.spec_ctrl |= IBRS;
            self.write_at_entry = !stays;
        }
        let has_stibp = leaf7.contains(Leaf7::STIBP) || leaf8.contains(Leaf8::STIBP);
        if facts.smt && has_stibp {
            self.spec_ctrl |= STIBP;
        }
        self.prediction_barrier = has_barrier;
        self.fill_returns = !facts.smep || has_barrier;
        let restricted = has_ibrs || self.automatic_ibrs;
        let apart = !facts.smt || has_stibp;
        cover(Threats::SPECTRE_V2, restricted && has_barrier && apart);
        // On Intel's CPUs the underflow of the return stack is what IBRS restricts, too.
        cover(Threats::RETBLEED, facts.vendor == Vendor::Intel && has_ibrs);
        if cover(Threats::BRANCH_HISTORY, facts.bhi_control) {
            self.spec_ctrl |= BHI_DIS_S;
        }

        let md_clear = leaf7.contains(Leaf7::MD_CLEAR);
        let fb_clear = capabilities.contains(ArchCapabilities::FB_CLEAR) || md_clear;
        self.verw_at_exit = [
            (Threats::MDS, md_clear),
            (Threats::TAA, md_clear),
            (Threats::MMIO, fb_clear),
            (
                Threats::RFDS,
                capabilities.contains(ArchCapabilities::RFDS_CLEAR),
            ),
            (Threats::TSA, leaf21.contains(Leaf21::VERW_CLEAR)),
        ]
        .into_iter()
        .fold(false, |needed, (threat, by)| cover(threat, by) || needed);

        self.zenbleed_bit = cover(Threats::ZENBLEED, true);
        cover(Threats::SRBDS, leaf7.contains(Leaf7::SRBDS_CTRL));
        cover(
            Threats::GDS,
            capabilities.contains(ArchCapabilities::GDS_CTRL),
        );
        // A flush between domains narrows L1TF and does not close it: what the hypervisor itself has touched stays.
        self.flush_l1d = threats.contains(Threats::L1TF) && leaf7.contains(Leaf7::L1D_FLUSH);
        covered
    }

    /// The measures in words; empty if there is none.
    pub fn measures(&self) -> impl Iterator<Item = &'static str> {
        let bit = |bit| self.spec_ctrl & bit != 0;
        [
            (bit(IBRS) && !self.write_at_entry, "IBRS"),
            (self.write_at_entry && bit(IBRS), "IBRS at each entry"),
            (self.automatic_ibrs, "automatic IBRS"),
            (bit(STIBP), "STIBP"),
            (bit(SSBD), "SSBD"),
            (bit(BHI_DIS_S), "BHI_DIS_S"),
            (self.verw_at_exit, "VERW at each exit"),
            (self.prediction_barrier, "IBPB between domains"),
            (self.fill_returns, "return stack filled between domains"),
            (self.flush_l1d, "L1D flush between domains"),
            (self.zenbleed_bit, "Zenbleed bit"),
        ]
        .into_iter()
        .filter_map(|(done, name)| done.then_some(name))
    }
}

/// What a CPU is vulnerable to.
fn threats(facts: &Facts) -> Threats {
    let mut threats = match facts.vendor {
        Vendor::Intel => of_intel(facts),
        Vendor::Amd => of_amd(facts),
        Vendor::Other => Threats::SPECTRE_V2 | Threats::STORE_BYPASS,
    };
    threats |= Threats::SPECTRE_V1;
    let shared = Threats::MDS | Threats::TAA | Threats::L1TF | Threats::MMIO | Threats::TSA;
    threats.set(Threats::SIBLINGS, facts.smt && threats.intersects(shared));
    threats
}

fn of_intel(facts: &Facts) -> Threats {
    let has = |bit| facts.capabilities.contains(bit);
    let old = facts.family == 6;
    if facts.family < 6 || old && IN_ORDER.contains(&facts.model) {
        return Threats::empty();
    }
    let model = |models: &[u32]| old && models.contains(&facts.model);
    let small = model(SILVERMONT) || model(GOLDMONT) || model(TREMONT) || model(GRACEMONT);
    let no_meltdown = has(ArchCapabilities::RDCL_NO);
    [
        (Threats::SPECTRE_V2, true),
        (Threats::STORE_BYPASS, !has(ArchCapabilities::SSB_NO)),
        (Threats::MELTDOWN, !no_meltdown),
        (Threats::L1TF, !no_meltdown && !small),
        (
            Threats::MDS,
            !has(ArchCapabilities::MDS_NO) && !model(GOLDMONT) && !model(TREMONT),
        ),
        (Threats::TAA, facts.rtm && !has(ArchCapabilities::TAA_NO)),
        (
            Threats::MMIO,
            !has(ArchCapabilities::MMIO_NO) && (model(SINCE_HASWELL) || model(TREMONT)),
        ),
        (
            Threats::RFDS,
            !has(ArchCapabilities::RFDS_NO)
                && (model(GOLDMONT) || model(TREMONT) || model(GRACEMONT)),
        ),
        (Threats::SRBDS, model(SRBDS)),
        (
            Threats::GDS,
            !has(ArchCapabilities::GDS_NO) && model(SINCE_SKYLAKE),
        ),
        (
            Threats::BRANCH_HISTORY,
            has(ArchCapabilities::IBRS_ALL) && !has(ArchCapabilities::BHI_NO),
        ),
        (
            Threats::ITS,
            !has(ArchCapabilities::ITS_NO)
                && has(ArchCapabilities::IBRS_ALL)
                && model(SINCE_SKYLAKE),
        ),
        (
            Threats::RETBLEED,
            model(SINCE_SKYLAKE) && !has(ArchCapabilities::IBRS_ALL),
        ),
    ]
    .into_iter()
    .filter_map(|(threat, holds)| holds.then_some(threat))
    .collect()
}

fn of_amd(facts: &Facts) -> Threats {
    let has = |bit| facts.leaf21.contains(bit);
    // Generations of Zen by family and model.
    let zen1 = facts.family == 0x17 && matches!(facts.model, 0..=0x2f | 0x50..=0x5f)
        || facts.family == 0x18;
    let zen2 = facts.family == 0x17 && !zen1;
    let zen34 = facts.family == 0x19;
    [
        (Threats::SPECTRE_V2, facts.family >= 0xf),
        (
            Threats::STORE_BYPASS,
            facts.family >= 0xf && !facts.leaf8.contains(Leaf8::SSB_NO),
        ),
        (
            Threats::RETBLEED,
            !facts.leaf8.contains(Leaf8::BTC_NO) && (0x15..=0x18).contains(&facts.family),
        ),
        (
            Threats::SRSO,
            (zen1 || zen2 || zen34 || facts.family == 0x1a)
                && !has(Leaf21::SRSO_NO)
                && !has(Leaf21::SRSO_USER_KERNEL_NO),
        ),
        (Threats::ZENBLEED, zen2),
        (Threats::DIVIDER, zen1),
        (Threats::TSA, zen34 && !has(Leaf21::TSA_NO)),
    ]
    .into_iter()
    .filter_map(|(threat, holds)| holds.then_some(threat))
    .collect()
}

/// Atoms that execute in order: they speculate on nothing.
const IN_ORDER: [u32; 5] = [0x1c, 0x26, 0x27, 0x35, 0x36];
/// Silvermont, Airmont, Knights Landing and Mill: no L1TF.
const SILVERMONT: &[u32] = &[0x37, 0x4a, 0x4c, 0x4d, 0x57, 0x5a, 0x5d, 0x75, 0x85];
/// Goldmont and Goldmont Plus.
const GOLDMONT: &[u32] = &[0x5c, 0x5f, 0x7a];
/// Tremont.
const TREMONT: &[u32] = &[0x86, 0x96, 0x9c];
/// Gracemont, alone and beside large cores.
const GRACEMONT: &[u32] = &[0x97, 0x9a, 0xb7, 0xba, 0xbe, 0xbf];
/// Haswell to Rocket Lake, but Tiger Lake: stale MMIO data.
const SINCE_HASWELL: &[u32] = &[
    0x3c, 0x3d, 0x3f, 0x45, 0x46, 0x47, 0x4e, 0x4f, 0x55, 0x56, 0x5e, 0x6a, 0x6c, 0x7d, 0x7e, 0x8a,
    0x8e, 0x9e, 0xa5, 0xa6, 0xa7,
];
/// Skylake to Rocket Lake.
const SINCE_SKYLAKE: &[u32] = &[
    0x4e, 0x55, 0x5e, 0x66, 0x6a, 0x6c, 0x7d, 0x7e, 0x8c, 0x8d, 0x8e, 0x9e, 0xa5, 0xa6, 0xa7,
];
/// Clients from Ivy Bridge to Comet Lake.
const SRBDS: &[u32] = &[0x3a, 0x3c, 0x3d, 0x45, 0x46, 0x47, 0x4e, 0x5e, 0x8e, 0x9e];
