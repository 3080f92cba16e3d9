//! Operations of `vcpu_op`; the vCPU's number stands between command and argument.

use super::row::operation_rows;

/// Hands the rows of the operations of `vcpu_op` to a visitor macro; see [`table`](crate::table).
#[macro_export]
macro_rules! for_each_vcpu_operation {
    ($visitor:ident) => {
        $visitor! {
            /// Gives a vCPU its first state. Errors: `EINVAL` no `vcpu_info` registered (vCPUs from 32 on); `EEXIST`
            /// initialised already; `EINVAL` a bad register, frame or root; those of validating the roots.
            0 initialise(vcpu: u32, argument: In<VcpuGuestContext>) since 1 by any;
            /// Starts a vCPU. Errors: `EINVAL` never initialised.
            1 up(vcpu: u32) since 1 by any;
            /// Stops a vCPU; the last one that is up shuts the domain down.
            2 down(vcpu: u32) since 1 by any;
            /// Returns 1 if it is up, else 0.
            3 is_up(vcpu: u32) since 1 by any;
            /// Tells the times of its states.
            4 get_runstate_info(vcpu: u32, argument: Out<VcpuRunstateInfo>) since 1 by any;
            /// Registers memory that shows them; a null address unregisters.
            5 register_runstate_memory_area(vcpu: u32, argument: In<RegisterRunstateMemoryArea>) since 1 by any;
            /// Starts the periodic timer. Errors: `EINVAL` a period below 1 ms.
            6 set_periodic_timer(vcpu: u32, argument: In<SetPeriodicTimer>) since 1 by any;
            /// Stops the periodic timer.
            7 stop_periodic_timer(vcpu: u32) since 1 by any;
            /// Arms the one-shot timer; a time that is past fires at once. Errors: `EINVAL` not the calling vCPU.
            8 set_singleshot_timer(vcpu: u32, argument: In<SetSingleshotTimer>) since 1 by any;
            /// Stops the one-shot timer. Errors: `EINVAL` not the calling vCPU.
            9 stop_singleshot_timer(vcpu: u32) since 1 by any;
            /// Moves the vCPU's shared state to a frame of the guest, once. Errors: `ENXIO` it would leave the frame, or is not
            /// aligned; `EINVAL` registered before, a vCPU that is not down, or not an own writable frame.
            10 register_vcpu_info(vcpu: u32, argument: In<RegisterVcpuInfo>) since 1 by any;
            /// Sends an NMI. Errors: `EINVAL` the argument is not null.
            11 send_nmi(vcpu: u32, argument: u64) since 1 by any;
            /// Refused: vCPUs are tied to no CPU. Errors: `EINVAL`.
            12 get_physid(vcpu: u32, argument: Out<GetPhysid>) since 1 by any;
            /// Registers memory that shows the clock record too; a null address unregisters.
            13 register_vcpu_time_memory_area(vcpu: u32, argument: In<RegisterTimeMemoryArea>) since 1 by any;
        }
    };
}

crate::for_each_vcpu_operation!(operation_rows);
