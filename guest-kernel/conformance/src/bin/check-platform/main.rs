//! The machine that a guest believes in: ports and string instructions on them, every documented MSR, leaves of CPUID
//! ([`leaves`]), time stamps and single steps over what is done for the guest.
#![no_std]
#![no_main]

use guest_conformance::fixture::{Frame, PRESENT, WRITABLE};
use guest_conformance::instruction::{
    GENERAL_PROTECTION, Outcome, UNDEFINED, carry, catch, fault_of, run,
};
use guest_conformance::{
    HYPERVISOR, NOT_CANONICAL, Role, UNMAPPED, address_of, call, check, finish, instruction,
    prepare, role, seen, skip, start,
};
use guest_kernel::hypercall::cpuid;
use guest_kernel::start::Boot;
use guest_kernel::user::{Exit, Program};
use hypercall_abi::number::{GET_DEBUGREG, PHYSDEV_OP, SET_DEBUGREG, VM_ASSIST};

mod leaves;

guest_kernel::entry!(main);

/// A port that no machine has anything at, but for a light.
const NOTHING: u64 = 0x80;

instruction! {
    in_byte: "mov edx, ecx", "in al, dx";
    in_word: "mov edx, ecx", "in ax, dx";
    in_long: "mov edx, ecx", "in eax, dx";
    in_here: "in al, 0x80";
    out_byte: "mov edx, ecx", "out dx, al", "xor eax, eax";
    out_word: "mov edx, ecx", "out dx, ax", "xor eax, eax";
    out_long: "mov edx, ecx", "out dx, eax", "xor eax, eax";
    out_here: "out 0x80, al", "xor eax, eax";
    // RDI from RCX, 16 elements; RDX is the port. What is left in RCX, and how far RDI came, are RAX.
    ins_many: "mov rdi, rcx", "mov rbx, rcx", "mov edx, 0x80", "mov ecx, 16", "cld", "rep insb",
        "mov rax, rdi", "sub rax, rbx", "shl rcx, 32", "or rax, rcx";
    ins_down: "lea rdi, [rcx + 64]", "lea rbx, [rcx + 64]", "mov edx, 0x80", "mov ecx, 4", "std", "rep insd", "cld",
        "mov rax, rbx", "sub rax, rdi", "shl rcx, 32", "or rax, rcx";
    ins_none: "mov rdi, rcx", "mov edx, 0x80", "xor ecx, ecx", "cld", "rep insb", "mov rax, rdi", "xor eax, eax";
    ins_one: "mov rdi, rcx", "mov rbx, rcx", "mov edx, 0x80", "cld", "insw", "mov rax, rdi", "sub rax, rbx";
    outs_many: "mov rsi, rcx", "mov rbx, rcx", "mov edx, 0x80", "mov ecx, 16", "cld", "rep outsb",
        "mov rax, rsi", "sub rax, rbx", "shl rcx, 32", "or rax, rcx";
    read_msr: "rdmsr", "shl rdx, 32", "or rax, rdx";
    write_msr: "mov rdx, rax", "shr rdx, 32", "wrmsr", "xor eax, eax";
    // What is left of the upper halves.
    msr_halves: "mov rdx, -1", "mov rax, -1", "rdmsr", "or rax, rdx", "shr rax, 32";
    read_time: "rdtsc", "xor eax, eax";
    read_time_and_more: "rdtscp", "xor eax, eax";
    read_cr4: "mov rax, cr4";
    write_cr4: "mov cr4, rax", "xor eax, eax";
    read_dr4: "mov rax, dr4";
    write_dr5: "mov dr5, rax", "xor eax, eax";
    write_dr6: "mov dr6, rax", "xor eax, eax";
    read_dr6: "mov rax, dr6";
    write_dr7: "mov dr7, rax", "xor eax, eax";
    read_cr1: ".byte 0x0f, 0x20, 0xc8";
    set_extended_state: "xor edx, edx", "xsetbv", "xor eax, eax";
    get_extended_state: "xgetbv", "xor eax, eax";
    forced_halves: "mov rcx, -1", "shl rcx, 32", "mov rdx, -1", "mov rbx, -1", "mov rax, -1", "shl rax, 32",
        ".byte 0x0f, 0x0b, 0x78, 0x65, 0x6e, 0x0f, 0xa2", "or rax, rcx", "or rax, rdx", "or rax, rbx", "shr rax, 32";
    // The flag is set by POPF; the exception comes behind the instruction that follows it.
    step_over_forced: "xor eax, eax", "xor ecx, ecx", "pushfq", "or dword ptr [rsp], 0x100", "popfq",
        ".byte 0x0f, 0x0b, 0x78, 0x65, 0x6e, 0x0f, 0xa2", "nop", "nop";
    step_over_msr: "mov ecx, 0x277", "pushfq", "or dword ptr [rsp], 0x100", "popfq", "rdmsr", "nop", "nop";
    step_over_call: "mov eax, 17", "xor edi, edi", "push r11", "push r10", "push r8",
        "pushfq", "or dword ptr [rsp], 0x100", "popfq", "syscall", "nop", "nop", "pop r8", "pop r10", "pop r11";
    system_enter: "sysenter";
    store_gdt: "sub rsp, 16", "sgdt [rsp]", "xor eax, eax", "mov ax, [rsp]", "add rsp, 16";
    store_status: "smsw eax", "and eax, 1";
    flags_with_level: "pushfq", "pop rax", "and eax, 0x3000";
    interrupts_off: "cli", "xor eax, eax";
}

