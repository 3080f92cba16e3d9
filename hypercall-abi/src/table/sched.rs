//! Operations of `sched_op`.

use super::row::operation_rows;

/// Hands the rows of the operations of `sched_op` to a visitor macro; see [`table`](crate::table).
#[macro_export]
macro_rules! for_each_sched_operation {
    ($visitor:ident) => {
        $visitor! {
            /// Lets all others that can run, run first.
            0 yield_cpu() since 1 by any;
            /// Unmasks upcalls and waits until one is due.
            1 block() since 1 by any;
            /// Stops the domain; the first domain stops the machine. Returns 1 where a suspended domain goes on in its place.
            2 shutdown(argument: In<SchedShutdown>) since 1 by any;
            /// Waits until one of some ports is pending, an upcall is due, or a time is reached. Errors: `EINVAL` more than 128
            /// ports, or one that is none.
            3 poll(argument: In<SchedPoll>) since 1 by any;
            /// Stops another domain. Errors: `ESRCH`; `EPERM`.
            4 remote_shutdown(argument: In<SchedRemoteShutdown>) since 1 by dom0;
            /// Fixes the reason that a later shutdown reports.
            5 shutdown_code(argument: In<SchedShutdown>) since 1 by any;
            /// Sets one of the domain's two watchdogs to run out after some seconds, which shuts it down; id 0 takes a free one
            /// and returns its number, a timeout of 0 gives one back. Errors: `EINVAL` no such watchdog, or not in use;
            /// `ENOSPC` both are in use.
            6 watchdog(argument: In<SchedWatchdog>) since 1 by any;
            /// Refused: vCPUs are tied to no CPU. Errors: `EPERM`.
            7 pin_override(argument: In<i32>) since 1 by any;
        }
    };
}

crate::for_each_sched_operation!(operation_rows);
