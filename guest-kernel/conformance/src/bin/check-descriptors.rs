//! Descriptor tables, segment bases, debug registers, callbacks: what a vCPU may be told to load.
#![no_std]
#![no_main]

use guest_conformance::errno::{EFAULT, EINVAL, ENODEV, ENOSYS, EPERM};
use guest_conformance::fixture::{Frame, PRESENT, WRITABLE};
use guest_conformance::instruction::{GENERAL_PROTECTION, Outcome, carry, catch, fault_of, run};
use guest_conformance::{
    HYPERVISOR, NO_FRAME, NOT_CANONICAL, SELF, UNMAPPED, address_of, call, check, finish,
    instruction, prepare, seen, start,
};
use guest_kernel::start::Boot;
use hypercall_abi::number::{
    CALLBACK_OP, FPU_TASKSWITCH, GET_DEBUGREG, MMUEXT_OP, NMI_OP, SET_CALLBACKS, SET_DEBUGREG,
    SET_GDT, SET_SEGMENT_BASE, SET_TRAP_TABLE, STACK_SWITCH, UPDATE_DESCRIPTOR, UPDATE_VA_MAPPING,
};

guest_kernel::entry!(main);

/// A flat data segment, ring 3.
const DATA: u64 = 0x00cf_f300_0000_ffff;
/// The same, ring 0.
const DATA_RING_0: u64 = 0x00cf_9300_0000_ffff;
/// An available task state segment.
const TASK: u64 = 0x0000_e900_0000_0067;
/// A call gate to the flat code segment.
const GATE: u64 = 0x0000_ec00_e033_0000;

fn main(boot: &'static Boot) {
    start(boot);
    gdt();
    updates();
    ldt();
    bases();
    debug();
    callbacks();
    traps();
    fpu();
    finish()
}

instruction! {
    load_fs: "mov fs, ecx", "xor eax, eax", "mov fs, eax";
    load_kernel_gs_base: "mov ecx, 0xc0000101", "rdmsr", "shl rdx, 32", "or rax, rdx";
    load_user_gs_base: "mov ecx, 0xc0000102", "rdmsr", "shl rdx, 32", "or rax, rdx";
    read_fs_word: "mov rax, fs:[rcx]";
    limit_of: "xor eax, eax", "lsl eax, ecx";
    use_fpu: "fnop", "xor eax, eax";
    store_byte: "mov byte ptr [rcx], 0", "xor eax, eax";
    single_step: "pushfq", "or dword ptr [rsp], 0x100", "popfq", "nop", "nop";
}

/// A page with one descriptor, that can become a table of descriptors.
fn table(slot: u64, descriptor: u64) -> Frame {
    let page = Frame::take();
    page.set_word(slot, descriptor);
    page.read_only()
}

