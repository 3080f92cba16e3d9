//! Instructions that a kernel at ring 3 cannot carry out: what is done for it, what faults, exceptions, ports, MSRs, CPUID.
#![no_std]
#![no_main]

use guest_conformance::errno::EINVAL;
use guest_conformance::fixture::Frame;
use guest_conformance::instruction::{
    GENERAL_PROTECTION, Outcome, UNDEFINED, carry, catch, fault_of, run,
};
use guest_conformance::{
    NOT_CANONICAL, Role, UNMAPPED, address_of, call, check, finish, instruction, prepare, role,
    seen, skip, start,
};
use guest_kernel::hypercall::cpuid;
use guest_kernel::paging::root;
use guest_kernel::start::Boot;
use guest_kernel::trap::open_gate;
use hypercall_abi::number::PHYSDEV_OP;

guest_kernel::entry!(main);

instruction! {
    read_cr0: "mov rax, cr0";
    write_cr0: "mov cr0, rax", "xor eax, eax";
    read_cr2: "mov rax, cr2";
    write_cr2: "mov cr2, rax", "xor eax, eax";
    read_cr3: "mov rax, cr3";
    write_cr3: "mov cr3, rax", "xor eax, eax";
    read_cr4: "mov rax, cr4";
    write_cr4: "mov cr4, rax", "xor eax, eax";
    read_cr8: "mov rax, cr8";
    write_cr8: "mov cr8, rax";
    clear_ts: "clts", "xor eax, eax";
    read_dr7: "mov rax, dr7";
    write_dr0: "mov dr0, rax", "xor eax, eax";
    read_dr0: "mov rax, dr0";
    use_fpu: "fnop", "xor eax, eax";
    read_msr: "rdmsr", "shl rdx, 32", "or rax, rdx";
    write_msr: "mov rdx, rax", "shr rdx, 32", "wrmsr", "xor eax, eax";
    halt: "hlt";
    invalidate: "invlpg [rcx]";
    invalidate_caches: "invd";
    write_back: "wbinvd", "xor eax, eax";
    swap_gs: "swapgs";
    load_gdt: "lgdt [rcx]";
    load_idt: "lidt [rcx]";
    load_ldt: "lldt cx";
    load_task: "ltr cx";
    load_status: "lmsw cx";
    return_fast: "sysretq";
    read_counter: "rdpmc";
    read_time: "rdtsc", "xor eax, eax";
    interrupts_off: "cli", "xor eax, eax";
    interrupts_on: "sti", "xor eax, eax";
    set_interrupts_by_flags: "push 0x2", "popfq", "pushfq", "pop rax";
    set_level_by_flags: "push 0x3202", "popfq", "pushfq", "pop rax";
    in_byte: "mov edx, ecx", "xor eax, eax", "in al, dx";
    in_word: "mov edx, ecx", "xor eax, eax", "in ax, dx";
    in_long: "mov edx, ecx", "xor eax, eax", "in eax, dx";
    out_byte: "mov edx, ecx", "out dx, al", "xor eax, eax";
    divide: "xor edx, edx", "mov eax, 1", "xor ecx, ecx", "div ecx";
    breakpoint: "int3";
    breakpoint_long: ".byte 0xcd, 3";
    overflow: "int 4";
    undefined: "ud2";
    gate_80: "int 0x80";
    gate_closed: "int 0x20";
    gate_page_fault: "int 14";
    forced_other: ".byte 0x0f, 0x0b, 0x78, 0x65, 0x6e, 0x90";
    forced_nothing: ".byte 0x0f, 0x0b, 0x78, 0x65, 0x6f";
    load: "mov rax, [rcx]";
    stack_load: "mov rsi, rbp", "mov rbp, rcx", "mov rax, [rbp]", "mov rbp, rsi";
}

fn main(boot: &'static Boot) {
    start(boot);
    control_registers();
    debug_registers();
    privileged();
    exceptions();
    ports();
    model_specific();
    identity();
    hidden();
    finish()
}

