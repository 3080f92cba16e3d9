//! Handlers that note all that they find and go back to where the entry was provoked, wherever it came from.

use core::arch::global_asm;
use core::sync::atomic::{AtomicU64, Ordering::SeqCst};

use guest_conformance::fixture::Frame;
use guest_conformance::shared::Shared;
use guest_conformance::{UNMAPPED, address_of, note, prepare, sabotaged};
use guest_kernel::paging::{Mfn, UserTables};
use hypercall_abi::mmu::EntryFlags;
use hypercall_abi::number::{CALLBACK_OP, IRET, MMUEXT_OP, SET_TRAP_TABLE, STACK_SWITCH};

/// Number of an entry by the event callback, by `syscall`, by that of 32-bit code, by the NMI.
pub(crate) const EVENT: u64 = 256;
pub(crate) const SYSCALL: u64 = 257;
pub(crate) const SYSCALL_32: u64 = 258;
const NMI: u64 = 2;

/// What registers hold when an entry is provoked.
pub(crate) const RBX: u64 = 0x1111_1111_1111;
pub(crate) const RCX: u64 = 0x2222_2222_2222;
pub(crate) const R11: u64 = 0x3333_3333_3333;

/// Words of a record: number, RSP, flags, RCX, R11, CS, SS, RBX, upcall mask, then the stack.
static RECORD: [AtomicU64; 19] = [const { AtomicU64::new(0) }; 19];
/// Where the stack was before, and the upcall mask's address.
static RECOVERY: AtomicU64 = AtomicU64::new(0);
pub(crate) static MASK: AtomicU64 = AtomicU64::new(0);

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
    pub(crate) fn frames_undefined();
    pub(crate) fn frames_halt();
    pub(crate) fn frames_load();
    pub(crate) fn frames_gate();
    pub(crate) fn frames_call();
    pub(crate) fn frames_behind();
    pub(crate) fn frames_nmi();
    pub(crate) fn frames_behind_nmi();
}

/// Numbers of the entries in `frames_entries`.
const NUMBERS: [u64; 9] = [1, 2, 6, 13, 14, 0x80, EVENT, SYSCALL, SYSCALL_32];

/// Code that provokes an entry.
pub(crate) type Code = unsafe extern "C" fn();

pub(crate) fn place(code: Code) -> u64 {
    (code as *const ()).addr() as u64
}

/// Address of the handler of an entry.
pub(crate) fn entry_of(number: u64) -> u64 {
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
pub(crate) struct Record {
    pub(crate) number: u64,
    pub(crate) rsp: u64,
    pub(crate) flags: u64,
    pub(crate) rcx: u64,
    pub(crate) r11: u64,
    pub(crate) segments: [u64; 2],
    pub(crate) rbx: u64,
    pub(crate) mask: u64,
    /// The stack, from RSP on.
    pub(crate) words: [u64; 8],
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
pub(crate) struct Bench {
    pub(crate) shared: Shared,
    /// A page for stacks of kernel mode, and one that user mode's entries get.
    stack: Frame,
    pub(crate) kernel: Frame,
    /// User mode's code and stack.
    pub(crate) code: u64,
    pub(crate) user_stack: u64,
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

impl Bench {
    pub(crate) fn new(shared: Shared) -> Option<Self> {
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
    pub(crate) fn open(&self) {
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

    pub(crate) fn entry(&self, vector: u64, flags: u64) {
        let table = [
            [0xe033 << 16 | flags << 8 | vector, entry_of(vector)],
            [0; 2],
        ];
        prepare(SET_TRAP_TABLE, &[address_of(&table)]);
    }

    pub(crate) fn callback(&self, kind: u64, number: u64, flags: u64) {
        let place = [kind | flags << 16, entry_of(number)];
        prepare(CALLBACK_OP, &[0, address_of(&place)]);
    }

    /// Where frames of user mode go: so far below the end of their page.
    pub(crate) fn kernel_stack(&self, below: u64) {
        prepare(STACK_SWITCH, &[0xe02b, self.kernel.address + 4096 - below]);
    }

    pub(crate) fn top(&self) -> u64 {
        self.stack.address + 2048
    }

    /// Provokes an entry in kernel mode, with this upcall mask.
    pub(crate) fn with_mask(&self, code: Code, mask: u8, below: u64, flags: u64) -> Record {
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

    pub(crate) fn trip(&self, code: Code) -> Record {
        self.with_mask(code, 1, 0, 0x202)
    }

    /// Provokes an entry in user mode.
    pub(crate) fn user_with(&self, offset: u64, segment: u64, flags: u64) -> Record {
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

    pub(crate) fn user(&self, offset: u64) -> Record {
        self.user_with(offset, 0xe033, 0x202)
    }
}
