//! The one task that serves everything: domains' rings, the control channel, the hypervisor's news.
//!
//! It does a bounded round of each, lets others run while there is more, and sleeps when there is none: until an upcall
//! has left something in the inbox or the time has come that the services named. Nothing is polled.

use alloc::sync::Arc;

use dom0_services::control::{Manager, Next};
use futures_util::future::{Either, select};
use guest_kernel::hypercall::sched::{self, ShutdownReason};
use guest_kernel::{task, timer};

use crate::device::Channel;
use crate::gate::Gate;
use crate::inbox::Inbox;
use crate::machine::Machine;

/// Serves for ever.
pub(crate) async fn run(mut manager: Manager<Machine>, mut channel: Channel, inbox: Arc<Inbox>) {
    let mut gate = Gate::default();
    loop {
        let hints = inbox.take();
        for port in &hints.ports {
            manager.port_event(*port);
        }
        if hints.domain {
            manager.domain_event();
        }
        channel.receive(|bytes| manager.receive(bytes));
        let mut next = manager.work();
        gate.served(&hints.ports, timer::now());
        if let Some(time) = gate.reopen(timer::now()) {
            next.by(time);
        }
        channel.send(|| manager.next_frame());
        manager.let_go();
        if manager.is_power_off_due() {
            log::info!("dom0: power off");
            sched::shutdown(ShutdownReason::PowerOff);
        }
        rest(next, &inbox).await;
    }
}

/// Waits for the next reason to look.
async fn rest(next: Next, inbox: &Inbox) {
    if next.again {
        task::yield_now().await;
        return;
    }
    let Some(deadline) = next.deadline else {
        inbox.wait().await;
        return;
    };
    let news = core::pin::pin!(inbox.wait());
    match select(news, timer::sleep_until(deadline)).await {
        Either::Left(_) | Either::Right(_) => {}
    }
}
