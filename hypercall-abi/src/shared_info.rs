//! `shared_info` and `vcpu_info`: the memory that hypervisor and guest both write while the guest runs.
//!
//! All of it is hostile memory to the hypervisor: fields are read once, changed by atomic operations, and nothing about safety is
//! ever derived from them.

use zerocopy::{FromBytes, Immutable, IntoBytes, KnownLayout};

use crate::ids::RawMfn;
use crate::time::VcpuTimeInfo;

/// A vCPU's shared state, in `shared_info` for the first 32, or where the guest registered it.
#[derive(
    Clone, Copy, Debug, Default, PartialEq, Eq, FromBytes, IntoBytes, Immutable, KnownLayout,
)]
#[repr(C)]
pub struct VcpuInfo {
    /// Set to 1 by the hypervisor when an upcall is due; cleared by the guest only.
    pub evtchn_upcall_pending: u8,
    /// The virtual interrupt flag, inverted: any nonzero value holds upcalls back.
    pub evtchn_upcall_mask: u8,
    /// Zero.
    pub pad0: [u8; 6],
    /// Which words of the pending bitmap to look at.
    pub evtchn_pending_sel: u64,
    /// Address of the last page fault, written before it is delivered.
    pub cr2: u64,
    /// Zero.
    pub pad1: u64,
    /// This vCPU's clock record.
    pub time: VcpuTimeInfo,
}
layout!(VcpuInfo = "struct vcpu_info": 64 {
    evtchn_upcall_pending @ 0, evtchn_upcall_mask @ 1, evtchn_pending_sel @ 8, cr2 = "arch.cr2" @ 0x10, time @ 0x20,
});

/// One page per domain, owned by the hypervisor and mapped by the guest. What follows the structure in the page is zero.
#[derive(Clone, Copy, Debug, PartialEq, Eq, FromBytes, IntoBytes, Immutable, KnownLayout)]
#[repr(C)]
pub struct SharedInfo {
    /// The first 32 vCPUs, until they register a place of their own.
    pub vcpu_info: [VcpuInfo; 32],
    /// Pending bits: port p is bit `p % 64` of word `p / 64`.
    pub evtchn_pending: [u64; 64],
    /// Mask bits, numbered alike.
    pub evtchn_mask: [u64; 64],
    /// Version of the wall clock: odd while it is being written.
    pub wc_version: u32,
    /// UTC of system time 0: seconds, lower half.
    pub wc_sec: u32,
    /// UTC of system time 0: nanoseconds, below 10^9.
    pub wc_nsec: u32,
    /// UTC of system time 0: seconds, upper half.
    pub wc_sec_hi: u32,
    /// Entries in the guest's P2M; a note of the guest to tools, as are the fields below but `nmi_reason`.
    pub max_pfn: u64,
    /// Root of the guest's three-level P2M list; 0 = not yet, all ones = there is none.
    pub pfn_to_mfn_frame_list_list: RawMfn,
    /// Why an NMI was sent: `XEN_NMIREASON_*`.
    pub nmi_reason: u64,
    /// Root of the address space in which `p2m_vaddr` is valid; 0 = the next two are not.
    pub p2m_cr3: u64,
    /// Virtual address of the P2M.
    pub p2m_vaddr: u64,
    /// Odd while the guest changes its P2M.
    pub p2m_generation: u64,
}
layout!(SharedInfo = "struct shared_info": 3136 {
    vcpu_info @ 0, evtchn_pending @ 0x800, evtchn_mask @ 0xa00, wc_version @ 0xc00, wc_sec @ 0xc04, wc_nsec @ 0xc08,
    wc_sec_hi @ 0xc0c, max_pfn = "arch.max_pfn" @ 0xc10,
    pfn_to_mfn_frame_list_list = "arch.pfn_to_mfn_frame_list_list" @ 0xc18, nmi_reason = "arch.nmi_reason" @ 0xc20,
    p2m_cr3 = "arch.p2m_cr3" @ 0xc28, p2m_vaddr = "arch.p2m_vaddr" @ 0xc30, p2m_generation = "arch.p2m_generation" @ 0xc38,
});
