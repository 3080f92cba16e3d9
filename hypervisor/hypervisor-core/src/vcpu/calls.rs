//! The hypercalls about the calling vCPU's own traps, stack, FPU, debug registers and segment bases (pv-abi 5).

use hypercall_abi::segment::{SEGBASE_FS, SEGBASE_GS_KERNEL, SEGBASE_GS_USER, SEGBASE_GS_USER_SEL};
use hypercall_abi::trap::{TI_DPL_MASK, TI_MASK_EVENTS, TrapInfo};
use hypercall_abi::{Errno, GuestPtr};

use super::context::is_canonical;
use super::state::TrapGate;
use crate::caller::Caller;
use crate::emulate::control::CR4_DE;
use crate::machine::{GuestBase, Machine};
use crate::outcome::Outcome;

/// Entries after which a trap table must have ended.
const MOST_TRAPS: u32 = 257;

/// `set_trap_table`: an update, up to the entry whose address is 0; null clears the table.
///
/// # Errors
/// `EFAULT`; `EINVAL` for an address that is not canonical, or a table without end. Entries before stay in force.
pub(crate) fn set_trap_table<M: Machine>(
    caller: &mut Caller<'_, M>,
    table: GuestPtr<TrapInfo>,
) -> Result<(), Errno> {
    if table.is_null() {
        caller.state.traps = [TrapGate::default(); 256];
        return Ok(());
    }
    let mut at = table;
    for _ in 0..MOST_TRAPS {
        let info = caller.copy_in(at)?;
        if info.address == 0 {
            return Ok(());
        }
        if !is_canonical(info.address) {
            return Err(Errno::EINVAL);
        }
        if let Some(gate) = caller.state.traps.get_mut(usize::from(info.vector)) {
            *gate = gate_of(&info);
        }
        at = at.checked_add(1).ok_or(Errno::EFAULT)?;
    }
    Err(Errno::EINVAL)
}

/// A row of the trap table as it is kept: the selector's privilege is forced to 3.
pub(super) fn gate_of(info: &TrapInfo) -> TrapGate {
    TrapGate {
        address: info.address,
        cs: info.cs | 3,
        dpl: info.flags & TI_DPL_MASK,
        masks_events: info.flags & TI_MASK_EVENTS != 0,
    }
}

/// `stack_switch`: where the next entry from user mode finds its stack. Nothing is checked before it is used.
pub(crate) fn stack_switch<M: Machine>(caller: &mut Caller<'_, M>, ss: u64, sp: u64) -> Outcome {
    let [low, high, ..] = ss.to_le_bytes();
    caller.state.kernel_ss = u16::from_le_bytes([low, high]) | 3;
    caller.state.kernel_sp = sp;
    Outcome::OK
}

/// Sets the virtual and the real CR0.TS.
pub(crate) fn set_task_switched<M: Machine>(caller: &mut Caller<'_, M>, set: bool) {
    if caller.state.control.task_switched != set {
        caller.state.control.task_switched = set;
        caller.machine().set_task_switched(set);
    }
}

/// `set_debugreg`, with effect at once.
///
/// # Errors
/// As [`super::debug::DebugRegisters::write`].
pub(crate) fn set_debugreg<M: Machine>(
    caller: &mut Caller<'_, M>,
    register: u64,
    value: u64,
) -> Result<(), Errno> {
    let extensions = caller.state.control.cr4 & CR4_DE != 0;
    caller.state.debug.write(register, value, extensions)?;
    caller.machine().load_debug_registers(&caller.state.debug);
    Ok(())
}

/// `get_debugreg`.
///
/// # Errors
/// `ENODEV`.
pub(crate) fn get_debugreg<M: Machine>(
    caller: &Caller<'_, M>,
    register: u64,
) -> Result<u64, Errno> {
    let extensions = caller.state.control.cr4 & CR4_DE != 0;
    caller.state.debug.read(register, extensions)
}

