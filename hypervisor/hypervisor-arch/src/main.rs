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
#![expect(
    clippy::cast_possible_truncation,
    reason = "addresses fit usize on the one target there is; halves of registers are cut off on purpose"
)]

extern crate alloc;

mod acpi;
mod boot;
mod cpu;
mod entry;
mod logger;
mod machine;
mod mem;
mod msix;
mod panic;
mod pci;
mod pit;
mod policy;
mod power;
mod rtc;
mod symbols;
mod tsc;
mod uart;
