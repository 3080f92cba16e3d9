//! What an entry into the guest's kernel looks like: the frame on its stack word by word, registers, flags and the upcall mask,
//! for exceptions, `int n`, upcalls and system calls, from kernel and from user mode.
//!
//! Handlers of its own note all that they find and go back to where the entry was provoked, wherever it came from.
#![no_std]
#![no_main]

use core::arch::global_asm;
use core::sync::atomic::{AtomicU64, Ordering::SeqCst};

use guest_conformance::fixture::Frame;
use guest_conformance::shared::Shared;
use guest_conformance::{
    UNMAPPED, address_of, call, check, finish, note, prepare, sabotaged, seen, start,
};
use guest_kernel::event::upcall;
use guest_kernel::paging::{Mfn, UserTables};
use guest_kernel::start::Boot;
use guest_kernel::trap;
use hypercall_abi::mmu::EntryFlags;
use hypercall_abi::number::{
    CALLBACK_OP, IRET, MMUEXT_OP, PHYSDEV_OP, SET_CALLBACKS, SET_TRAP_TABLE, STACK_SWITCH,
    VM_ASSIST,
};

guest_kernel::entry!(main);

/// Number of an entry by the event callback, by `syscall`, by that of 32-bit code, by the NMI.
const EVENT: u64 = 256;
const SYSCALL: u64 = 257;
const SYSCALL_32: u64 = 258;
const NMI: u64 = 2;

/// What registers hold when an entry is provoked.
const RBX: u64 = 0x1111_1111_1111;
const RCX: u64 = 0x2222_2222_2222;
const R11: u64 = 0x3333_3333_3333;

/// Words of a record: number, RSP, flags, RCX, R11, CS, SS, RBX, upcall mask, then the stack.
static RECORD: [AtomicU64; 19] = [const { AtomicU64::new(0) }; 19];
/// Where the stack was before, and the upcall mask's address.
static RECOVERY: AtomicU64 = AtomicU64::new(0);
static MASK: AtomicU64 = AtomicU64::new(0);

global_asm!(
    ".section .text.frames, \"ax\"",
    ".macro noted number", "frames_entry_\\number:", "mov qword ptr [rip + {record}], \\number", "jmp frames_note", ".endm",
    "noted 1", "noted 2", "noted 6", "noted 13", "noted 14", "noted 0x80",
    "noted 256", "noted 257", "noted 258",
    ".global frames_entries", "frames_entries:",
    ".quad frames_entry_1, frames_entry_2, frames_entry_6, frames_entry_13, frames_entry_14, frames_entry_0x80",
    ".quad frames_entry_256, frames_entry_257, frames_entry_258",
    "frames_note:",
    "mov [rip + {record} + 8], rsp",
    "pushfq", "pop qword ptr [rip + {record} + 16]",
    "mov [rip + {record} + 24], rcx", "mov [rip + {record} + 32], r11",
    "mov eax, cs", "mov [rip + {record} + 40], rax", "mov eax, ss", "mov [rip + {record} + 48], rax",
    "mov [rip + {record} + 56], rbx",
    "mov rcx, [rip + {mask}]", "movzx eax, byte ptr [rcx]", "mov [rip + {record} + 64], rax", "mov byte ptr [rcx], 1",
    "cld",
    "mov rsi, rsp", "lea rdi, [rip + {record} + 72]", "mov ecx, 8", "rep movsq",
    "mov rsp, [rip + {recovery}]", "push 0x202", "popfq",
    "pop r15", "pop r14", "pop r13", "pop r12", "pop rbp", "pop rbx", "ret",
    // fn(code, rsp, flags): goes to code with this stack and these flags; comes back by a handler.
    ".global frames_trip", "frames_trip:",
    "push rbx", "push rbp", "push r12", "push r13", "push r14", "push r15",
    "mov [rip + {recovery}], rsp",
    "mov rax, rdi", "mov rdi, {unmapped}", "mov r9, [rip + {mask}]",
    "mov rbx, {rbx}", "mov rcx, {rcx}", "mov r11, {r11}",
    "mov rsp, rsi", "push rdx", "popfq", "jmp rax",
    // fn(rip, cs, flags, rsp): the same in user mode.
    ".global frames_user", "frames_user:",
    "push rbx", "push rbp", "push r12", "push r13", "push r14", "push r15",
    "mov [rip + {recovery}], rsp",
    "push 0xe02b", "push rcx", "push rdx", "push rsi", "push rdi",
    "push 0", "mov rax, {rcx}", "push rax", "mov rax, {r11}", "push rax", "push 0",
    "mov rbx, {rbx}", "mov rdi, {unmapped}", "mov eax, {iret}", "syscall", "ud2",
    ".global frames_undefined", "frames_undefined:", "ud2",
    ".global frames_halt", "frames_halt:", "hlt",
    ".global frames_load", "frames_load:", "mov rax, [rdi]",
    ".global frames_gate", "frames_gate:", "int 0x80",
    ".global frames_call", "frames_call:", "mov byte ptr [r9], 0",
    "mov eax, 17", "xor edi, edi", "syscall", ".global frames_behind", "frames_behind:", "ud2",
    ".global frames_nmi", "frames_nmi:", "mov eax, 24", "mov edi, 11", "xor esi, esi", "xor edx, edx", "syscall",
    ".global frames_behind_nmi", "frames_behind_nmi:", "ud2",
    record = sym RECORD,
    recovery = sym RECOVERY,
    mask = sym MASK,
    unmapped = const UNMAPPED,
    rbx = const RBX,
    rcx = const RCX,
    r11 = const R11,
    iret = const IRET,
);