fn main(boot: &'static Boot) {
    start(boot);
    ports();
    strings();
    bitmaps();
    levels();
    registers();
    bases_and_time();
    control();
    steps();
    leaves::leaves();
    finish()
}

fn at_level(level: u64) {
    prepare(PHYSDEV_OP, &[6, address_of(&level)]);
}

fn ports() {
    at_level(1);
    check("port.immediate-forms", [Outcome::Gives(0); 2], || {
        [fault_of(in_here, 0, 0), run(out_here, 0, 0)]
    });
    if role() == Role::First {
        for name in [
            "port.byte-keeps-the-rest-of-rax",
            "port.word-keeps-the-rest-of-rax",
            "port.long-clears-the-rest-of-rax",
            "port.pci-address-is-latched",
            "port.pci-address-by-bytes-is-not",
            "port.clock-index-is-latched",
            "port.clock-data",
            "port.pci-data-by-parts",
            "port.last",
        ] {
            skip(name, "the first domain may have rights");
        }
        return;
    }
    let all = 0x1122_3344_5566_7788;
    check(
        "port.byte-keeps-the-rest-of-rax",
        Outcome::Gives(0x1122_3344_5566_77ff),
        || run(in_byte, all, NOTHING),
    );
    check(
        "port.word-keeps-the-rest-of-rax",
        Outcome::Gives(0x1122_3344_5566_ffff),
        || run(in_word, all, NOTHING),
    );
    check(
        "port.long-clears-the-rest-of-rax",
        Outcome::Gives(0xffff_ffff),
        || run(in_long, all, NOTHING),
    );
    check(
        "port.pci-address-is-latched",
        (Outcome::Gives(0), Outcome::Gives(0x8000_1234)),
        || {
            let set = run(out_long, 0x8000_1234, 0xcf8);
            (set, run(in_long, 0, 0xcf8))
        },
    );
    check(
        "port.pci-address-by-bytes-is-not",
        (Outcome::Gives(0xff), Outcome::Gives(0x8000_1234)),
        || {
            let _set = carry(out_long, 0x8000_1234, 0xcf8);
            let _by_byte = carry(out_byte, 0x77, 0xcf8);
            (run(in_byte, 0, 0xcf8), run(in_long, 0, 0xcf8))
        },
    );
    check("port.clock-index-is-latched", Outcome::Gives(0x8f), || {
        let _set = carry(out_byte, 0x8f, 0x70);
        run(in_byte, 0, 0x70)
    });
    check("port.clock-data", Outcome::Gives(0xff), || {
        run(in_byte, 0, 0x71)
    });
    check(
        "port.pci-data-by-parts",
        [Outcome::Gives(0xff), Outcome::Gives(0xffff)],
        || [run(in_byte, 0, 0xcff), run(in_word, 0, 0xcfe)],
    );
    check(
        "port.last",
        [
            Outcome::Gives(0xff),
            Outcome::Gives(0xffff),
            Outcome::Gives(0xffff_ffff),
        ],
        || {
            [
                run(in_byte, 0, 0xffff),
                run(in_word, 0, 0xffff),
                run(in_long, 0, 0xffff),
            ]
        },
    );
}

