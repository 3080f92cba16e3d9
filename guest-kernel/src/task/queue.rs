//! Each vCPU's queue of tasks that can go on, and the interrupt that tells a sleeping vCPU of it.

use alloc::collections::VecDeque;
use alloc::sync::Arc;

use hypercall_abi::RawPort;
use spin::Once;

use super::Task;
use crate::event::Port;
use crate::hypercall::{self, Errno};
use crate::smp::{self, MAX_VCPUS, VcpuId};
use crate::sync::{Lock, PerVcpu};

static QUEUES: PerVcpu<Lock<VecDeque<Arc<Task>>>> =
    PerVcpu::new([const { Lock::new(VecDeque::new()) }; MAX_VCPUS]);

/// Ports by which other vCPUs interrupt each vCPU.
static KICKS: PerVcpu<Once<RawPort>> = PerVcpu::new([const { Once::new() }; MAX_VCPUS]);

/// Gives a vCPU the port by which others wake it, if it has none yet.
pub(crate) fn accept_kicks(vcpu: VcpuId) -> Result<(), Errno> {
    if KICKS.of(vcpu).is_completed() {
        return Ok(());
    }
    let port = Port::bind_ipi(vcpu)?;
    // Waking is all that the event does: the vCPU then looks at its queue.
    port.set_handler(|| {})?;
    KICKS.of(vcpu).call_once(|| port.number());
    core::mem::forget(port);
    Ok(())
}

/// Makes another vCPU look at its queue.
pub(crate) fn kick(vcpu: VcpuId) {
    if vcpu == smp::current() {
        return;
    }
    if let Some(&port) = KICKS.of(vcpu).get() {
        // A vCPU that is down looks when it comes up.
        let _sent = hypercall::event::send(port);
    }
}

pub(super) fn push(vcpu: VcpuId, task: Arc<Task>) {
    QUEUES.of(vcpu).lock().push_back(task);
    kick(vcpu);
}

pub(super) fn pop() -> Option<Arc<Task>> {
    QUEUES.here().lock().pop_front()
}

pub(super) fn is_empty() -> bool {
    QUEUES.here().lock().is_empty()
}