fn gdt() {
    let set = |frames: &[u64], entries: u64| call(SET_GDT, &[address_of(frames), entries]);
    check("set_gdt.loads", (0, Outcome::Gives(0)), || {
        let page = table(2, DATA);
        let result = set(&[page.mfn], 512);
        let loaded = fault_of(load_fs, 0, 0x13);
        prepare(SET_GDT, &[0, 0]);
        (result, loaded)
    });
    check("set_gdt.whole-page-counts", (0, Outcome::Gives(0)), || {
        let page = table(2, DATA);
        let result = set(&[page.mfn], 1);
        let loaded = fault_of(load_fs, 0, 0x13);
        prepare(SET_GDT, &[0, 0]);
        (result, loaded)
    });
    check(
        "set_gdt.behind-its-last-page",
        (0, Outcome::Raises(13, 0x1010)),
        || {
            let page = table(2, DATA);
            let result = set(&[page.mfn], 512);
            let loaded = fault_of(load_fs, 0, 0x1013);
            prepare(SET_GDT, &[0, 0]);
            (result, loaded)
        },
    );
    check("set_gdt.empty", (0, Outcome::Raises(13, 0x10)), || {
        let result = set(&[], 0);
        (result, fault_of(load_fs, 0, 0x13))
    });
    check(
        "set_gdt.ring-0-becomes-ring-3",
        (0, Outcome::Gives(0)),
        || {
            let page = table(2, DATA_RING_0);
            let result = set(&[page.mfn], 512);
            let loaded = fault_of(load_fs, 0, 0x13);
            prepare(SET_GDT, &[0, 0]);
            (result, loaded)
        },
    );
    check("set_gdt.too-many-entries", EINVAL, || set(&[0; 16], 7169));
    check("set_gdt.frame-not-own", EINVAL, || set(&[NO_FRAME], 512));
    check("set_gdt.frame-mapped-writable", EINVAL, || {
        set(&[Frame::take().mfn], 512)
    });
    check("set_gdt.bad-descriptor", EINVAL, || {
        set(&[table(2, TASK).mfn], 512)
    });
    check("set_gdt.call-gate", 0, || {
        let result = set(&[table(2, GATE).mfn], 512);
        prepare(SET_GDT, &[0, 0]);
        result
    });
    check("set_gdt.same-frame-twice", 0, || {
        let page = table(2, DATA);
        let result = set(&[page.mfn, page.mfn], 1024);
        prepare(SET_GDT, &[0, 0]);
        result
    });
    check("set_gdt.page-cannot-be-written", (0, -16), || {
        let page = table(2, DATA);
        let result = set(&[page.mfn], 512);
        let writable = prepare(UPDATE_VA_MAPPING, &[page.address, page.entry(WRITABLE), 0]);
        prepare(SET_GDT, &[0, 0]);
        (result, seen(writable))
    });
    check("set_gdt.old-page-is-free", (0, 0), || {
        let page = table(2, DATA);
        prepare(SET_GDT, &[address_of(&[page.mfn]), 512]);
        let result = set(&[], 0);
        (result, seen(page.remap(WRITABLE)))
    });
    check(
        "set_gdt.refused-keeps-old",
        (EINVAL, Outcome::Gives(0)),
        || {
            let page = table(2, DATA);
            prepare(SET_GDT, &[address_of(&[page.mfn]), 512]);
            let result = set(&[NO_FRAME], 512);
            let loaded = fault_of(load_fs, 0, 0x13);
            prepare(SET_GDT, &[0, 0]);
            (result, loaded)
        },
    );
    check("selector.flat-data", Outcome::Gives(0), || {
        fault_of(load_fs, 0, 0xe02b)
    });
    check(
        "selector.of-hypervisor",
        Outcome::Raises(13, 0xe010),
        || fault_of(load_fs, 0, 0xe010),
    );
    check(
        "selector.beyond-the-table",
        Outcome::Raises(13, 0xfff0),
        || fault_of(load_fs, 0, 0xfff3),
    );
    check("selector.not-present", Outcome::Raises(11, 0x10), || {
        let page = table(2, DATA & !(1 << 47));
        prepare(SET_GDT, &[address_of(&[page.mfn]), 512]);
        let loaded = fault_of(load_fs, 0, 0x13);
        prepare(SET_GDT, &[0, 0]);
        loaded
    });
}

