//! Rows of calls, exceptions and emulated instructions: nothing but registers changes.

use core::arch::asm;
use core::sync::atomic::{AtomicBool, Ordering};

use guest_kernel::hypercall::{console, cpuid, hypercall, sched};
use guest_kernel::paging::{AREA_BASE, AREA_SIZE};
use guest_kernel::smp::{self, VcpuId};
use guest_kernel::task;
use hypercall_abi::multicall::MulticallEntry;
use hypercall_abi::number::{MULTICALL, SET_TIMER_OP, XEN_VERSION};

use crate::entries;
use crate::measure::Meter;

/// An address that nothing is mapped at.
const UNMAPPED: usize = AREA_BASE + AREA_SIZE - 4096;
/// A number that no hypercall has.
const UNKNOWN: u64 = 63;
/// A time, in nanoseconds, that no run reaches.
const NEVER: u64 = 1 << 60;
/// The extended feature enable register, which every kernel reads.
const EFER: u32 = 0xc000_0080;
/// What the console row writes.
const LINE: &[u8; 64] = b"0123456789abcdefghijklmnopqrstuvwxyzABCDEFGHIJKLMNOPQRSTUVWXYZ.\n";

static DONE: AtomicBool = AtomicBool::new(false);

/// A call that changes nothing behind Rust's back.
fn call(number: u64, arguments: [u64; 5]) {
    // SAFETY: used for calls that answer, or set this vCPU's timer.
    let _answer = unsafe { hypercall(number, arguments) };
}

/// Two vCPUs that do nothing but yield to each other: each round is both's turn.
pub(crate) async fn two_vcpus(meter: Meter) {
    let Some(second) = VcpuId::new(1) else { return };
    if smp::up(second).await.is_err() {
        return;
    }
    task::spawn_on(second, async {
        while !DONE.load(Ordering::Relaxed) {
            sched::yield_now();
        }
    });
    // Both are at it from the second round on.
    for _ in 0..8 {
        sched::yield_now();
    }
    meter.measure("yield between two vCPUs", 2, sched::yield_now);
    DONE.store(true, Ordering::Relaxed);
    // A vCPU that has left cannot take a round from the rows that follow.
    if smp::down(second).await.is_err() {
        guest_kernels::error(format_args!("the second vCPU does not leave"));
    }
}

pub(crate) fn measure(meter: Meter) {
    meter.measure("null hypercall", 1, || {
        call(u64::from(XEN_VERSION), [0; 5]);
    });
    meter.measure("unknown hypercall", 1, || call(UNKNOWN, [0; 5]));
    let mut list = [const {
        MulticallEntry {
            op: XEN_VERSION as u64,
            result: 0,
            args: [0; 6],
        }
    }; 32];
    let address = list.as_mut_ptr().addr() as u64;
    meter.measure("multicall of 32", 1, || {
        call(u64::from(MULTICALL), [address, 32, 0, 0, 0]);
    });
    meter.measure("yield alone", 1, sched::yield_now);
    meter.measure("set timer", 1, || {
        call(u64::from(SET_TIMER_OP), [NEVER, 0, 0, 0, 0]);
    });
    call(u64::from(SET_TIMER_OP), [0; 5]);
    meter.measure("console write of 64 bytes", 1, || {
        let _written = console::write(LINE);
    });
    emulated(meter);
    if entries::take_exceptions().is_ok() {
        exceptions(meter);
    }
}

fn emulated(meter: Meter) {
    meter.measure("emulated CPUID", 1, || {
        core::hint::black_box(cpuid(1, 0));
    });
    meter.measure("emulated RDMSR", 1, || {
        // SAFETY: the hypervisor emulates the read, which changes EDX:EAX only.
        unsafe {
            asm!("rdmsr", in("ecx") EFER, out("eax") _, out("edx") _, options(nomem, nostack));
        }
    });
    meter.measure("emulated CR read", 1, || {
        // SAFETY: the hypervisor emulates the read, which changes RAX only.
        unsafe { asm!("mov rax, cr0", out("rax") _, options(nomem, nostack)) };
    });
}

fn exceptions(meter: Meter) {
    meter.measure("exception to guest and back (#UD)", 1, || {
        // SAFETY: the entry skips the two bytes.
        unsafe { asm!("ud2", options(nomem)) };
    });
    meter.measure("exception to guest and back (#PF)", 1, || {
        // SAFETY: nothing is mapped there; the entry skips the two bytes of the load.
        unsafe { asm!(".byte 0x8a, 0x07", in("rdi") UNMAPPED, out("al") _) };
    });
}
