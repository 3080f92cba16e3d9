//! What the CPUs can do, asked once, and the control registers that follow from it.

use core::fmt;
use core::sync::atomic::{AtomicBool, Ordering};
use raw_cpuid::{CpuId, CpuIdReaderNative};
use spin::Once;
use x86_64::registers::control::{Cr0, Cr0Flags, Cr4, Cr4Flags, Efer, EferFlags};
use x86_64::registers::xcontrol::{XCr0, XCr0Flags};

/// The features that the machine code itself uses.
#[derive(Debug, Clone, Copy)]
#[expect(clippy::struct_excessive_bools, reason = "one per CPUID bit")]
pub(crate) struct Features {
    /// Supervisor mode execution prevention.
    pub(crate) smep: bool,
    /// Supervisor mode access prevention, where it may be used.
    pub(crate) smap: bool,
    /// XSAVE, XRSTOR, XSETBV.
    pub(crate) xsave: bool,
    /// RDTSCP and TSC_AUX.
    pub(crate) rdtscp: bool,
    /// SYSENTER.
    pub(crate) sysenter: bool,
}

impl fmt::Display for Features {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("CPU features in use: NX, WP")?;
        for (name, used) in [
            ("SMEP", self.smep),
            ("SMAP", self.smap),
            ("XSAVE", self.xsave),
            ("RDTSCP", self.rdtscp),
            ("SYSENTER", self.sysenter),
        ] {
            if used {
                write!(f, ", {name}")?;
            }
        }
        Ok(())
    }
}

static FEATURES: Once<Features> = Once::new();

/// Whether SMAP is in use: where the CPU has it and it harms no guest.
static SMAP: AtomicBool = AtomicBool::new(false);

/// The features, without those that have been forbidden; [`detect`] has been called.
pub(crate) fn get() -> Features {
    Features {
        smap: smap(),
        ..*FEATURES.get().expect("boot detects features first")
    }
}

/// Does without SMAP from now on.
pub(crate) fn forbid_smap() {
    SMAP.store(false, Ordering::Relaxed);
}

/// Whether SMAP is in use: asked at every entry.
pub(crate) fn smap() -> bool {
    SMAP.load(Ordering::Relaxed)
}

impl Features {
    /// The same, but for SMAP.
    pub(crate) fn without_smap(self) -> Self {
        Self {
            smap: false,
            ..self
        }
    }
}

/// Asks the CPU. Panics where something is missing that Paravane cannot do without.
pub(crate) fn detect() -> Features {
    let features = *FEATURES.call_once(|| {
        let cpuid = CpuId::with_cpuid_reader(CpuIdReaderNative);
        let basic = cpuid.get_feature_info();
        let extended = cpuid.get_extended_feature_info();
        let processor = cpuid.get_extended_processor_and_feature_identifiers();
        let has_nx = processor.as_ref().is_some_and(|p| p.has_execute_disable());
        assert!(has_nx, "the CPU has no NX");
        let bit = |has: Option<bool>| has.unwrap_or(false);
        Features {
            smep: bit(extended.as_ref().map(|e| e.has_smep())),
            smap: bit(extended.as_ref().map(|e| e.has_smap())),
            xsave: bit(basic.as_ref().map(|b| b.has_xsave())),
            rdtscp: bit(processor.as_ref().map(|p| p.has_rdtscp())),
            sysenter: bit(basic.as_ref().map(|b| b.has_sysenter_sysexit())),
        }
    });
    SMAP.store(features.smap, Ordering::Relaxed);
    features
}

/// Sets NX, without which our tables cannot be loaded.
pub(crate) fn enable_no_execute() {
    // SAFETY: `detect` has seen NX; the boot tables do not use the bit.
    unsafe { Efer::update(|flags| flags.insert(EferFlags::NO_EXECUTE_ENABLE)) };
}

/// Sets this CPU's control registers for running guests.
pub(crate) fn configure(features: Features) {
    // SAFETY: NE, MP, WP and AM change nothing for our code: it uses no FPU, writes no read-only page, runs with AC clear
    // or at ring 0, where AM does not count. EM and TS would make guests fault.
    unsafe {
        Cr0::update(|flags| {
            flags.insert(
                Cr0Flags::NUMERIC_ERROR
                    | Cr0Flags::MONITOR_COPROCESSOR
                    | Cr0Flags::WRITE_PROTECT
                    | Cr0Flags::ALIGNMENT_MASK,
            );
            flags.remove(
                Cr0Flags::EMULATE_COPROCESSOR
                    | Cr0Flags::TASK_SWITCHED
                    | Cr0Flags::CACHE_DISABLE
                    | Cr0Flags::NOT_WRITE_THROUGH,
            );
        });
    }
    let mut flags = Cr4Flags::PHYSICAL_ADDRESS_EXTENSION
        | Cr4Flags::OSFXSR
        | Cr4Flags::OSXMMEXCPT_ENABLE
        | Cr4Flags::MACHINE_CHECK_EXCEPTION;
    flags.set(
        Cr4Flags::SUPERVISOR_MODE_EXECUTION_PROTECTION,
        features.smep,
    );
    flags.set(Cr4Flags::SUPERVISOR_MODE_ACCESS_PREVENTION, features.smap);
    flags.set(Cr4Flags::OSXSAVE, features.xsave);
    // SAFETY: only features that CPUID shows; no page of ours is a user page, so SMEP and SMAP forbid nothing we do.
    unsafe { Cr4::write(flags) };
    if features.xsave {
        // SAFETY: x87 and SSE are always valid in XCR0.
        unsafe { XCr0::write(XCr0Flags::X87 | XCr0Flags::SSE) };
    }
}