/// `set_segment_base`. A user selector that cannot be loaded becomes null and is no error.
///
/// # Errors
/// `EINVAL` for a base that is not canonical, or an unknown `which`.
pub(crate) fn set_segment_base<M: Machine>(
    caller: &mut Caller<'_, M>,
    which: u32,
    base: u64,
) -> Result<(), Errno> {
    let target = match which {
        SEGBASE_FS => GuestBase::Fs,
        SEGBASE_GS_USER => GuestBase::GsInactive,
        SEGBASE_GS_KERNEL => GuestBase::GsActive,
        SEGBASE_GS_USER_SEL => {
            let [low, high, ..] = base.to_le_bytes();
            let selector = u16::from_le_bytes([low, high]);
            caller
                .machine()
                .load_user_gs(if selector > 3 { selector | 3 } else { selector });
            return Ok(());
        }
        _ => return Err(Errno::EINVAL),
    };
    if !is_canonical(base) {
        return Err(Errno::EINVAL);
    }
    caller.machine().set_guest_base(target, base);
    Ok(())
}

/// `callback_op`.
pub(crate) mod callback {
    use hypercall_abi::Errno;
    use hypercall_abi::table::prelude::*;
    use hypercall_abi::trap::CALLBACKTYPE_NMI;

    use crate::caller::Caller;
    use crate::machine::Machine;
    use crate::operations::operations;

    hypercall_abi::for_each_callback_operation!(operations);

    fn register<M: Machine>(
        caller: &mut Caller<'_, M>,
        from: In<CallbackRegister>,
    ) -> Result<(), Errno> {
        let wanted = caller.copy_in(from.0)?;
        let state = &mut *caller.state;
        crate::vcpu::callback::register(state, wanted.kind, wanted.flags, wanted.address)?;
        if wanted.kind == CALLBACKTYPE_NMI {
            super::nmi::latch_again(caller);
        }
        Ok(())
    }

    fn unregister<M: Machine>(
        caller: &mut Caller<'_, M>,
        from: In<CallbackUnregister>,
    ) -> Result<(), Errno> {
        let wanted = caller.copy_in(from.0)?;
        crate::vcpu::callback::unregister(caller.state, wanted.kind)
    }
}

/// `nmi_op`: the older way to register the NMI's callback.
pub(crate) mod nmi {
    use core::mem::offset_of;

    use hypercall_abi::Errno;
    use hypercall_abi::shared_info::SharedInfo;
    use hypercall_abi::table::prelude::*;

    use crate::caller::Caller;
    use crate::ids::VcpuId;
    use crate::machine::Machine;
    use crate::operations::operations;
    use crate::vcpu::callback::set_nmi;
    use crate::vcpu::context::is_canonical;

    hypercall_abi::for_each_nmi_operation!(operations);

    fn register_callback<M: Machine>(
        caller: &mut Caller<'_, M>,
        from: In<NmiCallback>,
    ) -> Result<(), Errno> {
        let address = caller.copy_in(from.0)?.handler_address;
        if !is_canonical(address) {
            return Err(Errno::EINVAL);
        }
        set_nmi(caller.state, address);
        latch_again(caller);
        Ok(())
    }

    /// An NMI that came before vCPU 0 had a handler is not lost: its reason stands in `shared_info`.
    pub(super) fn latch_again<M: Machine>(caller: &mut Caller<'_, M>) {
        let reason = offset_of!(SharedInfo, nmi_reason);
        let reason = caller
            .machine()
            .load_u64(caller.domain.shared_info(), reason);
        if caller.vcpu.id() == VcpuId::FIRST && reason != 0 {
            caller.vcpu.raise_nmi();
            caller.effects.pass_loop();
        }
    }

    fn unregister_callback<M: Machine>(caller: &mut Caller<'_, M>) -> Result<(), Errno> {
        set_nmi(caller.state, 0);
        Ok(())
    }
}
