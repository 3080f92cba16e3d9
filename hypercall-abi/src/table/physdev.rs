//! Operations of `physdev_op`.

use super::row::operation_rows;

/// Hands the rows of the operations of `physdev_op` to a visitor macro; see [`table`](crate::table).
#[macro_export]
macro_rules! for_each_physdev_operation {
    ($visitor:ident) => {
        $visitor! {
            /// Sets the calling vCPU's virtual I/O privilege. Errors: `EINVAL` above 3.
            6 set_iopl(argument: In<PhysdevSetIopl>) since 1 by any;
            /// Sets the bitmap of ports that user mode may use. Errors: `EINVAL` a bad address, or more than 65536 ports.
            7 set_iobitmap(argument: In<PhysdevSetIobitmap>) since 1 by any;
        }
    };
}

crate::for_each_physdev_operation!(operation_rows);