fn updates() {
    let update = |address: u64, descriptor: u64| call(UPDATE_DESCRIPTOR, &[address, descriptor]);
    check("update_descriptor.plain-page", (0, DATA), || {
        let page = Frame::take();
        (update(page.slot(3), DATA), seen(page.word(3)))
    });
    check("update_descriptor.ring-0-becomes-ring-3", (0, DATA), || {
        let page = Frame::take();
        (update(page.slot(3), DATA_RING_0), seen(page.word(3)))
    });
    check(
        "update_descriptor.page-in-use",
        (0, Outcome::Gives(0)),
        || {
            let page = table(2, 0);
            prepare(SET_GDT, &[address_of(&[page.mfn]), 512]);
            let result = update(page.slot(2), DATA);
            let loaded = fault_of(load_fs, 0, 0x13);
            prepare(SET_GDT, &[0, 0]);
            (result, loaded)
        },
    );
    check(
        "update_descriptor.not-present-is-anything",
        (0, 0x0000_0900_1234_5678),
        || {
            let page = Frame::take();
            (
                update(page.slot(3), 0x0000_0900_1234_5678),
                seen(page.word(3)),
            )
        },
    );
    check("update_descriptor.task-segment", EINVAL, || {
        update(Frame::take().slot(3), TASK)
    });
    check("update_descriptor.interrupt-gate", EINVAL, || {
        update(Frame::take().slot(3), 0x0000_ee00_e033_0000)
    });
    check(
        "update_descriptor.system-types",
        // The upper half of a gate is no descriptor; call gates have a check of their own.
        [
            0, EINVAL, EINVAL, EINVAL, EINVAL, EINVAL, EINVAL, EINVAL, EINVAL, EINVAL, EINVAL,
            EINVAL, EINVAL, EINVAL, EINVAL,
        ],
        || {
            let page = Frame::take();
            [0, 1, 2, 3, 4, 5, 6, 7, 8, 9, 10, 11, 13, 14, 15]
                .map(|kind: u64| update(page.slot(3), 1 << 47 | kind << 40))
        },
    );
    check(
        "update_descriptor.upper-half-of-a-gate",
        (0, 0x8000_1234_5678),
        || {
            let page = Frame::take();
            let result = update(page.slot(3), 0x8000_1234_5678);
            (result, seen(page.word(3)))
        },
    );
    check("update_descriptor.every-segment-type", 0, || {
        let page = Frame::take();
        (0..16).fold(0, |all, kind: u64| {
            all | update(page.slot(3), 0x0000_9000_0000_0000 | kind << 40)
        })
    });
    check("update_descriptor.last-of-a-page", (0, DATA), || {
        let page = Frame::take();
        (update(page.slot(511), DATA), seen(page.word(511)))
    });
    check("update_descriptor.call-gate", 0, || {
        update(Frame::take().slot(3), GATE)
    });
    check("update_descriptor.unaligned", EINVAL, || {
        update(Frame::take().slot(3) + 4, DATA)
    });
    check("update_descriptor.frame-not-own", EINVAL, || {
        update(NO_FRAME << 12, DATA)
    });
    check("update_descriptor.page-table", EINVAL, || {
        update(Frame::take().read_only().pinned(1).slot(3), DATA)
    });
}

fn ldt() {
    let set = |address: u64, entries: u64| {
        call(
            MMUEXT_OP,
            &[address_of(&[13, address, entries]), 1, 0, SELF],
        )
    };
    let clear = || prepare(MMUEXT_OP, &[address_of(&[13_u64, 0, 0]), 1, 0, SELF]);
    check("set_ldt.loads", (0, Outcome::Gives(0)), || {
        let page = table(2, DATA);
        let result = set(page.address, 512);
        let loaded = fault_of(load_fs, 0, 0x17);
        clear();
        (result, loaded)
    });
    check("set_ldt.empty", (0, Outcome::Raises(13, 0x14)), || {
        (set(0, 0), fault_of(load_fs, 0, 0x17))
    });
    check("set_ldt.too-many-entries", EINVAL, || {
        set(Frame::take().address, 8193)
    });
    check("set_ldt.unaligned", EINVAL, || {
        set(Frame::take().address + 8, 1)
    });
    check("set_ldt.address-of-hypervisor", EINVAL, || {
        set(HYPERVISOR & !0xfff, 1)
    });
    check("set_ldt.unmapped-shows-at-use", (0, 14, true), || {
        let result = set(UNMAPPED, 512);
        let fault = catch(load_fs, 0, 0x17).err();
        clear();
        let address = fault.map_or(0, |fault| fault.address);
        (
            result,
            fault.map_or(0, |fault| fault.vector),
            seen(address == UNMAPPED + 0x10),
        )
    });
    check("set_ldt.writable-page-shows-at-use", (0, 14), || {
        let page = Frame::take();
        page.set_word(2, DATA);
        let result = set(page.address, 512);
        let fault = catch(load_fs, 0, 0x17).err();
        clear();
        (result, fault.map_or(0, |fault| fault.vector))
    });
    check("set_ldt.used-page-cannot-be-written", (0, -16), || {
        let page = table(2, DATA);
        let result = set(page.address, 512);
        let loaded = fault_of(load_fs, 0, 0x17);
        let writable = prepare(UPDATE_VA_MAPPING, &[page.address, page.entry(WRITABLE), 0]);
        clear();
        (
            result,
            seen(if loaded == Outcome::Gives(0) {
                writable
            } else {
                0
            }),
        )
    });
    check(
        "set_ldt.entry-of-no-address",
        (0, Outcome::Raises(13, 0x1014)),
        || {
            // The second page of such a table is not canonical.
            let result = set(0x7fff_ffff_f000, 1024);
            let loaded = fault_of(load_fs, 0, 0x1017);
            clear();
            (result, loaded)
        },
    );
    check("set_ldt.same-again", (0, Outcome::Gives(0)), || {
        let page = table(2, DATA);
        let list = [13, page.address, 512];
        prepare(MMUEXT_OP, &[address_of(&list), 1, 0, SELF]);
        let _loaded = fault_of(load_fs, 0, 0x17);
        let result = set(page.address, 512);
        let loaded = fault_of(load_fs, 0, 0x17);
        clear();
        (result, loaded)
    });
    check("set_ldt.cleared-page-is-free", (0, 0), || {
        let page = table(2, DATA);
        prepare(
            MMUEXT_OP,
            &[address_of(&[13, page.address, 512]), 1, 0, SELF],
        );
        let result = set(0, 0);
        (result, seen(page.remap(WRITABLE)))
    });
    check(
        "set_ldt.entry-beyond-the-end",
        (0, Outcome::Raises(13, 0x14)),
        || {
            let page = table(2, DATA);
            let result = set(page.address, 2);
            let loaded = fault_of(load_fs, 0, 0x17);
            clear();
            (result, loaded)
        },
    );
}

