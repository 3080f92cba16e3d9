//! The policy's objects: the one hypervisor, and what each CPU keeps of it.

use crate::cpu::percpu;
use crate::entry::frame;
use crate::machine::Hardware;
use alloc::boxed::Box;
use hypervisor_core::{Cpu, Entry, Hypervisor, Interrupt, Next};
use spin::Once;

static HYPERVISOR: Once<Hypervisor<Hardware>> = Once::new();

/// Makes this the hypervisor; the CPUs that wait for it go on.
pub(crate) fn install(hypervisor: Hypervisor<Hardware>) -> &'static Hypervisor<Hardware> {
    HYPERVISOR.call_once(|| hypervisor)
}

/// One CPU's part of the policy.
#[derive(Debug)]
pub(crate) struct Policy {
    cpu: Cpu<Hardware>,
    hypervisor: &'static Hypervisor<Hardware>,
}

impl Policy {
    /// Tells that the guest has made a 64-bit `syscall`, and gives what this CPU is to do.
    pub(crate) fn syscall(&mut self) -> Next {
        self.cpu.syscall(self.hypervisor)
    }

    /// Tells of an exception of the guest, and gives what this CPU is to do.
    pub(crate) fn exception(&mut self, vector: u8, error: u32, cr2: u64) -> Next {
        self.cpu.exception(self.hypervisor, vector, error, cr2)
    }

    /// Asks for the version on behalf of the guest; `None` if that is not all there is to do.
    pub(crate) fn version(&mut self) -> Option<u64> {
        self.cpu.version(self.hypervisor)
    }

    /// Does a step of what is to be done while nothing runs here; false if the CPU may halt.
    pub(crate) fn spare_step(&mut self) -> bool {
        self.cpu.spare_step(self.hypervisor)
    }

    /// Tells what has happened on this CPU, and gives what it is to do.
    pub(crate) fn enter(&mut self, entry: Entry) -> Next {
        self.cpu.enter(self.hypervisor, entry)
    }
}

/// Waits for the hypervisor and runs what it says, for ever.
pub(crate) fn run() -> ! {
    let hypervisor = loop {
        match HYPERVISOR.get() {
            Some(hypervisor) => break hypervisor,
            None => core::hint::spin_loop(),
        }
    };
    let local = percpu::local();
    let cpu = Cpu::new(local.id());
    local.set_policy(Box::new(Policy { cpu, hypervisor }));
    frame::begin(Entry::Interrupt(Interrupt::Kick))
}
