//! The demo kernel: a small guest to look at, to balloon and to give vCPUs, with a heartbeat that shows whether it
//! noticed.
//!
//! It follows what its manager writes into xenstore (memory, vCPUs, shutdown) and takes commands on its console. While
//! no command runs it sleeps: nothing in it polls.
#![no_std]
#![no_main]
#![deny(unsafe_code)]

extern crate alloc;

mod commands;
mod heartbeat;
mod stress;

use guest_kernel::console::{Edit, LineEditor};
use guest_kernel::start::Boot;
use guest_kernel::xenstore::{Store, StoreError};
use guest_kernel::{
    balloon, console, hotplug, hypercall, print, println, shutdown, smp, sysrq, task,
};

guest_kernel::entry!(main);

/// KiB of a page.
const PAGE_KIB: u64 = 4;

fn main(boot: &'static Boot) {
    let version = hypercall::version::version().unwrap_or(0);
    println!(
        "paravane demo: {} KiB, {} vcpus, ABI {}.{}",
        boot.pages() * PAGE_KIB,
        smp::possible().count(),
        version >> 16,
        version & 0xffff,
    );
    match Store::connect(boot) {
        Some(store) => follow_manager(boot, &store),
        None => task::spawn(async {
            hotplug::start_all().await;
            heartbeat::cover_vcpus();
        }),
    }
    task::spawn(prompt());
}

/// Starts the drivers that do what the manager writes into the store.
fn follow_manager(boot: &'static Boot, store: &Store) {
    let (memory, vcpus, control) = (store.clone(), store.clone(), store.clone());
    let keys = store.clone();
    task::spawn(async move { complain("balloon", balloon::run(boot, memory).await) });
    task::spawn(
        async move { complain("hotplug", hotplug::run(vcpus, heartbeat::cover_vcpus).await) },
    );
    task::spawn(async move { complain("shutdown", shutdown::run(control).await) });
    task::spawn(async move { complain("sysrq", sysrq::run(keys, &commands::KEYS).await) });
}

fn complain(driver: &str, result: Result<(), StoreError>) {
    if let Err(error) = result {
        println!("{driver}: stopped: {error}");
    }
}

/// Reads lines from the console and carries them out.
async fn prompt() {
    let mut editor = LineEditor::default();
    print!("demo> ");
    loop {
        match editor.input(console::read().await) {
            Edit::Nothing => {}
            Edit::Echo(text) => print!("{text}"),
            Edit::EchoTyped(character) => print!("{character}"),
            Edit::Line(line) => {
                println!();
                commands::run(&line);
                print!("demo> ");
            }
        }
    }
}