fn bases() {
    let set = |which: u64, base: u64| call(SET_SEGMENT_BASE, &[which, base]);
    let word = 0x1122_3344_u64;
    check(
        "set_segment_base.fs",
        (0, Outcome::Gives(0x1122_3344)),
        || {
            let result = set(0, address_of(&word));
            let value = run(read_fs_word, 0, 0);
            prepare(SET_SEGMENT_BASE, &[0, 0]);
            (result, value)
        },
    );
    check("set_segment_base.not-canonical", [EINVAL; 3], || {
        [0, 1, 2].map(|which| set(which, NOT_CANONICAL))
    });
    check("set_segment_base.user-gs", (0, 0x7000), || {
        let result = set(1, 0x7000);
        (result, seen(carry(load_user_gs_base, 0, 0).unwrap_or(0)))
    });
    check(
        "set_segment_base.flat-selector-clears-the-user-base",
        (0, 0),
        || {
            prepare(SET_SEGMENT_BASE, &[1, 0x7000]);
            let result = set(3, 0xe02b);
            (result, seen(carry(load_user_gs_base, 0, 0).unwrap_or(1)))
        },
    );
    check(
        "set_segment_base.bad-selector-clears-the-user-base",
        (0, 0),
        || {
            prepare(SET_SEGMENT_BASE, &[1, 0x7000]);
            let result = set(3, 0xfff3);
            (result, seen(carry(load_user_gs_base, 0, 0).unwrap_or(1)))
        },
    );
    check("set_segment_base.user-gs-selector", [0; 2], || {
        [set(3, 0), set(3, 0xe02b)]
    });
    check("set_segment_base.kernel-gs", (0, true), || {
        let base = carry(load_kernel_gs_base, 0, 0).unwrap_or(0);
        let result = set(2, base);
        let after = carry(load_kernel_gs_base, 0, 0).unwrap_or(1);
        (result, seen(base == after))
    });
    check("set_segment_base.bad-selector-is-null", 0, || {
        set(3, 0xfff3)
    });
    check("set_segment_base.no-such-base", [EINVAL; 2], || {
        [set(4, 0), set(u64::MAX, 0)]
    });
    check("stack_switch.any-address", [0; 2], || {
        [
            call(STACK_SWITCH, &[0xe02b, NOT_CANONICAL]),
            call(STACK_SWITCH, &[0, HYPERVISOR]),
        ]
    });
}

