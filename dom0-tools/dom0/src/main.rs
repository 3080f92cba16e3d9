//! dom0: the domain that makes and serves all others.
//!
//! The services themselves are in `dom0-services`, pure and tested on the host. Here they are joined to the machine:
//!
//! * `machine`: hypercalls, ring pages and ports, as the services ask for them;
//! * `inbox`: what upcalls leave for the one task that serves everything;
//! * `gate`: how often a domain's events are listened to;
//! * `device`: the virtio console that carries the control channel;
//! * `serve`: that task, which sleeps until there is something in the inbox or a time has come.
#![no_std]
#![no_main]
#![deny(unsafe_code)]

extern crate alloc;

mod bundle;
#[expect(unsafe_code, reason = "memory that a device reads and writes")]
mod device;
mod gate;
mod inbox;
mod machine;
mod page;
mod serve;

use alloc::sync::Arc;

use dom0_services::control::{Manager, Setup};
use guest_kernel::start::Boot;
use guest_kernel::{hypercall, shutdown, task};
use hypercall_abi::RawDomId;
use hypercall_abi::control::audit::BREACH_PLANT;

use device::Channel;
use inbox::Inbox;
use machine::Machine;

guest_kernel::entry!(main);

/// dom0's share of CPU time: eight times that of an ordinary domain, so that it answers whatever they do.
const WEIGHT: u32 = 2048;
/// Uploaded files may take this part of dom0's memory: one in so many.
const STORE_PART: u64 = 2;
/// The word of the command line that names an invariant to be broken.
const BREACH_WORD: &str = "breach=";
/// Bytes of a page.
const PAGE_BYTES: u64 = 4096;

fn main(boot: &'static Boot) {
    if let Err(why) = start(boot) {
        log::error!("dom0 cannot start: {why}");
        shutdown::crash();
    }
}

/// Finds what there is and spawns the one task that serves it.
fn start(boot: &'static Boot) -> Result<(), &'static str> {
    if !boot.is_first_domain() {
        return Err("this domain is not the first one");
    }
    keep_cpu_time();
    let inbox = Arc::new(Inbox::new());
    inbox
        .listen()
        .map_err(|_| "no ports for the hypervisor's news")?;
    let setup = Setup {
        demo: bundle::demo(boot).unwrap_or_default(),
        store_bytes: usize::try_from(boot.pages() * PAGE_BYTES / STORE_PART).unwrap_or(usize::MAX),
        version: env!("CARGO_PKG_VERSION"),
    };
    if setup.demo.is_empty() {
        log::warn!("no demo kernel in the ramdisk: every domain needs a kernel of its own");
    }
    let channel = Channel::open(Arc::clone(&inbox)).map_err(|error| {
        log::error!("control channel: {error}");
        "there is no control channel"
    })?;
    let manager = Manager::new(Machine::new(Arc::clone(&inbox)), setup);
    log::info!(
        "dom0 {}: {} MiB, serving",
        env!("CARGO_PKG_VERSION"),
        (boot.pages() * PAGE_BYTES) >> 20
    );
    break_invariant(boot.command_line());
    task::spawn(serve::run(manager, channel, inbox));
    Ok(())
}

/// Has a hypervisor that was built for it break an invariant, so that a test sees what `dom0ctl audit` tells of it.
fn break_invariant(command_line: &str) {
    let mut words = command_line.split_whitespace();
    let wanted = words.find_map(|word| word.strip_prefix(BREACH_WORD)?.parse().ok());
    if let Some(invariant) = wanted {
        match hypercall::manage::audit_breach(invariant, BREACH_PLANT, 0) {
            Ok(place) => log::warn!("invariant {invariant} is broken at {place:#x}, as asked"),
            Err(error) => log::error!("invariant {invariant} stays whole: {}", error.name()),
        }
    }
}

/// Raises dom0's weight. Without it dom0 works, but shares like any other.
fn keep_cpu_time() {
    let set = hypercall::manage::sched_get(RawDomId::DOM0).and_then(|now| {
        hypercall::manage::sched_set(RawDomId::DOM0, WEIGHT, now.cap_percent, now.affinity)
    });
    if let Err(error) = set {
        log::warn!("dom0's share of CPU time stays as it is: {}", error.name());
    }
}
