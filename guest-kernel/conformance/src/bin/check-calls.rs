//! How calls are made: numbers, arguments, registers, flags, addresses, unknown operations, refused calls, multicall.
#![no_std]
#![no_main]

use core::arch::asm;

use guest_conformance::errno::{EFAULT, EINVAL, ENOENT, ENOSYS, EOPNOTSUPP, EPERM};
use guest_conformance::fixture::{close, loop_port};
use guest_conformance::multicall::Entry;
use guest_conformance::{
    HYPERVISOR, NOT_CANONICAL, Role, SELF, UNMAPPED, address_of, call, call_with_registers, check,
    finish, note, role, seen, skip, start, unless_first,
};
use guest_kernel::start::Boot;
use hypercall_abi::number;
use hypercall_abi::version::{XEN_DOMCTL_INTERFACE_VERSION, XEN_SYSCTL_INTERFACE_VERSION};

guest_kernel::entry!(main);

/// Numbers that no hypervisor of this ABI gives to a PV guest.
const UNKNOWN: &[u64] = &[
    11, 38, 43, 44, 45, 46, 47, 50, 51, 52, 53, 54, 55, 57, 58, 59, 60, 61, 62, 63,
];

/// Addresses that are no memory of this kernel.
const BAD: &[u64] = &[
    UNMAPPED,
    HYPERVISOR,
    0xffff_87ff_ffff_f000,
    NOT_CANONICAL,
    0xffff_7fff_ffff_fff8,
    // Its end is behind that of all addresses.
    0xffff_ffff_ffff_fffc,
];

fn main(boot: &'static Boot) {
    start(boot);
    numbers();
    registers();
    addresses();
    operations();
    refused();
    unanswered();
    devices();
    multicall();
    finish()
}

/// The answers to several calls, if they are all alike.
fn all(answers: impl Iterator<Item = i64>) -> Result<i64, (usize, i64)> {
    let mut common = None;
    for (place, answer) in answers.enumerate() {
        if *common.get_or_insert(answer) != answer {
            return Err((place, answer));
        }
    }
    common.ok_or((0, 0))
}

fn numbers() {
    check("number.unassigned", Ok(ENOSYS), || {
        all(UNKNOWN.iter().map(|&number| call(number, &[])))
    });
    check("number.out-of-table", Ok(ENOSYS), || {
        all([64_u64, 65, 127, 128, 255, 4096]
            .into_iter()
            .map(|number| call(number, &[])))
    });
    check("number.has-64-bits", Ok(ENOSYS), || {
        all([1_u64 << 32 | 17, 1 << 63 | 17]
            .into_iter()
            .map(|number| call(number, &[0])))
    });
    check("number.minus-one", ENOSYS, || {
        call(u64::MAX, &[u64::MAX; 5])
    });
    check("argument.upper-half-ignored", 0x40011, || {
        call(number::XEN_VERSION, &[0xdead_0000_0000, 0])
    });
    check("argument.domain-has-16-bits", true, || {
        let domain = 0xdead_0000_0000_0000 | SELF;
        call(number::MEMORY_OP, &[3, address_of(&domain)]) > 0
    });
}

/// RFLAGS, CS and SS, right behind a call.
fn flags_after(set: u64) -> (u64, u64, u64) {
    let (flags, code, stack): (u64, u64, u64);
    // SAFETY: reads flags and selectors after a call that answers with a number; what was on the stack is taken off.
    unsafe {
        asm!(
            "push {set}", "popfq",
            "syscall",
            "pushfq", "pop {flags}", "mov {code:e}, cs", "mov {stack:e}, ss", "cld",
            set = in(reg) set, flags = out(reg) flags, code = lateout(reg) code, stack = lateout(reg) stack,
            inout("rax") 17_u64 => _, inout("rdi") 0_u64 => _, inout("rsi") 0_u64 => _,
            out("rcx") _, out("r11") _, out("rdx") _, out("r8") _, out("r10") _,
        );
    }
    (flags, code, stack)
}

