//! Requests of `mmu_update`: the low 3 bits of the address choose.

use super::row::operation_rows;

/// Hands the rows of the requests of `mmu_update` to a visitor macro; see [`table`](crate::table).
#[macro_export]
macro_rules! for_each_mmu_operation {
    ($visitor:ident) => {
        $visitor! {
            /// Stores a checked entry; in a frame that is not a page table, plain data. Errors: `EPERM` a foreign frame or
            /// table without the right; `EINVAL` the frame is not the tables' owner's, is a page of descriptors, the slot is
            /// the hypervisor's, or a bit is forbidden; then those of the frame mapped: `EPERM` not the domain's to map,
            /// `EBUSY` another owner's or of another type, `EACCES` cache bits, `EINVAL` a table that does not validate.
            0 normal_pt_update(address: u64, value: RawEntry) since 1 by any;
            /// Stores a frame's PFN into the M2P. Errors: `EPERM` a foreign frame; `EINVAL` not the domain's frame.
            1 machphys_update(address: u64, pfn: u64) since 1 by any;
            /// As 0, and keeps the accessed and dirty bits that the old entry has at that instant.
            2 pt_update_preserve_ad(address: u64, value: RawEntry) since 1 by any;
            /// As 0.
            3 pt_update_no_translate(address: u64, value: RawEntry) since 1 by any;
        }
    };
}

crate::for_each_mmu_operation!(operation_rows);
