//! Operations of `console_io`.

use super::row::operation_rows;

/// Hands the rows of the operations of `console_io` to a visitor macro; see [`table`](crate::table).
#[macro_export]
macro_rules! for_each_console_operation {
    ($visitor:ident) => {
        $visitor! {
            /// Writes bytes. Returns 0 when all are written, and also when some were dropped by the rate limit.
            0 write(count: u32, buffer: GuestPtr<u8>) since 1 by any;
            /// Reads the bytes that are there and returns their number. Errors: `EPERM`; `E2BIG` if `count` >= 2^31.
            1 read(count: u32, buffer: GuestPtr<u8>) since 1 by dom0;
        }
    };
}

crate::for_each_console_operation!(operation_rows);