fn registers() {
    check("register.rcx-is-return-address", true, || {
        let out = call_with_registers(number::XEN_VERSION, &[0]);
        out.rcx == out.behind && out.rcx != 0
    });
    check("register.r11-is-flags", 0x202, || {
        call_with_registers(number::XEN_VERSION, &[0]).r11 & 0x3202
    });
    check("flag.interrupts-read-enabled", 0x200, || {
        seen(flags_after(2).0) & 0x200
    });
    check("flag.privilege-level-reads-zero", 0, || {
        seen(flags_after(2).0) & 0x3000
    });
    check("flag.arithmetic-kept", 0x8d5, || {
        seen(flags_after(0x8d7).0) & 0x8d5
    });
    check("flag.direction-kept", 0x400, || {
        seen(flags_after(0x402).0) & 0x400
    });
    check("selector.code-after-call", 0xe033, || {
        seen(flags_after(2).1)
    });
    check("selector.stack-after-call", 0xe02b, || {
        seen(flags_after(2).2)
    });
    check("selector.data-null", [0; 4], || {
        let (ds, es, fs, gs): (u64, u64, u64, u64);
        // SAFETY: reads selectors.
        unsafe {
            asm!("mov {:e}, ds", "mov {:e}, es", "mov {:e}, fs", "mov {:e}, gs",
                out(reg) ds, out(reg) es, out(reg) fs, out(reg) gs, options(nomem, nostack));
        }
        seen([ds, es, fs, gs])
    });
    check("register.others-kept", [1, 2, 3, 4, 5, 6, 7], || {
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
        seen([rbp, rbx, r9, r12, r13, r14, r15])
    });
    check(
        "register.arguments-kept-by-unknown-call",
        [1, 2, 3, 4, 5],
        || {
            let (rdi, rsi, rdx, r10, r8): (u64, u64, u64, u64, u64);
            // SAFETY: the number does not exist, so nothing changes but the result.
            unsafe {
                asm!("syscall", inout("rax") 63_u64 => _, inout("rdi") 1_u64 => rdi, inout("rsi") 2_u64 => rsi,
                inout("rdx") 3_u64 => rdx, inout("r10") 4_u64 => r10, inout("r8") 5_u64 => r8,
                out("rcx") _, out("r11") _, options(nostack));
            }
            seen([rdi, rsi, rdx, r10, r8])
        },
    );
}

