//! `physdev_op`: I/O privilege (pv-abi 8.7). Devices and their interrupts are hypercall 56's.

use hypercall_abi::Errno;
use hypercall_abi::table::prelude::*;

use crate::caller::{Caller, is_guest_range};
use crate::machine::Machine;
use crate::operations::operations;

hypercall_abi::for_each_physdev_operation!(operations);

/// All ports there are, and the bytes of their bitmap.
const PORTS: u32 = 65536;
const BITMAP: usize = 8192;

fn set_iopl<M: Machine>(
    caller: &mut Caller<'_, M>,
    argument: In<PhysdevSetIopl>,
) -> Result<(), Errno> {
    let wanted = caller.copy_in(argument.0)?.iopl;
    let iopl = u8::try_from(wanted)
        .ok()
        .filter(|&iopl| iopl <= 3)
        .ok_or(Errno::EINVAL)?;
    caller.state.iopl = iopl;
    Ok(())
}

fn set_iobitmap<M: Machine>(
    caller: &mut Caller<'_, M>,
    argument: In<PhysdevSetIobitmap>,
) -> Result<(), Errno> {
    let wanted = caller.copy_in(argument.0)?;
    if wanted.nr_ports > PORTS || !is_guest_range(wanted.bitmap.address(), BITMAP) {
        return Err(Errno::EINVAL);
    }
    caller.state.io_bitmap = (wanted.bitmap.address(), wanted.nr_ports);
    Ok(())
}
