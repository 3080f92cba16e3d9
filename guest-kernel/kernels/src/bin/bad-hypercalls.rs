//! Rule tested: a hypercall that does not exist is `ENOSYS` with every register kept, and one with an address that is not
//! the caller's is `EFAULT` (or a documented other error), whatever the caller tries.
#![no_std]
#![no_main]

use core::arch::asm;

use guest_kernel::hypercall::{Errno, hypercall};
use guest_kernel::start::Boot;
use guest_kernels::{check, finish};
use hypercall_abi::number as call;

guest_kernel::entry!(main);

/// Numbers that no hypervisor of this ABI gives to a PV guest.
const UNKNOWN: &[u64] = &[
    11, 38, 43, 44, 45, 46, 47, 50, 51, 52, 53, 54, 55, 57, 58, 59, 60, 61, 62, 63, 64, 65, 127,
    128, 255, 4096,
];

/// Addresses that are no memory of this kernel: nothing mapped, the hypervisor, not canonical, the last bytes.
const BAD: &[u64] = &[
    0xffff_9008_0000_0000,
    0xffff_8300_0000_0000,
    0xffff_87ff_ffff_f000,
    0x0000_8000_0000_0000,
    0xffff_7fff_ffff_fff8,
    0xffff_ffff_ffff_fffc,
];

fn main(_: &'static Boot) {
    unknown_numbers();
    unknown_operations();
    bad_addresses();
    registers();
    bad_lists();
    finish()
}

fn issue(number: u64, arguments: [u64; 5]) -> Result<u64, Errno> {
    // SAFETY: every call of this kernel is one that is refused, or that changes nothing.
    unsafe { hypercall(number, arguments) }
}

fn unknown_numbers() {
    let answered = UNKNOWN
        .iter()
        .filter(|&&number| issue(number, [0; 5]) != Err(Errno::ENOSYS))
        .count();
    check!(
        answered == 0,
        "{} numbers that do not exist are ENOSYS",
        UNKNOWN.len()
    );
    for high in [1_u64 << 32, 1 << 63] {
        let number = high | u64::from(call::XEN_VERSION);
        check!(
            issue(number, [0; 5]) == Err(Errno::ENOSYS),
            "the number has 64 bits: {number:#x} is ENOSYS"
        );
    }
    check!(
        issue(u64::MAX, [u64::MAX; 5]) == Err(Errno::ENOSYS),
        "so is number -1"
    );
    let garbage = u64::from(call::XEN_VERSION);
    check!(
        issue(garbage, [0xdead_0000_0000, 0, 0, 0, 0]).is_ok(),
        "bits above a 32-bit argument are ignored"
    );
}

fn unknown_operations() {
    let calls = [
        (call::SCHED_OP, "sched_op"),
        (call::EVENT_CHANNEL_OP, "event_channel_op"),
        (call::MEMORY_OP, "memory_op"),
        (call::XEN_VERSION, "xen_version"),
        (call::VCPU_OP, "vcpu_op"),
        (call::CALLBACK_OP, "callback_op"),
        (call::PHYSDEV_OP, "physdev_op"),
    ];
    for (number, name) in calls {
        // 60 is no operation of any of them, and for memory_op below the bits of a continuation.
        let second = if number == call::VCPU_OP { 0 } else { BAD[0] };
        let result = issue(u64::from(number), [60, second, 0, 0, 0]);
        check!(
            result == Err(Errno::ENOSYS),
            "{name} 60 is ENOSYS ({result:?})"
        );
    }
    let result = issue(u64::from(call::VCPU_OP), [3, 100_000, 0, 0, 0]);
    check!(result == Err(Errno::ENOENT), "vCPU 100000 is ENOENT");
    let result = issue(u64::from(call::VM_ASSIST), [0, 60, 0, 0, 0]);
    check!(
        result == Err(Errno::EINVAL),
        "an assist that does not exist is EINVAL"
    );
    let result = issue(u64::from(call::SET_SEGMENT_BASE), [0, 1 << 62, 0, 0, 0]);
    check!(
        result == Err(Errno::EINVAL),
        "a segment base that is not canonical is EINVAL"
    );
}

