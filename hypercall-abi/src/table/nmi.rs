//! Operations of `nmi_op`.

use super::row::operation_rows;

/// Hands the rows of the operations of `nmi_op` to a visitor macro; see [`table`](crate::table).
#[macro_export]
macro_rules! for_each_nmi_operation {
    ($visitor:ident) => {
        $visitor! {
            /// Registers the NMI callback.
            0 register_callback(argument: In<NmiCallback>) since 1 by any;
            /// Takes it back.
            1 unregister_callback() since 1 by any;
        }
    };
}

crate::for_each_nmi_operation!(operation_rows);
