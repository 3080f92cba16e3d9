//! Ways back into a guest: `iret`'s frames one by one, the NMI callback, and the failsafe callback.
#![no_std]
#![no_main]

use core::arch::global_asm;
use core::sync::atomic::{AtomicBool, AtomicU64, Ordering::SeqCst};

use guest_conformance::fixture::{Frame, eventually};
use guest_conformance::instruction::{GENERAL_PROTECTION, Outcome, carry, fault_of};
use guest_conformance::returns::{Return, return_by, returned};
use guest_conformance::shared::Shared;
use guest_conformance::{
    HYPERVISOR, NOT_CANONICAL, address_of, call, check, finish, instruction, prepare, seen, start,
};
use guest_kernel::event::upcall;
use guest_kernel::smp;
use guest_kernel::start::Boot;
use guest_kernel::task::{block_on, spawn_on};
use guest_kernel::trap::TrapFrame;
use guest_kernel::user::{Exit, Program};
use hypercall_abi::number::{CALLBACK_OP, IRET, SET_GDT, UPDATE_DESCRIPTOR, VCPU_OP, XEN_VERSION};
use hypercall_abi::trap::{CALLBACKTYPE_FAILSAFE, CALLBACKTYPE_NMI, VGCF_IN_SYSCALL};

guest_kernel::entry!(main);

const SEND_NMI: u64 = 11;
/// A flat data segment, ring 3.
const DATA: u64 = 0x00cf_f300_0000_ffff;
/// A flat code segment, ring 3, that is not present.
const ABSENT_CODE: u64 = 0x00af_7b00_0000_ffff;

const FLAT_CODE: u64 = 0xe033;
const FLAT_DATA: u64 = 0xe02b;

fn main(boot: &'static Boot) {
    start(boot);
    registers();
    flags();
    masks();
    selectors();
    targets();
    user_mode();
    nmis();
    failsafe();
    finish()
}

fn frame() -> Return {
    Return::default()
}

fn registers() {
    check("iret.registers-of-the-frame", Ok([1, 2, 3]), || {
        return_by(frame()).map(|found| [found.rax, found.r11, found.rcx])
    });
    check("iret.other-registers-kept", Outcome::Gives(0x88), || {
        returned(frame(), |found| found.r8)
    });
    check("iret.stack-of-the-frame", Outcome::Gives(0), || {
        returned(frame(), |found| found.rsp_off)
    });
    let by_sysret = Return {
        flags: VGCF_IN_SYSCALL,
        ..frame()
    };
    check("iret.in-syscall-rcx-is-rip", Outcome::Gives(0), || {
        returned(by_sysret, |found| found.rcx ^ found.rip)
    });
    check(
        "iret.in-syscall-r11-is-flags",
        Outcome::Gives(0x202),
        || returned(by_sysret, |found| found.r11 & 0x3202),
    );
    check(
        "iret.in-syscall-selectors-are-flat",
        Ok([FLAT_CODE, FLAT_DATA]),
        || {
            let odd = Return {
                cs: 0xe030,
                ss: 0xe030,
                ..by_sysret
            };
            return_by(odd).map(|found| [found.cs, found.ss])
        },
    );
    check(
        "iret.other-bits-of-its-flags-are-ignored",
        Outcome::Gives(3),
        || {
            let flags = !VGCF_IN_SYSCALL;
            returned(Return { flags, ..frame() }, |found| found.rcx)
        },
    );
}

/// The flags that are found behind a return with these.
fn flags_after(rflags: u64) -> Outcome {
    returned(Return { rflags, ..frame() }, |found| found.rflags)
}

fn flags() {
    check("iret.arithmetic-flags", Outcome::Gives(0xad7), || {
        flags_after(0xad5)
    });
    check("iret.direction-flag", Outcome::Gives(0x602), || {
        flags_after(0x602)
    });
    check("iret.no-flag", Outcome::Gives(0x202), || {
        let answer = flags_after(0);
        upcall::unmask();
        answer
    });
    check(
        "iret.privilege-level-is-not-taken",
        Outcome::Gives(0x202),
        || flags_after(0x3202),
    );
    check("iret.nested-task", Outcome::Gives(0x4202), || {
        flags_after(0x4202)
    });
    check("iret.alignment-check", Outcome::Gives(0x4_0202), || {
        flags_after(0x4_0202)
    });
    check(
        "iret.virtual-8086-is-not-taken",
        Outcome::Gives(0x202),
        || flags_after(0x2_0202),
    );
    check(
        "iret.virtual-interrupts-are-not-taken",
        Outcome::Gives(0x202),
        || flags_after(0x18_0202),
    );
    check("iret.identification", Outcome::Gives(0x20_0202), || {
        flags_after(0x20_0202)
    });
    check("iret.single-step", Outcome::Raises(1, 0), || {
        flags_after(0x302)
    });
    check(
        "iret.nested-task-does-not-stay",
        Outcome::Gives(0x40011),
        || {
            let _landed = return_by(Return {
                rflags: 0x4202,
                ..frame()
            });
            match call(XEN_VERSION, &[0, 0]) {
                version @ 0.. => Outcome::Gives(version.unsigned_abs()),
                _ => Outcome::Gives(0),
            }
        },
    );
}