unsafe extern "C" {
    static frames_entries: [u64; 9];
    fn frames_trip(code: u64, stack: u64, flags: u64);
    fn frames_user(code: u64, segment: u64, flags: u64, stack: u64);
    fn frames_undefined();
    fn frames_halt();
    fn frames_load();
    fn frames_gate();
    fn frames_call();
    fn frames_behind();
    fn frames_nmi();
    fn frames_behind_nmi();
}

/// Numbers of the entries in `frames_entries`.
const NUMBERS: [u64; 9] = [1, 2, 6, 13, 14, 0x80, EVENT, SYSCALL, SYSCALL_32];

fn place(code: unsafe extern "C" fn()) -> u64 {
    (code as *const ()).addr() as u64
}

/// Address of the handler of an entry.
fn entry_of(number: u64) -> u64 {
    // SAFETY: the list is never written.
    let entries = unsafe { &frames_entries };
    NUMBERS
        .iter()
        .zip(entries)
        .find(|(other, _)| **other == number)
        .map_or(0, |(_, entry)| *entry)
}

/// What a handler found.
#[derive(Clone, Copy)]
struct Record {
    number: u64,
    rsp: u64,
    flags: u64,
    rcx: u64,
    r11: u64,
    segments: [u64; 2],
    rbx: u64,
    mask: u64,
    /// The stack, from RSP on.
    words: [u64; 8],
}

impl Record {
    fn now() -> Self {
        let word = |index: usize| RECORD[index].load(SeqCst);
        Self {
            number: word(0),
            rsp: word(1),
            flags: word(2),
            rcx: word(3),
            r11: word(4),
            segments: [word(5), word(6)],
            rbx: word(7),
            mask: word(8),
            words: [9, 10, 11, 12, 13, 14, 15, 16].map(word),
        }
    }

    const NONSENSE: Self = Self {
        number: 0x5a5a,
        rsp: 0x5a5a,
        flags: 0x5a5a,
        rcx: 0x5a5a,
        r11: 0x5a5a,
        segments: [0x5a5a; 2],
        rbx: 0x5a5a,
        mask: 0x5a,
        words: [0x5a5a; 8],
    };
}

