//! CPUID leaves by which a guest recognises its hypervisor, and the prefix that makes the instruction trap.

constants! {
    /// Highest leaf and signature.
    XEN_CPUID_FIRST_LEAF: u32 = 0x4000_0000;
    /// EBX of the first leaf: "XenV".
    XEN_CPUID_SIGNATURE_EBX: u32 = 0x566e_6558;
    /// ECX of the first leaf: "MMXe".
    XEN_CPUID_SIGNATURE_ECX: u32 = 0x6558_4d4d;
    /// EDX of the first leaf: "nVMM".
    XEN_CPUID_SIGNATURE_EDX: u32 = 0x4d4d_566e;
    /// Leaves beyond the first.
    XEN_CPUID_MAX_NUM_LEAVES: u32 = 5;
    /// Version: major << 16 | minor in EAX.
    XEN_CPUID_VERSION_LEAF: u32 = 0x4000_0001 => "XEN_CPUID_LEAF(1)";
    /// Hypercall pages in EAX, their MSR in EBX, features in ECX.
    XEN_CPUID_FEATURES_LEAF: u32 = 0x4000_0002 => "XEN_CPUID_LEAF(2)";
    /// Time.
    XEN_CPUID_TIME_LEAF: u32 = 0x4000_0003 => "XEN_CPUID_LEAF(3)";
    /// HVM only: zero.
    XEN_CPUID_HVM_LEAF: u32 = 0x4000_0004 => "XEN_CPUID_LEAF(4)";
    /// PV: width of machine addresses in EBX.
    XEN_CPUID_PV_LEAF: u32 = 0x4000_0005 => "XEN_CPUID_LEAF(5)";
    /// In ECX of the features leaf: `MMU_PT_UPDATE_PRESERVE_AD` exists.
    XEN_CPUID_FEAT1_MMU_PT_UPDATE_PRESERVE_AD: u32 = 1 << 0;
    /// In EBX of the PV leaf: the width of the highest machine address.
    XEN_CPUID_MACHINE_ADDRESS_WIDTH_MASK: u32 = 0xff;
    /// MSR that would fill a hypercall page.
    XEN_HYPERCALL_MSR: u32 = 0x4000_0000 => "";
}

/// `ud2a; "xen"`: in front of `cpuid` it asks the hypervisor to emulate the instruction.
pub const EMULATE_PREFIX: [u8; 5] = [0x0f, 0x0b, 0x78, 0x65, 0x6e];
