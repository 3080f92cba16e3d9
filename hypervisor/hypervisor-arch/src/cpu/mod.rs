//! What each CPU has: features, descriptor tables, registers, local APIC, FPU, TLB requests.

pub(crate) mod apic;
pub(crate) mod context;
pub(crate) mod features;
pub(crate) mod fpu;
pub(crate) mod gdt;
pub(crate) mod idt;
pub(crate) mod msr;
pub(crate) mod own_root;
pub(crate) mod percpu;
pub(crate) mod speculation;
pub(crate) mod tlb;