/// What entries are provoked with.
struct Bench {
    shared: Shared,
    /// A page for stacks of kernel mode, and one that user mode's entries get.
    stack: Frame,
    kernel: Frame,
    /// User mode's code and stack.
    code: u64,
    user_stack: u64,
}

/// Places in the code of user mode.
const USER: &[(u64, &[u8])] = &[
    (0x00, &[0x0f, 0x05]),
    (0x10, &[0x0f, 0x0b]),
    (0x20, &[0xcd, 0x90]),
    (0x30, &[0x48, 0x8b, 0x07]),
    (0x40, &[0xcd, 0x80]),
    (0x50, &[0xfd, 0x0f, 0x05]),
    (0x60, &[0xfd, 0x0f, 0x0b]),
    (0x80, &[0xf4]),
];

fn main(boot: &'static Boot) {
    start(boot);
    let masked = upcall::mask();
    let shared = Shared::map();
    MASK.store(shared.address() + 1, SeqCst);
    let Some(bench) = Bench::new(shared) else {
        panic!("there is no memory for user mode")
    };
    bench.open();
    exceptions(&bench);
    states(&bench);
    masks(&bench);
    upcalls(&bench);
    user_mode(&bench);
    system_calls(&bench);
    levels(&bench);
    // What came meanwhile went to the handlers here: the kernel looks at all of it.
    trap::install();
    bench.shared.word(8).store(u64::MAX, SeqCst);
    bench.shared.byte(0).store(1, SeqCst);
    drop(masked);
    finish()
}

impl Bench {
    fn new(shared: Shared) -> Option<Self> {
        let page = Frame::take();
        for (at, bytes) in USER {
            let mut word = [0; 8];
            word[..bytes.len()].copy_from_slice(bytes);
            page.set_word(at / 8, u64::from_le_bytes(word));
        }
        let (code, user_stack) = (0x40_0000, 0x50_0000);
        let mut tables = UserTables::new().ok()?;
        tables.map(code, Mfn(page.mfn), EntryFlags::empty()).ok()?;
        tables
            .map(user_stack, Mfn(Frame::take().mfn), EntryFlags::WRITABLE)
            .ok()?;
        let root = [15, tables.root().0, 0];
        let set = prepare(
            MMUEXT_OP,
            &[address_of(&root), 1, 0, guest_conformance::SELF],
        );
        (set == 0).then_some(Self {
            shared,
            stack: Frame::take(),
            kernel: Frame::take(),
            code: code as u64,
            user_stack: user_stack as u64 + 2048,
        })
    }

    /// All entries lead to the handlers; that of 6 leaves the upcall mask, gate 0x80 is open to user mode.
    fn open(&self) {
        for vector in [1_u64, 6, 13, 14] {
            self.entry(vector, if vector == 6 { 0 } else { 4 });
        }
        self.entry(0x80, 4 | 3);
        self.callback(0, EVENT, 0);
        self.callback(2, SYSCALL, 0);
        self.callback(4, NMI, 0);
        self.callback(7, SYSCALL_32, 0);
        self.kernel_stack(0);
    }

    fn entry(&self, vector: u64, flags: u64) {
        let table = [
            [0xe033 << 16 | flags << 8 | vector, entry_of(vector)],
            [0; 2],
        ];
        prepare(SET_TRAP_TABLE, &[address_of(&table)]);
    }

    fn callback(&self, kind: u64, number: u64, flags: u64) {
        let place = [kind | flags << 16, entry_of(number)];
        prepare(CALLBACK_OP, &[0, address_of(&place)]);
    }

    /// Where frames of user mode go: so far below the end of their page.
    fn kernel_stack(&self, below: u64) {
        prepare(STACK_SWITCH, &[0xe02b, self.kernel.address + 4096 - below]);
    }

    fn top(&self) -> u64 {
        self.stack.address + 2048
    }

