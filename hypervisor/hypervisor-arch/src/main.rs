//! Paravane's machine code: everything of the hypervisor that is not policy.
//!
//! Boots the machine, owns its tables, CPUs and clocks, and carries guests in and out of the hypervisor. What to do
//! with a guest is decided in `hypervisor-core`, which reaches this crate through its trait `Machine` only.
//!
//! - [`boot`]: once, from the boot loader to the first domain.
//! - [`mem`]: our page tables, heap, pool of guest frames, access to guest memory.
//! - [`cpu`]: what each CPU has: descriptor tables, registers, APIC, FPU.
//! - [`entry`]: the way in from a guest and out to it.
#![no_std]
#![no_main]

extern crate alloc;

mod acpi;
mod boot;
mod cpu;
mod entry;
mod logger;
mod mem;
mod panic;
mod power;
mod tsc;
mod uart;