fn debug() {
    let set = |register: u64, value: u64| call(SET_DEBUGREG, &[register, value]);
    let get = |register: u64| call(GET_DEBUGREG, &[register]).cast_unsigned();
    check("debugreg.address-registers", (0, 0x1000), || {
        let answer = (set(0, 0x1000), get(0));
        prepare(SET_DEBUGREG, &[0, 0]);
        answer
    });
    check("debugreg.address-of-hypervisor", [EPERM; 4], || {
        [0, 1, 2, 3].map(|register| set(register, HYPERVISOR))
    });
    check("debugreg.address-not-canonical", EPERM, || {
        set(0, NOT_CANONICAL)
    });
    check("debugreg.lowest-kernel-address", 0, || {
        let answer = set(1, 0xffff_8800_0000_0000);
        prepare(SET_DEBUGREG, &[1, 0]);
        answer
    });
    check("debugreg.6-at-start", 0xffff_0ff0, || get(6));
    check("debugreg.7-at-start", 0x400, || get(7));
    check("debugreg.6-upper-half", EINVAL, || set(6, 1 << 32));
    check("debugreg.7-upper-half", EINVAL, || set(7, 1 << 32));
    check("debugreg.6-reserved-bits", (0, 0xffff_0ff0), || {
        (set(6, 0x1000), get(6))
    });
    check("debugreg.7-reserved-bits", (0, 0x400), || {
        (set(7, 0xd000), get(7))
    });
    check("debugreg.7-general-detect", EPERM, || set(7, 0x2000 | 1));
    check("debugreg.7-io-without-extension", EPERM, || {
        set(7, 0x2_0001)
    });
    check("debugreg.4-is-6", 0xffff_0ff0, || get(4));
    check("debugreg.5-is-7", 0x400, || get(5));
    check("debugreg.no-such-register", (ENODEV, ENODEV), || {
        (set(8, 0), call(GET_DEBUGREG, &[8_u64]))
    });
    check(
        "debugreg.data-breakpoint",
        (0, Outcome::Raises(1, 0), 1),
        || {
            let target = Frame::take();
            prepare(SET_DEBUGREG, &[0, target.address]);
            let result = set(7, 0x1_0001);
            let raised = fault_of(store_byte, 0, target.address);
            prepare(SET_DEBUGREG, &[7, 0]);
            let status = get(6) & 0xf;
            prepare(SET_DEBUGREG, &[6, 0]);
            prepare(SET_DEBUGREG, &[0, 0]);
            (result, raised, status)
        },
    );
    check(
        "debugreg.disabled-breakpoint",
        (0, Outcome::Gives(0)),
        || {
            let target = Frame::take();
            prepare(SET_DEBUGREG, &[0, target.address]);
            let result = set(7, 0);
            let raised = fault_of(store_byte, 0, target.address);
            prepare(SET_DEBUGREG, &[0, 0]);
            (result, raised)
        },
    );
    check("single-step", Outcome::Raises(1, 0), || {
        fault_of(single_step, 0, 0)
    });
    check("single-step.status", 0x4000, || {
        let _stepped = catch(single_step, 0, 0);
        let status = get(6) & 0x400f;
        prepare(SET_DEBUGREG, &[6, 0]);
        status
    });
}

