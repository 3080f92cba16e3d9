//! Commands of `vm_assist`.

use super::row::operation_rows;

/// Hands the rows of the commands of `vm_assist` to a visitor macro; see [`table`](crate::table).
#[macro_export]
macro_rules! for_each_assist_operation {
    ($visitor:ident) => {
        $visitor! {
            /// Switches a habit on. Errors: `EINVAL` no such type.
            0 enable(kind: u32) since 1 by any;
            /// Switches a habit off. Errors: `EINVAL` no such type.
            1 disable(kind: u32) since 1 by any;
        }
    };
}

crate::for_each_assist_operation!(operation_rows);
