//! Operations of `mmuext_op`; a row's arguments are the request's `arg1` and `arg2`.

use super::row::operation_rows;

/// Hands the rows of the operations of `mmuext_op` to a visitor macro; see [`table`](crate::table).
#[macro_export]
macro_rules! for_each_mmuext_operation {
    ($visitor:ident) => {
        $visitor! {
            /// Makes a frame an L1 table until it is unpinned. Errors: `EINVAL` not the owner's frame, of another type, pinned
            /// already, or with a bad entry; those of its entries.
            0 pin_l1_table(mfn: RawMfn) since 1 by any;
            /// As 0, an L2 table.
            1 pin_l2_table(mfn: RawMfn) since 1 by any;
            /// As 0, an L3 table.
            2 pin_l3_table(mfn: RawMfn) since 1 by any;
            /// As 0, an L4 table.
            3 pin_l4_table(mfn: RawMfn) since 1 by any;
            /// Takes a pin of any level away. Errors: `EINVAL` not the owner's frame, or not pinned.
            4 unpin_table(mfn: RawMfn) since 1 by any;
            /// Installs the kernel root and flushes. Errors: `EPERM` with another's frames; `EINVAL` not the caller's frame, or
            /// it cannot become an L4; the old root then stays.
            5 new_baseptr(mfn: RawMfn) since 1 by any;
            /// Flushes this CPU. Errors: `EPERM` with another's frames, as all below to 15.
            6 tlb_flush_local() since 1 by any;
            /// Flushes one page on this CPU; a non-canonical address is ignored.
            7 invlpg_local(address: u64) since 1 by any;
            /// Flushes the CPUs of the vCPUs in a bitmap. Errors: `EINVAL` the bitmap cannot be read.
            8 tlb_flush_multi(unused: u64, vcpus: GuestPtr<u64>) since 1 by any;
            /// Flushes one page there. Errors: `EINVAL` the bitmap cannot be read.
            9 invlpg_multi(address: u64, vcpus: GuestPtr<u64>) since 1 by any;
            /// Flushes all CPUs that may hold the domain's translations.
            10 tlb_flush_all() since 1 by any;
            /// Flushes one page there.
            11 invlpg_all(address: u64) since 1 by any;
            /// Refused to domains without devices. Errors: `EACCES`.
            12 flush_cache() since 1 by any;
            /// Sets the local descriptor table; its pages are checked when they are used. Errors: `EINVAL` more than 8192
            /// entries, or an address that is not at a page or not the guest's.
            13 set_ldt(address: u64, entries: u32) since 1 by any;
            /// Installs the user root; frame 0 removes it. Errors: as 5.
            15 new_user_baseptr(mfn: RawMfn) since 1 by any;
            /// Zeroes a frame. Errors: `EINVAL` not the owner's frame, or a page table or page of descriptors.
            16 clear_page(mfn: RawMfn) since 1 by any;
            /// Copies a frame. Errors: as 16, of the source first.
            17 copy_page(destination: RawMfn, source: RawMfn) since 1 by any;
            /// As 12, for all CPUs. Errors: `EINVAL` without devices.
            18 flush_cache_global() since 1 by any;
            /// Refused: there are no large pages. Errors: `EOPNOTSUPP`.
            19 mark_super(mfn: RawMfn) since 1 by any;
            /// Refused: there are no large pages. Errors: `EOPNOTSUPP`.
            20 unmark_super(mfn: RawMfn) since 1 by any;
        }
    };
}

crate::for_each_mmuext_operation!(operation_rows);
