//! The row of user mode: a program that does nothing but system calls.

use guest_kernel::heap::Page;
use guest_kernel::hypercall::{hypercall, mmu};
use guest_kernel::paging::{PAGE_SIZE, UserTables, frame_at};
use hypercall_abi::mmu::{EntryFlags, MMUEXT_NEW_USER_BASEPTR, MmuextOp};
use hypercall_abi::number::STACK_SWITCH;
use hypercall_abi::trap::{FLAT_KERNEL_SS, FLAT_USER_CS64, FLAT_USER_SS64, VGCF_IN_SYSCALL};

use crate::Failure;
use crate::entries::{self, USER_ENTRIES};
use crate::measure::{ROUNDS, row};

/// `syscall; jmp` back to it.
const PROGRAM: &[u8] = &[0x0f, 0x05, 0xeb, 0xfc];
/// Where the program is.
const CODE: usize = 0x40_0000;
/// Interrupts on, and the bit that is always set.
const FLAGS: u64 = 0x202;
/// Instructions of a round that only measure: the jump, and between two entries all from `rdtsc` to `je`.
const OVERHEAD: u64 = 10;

pub(crate) fn measure() -> Result<(), Failure> {
    let mut code = Page::zeroed().ok_or(Failure::Memory)?;
    code.bytes()[..PROGRAM.len()].copy_from_slice(PROGRAM);
    let frame = frame_at(code.leak()).ok_or(Failure::Memory)?;
    let mut tables = UserTables::new()?;
    tables.map(CODE, frame, EntryFlags::empty())?;
    let operation = MmuextOp {
        cmd: MMUEXT_NEW_USER_BASEPTR,
        arg1: tables.root().0,
        ..MmuextOp::default()
    };
    // SAFETY: the root is pinned for ever and maps the program only.
    unsafe { mmu::mmuext_op(&[operation]) }?;
    let stack = Page::zeroed().ok_or(Failure::Memory)?.leak() + PAGE_SIZE;
    let arguments = [u64::from(FLAT_KERNEL_SS), stack as u64, 0, 0, 0];
    // SAFETY: the page is used for nothing else.
    unsafe { hypercall(u64::from(STACK_SWITCH), arguments) }?;
    entries::take_system_calls()?;
    let frame = [
        0,
        FLAGS,
        CODE as u64,
        VGCF_IN_SYSCALL,
        CODE as u64,
        u64::from(FLAT_USER_CS64),
        FLAGS,
        0,
        u64::from(FLAT_USER_SS64),
    ];
    // SAFETY: the program does nothing but system calls, and the stack is set.
    let times = unsafe { entries::run_user(&frame) };
    let mut rounds = [0; ROUNDS];
    const { assert!(USER_ENTRIES == ROUNDS + 1) };
    for (round, pair) in rounds.iter_mut().zip(times.windows(2)) {
        *round = pair[1] - pair[0];
    }
    let name = "guest user syscall to guest kernel and back";
    row(name, rounds, OVERHEAD, 1);
    Ok(())
}
