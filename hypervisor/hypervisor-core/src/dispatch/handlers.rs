//! One function per row of the table: the handler's place in the tree, found by the call's public name.

use hypercall_abi::version::{XEN_DOMCTL_INTERFACE_VERSION, XEN_SYSCTL_INTERFACE_VERSION};
use hypercall_abi::{Errno, GuestPtr};

pub(super) use super::memory::{
    grant_table_op, memory_op, mmu_update, mmuext_op, set_gdt, update_descriptor,
    update_va_mapping, update_va_mapping_otherdomain,
};
use super::{Arguments, argument};
use crate::caller::Caller;
use crate::machine::Machine;
use crate::outcome::Outcome;
use crate::{assist, console, control, event, multicall, physdev, sched, vcpu, version};

/// Answers that never change.
macro_rules! refused {
    ($($name:ident: $error:ident;)*) => {$(
        #[inline(never)]
        pub(super) fn $name<M: Machine>(_: &mut Caller<'_, M>, _: &mut Arguments) -> Outcome {
            Outcome::Refused(Errno::$error)
        }
    )*};
}

refused! {
    platform_op: EPERM;
    kexec_op: EPERM;
    mca: EPERM;
    xenpmu_op: EOPNOTSUPP;
    // Only a list of calls gets here: by itself it is handled before the table.
    iret: EINVAL;
}

/// Xen's tools: their structure is read and its version checked before the right, so that a version can be probed for.
macro_rules! tools {
    ($($name:ident: $size:literal bytes, version $version:ident;)*) => {$(
        pub(super) fn $name<M: Machine>(caller: &mut Caller<'_, M>, arguments: &mut Arguments) -> Outcome {
            let structure: GuestPtr<[u32; $size / 4]> = argument(arguments, 0);
            Outcome::Refused(match caller.copy_in(structure) {
                Err(error) => error,
                Ok([_, $version, ..]) => Errno::EPERM,
                Ok(_) => Errno::EACCES,
            })
        }
    )*};
}

tools! {
    sysctl: 136 bytes, version XEN_SYSCTL_INTERFACE_VERSION;
    domctl: 144 bytes, version XEN_DOMCTL_INTERFACE_VERSION;
}

/// Handlers that take no more than the arguments as they are.
macro_rules! plain {
    ($($name:ident = $handler:path;)*) => {$(
        #[inline(never)]
        pub(super) fn $name<M: Machine>(caller: &mut Caller<'_, M>, arguments: &mut Arguments) -> Outcome {
            $handler(caller, arguments)
        }
    )*};
}

plain! {
    multicall = multicall::multicall;
    xen_version = version::operation;
    console_io = console::op::console_io;
    sched_op = sched::op::operation;
    callback_op = vcpu::calls::callback::operation;
    nmi_op = vcpu::calls::nmi::operation;
    physdev_op = physdev::operation;
    event_channel_op = event::operation;
    paravane_op = control::operation;
    vm_assist = assist::operation;
}

#[inline(never)]
pub(super) fn vcpu_op<M: Machine>(
    caller: &mut Caller<'_, M>,
    arguments: &mut Arguments,
) -> Outcome {
    if vcpu::op::names_a_vcpu(caller, arguments) {
        vcpu::op::operation(caller, arguments)
    } else {
        Outcome::Refused(Errno::ENOENT)
    }
}

#[inline(never)]
pub(super) fn set_trap_table<M: Machine>(
    caller: &mut Caller<'_, M>,
    arguments: &mut Arguments,
) -> Outcome {
    vcpu::calls::set_trap_table(caller, argument(arguments, 0)).into()
}

#[inline(never)]
pub(super) fn stack_switch<M: Machine>(
    caller: &mut Caller<'_, M>,
    arguments: &mut Arguments,
) -> Outcome {
    vcpu::calls::stack_switch(caller, argument(arguments, 0), argument(arguments, 1))
}

#[inline(never)]
pub(super) fn set_callbacks<M: Machine>(
    caller: &mut Caller<'_, M>,
    arguments: &mut Arguments,
) -> Outcome {
    let [event, failsafe, syscall, ..] = *arguments;
    vcpu::callback::set_three(caller.state, event, failsafe, syscall);
    Outcome::OK
}

#[inline(never)]
pub(super) fn fpu_taskswitch<M: Machine>(
    caller: &mut Caller<'_, M>,
    arguments: &mut Arguments,
) -> Outcome {
    vcpu::calls::set_task_switched(caller, argument::<u32>(arguments, 0) != 0);
    Outcome::OK
}

#[inline(never)]
pub(super) fn set_debugreg<M: Machine>(
    caller: &mut Caller<'_, M>,
    arguments: &mut Arguments,
) -> Outcome {
    vcpu::calls::set_debugreg(
        caller,
        argument::<u32>(arguments, 0).into(),
        argument(arguments, 1),
    )
    .into()
}

#[inline(never)]
pub(super) fn get_debugreg<M: Machine>(
    caller: &mut Caller<'_, M>,
    arguments: &mut Arguments,
) -> Outcome {
    vcpu::calls::get_debugreg(caller, argument::<u32>(arguments, 0).into()).into()
}

#[inline(never)]
pub(super) fn set_timer_op<M: Machine>(
    caller: &mut Caller<'_, M>,
    arguments: &mut Arguments,
) -> Outcome {
    vcpu::op::set_timer(caller, argument(arguments, 0));
    Outcome::OK
}

#[inline(never)]
pub(super) fn set_segment_base<M: Machine>(
    caller: &mut Caller<'_, M>,
    arguments: &mut Arguments,
) -> Outcome {
    vcpu::calls::set_segment_base(caller, argument(arguments, 0), argument(arguments, 1)).into()
}
