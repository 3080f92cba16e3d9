//! The hypervisor's table from machine frames to a domain's pages.

use hypercall_abi::mmu::MACH2PHYS_VIRT_START;

use super::{Mfn, Pfn};
use crate::hypercall::word;

/// The page that has `frame`. Only for frames of this domain's RAM: their entries are mapped.
pub(super) fn page_of(frame: Mfn) -> Pfn {
    let address = word(MACH2PHYS_VIRT_START + 8 * frame.0);
    let entry = core::ptr::with_exposed_provenance::<u64>(address);
    // SAFETY: the table is mapped read-only for every frame of RAM, and entries are written whole.
    Pfn(unsafe { entry.read_volatile() })
}