fn masks() {
    let shared = Shared::map();
    let after = |rflags, before| {
        shared.byte(1).store(before, SeqCst);
        let landed = return_by(Return { rflags, ..frame() }).is_ok();
        let mask = shared.byte(1).load(SeqCst);
        upcall::unmask();
        (landed, seen(mask))
    };
    check("iret.interrupts-on-opens-upcalls", (true, 0), || {
        after(0x202, 1)
    });
    check("iret.interrupts-off-masks-upcalls", (true, 1), || {
        after(2, 0)
    });
    check("iret.mask-becomes-1", (true, 1), || after(2, 7));
}

fn selectors() {
    let code = |cs| returned(Return { cs, ..frame() }, |found| found.cs);
    let stack = |ss| returned(Return { ss, ..frame() }, |found| found.ss);
    check(
        "iret.code-privilege-is-set",
        [Outcome::Gives(FLAT_CODE); 3],
        || [0xe030, 0xe031, 0xe032].map(code),
    );
    check(
        "iret.stack-privilege-is-set",
        [Outcome::Gives(FLAT_DATA); 4],
        || [0xe028, 0xe029, 0xe02a, 0xe02b].map(stack),
    );
    check(
        "iret.selectors-have-16-bits",
        [Outcome::Gives(FLAT_CODE), Outcome::Gives(FLAT_DATA)],
        || [code(0x5a_0000_e030), stack(0x5a_0000_e02b)],
    );
    check("iret.code-null", GENERAL_PROTECTION, || code(0));
    check("iret.code-is-data", Outcome::Raises(13, 0xe028), || {
        code(0xe028)
    });
    check(
        "iret.code-of-hypervisor",
        Outcome::Raises(13, 0xe008),
        || code(0xe008),
    );
    check(
        "iret.code-is-a-task-segment",
        Outcome::Raises(13, 0xe040),
        || code(0xe040),
    );
    check(
        "iret.code-beyond-the-table",
        Outcome::Raises(13, 0xfff0),
        || code(0xfff0),
    );
    check(
        "iret.code-without-a-local-table",
        Outcome::Raises(13, 0x14),
        || code(0x14),
    );
    check("iret.stack-null", GENERAL_PROTECTION, || stack(0));
    check("iret.stack-is-code", Outcome::Raises(13, 0xe030), || {
        stack(0xe030)
    });
    check(
        "iret.stack-of-hypervisor",
        Outcome::Raises(13, 0xe010),
        || stack(0xe010),
    );
    check(
        "iret.stack-beyond-the-table",
        Outcome::Raises(13, 0xfff0),
        || stack(0xfff0),
    );
    let with = |descriptor: u64, load: &dyn Fn(u64) -> Outcome, selector: u64| {
        let page = Frame::take();
        page.set_word(2, descriptor);
        let page = page.read_only();
        prepare(SET_GDT, &[address_of(&[page.mfn]), 512]);
        let answer = load(selector);
        prepare(SET_GDT, &[0, 0]);
        answer
    };
    check("iret.code-not-present", Outcome::Raises(11, 0x10), || {
        with(ABSENT_CODE, &code, 0x10)
    });
    check("iret.stack-of-the-guest", Outcome::Gives(0x13), || {
        with(DATA, &stack, 0x10)
    });
}