    /// Provokes an entry in kernel mode, with this upcall mask.
    fn with_mask(&self, code: unsafe extern "C" fn(), mask: u8, below: u64, flags: u64) -> Record {
        if sabotaged().is_some() {
            return Record::NONSENSE;
        }
        let wants_event = place(code) == place(frames_call);
        loop {
            self.shared.byte(0).store(u8::from(wants_event), SeqCst);
            self.shared.byte(1).store(mask, SeqCst);
            // SAFETY: a handler of this file brings control back; the stack is the page's alone.
            unsafe { frames_trip(place(code), self.top() - below, flags) }
            self.shared.byte(1).store(1, SeqCst);
            let record = Record::now();
            if wants_event || record.number != EVENT {
                return record;
            }
        }
    }

    fn trip(&self, code: unsafe extern "C" fn()) -> Record {
        self.with_mask(code, 1, 0, 0x202)
    }

    /// Provokes an entry in user mode.
    fn user_with(&self, offset: u64, segment: u64, flags: u64) -> Record {
        if sabotaged().is_some() {
            return Record::NONSENSE;
        }
        loop {
            self.shared.byte(0).store(0, SeqCst);
            // SAFETY: as above; the user's root and its kernel stack are set.
            unsafe { frames_user(self.code + offset, segment, flags, self.user_stack) }
            self.shared.byte(1).store(1, SeqCst);
            let record = Record::now();
            note(IRET.into(), &[], 0);
            if record.number != EVENT {
                return record;
            }
        }
    }

    fn user(&self, offset: u64) -> Record {
        self.user_with(offset, 0xe033, 0x202)
    }
}

fn exceptions(bench: &Bench) {
    check("exception.saved-registers", (6, [RCX, R11]), || {
        let record = bench.trip(frames_undefined);
        (
            seen(record.number),
            seen([record.words[0], record.words[1]]),
        )
    });
    check("exception.is-at-the-instruction", (6, true), || {
        let record = bench.trip(frames_undefined);
        (
            seen(record.number),
            seen(record.words[2] == place(frames_undefined)),
        )
    });
    check("exception.code-segment-says-kernel", 0xe030, || {
        seen(bench.trip(frames_undefined).words[3] & 0xffff_ffff)
    });
    check("exception.stack-is-the-old-one", (true, 0xe02b), || {
        let record = bench.trip(frames_undefined);
        (seen(record.words[5] == bench.top()), seen(record.words[6]))
    });
    check("exception.frame-is-right-below", 7 * 8, || {
        seen(bench.top() - bench.trip(frames_undefined).rsp)
    });
    check("exception.frame-is-aligned", [56, 71, 57, 56], || {
        // So far below the top the stack pointer was: the frame begins at the next multiple of 16.
        [0, 1, 15, 16].map(|below| {
            let record = bench.with_mask(frames_undefined, 1, below, 0x202);
            let distance = bench.top() - below - record.rsp;
            seen(distance)
        })
    });
    check("exception.keeps-the-odd-stack-pointer", [true; 3], || {
        [1, 7, 15].map(|below| {
            let record = bench.with_mask(frames_undefined, 1, below, 0x202);
            seen(record.words[5] == bench.top() - below)
        })
    });
    check(
        "error-code.is-above-the-saved-registers",
        (13, [RCX, R11, 0]),
        || {
            let record = bench.trip(frames_halt);
            (
                seen(record.number),
                seen([record.words[0], record.words[1], record.words[2]]),
            )
        },
    );
    check("error-code.rest-of-the-frame", (true, 0xe030, 64), || {
        let record = bench.trip(frames_halt);
        (
            seen(record.words[3] == place(frames_halt)),
            seen(record.words[4] & 0xffff_ffff),
            seen(bench.top() - record.rsp),
        )
    });
    check("page-fault.code-of-the-kernel", (14, 0, true), || {
        let record = bench.trip(frames_load);
        let address = bench.shared.word(0x10).load(SeqCst);
        (
            seen(record.number),
            seen(record.words[2]),
            seen(address == UNMAPPED),
        )
    });
    check("gate.is-behind-the-instruction", (0x80, 2), || {
        let record = bench.trip(frames_gate);
        (
            seen(record.number),
            seen(record.words[2].wrapping_sub(place(frames_gate))),
        )
    });
    check("gate.has-no-error-code", (0x80, 56), || {
        let record = bench.trip(frames_gate);
        (seen(record.number), seen(bench.top() - record.rsp))
    });
    check("nmi.frame", (2, true, 1), || {
        let record = bench.trip(frames_nmi);
        (
            seen(record.number),
            seen(record.words[2] == place(frames_behind_nmi)),
            seen(record.mask),
        )
    });
}