fn control_registers() {
    check("cr0.shows-protection-and-paging", 0x8000_0001, || {
        seen(carry(read_cr0, 0, 0).unwrap_or(0) & 0x8000_0001)
    });
    check("cr0.as-it-was", Outcome::Gives(0), || {
        let value = carry(read_cr0, 0, 0).unwrap_or(0);
        run(write_cr0, value, 0)
    });
    check("cr0.other-bits", [GENERAL_PROTECTION; 2], || {
        let value = carry(read_cr0, 0, 0).unwrap_or(0);
        [1 << 16, 1 << 31].map(|bit| run(write_cr0, value ^ bit, 0))
    });
    check(
        "cr0.task-switched",
        (Outcome::Gives(0), Outcome::Raises(7, 0)),
        || {
            let value = carry(read_cr0, 0, 0).unwrap_or(0);
            (run(write_cr0, value | 8, 0), run(use_fpu, 0, 0))
        },
    );
    check("cr0.fault-clears-task-switched", 0, || {
        let value = carry(read_cr0, 0, 0).unwrap_or(0);
        let _set = carry(write_cr0, value | 8, 0);
        let _fault = carry(use_fpu, 0, 0);
        seen(carry(read_cr0, 0, 0).unwrap_or(8) & 8)
    });
    check(
        "clts.clears-task-switched",
        (Outcome::Gives(0), Outcome::Gives(0)),
        || {
            let value = carry(read_cr0, 0, 0).unwrap_or(0);
            let _set = carry(write_cr0, value | 8, 0);
            (run(clear_ts, 0, 0), run(use_fpu, 0, 0))
        },
    );
    check(
        "cr2.written-reads-back",
        Outcome::Gives(0x1234_5000),
        || {
            let _written = carry(write_cr2, 0x1234_5000, 0);
            run(read_cr2, 0, 0)
        },
    );
    check("cr2.is-the-fault-address", Outcome::Gives(UNMAPPED), || {
        let _fault = carry(load, 0, UNMAPPED);
        run(read_cr2, 0, 0)
    });
    check("cr3.is-the-kernel-root", true, || {
        catch(read_cr3, 0, 0) == Ok(root().map_or(0, |root| root.0) << 12)
    });
    check("cr3.same-again", Outcome::Gives(0), || {
        run(write_cr3, root().map_or(0, |root| root.0) << 12, 0)
    });
    check("cr3.not-a-table", GENERAL_PROTECTION, || {
        run(write_cr3, Frame::take().mfn << 12, 0)
    });
    check("cr3.frame-not-own", GENERAL_PROTECTION, || {
        run(write_cr3, 0xff_ffff << 12, 0)
    });
    check("cr4.shows-physical-address-extension", 0x20, || {
        seen(carry(read_cr4, 0, 0).unwrap_or(0) & 0x20)
    });
    check("cr4.shows-no-global-pages-or-protection", 0, || {
        // PSE, PGE, PCE, UMIP, PCID, SMEP, SMAP, PKE
        seen(carry(read_cr4, 0, 0).unwrap_or(!0) & 0x0072_0990)
    });
    check("cr4.as-it-was", Outcome::Gives(0), || {
        let value = carry(read_cr4, 0, 0).unwrap_or(0);
        run(write_cr4, value, 0)
    });
    check("cr4.other-bits-are-dropped", (Outcome::Gives(0), 0), || {
        let value = carry(read_cr4, 0, 0).unwrap_or(0);
        let outcome = run(write_cr4, value | 0x80, 0);
        (outcome, seen(carry(read_cr4, 0, 0).unwrap_or(!0) & 0x80))
    });
    check("cr4.time-stamp-disable", (Outcome::Gives(0), 4), || {
        let value = carry(read_cr4, 0, 0).unwrap_or(0);
        let outcome = run(write_cr4, value | 4, 0);
        let kept = carry(read_cr4, 0, 0).unwrap_or(0) & 4;
        let _restored = carry(write_cr4, value, 0);
        (outcome, seen(kept))
    });
    check("cr4.debug-extensions", (Outcome::Gives(0), 8), || {
        let value = carry(read_cr4, 0, 0).unwrap_or(0);
        let outcome = run(write_cr4, value | 8, 0);
        let kept = carry(read_cr4, 0, 0).unwrap_or(0) & 8;
        let _restored = carry(write_cr4, value, 0);
        (outcome, seen(kept))
    });
    check("cr8", [GENERAL_PROTECTION; 2], || {
        [run(read_cr8, 0, 0), run(write_cr8, 0, 0)]
    });
}

