//! The page that the hypervisor shares with the domain, as atomics: both sides write it at any time.

use core::mem::offset_of;
use core::sync::atomic::{AtomicU8, AtomicU32, AtomicU64};

use spin::Once;
use zerocopy::{FromBytes, IntoBytes};

use crate::smp::{self, VcpuId};

/// Event bits are kept in words of this many.
pub(crate) const WORD_BITS: usize = 64;

/// One vCPU's part: its virtual interrupt flag, its selector of event words, the address of its last page fault, and
/// its clock.
#[repr(C)]
#[derive(Debug, FromBytes, IntoBytes)]
pub(crate) struct VcpuInfo {
    pub(crate) upcall_pending: AtomicU8,
    pub(crate) upcall_mask: AtomicU8,
    pad: [AtomicU8; 6],
    pub(crate) pending_sel: AtomicU64,
    pub(crate) cr2: AtomicU64,
    arch_pad: AtomicU64,
    pub(crate) time: VcpuTime,
}

/// A clock record; `version` is odd while the hypervisor writes it.
#[repr(C)]
#[derive(Debug, FromBytes, IntoBytes)]
pub(crate) struct VcpuTime {
    pub(crate) version: AtomicU32,
    pad: AtomicU32,
    pub(crate) tsc_timestamp: AtomicU64,
    pub(crate) system_time: AtomicU64,
    pub(crate) tsc_to_system_mul: AtomicU32,
    /// Shift (a signed byte), flags, two bytes of padding.
    pub(crate) shift_and_flags: AtomicU32,
}

/// The shared page, as far as this library reads it.
#[repr(C)]
#[derive(Debug, FromBytes, IntoBytes)]
pub(crate) struct SharedInfo {
    pub(crate) vcpu_info: [VcpuInfo; smp::MAX_VCPUS],
    pub(crate) pending: [AtomicU64; 64],
    pub(crate) mask: [AtomicU64; 64],
    pub(crate) wc_version: AtomicU32,
    pub(crate) wc_sec: AtomicU32,
    pub(crate) wc_nsec: AtomicU32,
    pub(crate) wc_sec_hi: AtomicU32,
}

const _: () = {
    assert!(size_of::<VcpuInfo>() == 64);
    assert!(offset_of!(VcpuInfo, time) == 0x20);
    assert!(offset_of!(SharedInfo, pending) == 0x800);
    assert!(offset_of!(SharedInfo, mask) == 0xa00);
    assert!(offset_of!(SharedInfo, wc_version) == 0xc00);
};

/// Stands for the shared page until that is mapped: everything masked, nothing pending, no clock.
static BEFORE: SharedInfo = SharedInfo {
    vcpu_info: [const {
        VcpuInfo {
            upcall_pending: AtomicU8::new(0),
            upcall_mask: AtomicU8::new(1),
            pad: [const { AtomicU8::new(0) }; 6],
            pending_sel: AtomicU64::new(0),
            cr2: AtomicU64::new(0),
            arch_pad: AtomicU64::new(0),
            time: VcpuTime {
                version: AtomicU32::new(0),
                pad: AtomicU32::new(0),
                tsc_timestamp: AtomicU64::new(0),
                system_time: AtomicU64::new(0),
                tsc_to_system_mul: AtomicU32::new(0),
                shift_and_flags: AtomicU32::new(0),
            },
        }
    }; smp::MAX_VCPUS],
    pending: [const { AtomicU64::new(0) }; 64],
    mask: [const { AtomicU64::new(u64::MAX) }; 64],
    wc_version: AtomicU32::new(0),
    wc_sec: AtomicU32::new(0),
    wc_nsec: AtomicU32::new(0),
    wc_sec_hi: AtomicU32::new(0),
};

static SHARED: Once<&'static SharedInfo> = Once::new();

/// Names the mapped page; from now on it is used. Upcalls stay masked on vCPU 0: the loader began with the mask set.
pub(crate) fn set(page: &'static SharedInfo) {
    SHARED.call_once(|| page);
}

/// The shared page, or its stand-in before [`set`].
pub(crate) fn page() -> &'static SharedInfo {
    SHARED.get().copied().unwrap_or(&BEFORE)
}

/// This vCPU's part.
pub(crate) fn vcpu_info() -> &'static VcpuInfo {
    &page().vcpu_info[smp::current().index()]
}

/// Another vCPU's part.
pub(crate) fn vcpu_info_of(vcpu: VcpuId) -> &'static VcpuInfo {
    &page().vcpu_info[vcpu.index()]
}
