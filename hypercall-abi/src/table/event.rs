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
            /// Closes all ports and goes back to two-level events. Errors: `ESRCH`; `EPERM`; `EINVAL` another domain that is
            /// not paused; `EAGAIN` ports were bound meanwhile.
            10 reset(argument: In<EvtchnReset>) since 1 by any;
            /// Gives a vCPU its control block; the domain's first one changes it to FIFO events, with what is pending. Errors:
            /// `ENOENT` no such vCPU; `EINVAL` the block would leave its page, is not on a multiple of 8, is the vCPU's second,
            /// or is in a frame that is not the caller's or not plain data; `ENOMEM`.
            11 init_control(argument: InOut<EvtchnInitControl>) since 1 by any;
            /// Adds a page of event words. Errors: `EOPNOTSUPP` no FIFO events; `ENOSPC` 128 pages are there; `EINVAL` not the
            /// caller's frame, or not plain data.
            12 expand_array(argument: In<EvtchnExpandArray>) since 1 by any;
            /// Chooses the queue of a port's later events. Errors: `EINVAL` no such port; `ENOSYS` no FIFO events; `EACCES` the
            /// port is free; `EINVAL` a priority above 15.
            13 set_priority(argument: In<EvtchnSetPriority>) since 1 by any;
        }
    };
}

crate::for_each_event_operation!(operation_rows);