fn targets() {
    // What is changed in the landing place's address makes another one of it.
    let to = |change: u64, flags: u64| {
        let landed = return_by(Return {
            rip: change,
            flags,
            ..frame()
        });
        landed.err().map(|fault| (fault.vector, fault.error_code))
    };
    check("iret.address-not-canonical", Some((13, 0)), || {
        to(1 << 62, 0)
    });
    check(
        "iret.in-syscall-address-not-canonical",
        Some((13, 0)),
        || to(1 << 62, VGCF_IN_SYSCALL),
    );
    check("iret.fault-is-at-the-target", (13, true), || {
        let fault = return_by(Return {
            rip: 1 << 62,
            ..frame()
        });
        let landing = return_by(frame()).map_or(0, |found| found.rip);
        fault.map_or_else(
            |fault| (fault.vector, seen(fault.rip == landing ^ 1 << 62)),
            |_| (0, false),
        )
    });
    check("iret.address-of-hypervisor", Some(14), || {
        let landing = return_by(frame()).map_or(0, |found| found.rip);
        to(landing ^ HYPERVISOR, 0).map(|(vector, _)| vector)
    });
    check("iret.address-of-nothing", Some(14), || {
        to(0x7000_0000, 0).map(|(vector, _)| vector)
    });
}

/// Enters user mode by a frame that is changed first; `mov edi, cs; pushfq; pop rdi; mov eax, 1; syscall` is there.
fn user(change: impl FnOnce(&mut TrapFrame)) -> (u64, u64, u64) {
    const TELL_FLAGS: &[u8] = &[0x9c, 0x5f, 0xb8, 1, 0, 0, 0, 0x0f, 0x05];
    let Some(mut thread) = Program::load(TELL_FLAGS)
        .ok()
        .and_then(|mut program| program.thread().ok())
    else {
        return (u64::MAX, 0, 0);
    };
    change(thread.frame_mut());
    loop {
        match thread.run() {
            Exit::Event => {}
            Exit::SystemCall { argument, .. } => {
                return (seen(256), argument, thread.frame().cs >> 32 & 0xff);
            }
            Exit::Fault(fault) => return (seen(fault.vector), fault.error_code, 0),
        }
    }
}

fn user_mode() {
    check("iret.user-code-null", (13, 0, 0), || {
        user(|frame| frame.cs = 3)
    });
    check("iret.user-code-is-data", (13, 0xe028, 0), || {
        user(|frame| frame.cs = FLAT_DATA)
    });
    check("iret.user-code-beyond-the-table", (13, 0xfff0, 0), || {
        user(|frame| frame.cs = 0xfff3)
    });
    check("iret.user-stack-null", (13, 0, 0), || {
        user(|frame| frame.ss = 0)
    });
    check("iret.user-stack-is-code", (13, 0xe030, 0), || {
        user(|frame| frame.ss = FLAT_CODE)
    });
    check("iret.user-address-not-canonical", (13, 0, 0), || {
        user(|frame| frame.rip = NOT_CANONICAL)
    });
    check("iret.user-address-of-hypervisor", 14, || {
        user(|frame| frame.rip = HYPERVISOR).0
    });
    check("iret.user-single-step", (1, 0, 0), || {
        user(|frame| frame.rflags |= 0x100)
    });
    check("iret.user-flags", (256, 0xad7, 0), || {
        user(|frame| frame.rflags = 0x3ad5)
    });
    check(
        "iret.user-interrupts-off-masks-upcalls",
        (256, 0x202, 1),
        || user(|frame| frame.rflags = 2),
    );
}

instruction! {
    send_nmi: "mov eax, 24", "mov edi, 11", "xor esi, esi", "xor edx, edx", "push r10", "push r8", "push r11",
        "syscall", "pop r11", "pop r8", "pop r10";
    load_fs: "mov fs, ecx", "xor eax, eax";
    read_fs: "xor eax, eax", "mov eax, fs";
}

/// How often the NMI handler below ran, and how often it had when its own NMI had been sent.
static NMIS: AtomicU64 = AtomicU64::new(0);
static NMIS_INSIDE: AtomicU64 = AtomicU64::new(0);

/// How often the failsafe handler below ran, and the selectors that it was shown: DS, ES, FS, GS.
static FAILSAFES: AtomicU64 = AtomicU64::new(0);
static SELECTORS: [AtomicU64; 4] = [const { AtomicU64::new(0) }; 4];