fn states(bench: &Bench) {
    check("entry.segments", [0xe033, 0xe02b], || {
        seen(bench.trip(frames_undefined).segments)
    });
    check("entry.rcx-is-the-handler", true, || {
        seen(bench.trip(frames_undefined).rcx == entry_of(6))
    });
    check("entry.r11-is-the-flags", true, || {
        let record = bench.trip(frames_undefined);
        seen(record.r11 == record.flags)
    });
    check("entry.other-registers-kept", RBX, || {
        seen(bench.trip(frames_undefined).rbx)
    });
    let flags = |flags: u64| {
        let record = bench.with_mask(frames_undefined, 1, 0, flags);
        (seen(record.flags), seen(record.words[4]))
    };
    check("entry.arithmetic-flags", (0xad7, 0x8d7), || {
        let (entry, saved) = flags(0x8d7);
        (entry | 0x200, saved)
    });
    check("entry.direction-flag-is-kept", (0x602, 0x402), || {
        flags(0x402)
    });
    check("entry.nested-task-is-cleared", (0x202, 0x4002), || {
        flags(0x4002)
    });
    check(
        "entry.alignment-check-is-cleared",
        (0x202, 0x4_0002),
        || flags(0x4_0002),
    );
    check(
        "entry.identification-is-kept",
        (0x20_0202, 0x20_0002),
        || flags(0x20_0002),
    );
    check("entry.single-step-is-cleared", (1, 0x202, 0x102), || {
        let record = bench.with_mask(frames_undefined, 1, 0, 0x102);
        (
            seen(record.number),
            seen(record.flags),
            seen(record.words[4]),
        )
    });
}

fn masks(bench: &Bench) {
    let of = |code: unsafe extern "C" fn(), mask: u8| {
        let record = bench.with_mask(code, mask, 0, 0x202);
        let (code, flags) = if record.number == 13 {
            (record.words[4], record.words[5])
        } else {
            (record.words[3], record.words[4])
        };
        (
            seen(record.mask),
            seen(code >> 32 & 0xff),
            seen(flags & 0x200),
        )
    };
    check("mask.kept-without-the-flag", (0, 0, 0x200), || {
        of(frames_undefined, 0)
    });
    check("mask.set-by-the-flag", (1, 0, 0x200), || of(frames_halt, 0));
    check("mask.was-set", (1, 1, 0), || of(frames_halt, 1));
    check("mask.whole-byte-is-saved", (0x54, 0x54, 0), || {
        of(frames_undefined, 0x54)
    });
    check("mask.flag-adds-one-bit", (0x55, 0x54, 0), || {
        of(frames_halt, 0x54)
    });
    check("mask.of-a-gate", (1, 0, 0x200), || of(frames_gate, 0));
    check(
        "mask.kept-by-a-gate-without-the-flag",
        (0, 0, 0x200),
        || {
            bench.entry(0x80, 3);
            let answer = of(frames_gate, 0);
            bench.entry(0x80, 4 | 3);
            answer
        },
    );
    check("mask.bytes-behind-it", 0xaa_aaaa, || {
        for at in [2, 3, 4] {
            bench.shared.byte(at).store(0xaa, SeqCst);
        }
        let record = bench.trip(frames_undefined);
        for at in [2, 3, 4] {
            bench.shared.byte(at).store(0, SeqCst);
        }
        seen(record.words[3] >> 40)
    });
}

