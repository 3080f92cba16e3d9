//! From the hypervisor's first instruction to the kernel's `main`.
//!
//! The order matters and is all in [`boot`]: identity of the vCPU, copy of start_info, trap table, direct map, heap,
//! shared page, events, console, clock. Only then does Rust code with heap and locks run as anywhere else.

mod info;
#[cfg(target_os = "none")]
mod notes;

use core::arch::global_asm;
use core::sync::atomic::{AtomicU64, Ordering};

pub use info::{Boot, boot_info};

use crate::hypercall::time_stamp;
use crate::smp::{self, VcpuId};
use crate::{console, event, paging, shutdown, task, timer, trap};

/// Bytes of each vCPU's kernel stack.
pub(crate) const STACK_SIZE: usize = 64 * 1024;

/// Memory of the boot stack; the entry code takes its address.
#[repr(C, align(4096))]
struct Stack([u8; STACK_SIZE]);

static mut BOOT_STACK: Stack = Stack([0; STACK_SIZE]);

/// The time-stamp counter at [`boot`].
static BORN: AtomicU64 = AtomicU64::new(0);

global_asm!(
    include_str!("entry.s"),
    boot_stack = sym BOOT_STACK,
    stack_size = const STACK_SIZE,
    boot = sym boot,
    secondary = sym secondary,
);

unsafe extern "C" {
    /// First instruction of a vCPU other than 0 (`entry.s`).
    fn guest_kernel_start_secondary();
}

unsafe extern "Rust" {
    /// The kernel's `main`, defined by [`entry!`](crate::entry).
    safe fn guest_kernel_main(boot: &'static Boot);
}

/// Names the kernel's first function: `fn main(boot: &'static Boot)`.
#[macro_export]
macro_rules! entry {
    ($main:path) => {
        #[expect(unsafe_code, reason = "the library finds the function by this name")]
        #[unsafe(no_mangle)]
        fn guest_kernel_main(boot: &'static $crate::start::Boot) {
            $main(boot);
        }
    };
}

/// What the time-stamp counter was when the kernel's first Rust code ran.
#[must_use]
pub fn born() -> u64 {
    BORN.load(Ordering::Relaxed)
}

/// Address of the first instruction of vCPUs other than 0.
pub(crate) fn secondary_entry() -> usize {
    (guest_kernel_start_secondary as *const ()).addr()
}

/// First Rust code of vCPU 0. `start_info` is the address that the loader gave.
extern "C" fn boot(start_info: usize) -> ! {
    BORN.store(time_stamp(), Ordering::Relaxed);
    smp::adopt(VcpuId::BOOT);
    // SAFETY: RSI at the first instruction is the address of start_info, mapped by the loader, and nobody else's.
    let boot = unsafe { info::remember(start_info) };
    trap::install();
    if let Err(error) = paging::init(boot) {
        console::early(format_args!("paging: {error}\n"));
        shutdown::crash();
    }
    event::init();
    console::init(boot);
    if let Err(error) = smp::init_boot_vcpu() {
        log::error!("vCPU 0 cannot be woken by others: {}", error.name());
    }
    timer::init_here();
    guest_kernel_main(boot);
    task::run()
}

/// First Rust code of another vCPU.
extern "C" fn secondary(number: usize) -> ! {
    let Some(vcpu) = VcpuId::new(number) else {
        shutdown::crash()
    };
    smp::adopt(vcpu);
    smp::secondary();
    timer::init_here();
    task::run()
}
