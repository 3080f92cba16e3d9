//! What upcalls leave for the task that serves everything: hints where to look, each kept once.

use alloc::collections::BTreeSet;
use alloc::sync::Arc;
use core::mem;

use dom0_services::control::LocalPort;
use guest_kernel::event::{self, Port, Signal};
use guest_kernel::hypercall::Errno;
use guest_kernel::smp::VcpuId;
use guest_kernel::sync::Lock;
use hypercall_abi::event::{VIRQ_CON_RING, VIRQ_DOM_EXC};

/// Hints that have come since the last look.
#[derive(Debug, Default)]
pub(crate) struct Hints {
    /// Ports of rings.
    pub(crate) ports: BTreeSet<LocalPort>,
    /// A domain has ended.
    pub(crate) domain: bool,
}

/// The inbox; its signal wakes the task.
#[derive(Debug)]
pub(crate) struct Inbox {
    hints: Lock<Hints>,
    signal: Signal,
}

impl Inbox {
    pub(crate) fn new() -> Self {
        Self {
            hints: Lock::new(Hints::default()),
            signal: Signal::new(),
        }
    }

    /// Takes the hypervisor's news in: domains that end, and its log, which nobody is told of but by a look.
    pub(crate) fn listen(self: &Arc<Self>) -> Result<(), Errno> {
        let inbox = Arc::clone(self);
        keep(VIRQ_DOM_EXC, move || {
            inbox.hints.lock().domain = true;
            inbox.signal.set();
        })?;
        let inbox = Arc::clone(self);
        keep(VIRQ_CON_RING, move || inbox.signal.set())
    }

    /// Notes each event of a ring's port, and closes the port until the gate opens it again: however many events a guest
    /// sends, there is one upcall for each look at its ring.
    pub(crate) fn watch(self: &Arc<Self>, port: &Port) -> Result<(), Errno> {
        let inbox = Arc::clone(self);
        let raw = port.number();
        let local = LocalPort(raw.0);
        port.set_handler(move || {
            event::mask_port(raw);
            inbox.hints.lock().ports.insert(local);
            inbox.signal.set();
        })
    }

    /// Wakes the task without a hint: it looks at its queues whenever it wakes.
    pub(crate) fn wake(&self) {
        self.signal.set();
    }

    /// Takes all hints.
    pub(crate) fn take(&self) -> Hints {
        mem::take(&mut *self.hints.lock())
    }

    /// Waits until something has come.
    pub(crate) async fn wait(&self) {
        self.signal.wait().await;
    }
}

/// Binds a virtual interrupt for as long as dom0 lives.
fn keep(virq: u32, handler: impl Fn() + Send + Sync + 'static) -> Result<(), Errno> {
    let port = Port::bind_virq(virq, VcpuId::BOOT)?;
    port.set_handler(handler)?;
    mem::forget(port);
    Ok(())
}
