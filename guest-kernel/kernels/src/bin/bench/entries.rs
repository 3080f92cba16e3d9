//! The benchmark's own entries for exceptions, upcalls and system calls (`entry.s`), and what they share with Rust.

use core::arch::global_asm;
use core::cell::UnsafeCell;
use core::sync::atomic::{AtomicU64, Ordering};

use guest_kernel::hypercall::{Errno, hypercall};
use hypercall_abi::number::{CALLBACK_OP, IRET, SET_TRAP_TABLE};
use hypercall_abi::trap::{
    CALLBACKF_MASK_EVENTS, CALLBACKOP_REGISTER, CallbackRegister, FLAT_KERNEL_CS, TI_MASK_EVENTS,
    TrapInfo, VGCF_IN_SYSCALL,
};

/// Rounds that one run of user mode makes, and one more.
pub(crate) const USER_ENTRIES: usize = 34;

/// Words that the entries read and write; the program waits while they do.
pub(crate) static VCPU_INFO: AtomicU64 = AtomicU64::new(0);
/// Address of the word with the port's pending bit.
pub(crate) static PENDING_WORD: AtomicU64 = AtomicU64::new(0);
/// All bits but the port's.
pub(crate) static PENDING_KEEP: AtomicU64 = AtomicU64::new(0);
static CURSOR: AtomicU64 = AtomicU64::new(0);
static CURSOR_END: AtomicU64 = AtomicU64::new(0);
static RESUME: AtomicU64 = AtomicU64::new(0);

/// Times of the entries from user mode.
struct Times(UnsafeCell<[u64; USER_ENTRIES]>);

// SAFETY: written by the entry code of the one vCPU that measures, read after it has ended.
unsafe impl Sync for Times {}

static TIMES: Times = Times(UnsafeCell::new([0; USER_ENTRIES]));

global_asm!(
    include_str!("entry.s"),
    iret = const IRET,
    in_syscall = const VGCF_IN_SYSCALL,
    vcpu_info = sym VCPU_INFO,
    pending_word = sym PENDING_WORD,
    pending_keep = sym PENDING_KEEP,
    cursor = sym CURSOR,
    cursor_end = sym CURSOR_END,
    resume = sym RESUME,
);

unsafe extern "C" {
    fn bench_undefined();
    fn bench_page_fault();
    fn bench_upcall();
    fn bench_system_call();
    fn bench_user(frame: *const [u64; 9]);
}

fn address(entry: unsafe extern "C" fn()) -> u64 {
    (entry as *const ()).addr() as u64
}

fn gate(vector: u8, entry: unsafe extern "C" fn()) -> TrapInfo {
    TrapInfo {
        vector,
        flags: TI_MASK_EVENTS,
        cs: FLAT_KERNEL_CS,
        pad0: 0,
        address: address(entry),
    }
}

/// Takes #UD and #PF over. From now on a fault that was not meant goes on two bytes behind its instruction.
pub(crate) fn take_exceptions() -> Result<(), Errno> {
    let table = [
        gate(6, bench_undefined),
        gate(14, bench_page_fault),
        TrapInfo::default(),
    ];
    let list = table.as_ptr().addr() as u64;
    // SAFETY: both addresses are entries of this kernel that skip the instruction; the last element is the end mark.
    unsafe { hypercall(u64::from(SET_TRAP_TABLE), [list, 0, 0, 0, 0]) }.map(|_| ())
}

fn register(kind: u16, entry: unsafe extern "C" fn()) -> Result<(), Errno> {
    let callback = CallbackRegister {
        kind,
        flags: CALLBACKF_MASK_EVENTS,
        pad0: 0,
        address: address(entry),
    };
    let argument = core::ptr::from_ref(&callback).addr() as u64;
    let arguments = [u64::from(CALLBACKOP_REGISTER), argument, 0, 0, 0];
    // SAFETY: the address is an entry of this kernel that saves what it uses.
    unsafe { hypercall(u64::from(CALLBACK_OP), arguments) }.map(|_| ())
}

/// Takes upcalls over: `bench_upcall` knows one port only.
pub(crate) fn take_upcalls() -> Result<(), Errno> {
    register(hypercall_abi::trap::CALLBACKTYPE_EVENT, bench_upcall)
}

/// Takes system calls of user mode over.
pub(crate) fn take_system_calls() -> Result<(), Errno> {
    register(hypercall_abi::trap::CALLBACKTYPE_SYSCALL, bench_system_call)
}

/// Runs user mode by `frame` until it has made [`USER_ENTRIES`] system calls; the time of each.
///
/// # Safety
/// The frame is of user mode, which does nothing but system calls, and the kernel stack for entries is set.
pub(crate) unsafe fn run_user(frame: &[u64; 9]) -> [u64; USER_ENTRIES] {
    let start = TIMES.0.get() as u64;
    CURSOR.store(start, Ordering::Relaxed);
    CURSOR_END.store(
        start + size_of::<[u64; USER_ENTRIES]>() as u64,
        Ordering::Relaxed,
    );
    // SAFETY: the caller answers for the frame; the entry code keeps to the C ABI.
    unsafe { bench_user(frame) };
    // SAFETY: the entry code has filled the list and is done.
    unsafe { TIMES.0.get().read() }
}