fn callbacks() {
    let register = |kind: u64, address: u64| call(CALLBACK_OP, &[0, address_of(&[kind, address])]);
    let unregister = |kind: u64| call(CALLBACK_OP, &[1, address_of(&kind)]);
    check("callback.not-canonical", [EINVAL; 3], || {
        [0, 1, 2].map(|kind| register(kind, NOT_CANONICAL))
    });
    check("callback.nmi-registered-and-taken-back", (0, 0), || {
        (register(4, 0x1000), unregister(4))
    });
    check("callback.sysenter", 0, || register(5, 0));
    check("callback.syscall32", 0, || register(7, 0));
    check("callback.failsafe", 0, || register(1, 0));
    check("callback.no-such-type", [ENOSYS; 3], || {
        [3, 6, 8].map(|kind| register(kind, 0))
    });
    check("callback.address-before-type", EINVAL, || {
        register(8, NOT_CANONICAL)
    });
    check("callback.unknown-flags-are-ignored", 0, || {
        register(5 | 0xfffe << 16, 0)
    });
    check("callback.cannot-be-taken-back", [EINVAL; 5], || {
        [0, 1, 2, 5, 7].map(unregister)
    });
    check("callback.unregister-no-such-type", [ENOSYS; 3], || {
        [3, 6, 8].map(unregister)
    });
    check("nmi_op.registered-and-taken-back", (0, 0), || {
        (
            call(NMI_OP, &[0, address_of(&[0x1000_u64, 0])]),
            call(NMI_OP, &[1, 0]),
        )
    });
    check("nmi_op.taken-back", 0, || call(NMI_OP, &[1, 0]));
    check("nmi_op.not-canonical", EINVAL, || {
        call(NMI_OP, &[0, address_of(&[NOT_CANONICAL, 0])])
    });
    check("set_callbacks.not-canonical-changes-nothing", true, || {
        // Were one taken, the next upcall or system call would end the domain.
        call(
            SET_CALLBACKS,
            &[NOT_CANONICAL, NOT_CANONICAL, NOT_CANONICAL],
        ) == 0
            && call(CALLBACK_OP, &[60, 0]) == ENOSYS
    });
}

fn traps() {
    let set = |list: &[[u64; 2]]| call(SET_TRAP_TABLE, &[address_of(list)]);
    check("set_trap_table.empty-list", 0, || set(&[[0, 0]]));
    check("set_trap_table.not-canonical", EINVAL, || {
        set(&[[0x40, NOT_CANONICAL], [0, 0]])
    });
    check("set_trap_table.stops-at-the-end-mark", 0, || {
        set(&[[0, 0], [0x40, NOT_CANONICAL], [0, 0]])
    });
    check(
        "set_trap_table.entries-before-a-bad-one-stay",
        EINVAL,
        || set(&[[0x41, 0x1000], [0x40, NOT_CANONICAL], [0, 0]]),
    );
    check("set_trap_table.fault-behind-first-entry", EFAULT, || {
        let page = Frame::take();
        page.set_word(510, 0x42);
        page.set_word(511, 0x1000);
        // The next page is taken out of the map: the list runs off the end.
        let window = Frame::take();
        let beside = window.address == page.address + 4096;
        if !beside {
            return call(SET_TRAP_TABLE, &[UNMAPPED]);
        }
        window.unmap();
        let result = call(SET_TRAP_TABLE, &[page.address + 4080]);
        window.remap(WRITABLE);
        result
    });
}

fn fpu() {
    check(
        "fpu_taskswitch.next-use-faults",
        (0, Outcome::Raises(7, 0)),
        || {
            let result = call(FPU_TASKSWITCH, &[1_u64]);
            (result, run(use_fpu, 0, 0))
        },
    );
    check(
        "fpu_taskswitch.fault-clears-it",
        (0, Outcome::Gives(0)),
        || {
            let result = call(FPU_TASKSWITCH, &[1_u64]);
            let _first = catch(use_fpu, 0, 0);
            (result, run(use_fpu, 0, 0))
        },
    );
    check("fpu_taskswitch.cleared", (0, Outcome::Gives(0)), || {
        prepare(FPU_TASKSWITCH, &[1_u64]);
        let result = call(FPU_TASKSWITCH, &[0_u64]);
        (result, run(use_fpu, 0, 0))
    });
    check(
        "limit.of-a-guest-segment",
        Outcome::Gives(0xffff_ffff),
        || {
            let page = table(2, DATA);
            prepare(SET_GDT, &[address_of(&[page.mfn]), 512]);
            let limit = run(limit_of, 0, 0x13);
            prepare(SET_GDT, &[0, 0]);
            limit
        },
    );
    check(
        "page.read-only-store-faults",
        Outcome::Raises(14, 3),
        || {
            let page = Frame::take();
            page.remap(PRESENT);
            fault_of(store_byte, 0, page.address)
        },
    );
    check("selector.null-store-segment", GENERAL_PROTECTION, || {
        run(read_fs_word, 0, NOT_CANONICAL)
    });
}