fn strings() {
    at_level(1);
    check(
        "ins.writes-each-element",
        (Outcome::Gives(16), true),
        || {
            let page = Frame::take();
            page.set_word(2, 0x1234);
            let outcome = run(ins_many, 0, page.address);
            let (first, behind) = (page.word(1), page.word(2));
            // What is at the port of the first domain is not known.
            let filled = role() == Role::First || first == u64::MAX;
            (outcome, seen(filled && behind == 0x1234))
        },
    );
    check("ins.downwards", Outcome::Gives(16), || {
        run(ins_down, 0, Frame::take().address)
    });
    check("ins.none", Outcome::Gives(0), || run(ins_none, 0, UNMAPPED));
    check("ins.one", Outcome::Gives(2), || {
        run(ins_one, 0, Frame::take().address)
    });
    check("ins.into-nothing", (14, 2, true), || {
        let fault = catch(ins_many, 0, UNMAPPED).err();
        fault.map_or((0, 0, false), |fault| {
            (
                fault.vector,
                fault.error_code,
                seen(fault.address == UNMAPPED),
            )
        })
    });
    check("ins.into-a-read-only-page", (14, 2), || {
        let page = Frame::take();
        page.remap(PRESENT);
        let fault = catch(ins_many, 0, page.address).err();
        fault.map_or((0, 0), |fault| (fault.vector, fault.error_code))
    });
    check("ins.into-the-hypervisor", 13, || {
        catch(ins_many, 0, HYPERVISOR)
            .err()
            .map_or(0, |fault| fault.vector)
    });
    check("ins.into-no-address", GENERAL_PROTECTION, || {
        fault_of(ins_many, 0, NOT_CANONICAL)
    });
    check("ins.fault-in-the-middle", (14, true), || {
        let (page, beside) = Frame::neighbours();
        beside.unmap();
        let fault = catch(ins_many, 0, page.address + 4088).err();
        beside.remap(WRITABLE);
        fault.map_or((0, false), |fault| {
            (fault.vector, seen(fault.address == beside.address))
        })
    });
    check("outs.reads-each-element", Outcome::Gives(16), || {
        run(outs_many, 0, Frame::take().address)
    });
    check("outs.from-nothing", (14, 0, true), || {
        let fault = catch(outs_many, 0, UNMAPPED).err();
        fault.map_or((0, 0, false), |fault| {
            (
                fault.vector,
                fault.error_code,
                seen(fault.address == UNMAPPED),
            )
        })
    });
    check("outs.from-no-address", GENERAL_PROTECTION, || {
        fault_of(outs_many, 0, NOT_CANONICAL)
    });
    check(
        "strings.right-before-address",
        [GENERAL_PROTECTION; 2],
        || {
            at_level(0);
            let answers = [
                fault_of(ins_many, 0, UNMAPPED),
                fault_of(outs_many, 0, UNMAPPED),
            ];
            at_level(1);
            answers
        },
    );
}

fn bitmaps() {
    at_level(0);
    let bits = [0_u64; 1024];
    let map = |at: u64, count: u64| prepare(PHYSDEV_OP, &[7, address_of(&[at, count])]);
    check(
        "bitmap.whole-access-is-within",
        [
            Outcome::Gives(0),
            Outcome::Gives(0),
            GENERAL_PROTECTION,
            GENERAL_PROTECTION,
        ],
        || {
            map(address_of(&bits), 0x84);
            [
                fault_of(in_long, 0, 0x80),
                fault_of(in_byte, 0, 0x83),
                fault_of(in_word, 0, 0x83),
                fault_of(in_byte, 0, 0x84),
            ]
        },
    );
    check(
        "bitmap.each-byte-of-an-access",
        [GENERAL_PROTECTION, GENERAL_PROTECTION, Outcome::Gives(0)],
        || {
            let mut shut = [0_u64; 1024];
            shut[2] = 1 << 3;
            map(address_of(&shut), 0x100);
            [
                fault_of(in_byte, 0, 0x83),
                fault_of(in_long, 0, 0x80),
                fault_of(in_word, 0, 0x81),
            ]
        },
    );
    check("bitmap.that-cannot-be-read", GENERAL_PROTECTION, || {
        map(UNMAPPED, 0x100);
        fault_of(in_byte, 0, NOTHING)
    });
    check("bitmap.does-not-open-cli", GENERAL_PROTECTION, || {
        map(address_of(&bits), 65536);
        run(interrupts_off, 0, 0)
    });
    check("bitmap.of-user-mode", (256, 13), || {
        // in al, 0x80; mov eax, 1; syscall
        let code = [0xe4, 0x80, 0xb8, 1, 0, 0, 0, 0x0f, 0x05];
        map(address_of(&bits), 0x100);
        let open = user(&code);
        map(0, 0);
        (open, user(&code))
    });
    map(0, 0);
}

