//! Operations of `grant_table_op`. Errors are in each element's status, unless said otherwise.

use super::row::operation_rows;

/// Hands the rows of the operations of `grant_table_op` to a visitor macro; see [`table`](crate::table).
#[macro_export]
macro_rules! for_each_grant_operation {
    ($visitor:ident) => {
        $visitor! {
            /// Maps frames that others granted. Statuses: `bad_gntref` no way to map asked for, or no such entry; `bad_domain`;
            /// `no_space` no handle left; `general_error` not granted so, or the place cannot take it; `bad_page` not the
            /// granter's frame.
            0 map_grant_ref(list: GuestPtr<MapGrantRef>, count: u32) since 1 by any;
            /// Unmaps them. Statuses: `bad_handle`; `bad_dev_addr` another frame; `general_error` the place does not map it.
            1 unmap_grant_ref(list: GuestPtr<UnmapGrantRef>, count: u32) since 1 by any;
            /// Makes a table have at least so many frames and tells them. Errors: `EINVAL` if `count` is not 1. Statuses:
            /// `bad_domain`; `permission_denied`; `general_error` too many, or no memory; `bad_virt_addr` the list cannot be
            /// written.
            2 setup_table(argument: InOut<SetupTable>, count: u32) since 1 by any;
            /// Refused. Errors: `EOPNOTSUPP`.
            4 transfer(list: GuestPtr<GrantTransfer>, count: u32) since 1 by any;
            /// Copies between frames, own or granted. Statuses: `permission_denied` a foreign frame without a grant;
            /// `bad_domain`; those of a map; `bad_page` not an own frame; `general_error` the destination is not writable;
            /// `bad_copy_arg` beyond a page.
            5 copy(list: GuestPtr<GrantCopy>, count: u32) since 1 by any;
            /// Tells the size of a table. Errors: `EINVAL` if `count` is not 1. Statuses: `bad_domain`; `permission_denied`.
            6 query_size(argument: InOut<QuerySize>, count: u32) since 1 by any;
            /// Unmaps, and moves the entry of another virtual address to the mapping's place. Statuses: those of an unmap.
            7 unmap_and_replace(list: GuestPtr<UnmapAndReplace>, count: u32) since 1 by any;
            /// Chooses version 1. The version in force is written back in every case. Errors: `EINVAL` neither 1 nor 2;
            /// `ENOSYS` version 2.
            8 set_version(argument: InOut<SetVersion>) since 1 by any;
            /// Version 2 only. Statuses: `bad_domain`; `permission_denied`; `general_error` unless no frame is asked for.
            9 get_status_frames(argument: InOut<GetStatusFrames>) since 1 by any;
            /// Tells a table's version: 1. Errors: `ESRCH`; `EPERM`.
            10 get_version(argument: InOut<GetVersion>) since 1 by any;
            /// Exchanges two of the caller's entries. Statuses: `bad_gntref`; `eagain` one is in use.
            11 swap_grant_ref(list: GuestPtr<SwapGrantRef>, count: u32) since 1 by any;
            /// Cleans the cache of parts of frames, in order up to the first error. Errors: `EINVAL` beyond the frame, an
            /// unknown `op`, no such frame, or one that the caller has not mapped; `EPERM` nobody's frame; `EOPNOTSUPP` to
            /// forget what is not written back.
            12 cache_flush(list: GuestPtr<CacheFlush>, count: u32) since 1 by any;
        }
    };
}

crate::for_each_grant_operation!(operation_rows);
