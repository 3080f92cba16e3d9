//! Operations of `callback_op`.

use super::row::operation_rows;

/// Hands the rows of the operations of `callback_op` to a visitor macro; see [`table`](crate::table).
#[macro_export]
macro_rules! for_each_callback_operation {
    ($visitor:ident) => {
        $visitor! {
            /// Registers a callback. Errors: `EINVAL` not canonical; `ENOSYS` no such type.
            0 register(argument: In<CallbackRegister>) since 1 by any;
            /// Takes a callback back; only the NMI's can be. Errors: `EINVAL` another one; `ENOSYS` no such type.
            1 unregister(argument: In<CallbackUnregister>) since 1 by any;
        }
    };
}

crate::for_each_callback_operation!(operation_rows);