fn upcalls(bench: &Bench) {
    check("upcall.comes-behind-the-call", (EVENT, true), || {
        let record = bench.trip(frames_call);
        (
            seen(record.number),
            seen(record.words[2] == place(frames_behind)),
        )
    });
    check("upcall.masks", (1, 0), || {
        let record = bench.trip(frames_call);
        (seen(record.mask), seen(record.words[3] >> 32 & 0xff))
    });
    check("upcall.leaves-pending", (EVENT, 1), || {
        let record = bench.trip(frames_call);
        (seen(record.number), seen(bench.shared.byte(0).load(SeqCst)))
    });
    check("upcall.frame-has-no-error-code", (EVENT, 56), || {
        let record = bench.trip(frames_call);
        (seen(record.number), seen(bench.top() - record.rsp))
    });
    check("upcall.result-of-the-call-is-kept", (EVENT, 0x202), || {
        let record = bench.trip(frames_call);
        // R11 has the flags, as behind any call.
        (seen(record.number), seen(record.words[1] & 0x3202))
    });
    check("upcall.registered-by-set_callbacks", (0, EVENT), || {
        let result = call(SET_CALLBACKS, &[entry_of(EVENT), 0, entry_of(SYSCALL)]);
        (result, seen(bench.trip(frames_call).number))
    });
}

fn user_mode(bench: &Bench) {
    check("user.frame-is-on-the-kernel-stack", (6, [56, 56]), || {
        let record = bench.user(0x10);
        let first = bench.kernel.address + 4096 - record.rsp;
        bench.kernel_stack(25);
        // 25 below, and then down to a multiple of 16.
        let second = bench.kernel.address + 4096 - 32 - bench.user(0x10).rsp;
        bench.kernel_stack(0);
        (seen(record.number), seen([first, second]))
    });
    check("user.code-segment-says-user", (6, 0xe033), || {
        let record = bench.user(0x10);
        (seen(record.number), seen(record.words[3] & 0xffff_ffff))
    });
    check("user.stack-is-the-users", (true, 0xe02b), || {
        let record = bench.user(0x10);
        (
            seen(record.words[5] == bench.user_stack),
            seen(record.words[6]),
        )
    });
    check("user.registers-of-the-return", [RCX, R11, RBX], || {
        let record = bench.user(0x10);
        seen([record.words[0], record.words[1], record.rbx])
    });
    check("user.direction-flag-is-kept", (0x602, 0x602), || {
        let record = bench.user(0x60);
        (seen(record.flags), seen(record.words[4]))
    });
    check("user.page-fault-code", (14, 4), || {
        let record = bench.user(0x30);
        (seen(record.number), seen(record.words[2]))
    });
    check("user.gate-that-is-open", (0x80, 2), || {
        let record = bench.user(0x40);
        (
            seen(record.number),
            seen(record.words[2].wrapping_sub(bench.code + 0x40)),
        )
    });
    check("user.gate-that-is-not", (13, true), || {
        let record = bench.user(0x20);
        (
            seen(record.number),
            seen(record.words[3] == bench.code + 0x20),
        )
    });
    check("user.gate-80-is-open-to-all", 0x80, || {
        bench.entry(0x80, 4);
        let record = bench.user(0x40);
        bench.entry(0x80, 4 | 3);
        seen(record.number)
    });
    check("user.privileged", (13, 0, true), || {
        let record = bench.user(0x80);
        (
            seen(record.number),
            seen(record.words[2]),
            seen(record.words[3] == bench.code + 0x80),
        )
    });
}