/// How a user program stops: 256 is a system call, else the vector.
fn user(code: &[u8]) -> u64 {
    let Some(mut thread) = Program::load(code)
        .ok()
        .and_then(|mut program| program.thread().ok())
    else {
        return u64::MAX;
    };
    loop {
        match thread.run() {
            Exit::Event => {}
            Exit::SystemCall { .. } => return seen(256),
            Exit::Fault(fault) => return seen(fault.vector),
        }
    }
}

fn levels() {
    // cli; mov eax, 1; syscall
    let cli = [0xfa, 0xb8, 1, 0, 0, 0, 0x0f, 0x05];
    // in al, 0x80; mov eax, 1; syscall
    let port = [0xe4, 0x80, 0xb8, 1, 0, 0, 0, 0x0f, 0x05];
    check("iopl.user-mode-wants-3", [13, 13, 256, 256], || {
        at_level(2);
        let closed = [user(&cli), user(&port)];
        at_level(3);
        let open = [user(&cli), user(&port)];
        at_level(1);
        [closed[0], closed[1], open[0], open[1]]
    });
    check("iopl.not-in-the-flags", (0, 0), || {
        let level = 3_u64;
        let result = call(PHYSDEV_OP, &[6, address_of(&level)]);
        let flags = carry(flags_with_level, 0, 0).unwrap_or(1);
        at_level(1);
        (result, seen(flags))
    });
    check(
        "architectural_iopl.kernel-counts-as-0",
        (0, Outcome::Gives(0)),
        || {
            at_level(0);
            let on = call(VM_ASSIST, &[0, 4]);
            let outcome = run(interrupts_off, 0, 0);
            prepare(VM_ASSIST, &[1, 4]);
            (on, outcome)
        },
    );
    check(
        "architectural_iopl.off-again",
        (0, GENERAL_PROTECTION),
        || {
            at_level(0);
            prepare(VM_ASSIST, &[0, 4]);
            let off = call(VM_ASSIST, &[1, 4]);
            (off, run(interrupts_off, 0, 0))
        },
    );
    at_level(1);
}