// Handlers that return by `iret`, to what their frame says. RCX and R11 are on top of it, for the failsafe handler with
// DS, ES, FS and GS below them. The first NMI sends another one: that has to wait for the return.
global_asm!(
    ".section .text.returns, \"ax\"",
    ".global conformance_nmi", "conformance_nmi:",
    "pop rcx", "pop r11",
    "push rax",
    "mov rax, [rip + {nmis}]", "inc rax", "mov [rip + {nmis}], rax",
    "cmp rax, 1", "jne 2f",
    "push rdi", "push rsi", "push rdx", "push rcx", "push r8", "push r10", "push r11",
    "mov eax, {vcpu_op}", "mov edi, 11", "xor esi, esi", "xor edx, edx", "syscall",
    "pop r11", "pop r10", "pop r8", "pop rcx", "pop rdx", "pop rsi", "pop rdi",
    "mov rax, [rip + {nmis}]", "mov [rip + {inside}], rax",
    "2: pop rax",
    "jmp conformance_return",
    ".global conformance_failsafe", "conformance_failsafe:",
    "pop rcx", "pop r11",
    "pop qword ptr [rip + {selectors}]", "pop qword ptr [rip + {selectors} + 8]",
    "pop qword ptr [rip + {selectors} + 16]", "pop qword ptr [rip + {selectors} + 24]",
    "inc qword ptr [rip + {failsafes}]",
    "conformance_return:",
    "push 0", "push rcx", "push r11", "push rax", "mov eax, {iret}", "syscall", "ud2",
    nmis = sym NMIS,
    inside = sym NMIS_INSIDE,
    selectors = sym SELECTORS,
    failsafes = sym FAILSAFES,
    vcpu_op = const VCPU_OP,
    iret = const IRET,
);

unsafe extern "C" {
    fn conformance_nmi();
    fn conformance_failsafe();
}

/// Registers a callback of a kind for this vCPU.
fn register(kind: u16, handler: unsafe extern "C" fn()) {
    let place = [u64::from(kind), (handler as *const ()).addr() as u64];
    assert!(
        prepare(CALLBACK_OP, &[0, address_of(&place)]) == 0,
        "a callback is taken"
    );
}

fn nmis() {
    check(
        "nmi.comes-with-the-return-of-the-call",
        Outcome::Raises(2, 0),
        || fault_of(send_nmi, 0, 0),
    );
    check("nmi.comes-again", Outcome::Raises(2, 0), || {
        let _first = carry(send_nmi, 0, 0);
        fault_of(send_nmi, 0, 0)
    });
    check("nmi.callback", (0, 2, 1), || {
        register(CALLBACKTYPE_NMI, conformance_nmi);
        NMIS.store(0, SeqCst);
        let result = call(VCPU_OP, &[SEND_NMI, 0, 0]);
        // The one that the handler sends comes when it has returned, and not before.
        (
            result,
            seen(NMIS.load(SeqCst)),
            seen(NMIS_INSIDE.load(SeqCst)),
        )
    });
    check("nmi.registers-are-those-of-the-call", true, || {
        NMIS.store(1, SeqCst);
        let out = guest_conformance::call_with_registers(VCPU_OP, &[SEND_NMI, 0, 0]);
        out.rax == 0 && out.rcx == out.behind && NMIS.load(SeqCst) == 2
    });
    check("nmi.without-a-handler-is-lost", (0, 5), || {
        let kind = u64::from(CALLBACKTYPE_NMI);
        prepare(CALLBACK_OP, &[1, address_of(&kind)]);
        NMIS.store(5, SeqCst);
        (call(VCPU_OP, &[SEND_NMI, 0, 0]), seen(NMIS.load(SeqCst)))
    });
}

/// A selector that cannot be loaded any more when a vCPU comes back to a CPU.
fn failsafe() {
    static DONE: AtomicBool = AtomicBool::new(false);
    // More vCPUs that compute than CPUs, so that this one is taken off its own.
    for vcpu in smp::possible().skip(1) {
        if block_on(smp::up(vcpu)).is_ok() {
            spawn_on(vcpu, async {
                while !DONE.load(SeqCst) {
                    core::hint::spin_loop();
                }
            });
        }
    }
    register(CALLBACKTYPE_FAILSAFE, conformance_failsafe);
    let page = Frame::take();
    page.set_word(2, DATA);
    let page = page.read_only();
    prepare(SET_GDT, &[address_of(&[page.mfn]), 512]);
    check(
        "failsafe.selector-that-was-taken-away",
        (0, true, 0x13, Outcome::Gives(0)),
        || {
            FAILSAFES.store(0, SeqCst);
            let loaded = carry(load_fs, 0, 0x13).is_ok();
            let result = call(UPDATE_DESCRIPTOR, &[page.slot(2), 0]);
            let came = loaded && eventually(|| FAILSAFES.load(SeqCst) > 0);
            let left = carry(read_fs, 0, 0).map_or(Outcome::Raises(0, 0), Outcome::Gives);
            (result, seen(came), seen(SELECTORS[2].load(SeqCst)), left)
        },
    );
    let _null = carry(load_fs, 0, 0);
    DONE.store(true, SeqCst);
    prepare(SET_GDT, &[0, 0]);
}
