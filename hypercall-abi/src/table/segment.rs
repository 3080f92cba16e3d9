//! What `set_segment_base` sets.

use super::row::operation_rows;

/// Hands the rows of what `set_segment_base` sets to a visitor macro; see [`table`](crate::table).
#[macro_export]
macro_rules! for_each_segment_operation {
    ($visitor:ident) => {
        $visitor! {
            /// The FS base. Errors: `EINVAL` not canonical.
            0 fs(base: u64) since 1 by any;
            /// The GS base of user mode. Errors: `EINVAL` not canonical.
            1 gs_user(base: u64) since 1 by any;
            /// The GS base of kernel mode. Errors: `EINVAL` not canonical.
            2 gs_kernel(base: u64) since 1 by any;
            /// The GS selector of user mode and the base of its descriptor; one that cannot be loaded becomes null. Returns 0
            /// always.
            3 gs_user_selector(selector: u16) since 1 by any;
        }
    };
}

crate::for_each_segment_operation!(operation_rows);
