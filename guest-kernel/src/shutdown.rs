//! The end of the domain: by its own wish, or because its manager asks.

use crate::hypercall::sched::{self, ShutdownReason};
use crate::println;
use crate::xenstore::{Store, StoreError};

/// Where the manager writes what it wants.
const REQUEST: &str = "control/shutdown";

/// Ends the domain in order.
pub fn power_off() -> ! {
    crate::console::flush();
    sched::shutdown(ShutdownReason::PowerOff)
}

/// Ends the domain in order and asks for a new start.
pub fn reboot() -> ! {
    crate::console::flush();
    sched::shutdown(ShutdownReason::Reboot)
}

/// Ends the domain as crashed.
pub fn crash() -> ! {
    sched::shutdown(ShutdownReason::Crash)
}

/// What a manager may ask for.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Request {
    PowerOff,
    Reboot,
}

impl Request {
    fn parse(text: &[u8]) -> Option<Self> {
        match text {
            b"poweroff" | b"halt" => Some(Self::PowerOff),
            b"reboot" => Some(Self::Reboot),
            _ => None,
        }
    }
}

/// Waits for the manager's request, acknowledges and carries it out; returns only if the store fails.
///
/// # Errors
/// What the store answers.
pub async fn run(store: Store) -> Result<(), StoreError> {
    for feature in ["control/feature-poweroff", "control/feature-reboot"] {
        // Only a note to managers; one that offers no such node does not want it.
        let _noted = store.write(feature, b"1").await;
    }
    let mut watch = store.watch(REQUEST).await?;
    loop {
        watch.next().await?;
        match store.take(REQUEST, Request::parse).await {
            Ok(None) | Err(StoreError::NotFound) => {}
            Ok(Some(Request::PowerOff)) => {
                println!("shutdown: power off");
                power_off()
            }
            Ok(Some(Request::Reboot)) => {
                println!("shutdown: reboot");
                reboot()
            }
            Err(error) => return Err(error),
        }
    }
}