fn debug_registers() {
    check("dr7.at-start", Outcome::Gives(0x400), || {
        run(read_dr7, 0, 0)
    });
    check("dr0.written-reads-back", Outcome::Gives(0x5000), || {
        let _written = carry(write_dr0, 0x5000, 0);
        let value = run(read_dr0, 0, 0);
        let _cleared = carry(write_dr0, 0, 0);
        value
    });
    check("dr0.address-of-hypervisor", GENERAL_PROTECTION, || {
        run(write_dr0, 0xffff_8300_0000_0000, 0)
    });
}

fn privileged() {
    let table = [0_u64; 2];
    let at = address_of(&table);
    for (name, instruction, rcx) in [
        ("privileged.hlt", halt as extern "C" fn(u64), 0),
        ("privileged.invlpg", invalidate, at),
        ("privileged.invd", invalidate_caches, 0),
        ("privileged.swapgs", swap_gs, 0),
        ("privileged.lgdt", load_gdt, at),
        ("privileged.lidt", load_idt, at),
        ("privileged.lldt", load_ldt, 0),
        ("privileged.ltr", load_task, 0),
        ("privileged.lmsw", load_status, 0),
        ("privileged.sysret", return_fast, 0),
        ("privileged.rdpmc", read_counter, 0),
    ] {
        check(name, GENERAL_PROTECTION, || run(instruction, 0, rcx));
    }
    check("wbinvd", Outcome::Gives(0), || run(write_back, 0, 0));
    check("rdtsc", Outcome::Gives(0), || run(read_time, 0, 0));
    check(
        "popf.interrupts-stay-on",
        Outcome::Gives(0x202),
        || match run(set_interrupts_by_flags, 0, 0) {
            Outcome::Gives(flags) => Outcome::Gives(flags & 0x202),
            raised @ Outcome::Raises(..) => raised,
        },
    );
    check("popf.level-stays-0", Outcome::Gives(0x202), || {
        match run(set_level_by_flags, 0, 0) {
            Outcome::Gives(flags) => Outcome::Gives(flags & 0x3202),
            raised @ Outcome::Raises(..) => raised,
        }
    });
}

fn exceptions() {
    for (name, instruction, outcome) in [
        (
            "exception.divide",
            divide as extern "C" fn(u64),
            Outcome::Raises(0, 0),
        ),
        ("exception.int3", breakpoint, Outcome::Raises(3, 0)),
        (
            "exception.int3-long-form",
            breakpoint_long,
            Outcome::Raises(3, 0),
        ),
        ("exception.int4", overflow, Outcome::Raises(4, 0)),
        ("exception.ud2", undefined, UNDEFINED),
        (
            "exception.forced-prefix-before-another-instruction",
            forced_other,
            UNDEFINED,
        ),
        ("exception.almost-forced-prefix", forced_nothing, UNDEFINED),
    ] {
        check(name, outcome, || run(instruction, 0, 0));
    }
    check("exception.unmapped-load", (14, 0, true), || {
        let fault = catch(load, 0, UNMAPPED + 8).err();
        let fault = fault.map(|fault| (fault.vector, fault.error_code, fault.address));
        fault.map_or((0, 0, false), |(vector, code, address)| {
            (vector, code, seen(address == UNMAPPED + 8))
        })
    });
    check("exception.not-canonical-load", GENERAL_PROTECTION, || {
        run(load, 0, NOT_CANONICAL)
    });
    check("exception.breakpoint-is-behind", true, || {
        let here = (breakpoint as *const ()).addr() as u64;
        catch(breakpoint, 0, 0).is_err_and(|fault| fault.rip > here && fault.rip - here < 256)
    });
    check("exception.masked-upcalls-do-not-matter", UNDEFINED, || {
        let masked = guest_kernel::event::upcall::mask();
        let outcome = run(undefined, 0, 0);
        drop(masked);
        outcome
    });
    // Where a gate refuses `int n`, QEMU 7.2 gives another code than a CPU: only the vector counts here.
    let vector = |instruction| {
        catch(instruction, 0, 0)
            .err()
            .map_or(0, |fault| fault.vector)
    };
    check("gate.not-registered", 13, || vector(gate_80));
    check("gate.kernel-may-not", 13, || vector(gate_page_fault));
    check("gate.closed", 13, || vector(gate_closed));
    assert!(open_gate(0x80).is_ok(), "a gate can be opened");
    check("gate.80", Outcome::Raises(0x80, 0), || run(gate_80, 0, 0));
    check("exception.stack-base-not-canonical", 13, || {
        // An emulator raises 13 where a CPU raises 12.
        let vector = catch(stack_load, 0, NOT_CANONICAL)
            .err()
            .map_or(0, |fault| fault.vector);
        if vector == 12 { 13 } else { vector }
    });
}

