//! The commands of the console.

use guest_kernel::smp::{self, State};
use guest_kernel::timer::{self, SECOND};
use guest_kernel::{heap, hypercall, println, shutdown, sysrq};

use crate::{PAGE_KIB, heartbeat, stress};

const HELP: &str = "\
help                          this text
mem                           memory of the domain
cpus                          vCPUs of the domain
uptime                        time since the hypervisor started
gap start | stop | show       heartbeat: a 10 ms tick and an echo from user mode on every vCPU;
                              show tells the longest gap between two beats and begins a new window
stress cpu | mem [SECONDS]    compute on every vCPU, or fill the memory, with the heartbeat on
stress stop                   ends it early
suspend                       stops the domain until it is unpaused
crash                         ends the domain as crashed
exit                          ends the domain in order";

/// Keys that the manager may send.
pub(crate) const KEYS: [sysrq::Key; 3] = [
    ('m', "memory", memory),
    ('p', "processors", vcpus),
    ('t', "time", uptime),
];

/// Carries out one line.
pub(crate) fn run(line: &str) {
    let mut words = line.split_whitespace();
    let Some(command) = words.next() else { return };
    match (command, words.next(), words.next()) {
        ("help", None, None) => println!("{HELP}"),
        ("mem", None, None) => memory(),
        ("cpus", None, None) => vcpus(),
        ("uptime", None, None) => uptime(),
        ("gap", Some("start"), None) => heartbeat::start_by_hand(),
        ("gap", Some("stop"), None) => heartbeat::stop_by_hand(),
        ("gap", None | Some("show"), None) => heartbeat::show(),
        ("stress", Some("cpu"), seconds) => with_seconds(seconds, stress::compute),
        ("stress", Some("mem"), seconds) => with_seconds(seconds, stress::fill_memory),
        ("stress", Some("stop"), None) => stress::stop(),
        ("suspend", None, None) => suspend(),
        ("crash", None, None) => panic!("the console asked for a crash"),
        ("exit", None, None) => shutdown::power_off(),
        _ => println!("unknown command '{line}': try help"),
    }
}

/// Default length of a stress, in seconds.
const STRESS_SECONDS: u64 = 10;

fn with_seconds(word: Option<&str>, stress: fn(u64)) {
    match word.map_or(Ok(STRESS_SECONDS), str::parse) {
        Ok(seconds @ 1..=3600) => stress(seconds * SECOND),
        Ok(_) | Err(_) => println!("stress: give a number of seconds from 1 to 3600"),
    }
}

fn suspend() {
    match hypercall::sched::suspend() {
        Ok(()) => println!("suspend: it goes on"),
        Err(error) => println!("suspend: {}", error.name()),
    }
}

fn memory() {
    let total = hypercall::memory::current_reservation().unwrap_or(0) * PAGE_KIB;
    let maximum = hypercall::memory::maximum_reservation()
        .unwrap_or(0)
        .saturating_mul(PAGE_KIB);
    println!(
        "memory: {total} KiB of at most {maximum} KiB, {} KiB free",
        heap::free_bytes() / 1024
    );
}

fn vcpus() {
    for vcpu in smp::possible() {
        let state = match smp::state(vcpu) {
            State::Online => "online",
            State::Starting => "starting",
            State::Leaving => "leaving",
            State::Unused | State::Offline => "offline",
        };
        println!("cpu {}: {state}", vcpu.number());
    }
}

fn uptime() {
    let milliseconds = timer::now() / timer::MILLISECOND;
    println!(
        "uptime: {}.{:03} s",
        milliseconds / 1000,
        milliseconds % 1000
    );
}
