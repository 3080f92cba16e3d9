//! Rule tested: a kernel with the right notes is started with a valid start_info, a console and memory that it can use.
#![no_std]
#![no_main]
#![deny(unsafe_code)]

extern crate alloc;

use alloc::vec::Vec;

use guest_kernel::start::{Boot, born};
use guest_kernel::{heap, hypercall, println, timer};
use guest_kernels::{check, finish};

guest_kernel::entry!(main);

fn main(boot: &'static Boot) {
    println!(
        "hello: {} pages, command line '{}'",
        boot.pages(),
        boot.command_line()
    );
    if let Ok(states) = hypercall::vcpu::runstate(0) {
        let lived = states.time.iter().sum::<u64>();
        println!(
            "hello: began {} ns after its vCPU was made",
            lived.saturating_sub(timer::since(born()))
        );
    }
    let version = hypercall::version::version().unwrap_or(0);
    check!(
        version >> 16 == 4,
        "the hypervisor speaks version 4.x ({version:#x})"
    );
    check!(
        hypercall::version::features().is_ok(),
        "features can be asked"
    );
    let before = heap::free_bytes();
    check!(before > 4 << 20, "the heap has {} KiB", before / 1024);
    let mut numbers = Vec::new();
    check!(
        numbers.try_reserve(100_000).is_ok(),
        "a list of 100000 numbers fits"
    );
    numbers.extend(0..100_000_u64);
    check!(
        numbers.iter().sum::<u64>() == 4_999_950_000,
        "memory keeps what is written to it"
    );
    drop(numbers);
    check!(
        heap::free_bytes() == before,
        "what was freed can be had again"
    );
    finish()
}