fn ports() {
    let level = |level: u64| call(PHYSDEV_OP, &[6, address_of(&level)]);
    let at_level = |level: u64| prepare(PHYSDEV_OP, &[6, address_of(&level)]);
    check("iopl.4", [EINVAL; 2], || [level(4), level(0xffff_ffff)]);
    check("iopl.0-cli", [GENERAL_PROTECTION; 2], || {
        at_level(0);
        [run(interrupts_off, 0, 0), run(interrupts_on, 0, 0)]
    });
    check("iopl.0-in", GENERAL_PROTECTION, || run(in_byte, 0, 0x80));
    check("iopl.0-out", GENERAL_PROTECTION, || run(out_byte, 0, 0x80));
    check("iopl.1-cli-is-nothing", (0, [Outcome::Gives(0); 2]), || {
        let result = level(1);
        (
            result,
            [run(interrupts_off, 0, 0), run(interrupts_on, 0, 0)],
        )
    });
    check("iopl.1-out", Outcome::Gives(0), || {
        at_level(1);
        run(out_byte, 0, 0x80)
    });
    check("iopl.levels-2-and-3", ([0; 2], Outcome::Gives(0)), || {
        let results = [level(2), level(3)];
        (results, run(out_byte, 0, 0x80))
    });
    if role() == Role::Ordinary {
        at_level(1);
        check("port.byte-without-right", Outcome::Gives(0xff), || {
            run(in_byte, 0, 0x80)
        });
        check("port.word-without-right", Outcome::Gives(0xffff), || {
            run(in_word, 0, 0x80)
        });
        check(
            "port.long-without-right",
            Outcome::Gives(0xffff_ffff),
            || run(in_long, 0, 0x80),
        );
        check(
            "port.pci-data-without-right",
            Outcome::Gives(0xffff_ffff),
            || run(in_long, 0, 0xcfc),
        );
    } else {
        for name in ["byte", "word", "long", "pci-data"] {
            match name {
                "byte" => skip(
                    "port.byte-without-right",
                    "the first domain may have rights",
                ),
                "word" => skip(
                    "port.word-without-right",
                    "the first domain may have rights",
                ),
                "long" => skip(
                    "port.long-without-right",
                    "the first domain may have rights",
                ),
                _ => skip(
                    "port.pci-data-without-right",
                    "the first domain may have rights",
                ),
            }
        }
    }
    let map = |address: u64, count: u64| call(PHYSDEV_OP, &[7, address_of(&[address, count])]);
    at_level(0);
    let open = [0_u64; 1024];
    check("bitmap.opens-a-port", (0, Outcome::Gives(0)), || {
        let result = map(address_of(&open), 0x100);
        (result, run(out_byte, 0, 0x80))
    });
    check("bitmap.closed-port", (0, GENERAL_PROTECTION), || {
        let closed = [u64::MAX; 1024];
        let result = map(address_of(&closed), 0x100);
        (result, run(out_byte, 0, 0x80))
    });
    check("bitmap.port-beyond", (0, GENERAL_PROTECTION), || {
        let result = map(address_of(&open), 0x80);
        (result, run(out_byte, 0, 0x80))
    });
    check("bitmap.too-long", EINVAL, || map(address_of(&open), 65537));
    check("bitmap.of-hypervisor", EINVAL, || {
        map(0xffff_8300_0000_0000, 0x100)
    });
    check("bitmap.none", (0, GENERAL_PROTECTION), || {
        let result = map(0, 0);
        (result, run(out_byte, 0, 0x80))
    });
}

