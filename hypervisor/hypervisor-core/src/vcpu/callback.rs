//! The callbacks of a vCPU: where events, guest system calls and failed segment loads enter the guest kernel (pv-abi 5.6).

use hypercall_abi::errno::Errno;

use super::context::{is_canonical, vector};
use super::state::{TrapGate, VcpuState};

/// Flag of a registration: mask events on entry.
pub const MASK_EVENTS: u16 = 1;

/// One callback; address 0 means none.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Callback {
    /// Where it enters; canonical.
    pub address: u64,
    /// Whether entry masks events.
    pub masks_events: bool,
}

impl Callback {
    const NONE: Self = Self {
        address: 0,
        masks_events: false,
    };
}

/// All callbacks of a vCPU but the NMI's, which is entry 2 of the trap table.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Callbacks {
    /// Upcalls; entry always masks events.
    pub event: u64,
    /// A segment register could not be loaded at a vCPU switch.
    pub failsafe: Callback,
    /// `syscall` of 64-bit user code.
    pub syscall: Callback,
    /// `sysenter`.
    pub sysenter: Callback,
    /// `syscall` of 32-bit code.
    pub syscall32: Callback,
}

impl Callbacks {
    /// None registered.
    #[must_use]
    pub const fn new() -> Self {
        Self {
            event: 0,
            failsafe: Callback::NONE,
            syscall: Callback::NONE,
            sysenter: Callback::NONE,
            syscall32: Callback::NONE,
        }
    }
}

const EVENT: u16 = 0;
const FAILSAFE: u16 = 1;
const SYSCALL: u16 = 2;
const NMI: u16 = 4;
const SYSENTER: u16 = 5;
const SYSCALL32: u16 = 7;

/// `CALLBACKOP_register`.
///
/// # Errors
/// `EINVAL` for an address that is not canonical, `ENOSYS` for an unknown type, in this order.
pub fn register(state: &mut VcpuState, kind: u16, flags: u16, address: u64) -> Result<(), Errno> {
    if !is_canonical(address) {
        return Err(Errno::EINVAL);
    }
    let callback = Callback {
        address,
        masks_events: flags & MASK_EVENTS != 0,
    };
    match kind {
        EVENT => state.callbacks.event = address,
        FAILSAFE => state.callbacks.failsafe = callback,
        SYSCALL => state.callbacks.syscall = callback,
        SYSENTER => state.callbacks.sysenter = callback,
        SYSCALL32 => state.callbacks.syscall32 = callback,
        NMI => set_nmi(state, address),
        _ => return Err(Errno::ENOSYS),
    }
    Ok(())
}

/// `CALLBACKOP_unregister`.
///
/// # Errors
/// `EINVAL` for the types that cannot be unregistered, `ENOSYS` for unknown ones.
pub fn unregister(state: &mut VcpuState, kind: u16) -> Result<(), Errno> {
    match kind {
        NMI => {
            set_nmi(state, 0);
            Ok(())
        }
        EVENT | FAILSAFE | SYSCALL | SYSENTER | SYSCALL32 => Err(Errno::EINVAL),
        _ => Err(Errno::ENOSYS),
    }
}

/// `set_callbacks`: three addresses at once, mask flags cleared. One that is not canonical leaves its callback as it was.
pub fn set_three(state: &mut VcpuState, event: u64, failsafe: u64, syscall: u64) {
    if is_canonical(event) {
        state.callbacks.event = event;
    }
    if is_canonical(failsafe) {
        state.callbacks.failsafe = Callback {
            address: failsafe,
            masks_events: false,
        };
    }
    if is_canonical(syscall) {
        state.callbacks.syscall = Callback {
            address: syscall,
            masks_events: false,
        };
    }
}

/// The NMI's callback: entry 2 of the trap table, always masking events.
pub fn set_nmi(state: &mut VcpuState, address: u64) {
    if let Some(gate) = state.traps.get_mut(usize::from(vector::NMI)) {
        *gate = TrapGate {
            address,
            cs: 0xe033,
            dpl: 0,
            masks_events: true,
        };
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_address_is_checked_before_the_type() {
        let mut state = VcpuState::new();
        assert_eq!(register(&mut state, 99, 0, 1 << 47), Err(Errno::EINVAL));
        assert_eq!(register(&mut state, 3, 0, 0), Err(Errno::ENOSYS));
        assert_eq!(register(&mut state, 6, 0, 0), Err(Errno::ENOSYS));
        assert_eq!(unregister(&mut state, 3), Err(Errno::ENOSYS));
        assert_eq!(unregister(&mut state, 0), Err(Errno::EINVAL));
        assert_eq!(unregister(&mut state, 4), Ok(()));
    }

    #[test]
    fn set_callbacks_clears_the_mask_flags() {
        let mut state = VcpuState::new();
        assert_eq!(register(&mut state, SYSCALL, MASK_EVENTS, 0x1000), Ok(()));
        assert!(state.callbacks.syscall.masks_events);
        set_three(&mut state, 0x10, 1 << 47, 0x30);
        assert_eq!(state.callbacks.event, 0x10);
        assert_eq!(state.callbacks.failsafe.address, 0);
        assert_eq!(
            state.callbacks.syscall,
            Callback {
                address: 0x30,
                masks_events: false
            }
        );
    }

    #[test]
    fn the_nmi_callback_is_trap_entry_two() {
        let mut state = VcpuState::new();
        assert_eq!(register(&mut state, NMI, 0, 0x2000), Ok(()));
        assert_eq!(state.gate(2).address, 0x2000);
        assert!(state.gate(2).masks_events);
    }
}
