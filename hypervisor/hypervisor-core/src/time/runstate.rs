//! Runstates as guests see them (pv-abi 7.1.3).

use core::mem::offset_of;

use hypercall_abi::time::{VcpuRunstateInfo, XEN_RUNSTATE_UPDATE};
use zerocopy::IntoBytes;

use crate::caller::is_guest_range;
use crate::domain::{Assist, Domain};
use crate::hypervisor::Hypervisor;
use crate::machine::Machine;
use crate::sync::{Held, Ordering, fence};
use crate::vcpu::shared::Vcpu;

/// A vCPU's record now.
pub fn record<M: Machine, const TOP: u8>(
    hv: &Hypervisor<M>,
    vcpu: &Vcpu,
    held: &mut Held<'_, TOP>,
) -> Option<VcpuRunstateInfo> {
    let now = hv.machine().now();
    let times = hv.scheduler.lock(held).0.runstate(vcpu.entity()?, now)?;
    Some(VcpuRunstateInfo {
        state: times.state.number().into(),
        pad0: 0,
        state_entry_time: times.since.get(),
        time: times.time,
    })
}

/// Writes the area that the guest registered, in the address space that is loaded. False where it cannot be written there.
pub fn update_area<M: Machine, const TOP: u8>(
    hv: &Hypervisor<M>,
    domain: &Domain,
    vcpu: &Vcpu,
    held: &mut Held<'_, TOP>,
) -> bool {
    let address = vcpu.runstate_area.load(Ordering::Acquire);
    if address == 0 || !is_guest_range(address, size_of::<VcpuRunstateInfo>()) {
        return true;
    }
    let Some(mut record) = record(hv, vcpu, held) else {
        return true;
    };
    let write = |address: u64, bytes: &[u8]| {
        fence(Ordering::Release);
        hv.machine().copy_out(address, bytes).is_ok()
    };
    if !domain.assists(Assist::RunstateUpdateFlag) {
        return write(address, record.as_bytes());
    }
    // Others may read it meanwhile: the top bit of the entry time says that it is being written.
    let offset = u64::try_from(offset_of!(VcpuRunstateInfo, state_entry_time)).unwrap_or(0);
    let entry_time = address.wrapping_add(offset);
    let settled = record.state_entry_time;
    record.state_entry_time = settled | XEN_RUNSTATE_UPDATE;
    write(entry_time, record.state_entry_time.as_bytes())
        && write(address, record.as_bytes())
        && write(entry_time, settled.as_bytes())
}