/// Calls that read memory first: number, first arguments, which of them is the address, name.
const READERS: &[(u32, [u64; 2], usize, &str)] = &[
    (number::SET_TRAP_TABLE, [0, 0], 0, "fault.set_trap_table"),
    (number::MMU_UPDATE, [0, 1], 0, "fault.mmu_update"),
    (number::MMUEXT_OP, [0, 1], 0, "fault.mmuext_op"),
    (number::SET_GDT, [0, 1], 0, "fault.set_gdt"),
    (number::MULTICALL, [0, 1], 0, "fault.multicall"),
    (number::SCHED_OP, [2, 0], 1, "fault.sched_op.shutdown"),
    (number::SCHED_OP, [3, 0], 1, "fault.sched_op.poll"),
    (
        number::SCHED_OP,
        [4, 0],
        1,
        "fault.sched_op.remote_shutdown",
    ),
    (number::SCHED_OP, [5, 0], 1, "fault.sched_op.shutdown_code"),
    (
        number::EVENT_CHANNEL_OP,
        [0, 0],
        1,
        "fault.event_channel_op.bind_interdomain",
    ),
    (
        number::EVENT_CHANNEL_OP,
        [1, 0],
        1,
        "fault.event_channel_op.bind_virq",
    ),
    (
        number::EVENT_CHANNEL_OP,
        [2, 0],
        1,
        "fault.event_channel_op.bind_pirq",
    ),
    (
        number::EVENT_CHANNEL_OP,
        [3, 0],
        1,
        "fault.event_channel_op.close",
    ),
    (
        number::EVENT_CHANNEL_OP,
        [4, 0],
        1,
        "fault.event_channel_op.send",
    ),
    (
        number::EVENT_CHANNEL_OP,
        [5, 0],
        1,
        "fault.event_channel_op.status",
    ),
    (
        number::EVENT_CHANNEL_OP,
        [6, 0],
        1,
        "fault.event_channel_op.alloc_unbound",
    ),
    (
        number::EVENT_CHANNEL_OP,
        [7, 0],
        1,
        "fault.event_channel_op.bind_ipi",
    ),
    (
        number::EVENT_CHANNEL_OP,
        [8, 0],
        1,
        "fault.event_channel_op.bind_vcpu",
    ),
    (
        number::EVENT_CHANNEL_OP,
        [9, 0],
        1,
        "fault.event_channel_op.unmask",
    ),
    (
        number::EVENT_CHANNEL_OP,
        [10, 0],
        1,
        "fault.event_channel_op.reset",
    ),
    (
        number::EVENT_CHANNEL_OP,
        [11, 0],
        1,
        "fault.event_channel_op.init_control",
    ),
    (
        number::EVENT_CHANNEL_OP,
        [12, 0],
        1,
        "fault.event_channel_op.expand_array",
    ),
    (
        number::EVENT_CHANNEL_OP,
        [13, 0],
        1,
        "fault.event_channel_op.set_priority",
    ),
    (
        number::MEMORY_OP,
        [3, 0],
        1,
        "fault.memory_op.current_reservation",
    ),
    (
        number::MEMORY_OP,
        [4, 0],
        1,
        "fault.memory_op.maximum_reservation",
    ),
    (
        number::MEMORY_OP,
        [7, 0],
        1,
        "fault.memory_op.add_to_physmap",
    ),
    (number::MEMORY_OP, [9, 0], 1, "fault.memory_op.memory_map"),
    (number::MEMORY_OP, [11, 0], 1, "fault.memory_op.exchange"),
    (
        number::MEMORY_OP,
        [12, 0],
        1,
        "fault.memory_op.machphys_mapping",
    ),
    (
        number::MEMORY_OP,
        [15, 0],
        1,
        "fault.memory_op.remove_from_physmap",
    ),
    (
        number::MEMORY_OP,
        [13, 0],
        1,
        "fault.memory_op.set_memory_map",
    ),
    (number::MEMORY_OP, [24, 0], 1, "fault.memory_op.claim_pages"),
    (
        number::MEMORY_OP,
        [26, 0],
        1,
        "fault.memory_op.get_vnumainfo",
    ),
    (
        number::MEMORY_OP,
        [28, 0],
        1,
        "fault.memory_op.acquire_resource",
    ),
    (number::CALLBACK_OP, [0, 0], 1, "fault.callback_op.register"),
    (
        number::CALLBACK_OP,
        [1, 0],
        1,
        "fault.callback_op.unregister",
    ),
    (number::NMI_OP, [0, 0], 1, "fault.nmi_op.register"),
    (number::PHYSDEV_OP, [6, 0], 1, "fault.physdev_op.set_iopl"),
    (
        number::PHYSDEV_OP,
        [7, 0],
        1,
        "fault.physdev_op.set_iobitmap",
    ),
];

fn addresses() {
    for &(number, arguments, place, name) in READERS {
        check(name, Ok(EFAULT), || {
            all(BAD.iter().map(|&address| {
                let mut with = [arguments[0], arguments[1], 0, SELF];
                with[place] = address;
                call(number, &with)
            }))
        });
    }
    for operation in [4, 5, 7, 8, 13] {
        // The first vCPU exists, and argument addresses are read after that is known.
        let name = match operation {
            4 => "fault.vcpu_op.get_runstate_info",
            5 => "fault.vcpu_op.register_runstate_memory_area",
            8 => "fault.vcpu_op.set_singleshot_timer",
            13 => "fault.vcpu_op.register_vcpu_time_memory_area",
            _ => continue,
        };
        check(name, Ok(EFAULT), || {
            all(BAD
                .iter()
                .map(|&address| call(number::VCPU_OP, &[operation, 0, address])))
        });
    }
    check("address.unaligned-is-fine", 4096, || {
        let pair = [0_u64; 2];
        let result = call(number::XEN_VERSION, &[6, address_of(&pair) + 3]);
        if result == 0 { 4096 } else { result }
    });
}