/// Calls whose argument at this place is an address that they read first.
const READS: &[(u32, [u64; 2], usize, &str)] = &[
    (call::SET_TRAP_TABLE, [0, 0], 0, "set_trap_table"),
    (call::MMU_UPDATE, [0, 1], 0, "mmu_update"),
    (call::MMUEXT_OP, [0, 1], 0, "mmuext_op"),
    (call::SET_GDT, [0, 1], 0, "set_gdt"),
    (call::MULTICALL, [0, 1], 0, "multicall"),
    (call::XEN_VERSION, [6, 0], 1, "xen_version get_features"),
    (call::XEN_VERSION, [3, 0], 1, "xen_version capabilities"),
    (call::SCHED_OP, [3, 0], 1, "sched_op poll"),
    (call::SCHED_OP, [2, 0], 1, "sched_op shutdown"),
    (
        call::EVENT_CHANNEL_OP,
        [6, 0],
        1,
        "event_channel_op alloc_unbound",
    ),
    (call::EVENT_CHANNEL_OP, [4, 0], 1, "event_channel_op send"),
    (call::MEMORY_OP, [3, 0], 1, "memory_op current_reservation"),
    (call::MEMORY_OP, [9, 0], 1, "memory_op memory_map"),
    (call::CALLBACK_OP, [0, 0], 1, "callback_op register"),
    (call::PHYSDEV_OP, [6, 0], 1, "physdev_op set_iopl"),
];

fn bad_addresses() {
    for &(number, arguments, place, name) in READS {
        let wrong = BAD
            .iter()
            .filter(|&&address| {
                let mut all = [arguments[0], arguments[1], 0, 0x7ff0, 0];
                all[place] = address;
                issue(u64::from(number), all) != Err(Errno::EFAULT)
            })
            .count();
        check!(
            wrong == 0,
            "{name} with an address that is not ours is EFAULT"
        );
    }
    for operation in [0, 1, 6] {
        let counted = BAD.iter().filter(|&&address| {
            issue(u64::from(call::MEMORY_OP), [operation, address, 0, 0, 0]) != Ok(0)
        });
        check!(
            counted.count() == 0,
            "memory_op {operation} has done nothing then"
        );
    }
    let timer = issue(u64::from(call::VCPU_OP), [8, 0, BAD[1], 0, 0]);
    check!(timer == Err(Errno::EFAULT), "so is a timer's argument");
}

/// Registers that the call has no arguments in keep their values.
fn registers() {
    let (rbp, rbx, r9, r12, r13, r14, r15): (u64, u64, u64, u64, u64, u64, u64);
    // SAFETY: the number does not exist, so nothing changes but the result.
    unsafe {
        asm!(
            "push rbp", "push rbx",
            "mov rbp, 1", "mov rbx, 2", "mov r9, 3", "mov r12, 4", "mov r13, 5", "mov r14, 6", "mov r15, 7",
            "syscall",
            "mov rax, rbp", "mov rdx, rbx", "pop rbx", "pop rbp",
            inout("rax") 63_u64 => rbp, out("rdx") rbx, out("r9") r9, out("r12") r12, out("r13") r13,
            out("r14") r14, out("r15") r15, out("rcx") _, out("r11") _, out("rdi") _, out("rsi") _,
            out("r8") _, out("r10") _,
        );
    }
    check!(
        (rbp, rbx, r9, r12, r13, r14, r15) == (1, 2, 3, 4, 5, 6, 7),
        "registers without arguments are kept"
    );
}

fn bad_lists() {
    let list = [[0_u64; 2]; 2];
    let start = list.as_ptr().addr() as u64;
    let result = issue(u64::from(call::MMU_UPDATE), [start, 0, 0, 0x7ff0, 0]);
    check!(result == Ok(0), "an empty batch is done");
    let result = issue(u64::from(call::MMU_UPDATE), [start, 1, 0, 1234, 0]);
    check!(
        result == Err(Errno::ESRCH) || result == Err(Errno::EPERM),
        "frames of a domain that is not: {result:?}"
    );
    let wrapped = issue(
        u64::from(call::MMU_UPDATE),
        [0xffff_ffff_ffff_fff0, 0x7fff_ffff, 0, 0x7ff0, 0],
    );
    check!(
        wrapped.is_err(),
        "a list that wraps around is refused: {wrapped:?}"
    );
    let many = issue(u64::from(call::SET_GDT), [start, 7169, 0, 0, 0]);
    check!(
        many == Err(Errno::EINVAL),
        "a descriptor table that reaches the hypervisor's entries is EINVAL"
    );
    let grants = issue(u64::from(call::GRANT_TABLE_OP), [0, start, 1 << 31, 0, 0]);
    check!(
        grants == Err(Errno::EINVAL),
        "2^31 grant operations are EINVAL"
    );
}