fn registers() {
    let read = |register: u64| fault_of(read_msr, 0, register);
    let write = |register: u64, value: u64| fault_of(write_msr, value, register);
    let gives = Outcome::Gives(0);
    let fault = GENERAL_PROTECTION;
    // Register, what a read does, what a write of 0 does.
    let rows = [
        ("msr.platform-number", 0x17, fault, fault),
        ("msr.feature-control", 0x3a, fault, fault),
        ("msr.speculation-control", 0x48, fault, fault),
        ("msr.prediction-command", 0x49, fault, fault),
        ("msr.microcode-load", 0x79, fault, fault),
        ("msr.microcode-load-amd", 0xc001_0020, fault, fault),
        ("msr.microcode-revision", 0x8b, gives, fault),
        ("msr.platform-info", 0xce, gives, fault),
        ("msr.architectural-capabilities", 0x10a, fault, fault),
        ("msr.flush-command", 0x10b, fault, fault),
        ("msr.performance-status", 0x198, fault, fault),
        ("msr.performance-control", 0x199, fault, fault),
        ("msr.thermal-status", 0x19c, fault, fault),
        ("msr.misc-enable", 0x1a0, gives, gives),
        ("msr.debug-control", 0x1d9, fault, fault),
        ("msr.performance-capabilities", 0x345, gives, fault),
        ("msr.extended-supervisor-state", 0xda0, fault, fault),
        ("msr.hypervisor-second", 0x4000_0001, fault, fault),
        ("msr.hypervisor-last", 0x4000_02ff, fault, fault),
        ("msr.star", 0xc000_0081, fault, fault),
        ("msr.cstar", 0xc000_0083, fault, fault),
        ("msr.flag-mask", 0xc000_0084, fault, fault),
        ("msr.north-bridge", 0xc001_001f, gives, gives),
        ("msr.hardware-configuration", 0xc001_0015, gives, gives),
        ("msr.decode-configuration", 0xc001_1029, gives, gives),
        ("msr.speculation-control-virtual", 0xc001_011f, fault, fault),
        ("msr.breakpoint-mask", 0xc001_1027, fault, fault),
        ("msr.breakpoint-mask-1", 0xc001_1019, fault, fault),
        ("msr.deadline", 0x6e0, fault, fault),
        ("msr.sysenter-segment", 0x174, fault, fault),
        ("msr.memory-types", 0xfe, fault, fault),
        ("msr.memory-type-default", 0x2ff, fault, fault),
        ("msr.performance-counter", 0xc1, fault, fault),
        ("msr.x2apic", 0x802, fault, fault),
        ("msr.last", 0xffff_ffff, fault, fault),
    ];
    for (name, register, on_read, on_write) in rows {
        check(name, (on_read, on_write), || {
            (read(register), write(register, 0))
        });
    }
    check("msr.power-states", ([gives; 4], [gives; 4]), || {
        let all = [0xc001_0041, 0xc001_0042, 0xc001_0061, 0xc001_006b];
        (all.map(read), all.map(|register| write(register, 0)))
    });
    if role() == Role::Ordinary {
        check("msr.system-configuration", [fault; 3], || {
            [0xc001_0010, 0xc001_001a, 0xc001_001d].map(read)
        });
        check("msr.memory-mapped-configuration", fault, || {
            read(0xc001_0058)
        });
    } else {
        skip(
            "msr.system-configuration",
            "the first domain sees the machine's",
        );
        skip(
            "msr.memory-mapped-configuration",
            "the first domain sees the machine's",
        );
    }
    check(
        "msr.system-configuration-cannot-be-written",
        [fault; 3],
        || [0xc001_0010, 0xc001_001a, 0xc001_001d].map(|register| write(register, 0)),
    );
    check("msr.microcode-revision-written", fault, || write(0x8b, 1));
    check("msr.misc-enable-any-value", [gives; 2], || {
        [write(0x1a0, 1), write(0x1a0, u64::MAX)]
    });
    check(
        "msr.misc-enable-shown-bits",
        Outcome::Gives(1 << 11 | 1 << 12),
        || match run(read_msr, 0, 0x1a0) {
            Outcome::Gives(value) => Outcome::Gives(value & (1 << 7 | 1 << 11 | 1 << 12 | 1 << 18)),
            raised @ Outcome::Raises(..) => raised,
        },
    );
    check(
        "msr.decode-configuration-serialises",
        Outcome::Gives(2),
        || run(read_msr, 0, 0xc001_1029),
    );
    check("msr.machine-check-capabilities", gives, || read(0x179));
    check("msr.machine-check-banks", [gives; 4], || {
        [0x17a, 0x17b, 0x400, 0x401].map(read)
    });
    check("msr.upper-halves-are-cleared", Outcome::Gives(0), || {
        run(msr_halves, 0, 0x277)
    });
}

fn bases_and_time() {
    let restore = |value: u64| {
        let _restored = carry(write_cr4, value, 0);
    };
    check(
        "time-stamp-disable.kernel-still-reads",
        (Outcome::Gives(0), Outcome::Gives(0)),
        || {
            let value = carry(read_cr4, 0, 0).unwrap_or(0);
            let set = run(write_cr4, value | 4, 0);
            let read = run(read_time, 0, 0);
            restore(value);
            (set, read)
        },
    );
    check("time-stamp-disable.user-faults", [256, 13], || {
        // rdtsc; mov eax, 1; syscall
        let code = [0x0f, 0x31, 0xb8, 1, 0, 0, 0, 0x0f, 0x05];
        let before = user(&code);
        let value = carry(read_cr4, 0, 0).unwrap_or(0);
        let _set = carry(write_cr4, value | 4, 0);
        let after = user(&code);
        restore(value);
        [before, after]
    });
    let has_more = seen(cpuid(0x8000_0001, 0)[3] >> 27 & 1 != 0);
    check("rdtscp.as-shown", true, || {
        let outcome = run(read_time_and_more, 0, 0);
        outcome
            == if has_more {
                Outcome::Gives(0)
            } else {
                UNDEFINED
            }
    });
    check("msr.time-stamp-number-as-shown", true, || {
        let outcome = fault_of(read_msr, 0, 0xc000_0103);
        outcome
            == if has_more {
                Outcome::Gives(0)
            } else {
                GENERAL_PROTECTION
            }
    });
}