fn operations() {
    let unknown = [
        (number::SCHED_OP, [60, 0], ENOSYS, "unknown.sched_op"),
        (
            number::EVENT_CHANNEL_OP,
            [60, 0],
            ENOSYS,
            "unknown.event_channel_op",
        ),
        (number::MEMORY_OP, [60, 0], ENOSYS, "unknown.memory_op"),
        (number::XEN_VERSION, [60, 0], ENOSYS, "unknown.xen_version"),
        (number::VCPU_OP, [60, 0], ENOSYS, "unknown.vcpu_op"),
        (number::CALLBACK_OP, [60, 0], ENOSYS, "unknown.callback_op"),
        (number::NMI_OP, [60, 0], ENOSYS, "unknown.nmi_op"),
        (number::PHYSDEV_OP, [60, 0], ENOSYS, "unknown.physdev_op"),
        (
            number::GRANT_TABLE_OP,
            [60, 0],
            ENOSYS,
            "unknown.grant_table_op",
        ),
        (
            number::VM_ASSIST,
            [60, 0],
            ENOSYS,
            "unknown.vm_assist-command",
        ),
        (number::VM_ASSIST, [0, 60], EINVAL, "unknown.vm_assist-type"),
        (
            number::VM_ASSIST,
            [60, 60],
            EINVAL,
            "unknown.vm_assist-type-first",
        ),
        (
            number::VCPU_OP,
            [60, 100_000],
            ENOENT,
            "unknown.vcpu-before-operation",
        ),
        (
            number::SET_SEGMENT_BASE,
            [60, 0],
            EINVAL,
            "unknown.set_segment_base",
        ),
        (
            number::CONSOLE_IO,
            [60, 0],
            unless_first(ENOSYS, EPERM),
            "unknown.console_io",
        ),
    ];
    for (number, arguments, answer, name) in unknown {
        check(name, answer, || call(number, &arguments));
    }
    for (command, name) in [(14, "unknown.mmuext_op.14"), (21, "unknown.mmuext_op.21")] {
        check(name, ENOSYS, || {
            call(
                number::MMUEXT_OP,
                &[address_of(&[command, 0_u64, 0]), 1, 0, SELF],
            )
        });
    }
}

fn refused() {
    let zeros = [0_u64; 64];
    let argument = address_of(&zeros);
    let calls = [
        (
            number::SCHED_OP_COMPAT,
            [7, 0],
            ENOSYS,
            "refused.sched_op_compat",
        ),
        (
            number::KEXEC_OP,
            [60, 0],
            unless_first(0, EPERM),
            "refused.kexec_op",
        ),
        (
            number::XENPMU_OP,
            [0, argument],
            EOPNOTSUPP,
            "refused.xenpmu_op",
        ),
        (number::XSM_OP, [argument, 0], ENOSYS, "refused.xsm_op"),
        (39, [0, 0], ENOSYS, "refused.argo_op"),
        (49, [0, 0], EFAULT, "refused.paging_domctl"),
    ];
    for (number, arguments, answer, name) in calls {
        check(name, answer, || call(number, &arguments));
    }
    check("refused.platform_op", -13, || {
        call(number::PLATFORM_OP, &[argument])
    });
    check("refused.sysctl", -13, || call(number::SYSCTL, &[argument]));
    check("refused.domctl", -13, || call(number::DOMCTL, &[argument]));
    // The version is told first, so that it can be probed for; then comes the right.
    let tool = |number: u32, version: u32| {
        let mut structure = [0_u64; 32];
        structure[0] = u64::from(version) << 32;
        call(number, &[address_of(&structure)])
    };
    if role() == Role::Ordinary {
        check("refused.sysctl-right-version", EPERM, || {
            tool(number::SYSCTL, XEN_SYSCTL_INTERFACE_VERSION)
        });
        check("refused.domctl-right-version", EPERM, || {
            tool(number::DOMCTL, XEN_DOMCTL_INTERFACE_VERSION)
        });
        check("refused.mca", EPERM, || call(number::MCA, &[argument]));
    } else {
        skip("refused.sysctl-right-version", "the first domain may");
        skip("refused.domctl-right-version", "the first domain may");
        skip("refused.mca", "the first domain may");
    }
    check("refused.paravane_op", ENOSYS, || {
        call(56_u32, &[u64::MAX, 0])
    });
}

