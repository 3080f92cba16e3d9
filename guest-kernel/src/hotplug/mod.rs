//! vCPU plug and unplug: brings each vCPU to what `cpu/<n>/availability` says.

use alloc::format;
use alloc::vec::Vec;

use crate::println;
use crate::smp::{self, State, VcpuId};
use crate::xenstore::{Store, StoreError};

/// Brings up every vCPU that the domain may have: for a first domain, which no manager tells what it wants.
pub async fn start_all() {
    for vcpu in smp::possible().skip(1).collect::<Vec<_>>() {
        change(vcpu, true).await;
    }
}

/// Runs the driver for ever; returns only if the store fails. `changed` is called after each change.
///
/// # Errors
/// What the store answers.
pub async fn run(store: Store, changed: impl Fn()) -> Result<(), StoreError> {
    let mut watch = store.watch("cpu").await?;
    loop {
        watch.next().await?;
        for vcpu in smp::possible().skip(1).collect::<Vec<_>>() {
            let Some(online) = wanted(&store, vcpu).await? else {
                continue;
            };
            if online != (smp::state(vcpu) == State::Online) {
                change(vcpu, online).await;
                changed();
            }
        }
    }
}

/// What the store wants of a vCPU; nothing if it does not say.
async fn wanted(store: &Store, vcpu: VcpuId) -> Result<Option<bool>, StoreError> {
    match store
        .read(&format!("cpu/{}/availability", vcpu.number()))
        .await
    {
        Ok(value) => Ok(match value.as_slice() {
            b"online" => Some(true),
            b"offline" => Some(false),
            _ => None,
        }),
        Err(StoreError::NotFound) => Ok(None),
        Err(error) => Err(error),
    }
}

async fn change(vcpu: VcpuId, online: bool) {
    let done = if online {
        smp::up(vcpu).await
    } else {
        smp::down(vcpu).await
    };
    let word = if online { "online" } else { "offline" };
    match done {
        Ok(()) => println!("cpu {} {word}", vcpu.number()),
        Err(error) => println!("cpu {} not {word}: {error}", vcpu.number()),
    }
}