fn model_specific() {
    let read = |register: u64| run(read_msr, 0, register);
    let write = |register: u64, value: u64| run(write_msr, value, register);
    check("msr.pat", Outcome::Gives(0x0000_0501_0007_0406), || {
        read(0x277)
    });
    check("msr.pat-cannot-be-written", GENERAL_PROTECTION, || {
        write(0x277, 0x0000_0501_0007_0406)
    });
    check("msr.efer", Outcome::Gives(0x501), || {
        match read(0xc000_0080) {
            Outcome::Gives(value) => Outcome::Gives(value & 0x501),
            raised @ Outcome::Raises(..) => raised,
        }
    });
    check("msr.efer-as-it-was", Outcome::Gives(0), || {
        let value = carry(read_msr, 0, 0xc000_0080).unwrap_or(0);
        write(0xc000_0080, value)
    });
    check("msr.efer-changed", GENERAL_PROTECTION, || {
        let value = carry(read_msr, 0, 0xc000_0080).unwrap_or(0);
        write(0xc000_0080, value ^ 1)
    });
    check("msr.apic-base", Outcome::Gives(0xfee0_0900), || read(0x1b));
    check(
        "msr.apic-base-cannot-be-written",
        GENERAL_PROTECTION,
        || write(0x1b, 0xfee0_0900),
    );
    check(
        "msr.fs-base",
        (Outcome::Gives(0), Outcome::Gives(0x1234_5000)),
        || {
            let answer = (write(0xc000_0100, 0x1234_5000), read(0xc000_0100));
            let _cleared = carry(write_msr, 0, 0xc000_0100);
            answer
        },
    );
    check(
        "msr.user-gs-base",
        (Outcome::Gives(0), Outcome::Gives(0x7000)),
        || {
            let answer = (write(0xc000_0102, 0x7000), read(0xc000_0102));
            let _cleared = carry(write_msr, 0, 0xc000_0102);
            answer
        },
    );
    check("msr.gs-base-is-the-kernels", Outcome::Gives(0), || {
        let value = carry(read_msr, 0, 0xc000_0101).unwrap_or(0);
        write(0xc000_0101, value)
    });
    check("msr.base-not-canonical", [GENERAL_PROTECTION; 3], || {
        [0xc000_0100, 0xc000_0101, 0xc000_0102].map(|register| write(register, NOT_CANONICAL))
    });
    for (name, registers) in [
        (
            "msr.syscall-targets",
            [0xc000_0081_u64, 0xc000_0082, 0xc000_0083, 0xc000_0084],
        ),
        ("msr.sysenter-and-debug", [0x174, 0x175, 0x176, 0x1d9]),
        ("msr.mtrr", [0xfe, 0x200, 0x250, 0x2ff]),
        ("msr.x2apic-and-deadline", [0x800, 0x802, 0x830, 0x6e0]),
        ("msr.performance", [0xc1, 0x186, 0x309, 0x38d]),
        (
            "msr.unknown",
            [0xdead_0000, 0x5000, 0xc000_0200, 0xc001_1000],
        ),
    ] {
        check(name, [GENERAL_PROTECTION; 4], || registers.map(read));
    }
    check(
        "msr.syscall-targets-cannot-be-written",
        GENERAL_PROTECTION,
        || write(0xc000_0082, 0),
    );
    check("msr.time-stamp", Outcome::Gives(0), || {
        fault_of(read_msr, 0, 0x10)
    });
    check(
        "msr.time-stamp-cannot-be-written",
        GENERAL_PROTECTION,
        || write(0x10, 0),
    );
    check("msr.hypercall-page-reads-0", Outcome::Gives(0), || {
        read(0x4000_0000)
    });
    check("msr.hypercall-page-index", GENERAL_PROTECTION, || {
        write(0x4000_0000, Frame::take().mfn << 12 | 1)
    });
    check(
        "msr.hypercall-page-foreign-frame",
        GENERAL_PROTECTION,
        || write(0x4000_0000, 0xff_ffff << 12),
    );
    check(
        "msr.number-has-32-bits",
        Outcome::Gives(0x0000_0501_0007_0406),
        || read(0x1_0000_0277),
    );
    check("msr.microcode-does-not-fault", Outcome::Gives(0), || {
        fault_of(read_msr, 0, 0x8b)
    });
    check("msr.misc-features-accept-0", Outcome::Gives(0), || {
        write(0x140, 0)
    });
    check("msr.misc-features-other-bits", GENERAL_PROTECTION, || {
        write(0x140, 2)
    });
}

/// A leaf as an observation: what it says depends on the CPU, what is checked of it does not.
fn leaf(leaf: u32, subleaf: u32) -> [u32; 4] {
    seen(cpuid(leaf, subleaf))
}

