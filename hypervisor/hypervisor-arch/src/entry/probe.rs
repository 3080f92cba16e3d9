//! One `iretq` at ring 3, tried at boot.
//!
//! QEMU 7.2's TCG reads the frame of an `iretq` at CPL 3 with supervisor rights: with CR4.SMAP set it faults on a stack
//! that the guest may well read (pv-abi 5.5). Guests do execute it, so where that happens Paravane runs without SMAP.
//!
//! The probe is a guest of a few instructions, on one page of a root of its own, that ends with #UD if all is well. It
//! enters by the usual stub, before any real guest exists: [`finish`] then goes back to who started it.

use crate::boot::memory_map::FreeMemory;
use crate::cpu::{gdt, own_root, percpu};
use crate::entry::frame::{Registers, VcpuState};
use crate::mem::layout::{self, PAGE};
use crate::mem::own_tables::{OwnTables, Rights, zeroed};
use core::arch::{asm, global_asm};
use core::cell::UnsafeCell;
use core::mem::offset_of;
use core::sync::atomic::{AtomicU64, Ordering};

/// Where the probe's page lies in its root.
const PAGE_AT: u64 = 0x40_0000;
const INVALID_OPCODE: u32 = 6;
const RFLAGS: u64 = 0x202;
/// How far below the caller's stack pointer the probe's entry works.
const STACK_DISTANCE: u64 = 8192;

global_asm!(
    ".section .rodata.probe, \"a\"",
    "probe_start:",
    "push {data}",
    "lea rax, [rsp + 8]",
    "push rax",
    "pushfq",
    "push {code}",
    "lea rax, [rip + 2f]",
    "push rax",
    "iretq",
    "2:",
    "ud2",
    "probe_end:",
    ".text",
    data = const gdt::USER_DATA,
    code = const gdt::USER_CODE,
);

unsafe extern "C" {
    static probe_start: u8;
    static probe_end: u8;
}

/// Where [`finish`] returns to, and what it found.
static RETURN_STACK: AtomicU64 = AtomicU64::new(0);
static RESULT: AtomicU64 = AtomicU64::new(0);

/// The registers of the probe.
struct State(UnsafeCell<VcpuState>);

// SAFETY: used by the boot CPU only, while it is the only one.
unsafe impl Sync for State {}

static STATE: State = State(UnsafeCell::new(VcpuState::new()));

/// Whether `iretq` at ring 3 works as it should. CR4.SMAP must be set; only the boot CPU runs.
pub(crate) fn iretq_at_ring_3_works(own: &OwnTables, free: &mut FreeMemory) -> bool {
    let mut tables = OwnTables::with_slots(own, free);
    let page = zeroed(free, PAGE);
    tables.map(free, PAGE_AT, page, Rights::User);
    let source = &raw const probe_start;
    let length = (&raw const probe_end).addr() - source.addr();
    // SAFETY: the page is fresh, and the code is a few bytes.
    unsafe { (layout::direct(page.start) as *mut u8).copy_from_nonoverlapping(source, length) };

    let state = STATE.0.get();
    let registers = (state.addr() + offset_of!(VcpuState, registers)) as u64;
    percpu::local().set_frame_end(registers + size_of::<Registers>() as u64);
    // SAFETY: the root has all that our own has, and the state is static and nobody else's.
    unsafe { run(tables.root(), state) };
    own_root::load();
    RESULT.load(Ordering::Relaxed) == u64::from(INVALID_OPCODE)
}

/// Goes to ring 3 on `root` and comes back through [`finish`].
///
/// # Safety
/// The root must map the hypervisor, and `state` must be where the CPU saves registers.
unsafe fn run(root: u64, state: *mut VcpuState) {
    // SAFETY: every register but RSP and RBP counts as destroyed, and those come back from the stack; `finish` resumes at
    // label 2 with the stack as it was.
    unsafe {
        asm!(
            "push rbx",
            "push rbp",
            "lea rax, [rip + 2f]",
            "push rax",
            "mov [{return_stack}], rsp",
            "lea rax, [rsp - {distance}]",
            "mov [{state} + {host_stack}], rax",
            "mov cr3, {root}",
            "push {data}",
            "push {stack}",
            "push {flags}",
            "push {code}",
            "push {start}",
            "iretq",
            "2:",
            "pop rbp",
            "pop rbx",
            return_stack = in(reg) RETURN_STACK.as_ptr(),
            state = in(reg) state,
            root = in(reg) root,
            distance = const STACK_DISTANCE,
            host_stack = const offset_of!(VcpuState, host_stack),
            data = const gdt::USER_DATA,
            code = const gdt::USER_CODE,
            stack = const PAGE_AT + PAGE,
            start = const PAGE_AT,
            flags = const RFLAGS,
            out("rax") _,
            clobber_abi("sysv64"),
            out("r12") _, out("r13") _, out("r14") _, out("r15") _,
        );
    }
}

/// The probe's guest has trapped: notes with what, and resumes [`run`].
pub(crate) fn finish(vector: u32) -> ! {
    RESULT.store(u64::from(vector), Ordering::Relaxed);
    let stack = RETURN_STACK.swap(0, Ordering::Relaxed);
    assert_ne!(
        stack, 0,
        "a trap from ring 3 (vector {vector}), but no guest runs"
    );
    // SAFETY: `run` saved this stack, whose top is the address to go on at, and has not returned.
    unsafe { asm!("mov rsp, {}", "ret", in(reg) stack, options(noreturn)) }
}