fn control() {
    let with_extensions = |find: &dyn Fn() -> Outcome| {
        let value = carry(read_cr4, 0, 0).unwrap_or(0);
        let _set = carry(write_cr4, value | 8, 0);
        let outcome = find();
        let _restored = carry(write_cr4, value, 0);
        outcome
    };
    check("cr1", GENERAL_PROTECTION, || run(read_cr1, 0, 0));
    check("dr4.is-6", Outcome::Gives(0xffff_0ff0), || {
        run(read_dr4, 0, 0)
    });
    check("dr4.none-with-extensions", UNDEFINED, || {
        with_extensions(&|| run(read_dr4, 0, 0))
    });
    check("dr5.none-with-extensions", UNDEFINED, || {
        with_extensions(&|| run(write_dr5, 0x400, 0))
    });
    check("dr6.upper-half", GENERAL_PROTECTION, || {
        run(write_dr6, 1 << 32, 0)
    });
    check(
        "dr6.reserved-bits",
        (Outcome::Gives(0), Outcome::Gives(0xffff_0ff0)),
        || (run(write_dr6, 0x1000, 0), run(read_dr6, 0, 0)),
    );
    check("dr7.general-detect", GENERAL_PROTECTION, || {
        run(write_dr7, 0x2001, 0)
    });
    check("dr7.upper-half", GENERAL_PROTECTION, || {
        run(write_dr7, 1 << 32, 0)
    });
    check("debugreg.4-none-with-extensions", (-19, -19), || {
        let mut answer = (0, 0);
        let value = carry(read_cr4, 0, 0).unwrap_or(0);
        let _set = carry(write_cr4, value | 8, 0);
        answer.0 = call(SET_DEBUGREG, &[4, 0]);
        answer.1 = call(GET_DEBUGREG, &[5]);
        let _restored = carry(write_cr4, value, 0);
        answer
    });
    check(
        "debugreg.7-io-with-extension",
        (0, 0x2_0401, Outcome::Raises(1, 0), 1),
        || {
            at_level(1);
            let value = carry(read_cr4, 0, 0).unwrap_or(0);
            let _set = carry(write_cr4, value | 8, 0);
            prepare(SET_DEBUGREG, &[0, NOTHING]);
            let result = call(SET_DEBUGREG, &[7, 0x2_0001]);
            let shown = call(GET_DEBUGREG, &[7]);
            let raised = fault_of(out_byte, 0, NOTHING);
            prepare(SET_DEBUGREG, &[7, 0]);
            let status = prepare(GET_DEBUGREG, &[6]) & 0xf;
            prepare(SET_DEBUGREG, &[6, 0]);
            prepare(SET_DEBUGREG, &[0, 0]);
            let _restored = carry(write_cr4, value, 0);
            (result, shown, raised, seen(status))
        },
    );
    check("extended-state.as-shown", true, || {
        let has = seen(cpuid(1, 0)[2] >> 26 & 1 != 0);
        let set = run(set_extended_state, 3, 0);
        let get = run(get_extended_state, 0, 0);
        // What is not there is undefined; what is, is closed until CR4 opens it.
        if has {
            set == UNDEFINED
        } else {
            [set, get] == [UNDEFINED; 2]
        }
    });
    check(
        "plain.descriptor-table-size",
        Outcome::Gives(0xefff),
        || run(store_gdt, 0, 0),
    );
    check("plain.machine-status", Outcome::Gives(1), || {
        run(store_status, 0, 0)
    });
    check("sysenter.of-the-kernel", UNDEFINED, || {
        run(system_enter, 0, 0)
    });
}

fn steps() {
    let status = || {
        let value = prepare(GET_DEBUGREG, &[6]) & 0x400f;
        prepare(SET_DEBUGREG, &[6, 0]);
        seen(value)
    };
    for (name, instruction) in [
        (
            "step.over-forced-cpuid",
            step_over_forced as extern "C" fn(u64),
        ),
        ("step.over-rdmsr", step_over_msr),
        ("step.over-a-call", step_over_call),
    ] {
        check(name, (Outcome::Raises(1, 0), 0x4000), || {
            (fault_of(instruction, 0, 0), status())
        });
    }
    check("step.is-behind-the-instruction", true, || {
        // As long as the instruction is: what is done for the guest is over before the exception.
        let fault = catch(step_over_msr, 0, 0).err();
        prepare(SET_DEBUGREG, &[6, 0]);
        let here = fault.map_or(0, |fault| fault.rip);
        seen(here != 0 && guest_conformance::fixture::read(here - 2) & 0xff_ffff == 0x90_320f)
    });
    check(
        "cpuid.forced-clears-upper-halves",
        Outcome::Gives(0),
        || run(forced_halves, 0, 0),
    );
}