fn identity() {
    let [highest, ebx, ecx, edx] = cpuid(0x4000_0000, 0);
    check(
        "cpuid.signature",
        [0x566e_6558, 0x6558_4d4d, 0x4d4d_566e],
        || seen([ebx, ecx, edx]),
    );
    check("cpuid.highest-hypervisor-leaf", true, || {
        seen(highest >= 0x4000_0002)
    });
    check("cpuid.version", 0x40011, || leaf(0x4000_0001, 0)[0]);
    check("cpuid.hypercall-page", [1, 0x4000_0000], || {
        let [pages, register, ..] = leaf(0x4000_0002, 0);
        [pages, register]
    });
    check("cpuid.preserve-accessed-dirty", 1, || {
        leaf(0x4000_0002, 0)[2] & 1
    });
    check("cpuid.leaf-out-of-range", [0; 4], || leaf(0x3fff_ffff, 0));
    check("cpuid.hypervisor-leaf-out-of-range", [0; 4], || {
        leaf(0x4000_00ff, 0)
    });
    check("cpuid.highest-leaf", true, || seen(cpuid(0, 0)[0] <= 0xd));
    check("cpuid.vendor-is-the-hosts", true, || {
        let [_, ebx, ecx, edx] = cpuid(0, 0);
        // GenuineIntel or AuthenticAMD
        seen(matches!(
            [ebx, edx, ecx],
            [0x756e_6547, 0x4965_6e69, 0x6c65_746e] | [0x6874_7541, 0x6974_6e65, 0x444d_4163]
        ))
    });
    check("cpuid.hypervisor-bit", 1, || leaf(1, 0)[2] >> 31);
    check("cpuid.apic-number-is-0", 0, || leaf(1, 0)[1] >> 24);
    check("cpuid.needed-features", 0x0781_8171, || {
        // FPU, TSC, MSR, PAE, CX8, CMOV, PAT, MMX, FXSR, SSE, SSE2
        leaf(1, 0)[3] & 0x0781_8171
    });
    check("cpuid.long-mode-and-syscall", 1 << 29 | 1 << 11, || {
        leaf(0x8000_0001, 0)[3] & (1 << 29 | 1 << 11)
    });
    check("cpuid.linear-address-width", 48, || {
        leaf(0x8000_0008, 0)[0] >> 8 & 0xff
    });
    check("cpuid.reserved-bits-of-version", 0, || {
        leaf(1, 0)[0] >> 12 & 3
    });
}

fn hidden() {
    let rows: [(&str, u32, usize, u32); 17] = [
        ("hidden.page-size-extension", 1, 3, 1 << 3 | 1 << 17),
        ("hidden.global-pages", 1, 3, 1 << 13),
        ("hidden.virtual-8086-extension", 1, 3, 1 << 1),
        (
            "hidden.serial-number-and-debug-store",
            1,
            3,
            1 << 18 | 1 << 21 | 1 << 29 | 1 << 31,
        ),
        ("hidden.monitor", 1, 2, 1 << 3),
        ("hidden.vmx-and-smx", 1, 2, 1 << 5 | 1 << 6),
        ("hidden.process-context-numbers", 1, 2, 1 << 17),
        ("hidden.deadline-timer", 1, 2, 1 << 24),
        ("hidden.smep", 7, 1, 1 << 7),
        ("hidden.smap", 7, 1, 1 << 20),
        ("hidden.invpcid", 7, 1, 1 << 10),
        ("hidden.mpx-and-trace", 7, 1, 1 << 14 | 1 << 25),
        ("hidden.protection-keys", 7, 2, 1 << 3 | 1 << 4 | 1 << 31),
        ("hidden.umip-and-la57", 7, 2, 1 << 2 | 1 << 16),
        ("hidden.svm", 0x8000_0001, 2, 1 << 2),
        ("hidden.large-pages-of-1-gib", 0x8000_0001, 3, 1 << 26),
        ("hidden.skinit-and-ibs", 0x8000_0001, 2, 1 << 10 | 1 << 12),
    ];
    for (name, number, register, bits) in rows {
        check(name, 0, || leaf(number, 0)[register] & bits);
    }
    check("hidden.monitor-leaf", [0; 4], || leaf(5, 0));
    check("hidden.thermal-leaf", [0; 4], || leaf(6, 0));
    check("hidden.performance-leaf", [0; 4], || leaf(0xa, 0));
    check("hidden.topology-leaf", [0; 3], || {
        let [eax, ebx, ecx, _] = leaf(0xb, 0);
        [eax, ebx, ecx & !0xff]
    });
}
