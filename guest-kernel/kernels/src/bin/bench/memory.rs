//! Memory of the machine as the hypervisor counts it, by the question that this hypervisor has for that.

use guest_kernel::hypercall::{hypercall, manage};
use guest_kernel::println;
use guest_kernel::start::Boot;
use hypercall_abi::number::SYSCTL;

/// Xen's `XEN_SYSCTL_physinfo`, in the version of its interface that 4.17 has (`public/sysctl.h`).
const PHYSINFO: u32 = 3;
const INTERFACE: u32 = 0x15;

/// The question and its answer: the command's words, eight numbers, two that pad, then counts of pages.
#[repr(C)]
struct Question {
    command: u32,
    interface: u32,
    numbers: [u32; 10],
    total_pages: u64,
    free_pages: u64,
    rest: [u64; 16],
}

/// Prints `memory KEPT FREE`, in frames: what the hypervisor keeps for itself, what is free.
pub(crate) fn report(boot: &Boot) {
    if let Ok(host) = manage::host_info() {
        println!("memory {} {}", host.hypervisor_frames, host.free_frames);
        return;
    }
    let mut question = Question {
        command: PHYSINFO,
        interface: INTERFACE,
        numbers: [0; 10],
        total_pages: 0,
        free_pages: 0,
        rest: [0; 16],
    };
    let address = core::ptr::from_mut(&mut question).addr() as u64;
    // SAFETY: the question is as large as the largest structure of this call.
    if unsafe { hypercall(u64::from(SYSCTL), [address, 0, 0, 0, 0]) }.is_ok() {
        let kept = question
            .total_pages
            .saturating_sub(question.free_pages)
            .saturating_sub(boot.pages());
        println!("memory {kept} {}", question.free_pages);
    }
}