/// Calls that Xen answers and Paravane does not.
fn unanswered() {
    let words = [0_u64; 16];
    let at = address_of(&words);
    check("unanswered.sched_op_compat", 0, || call(6_u32, &[0, 0]));
    check("unanswered.event_channel_op_compat", 0, || {
        let port = loop_port();
        let place = [9 | u64::from(port) << 32, 0];
        let result = call(16_u32, &[address_of(&place)]);
        close(port);
        result
    });
    check("unanswered.physdev_op_compat", 0, || {
        let place = [6_u64, 1];
        call(19_u32, &[address_of(&place)])
    });
    check("unanswered.xenoprof_op", [EINVAL, EFAULT], || {
        [call(31_u32, &[100, 0]), call(31_u32, &[0, UNMAPPED])]
    });
    check("unanswered.hvm_op", [EFAULT, EINVAL], || {
        [call(34_u32, &[1, UNMAPPED]), call(34_u32, &[5, 0])]
    });
    check("unanswered.dm_op", -61, || call(41_u32, &[SELF, 0, at]));
    check("unanswered.hypfs_op", unless_first(EINVAL, EPERM), || {
        call(42_u32, &[0, UNMAPPED, 0, UNMAPPED, 0])
    });
    check("unanswered.tmem_op", -38, || call(38_u32, &[at]));
}

/// Interrupts and devices, for a domain that has none.
fn devices() {
    if role() == Role::First {
        for name in [
            "physdev.told-to-nobody",
            "physdev.of-the-first-domain",
            "physdev.of-no-interrupt",
            "physdev.end-of-interrupt-frame",
        ] {
            skip(name, "the first domain has the machine's devices");
        }
        return;
    }
    let words = [0_u64; 16];
    let at = address_of(&words);
    check("physdev.told-to-nobody", [0, 0], || {
        [4, 23].map(|command: u64| call(number::PHYSDEV_OP, &[command, at]))
    });
    check("physdev.of-the-first-domain", [EPERM; 12], || {
        [8, 9, 10, 15, 16, 21, 24, 25, 26, 29, 30, 31]
            .map(|command: u64| call(number::PHYSDEV_OP, &[command, at]))
    });
    check(
        "physdev.of-no-interrupt",
        [0, EINVAL, EPERM, EPERM, EPERM, EPERM],
        || [5, 12, 13, 14, 19, 27].map(|command: u64| call(number::PHYSDEV_OP, &[command, at])),
    );
    check("physdev.end-of-interrupt-frame", [EINVAL; 2], || {
        [17, 28]
            .map(|command: u64| call(number::PHYSDEV_OP, &[command, address_of(&0xff_ffff_u64)]))
    });
}

fn multicall() {
    let version = Entry::new(number::XEN_VERSION, &[]);
    check("multicall.empty", 0, || {
        call(number::MULTICALL, &[address_of(&version), 0])
    });
    check("multicall.results", (0, [0x40011, ENOSYS, 0x40011]), || {
        let list = [version, Entry::new(63, &[]), version];
        let result = call(number::MULTICALL, &[address_of(&list), 3]);
        (result, results(&list))
    });
    check(
        "multicall.count-has-32-bits",
        (0, [0x40011, 77, 77]),
        || {
            let list = [version; 3];
            let result = call(number::MULTICALL, &[address_of(&list), 1 << 32 | 1]);
            (result, results(&list))
        },
    );
    check("multicall.nested", (0, [EINVAL, 0x40011, 77]), || {
        let list = [Entry::new(number::MULTICALL, &[]), version, version];
        let result = call(number::MULTICALL, &[address_of(&list), 2]);
        (result, results(&list))
    });
    check(
        "multicall.number-has-64-bits",
        (0, [ENOSYS, 77, 77]),
        || {
            let mut list = [version; 3];
            list[0].number |= 1 << 32;
            let result = call(number::MULTICALL, &[address_of(&list), 1]);
            (result, results(&list))
        },
    );
    check("multicall.long-list", (0, 100), || {
        let list = [version; 100];
        let result = call(number::MULTICALL, &[address_of(&list), 100]);
        let done = list
            .iter()
            .filter(|entry| entry.result() == 0x40011)
            .count();
        (result, seen(done))
    });
    check("multicall.list-that-wraps", true, || {
        call(number::MULTICALL, &[0xffff_ffff_ffff_ffc0, 2]) == EFAULT
    });
}

fn results(list: &[Entry; 3]) -> [i64; 3] {
    for entry in list {
        note(entry.number, &entry.arguments, entry.result());
    }
    seen([list[0].result(), list[1].result(), list[2].result()])
}