fn system_calls(bench: &Bench) {
    check(
        "syscall.saved-registers-are-rip-and-flags",
        (SYSCALL, [2, 0x202]),
        || {
            let record = bench.user(0);
            (
                seen(record.number),
                seen([
                    record.words[0].wrapping_sub(bench.code),
                    record.words[1] & 0x3202,
                ]),
            )
        },
    );
    check("syscall.frame", (SYSCALL, [2, 0xe033, 0x202], true), || {
        let record = bench.user(0);
        (
            seen(record.number),
            seen([
                record.words[2].wrapping_sub(bench.code),
                record.words[3] & 0xffff_ffff,
                record.words[4],
            ]),
            seen(record.words[5] == bench.user_stack),
        )
    });
    check("syscall.direction-flag", (SYSCALL, 0x602, 0x602), || {
        let record = bench.user(0x50);
        (
            seen(record.number),
            seen(record.flags),
            seen(record.words[4]),
        )
    });
    check(
        "syscall.other-flags-are-cleared",
        (SYSCALL, 0x202, 0x4_4202),
        || {
            let record = bench.user_with(0, 0xe033, 0x4_4202);
            (
                seen(record.number),
                seen(record.flags),
                seen(record.words[4]),
            )
        },
    );
    check(
        "syscall.mask-is-kept-without-the-flag",
        (SYSCALL, 0),
        || {
            let record = bench.user(0);
            (seen(record.number), seen(record.mask))
        },
    );
    check("syscall.mask-is-set-by-the-flag", (0, 1), || {
        let place = [2 | 1 << 16, entry_of(SYSCALL)];
        let result = call(CALLBACK_OP, &[0, address_of(&place)]);
        (result, seen(bench.user(0).mask))
    });
    check("syscall.set_callbacks-clears-the-flag", (0, 0), || {
        bench.callback(2, SYSCALL, 1);
        let result = call(SET_CALLBACKS, &[entry_of(EVENT), 0, entry_of(SYSCALL)]);
        (result, seen(bench.user(0).mask))
    });
    check("syscall.without-a-callback", (0, (6, 0)), || {
        let place = [2_u64, 0];
        let result = call(CALLBACK_OP, &[0, address_of(&place)]);
        let record = bench.user(0);
        bench.callback(2, SYSCALL, 0);
        let at = record.words[2].wrapping_sub(bench.code);
        (result, (seen(record.number), seen(at)))
    });
    check("syscall32.frame", (SYSCALL_32, [2, 0xe023]), || {
        let record = bench.user_with(0, 0xe023, 0x202);
        (
            seen(record.number),
            seen([
                record.words[2].wrapping_sub(bench.code),
                record.words[3] & 0xffff_ffff,
            ]),
        )
    });
    check("syscall32.mask-is-set-by-its-flag", (SYSCALL_32, 0), || {
        bench.callback(7, SYSCALL_32, 1);
        let record = bench.user_with(0, 0xe023, 0x202);
        bench.callback(7, SYSCALL_32, 0);
        (seen(record.number), seen(record.mask))
    });
    check("syscall32.without-a-callback", (0, (6, 0)), || {
        let place = [7_u64, 0];
        let result = call(CALLBACK_OP, &[0, address_of(&place)]);
        let record = bench.user_with(0, 0xe023, 0x202);
        let at = record.words[2].wrapping_sub(bench.code);
        (result, (seen(record.number), seen(at)))
    });
}

fn levels(bench: &Bench) {
    let set = |level: u64| {
        prepare(PHYSDEV_OP, &[6, address_of(&level)]);
    };
    check("level.is-not-shown", 0, || {
        set(3);
        let record = bench.trip(frames_undefined);
        set(1);
        seen(record.words[4] & 0x3000)
    });
    check("level.is-shown-with-the-assist", (0, 0x3000), || {
        let on = call(VM_ASSIST, &[0, 4]);
        set(3);
        let record = bench.trip(frames_undefined);
        set(0);
        prepare(VM_ASSIST, &[1, 4]);
        (on, seen(record.words[4] & 0x3000))
    });
    check(
        "level.comes-from-a-return-with-the-assist",
        (0, 0x2000),
        || {
            let on = call(VM_ASSIST, &[0, 4]);
            let record = bench.user_with(0x10, 0xe033, 0x2202);
            set(0);
            prepare(VM_ASSIST, &[1, 4]);
            (on, seen(record.words[4] & 0x3000))
        },
    );
}
