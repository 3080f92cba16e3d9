//! Operations of `event_channel_op`.

use super::row::operation_rows;

/// Hands the rows of the operations of `event_channel_op` to a visitor macro; see [`table`](crate::table).
#[macro_export]
macro_rules! for_each_event_operation {
    ($visitor:ident) => {
        $visitor! {
            /// Connects to a port of another domain (or of one's own) that waits for the caller; the new end is pending at
            /// once. Errors: `ESRCH`; `ENOSPC` no port left; `EINVAL` the other port does not wait for the caller.
            0 bind_interdomain(argument: InOut<EvtchnBindInterdomain>) since 1 by any;
            /// Makes a port for a virtual interrupt. Errors: `EINVAL` no such one, or a global one on another vCPU than 0;
            /// `ENOENT` no such vCPU; `EEXIST` bound already; `ENOSPC`.
            1 bind_virq(argument: InOut<EvtchnBindVirq>) since 1 by any;
            /// Makes a port for a device's interrupt. Errors: `EINVAL` no such number; `EPERM` not the caller's; `EEXIST` bound
            /// already; `ENOSPC`.
            2 bind_pirq(argument: InOut<EvtchnBindPirq>) since 1 by any;
            /// Closes a port; the other end then waits again. Errors: `EINVAL` not an open port.
            3 close(argument: In<EvtchnClose>) since 1 by any;
            /// Notifies the other end; dropped while there is none. Errors: `EINVAL` not a port that can.
            4 send(argument: In<EvtchnSend>) since 1 by any;
            /// Tells what a port is. Errors: `ESRCH`; `EINVAL` no such port; `EPERM` another domain's.
            5 status(argument: InOut<EvtchnStatus>) since 1 by any;
            /// Makes a port that waits for a domain, which need not exist. Errors: `ESRCH`; `ENOSPC`; `EPERM` for another
            /// domain.
            6 alloc_unbound(argument: InOut<EvtchnAllocUnbound>) since 1 by any;
            /// Makes a port by which vCPUs notify one of them. Errors: `ENOENT` no such vCPU; `ENOSPC`.
            7 bind_ipi(argument: InOut<EvtchnBindIpi>) since 1 by any;
            /// Chooses the vCPU that later events of a port notify. Errors: `ENOENT` no such vCPU; `EINVAL` not a port that
            /// can.
            8 bind_vcpu(argument: In<EvtchnBindVcpu>) since 1 by any;
            /// Unmasks a port and delivers what is pending. Errors: `EINVAL` no such port.
            9 unmask(argument: In<EvtchnUnmask>) since 1 by any;
            /// Closes all ports. Errors: `ESRCH`; `EPERM`; `EINVAL` another domain that is not paused.
            10 reset(argument: In<EvtchnReset>) since 1 by any;
        }
    };
}

crate::for_each_event_operation!(operation_rows);
