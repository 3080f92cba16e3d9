//! One thread of a user program: its registers, and running it.

use alloc::boxed::Box;
use core::sync::atomic::{AtomicU64, Ordering};

use hypercall_abi::mmu::{MMUEXT_NEW_USER_BASEPTR, MmuextOp};
use hypercall_abi::trap::{FLAT_USER_CS64, FLAT_USER_SS64};

use crate::event::{self, upcall};
use crate::hypercall::{mmu, segment};
use crate::paging::{Mfn, PAGE_SIZE};
use crate::smp::MAX_VCPUS;
use crate::sync::PerVcpu;
use crate::task;
use crate::timer::{self, MILLISECOND};
use crate::trap::{Fault, SYSTEM_CALL, TrapFrame, UPCALL, trap_enter_user};

/// Flags at the start: interrupts on, and the bit that is always set.
const FLAGS: u64 = 0x202;

/// How long a program runs, in nanoseconds, before tasks of the kernel that wait have their turn.
const SLICE: u64 = MILLISECOND;

/// The user root of each vCPU, 0 for none.
static ROOTS: PerVcpu<AtomicU64> = PerVcpu::new([const { AtomicU64::new(0) }; MAX_VCPUS]);

/// Why a thread stopped.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Exit {
    /// It made a system call. Its RAX is the result that it will see.
    SystemCall {
        /// RAX.
        number: u64,
        /// RDI.
        argument: u64,
    },
    /// An event came for the kernel and was handled: other tasks may have something to do.
    Event,
    /// It faulted.
    Fault(Fault),
}

/// A thread. While it runs, an entry from user mode puts its frame on top of these registers.
#[derive(Debug)]
pub struct Thread {
    root: Mfn,
    frame: Box<TrapFrame>,
    /// The last `run` gave way to another task instead of entering user mode.
    gave_way: bool,
}

impl Thread {
    /// A thread that begins at `entry`, with RBX and the foot of its stack at `page`.
    pub(super) fn new(root: Mfn, entry: usize, page: usize) -> Option<Self> {
        let frame = TrapFrame {
            rip: entry as u64,
            cs: u64::from(FLAT_USER_CS64),
            rflags: FLAGS,
            rsp: (page + PAGE_SIZE) as u64,
            ss: u64::from(FLAT_USER_SS64),
            rbx: page as u64,
            ..TrapFrame::default()
        };
        Some(Self {
            root,
            frame: Box::new(frame),
            gave_way: false,
        })
    }

    /// Its registers.
    #[must_use]
    pub fn frame(&self) -> &TrapFrame {
        &self.frame
    }

    /// Its registers, to change.
    pub fn frame_mut(&mut self) -> &mut TrapFrame {
        &mut self.frame
    }

    /// Runs it until it stops.
    pub fn run(&mut self) -> Exit {
        // Until user mode is entered no upcall may come: it would use the stack that is about to be the frame. The
        // return to user mode opens upcalls, every entry from there closes them.
        let masked = upcall::mask();
        // A task that was woken before upcalls were masked would wait for an event that has been. But where some task can
        // always go on, the program has its turn too: a slice of time.
        if task::is_waiting() {
            self.gave_way = !self.gave_way;
            if self.gave_way {
                return Exit::Event;
            }
            timer::interrupt_within(SLICE);
        }
        self.load_root();
        let frame: *mut TrapFrame = &raw mut *self.frame;
        // SAFETY: the frame is aligned to 16 bytes and is exactly what the next entry writes.
        let set = unsafe { segment::stack_switch(frame.addr() + size_of::<TrapFrame>()) };
        debug_assert!(set.is_ok(), "stack_switch cannot fail");
        // SAFETY: the frame is of user mode (its selectors have RPL 3, as the last entry or `new` left them), upcalls
        // are masked, and the user root is loaded.
        unsafe { trap_enter_user(frame) };
        let exit = match self.frame.vector {
            UPCALL => {
                event::dispatch();
                Exit::Event
            }
            SYSTEM_CALL => Exit::SystemCall {
                number: self.frame.rax,
                argument: self.frame.rdi,
            },
            _ => Exit::Fault(Fault::of(&self.frame)),
        };
        drop(masked);
        exit
    }

    /// Makes the program's root the user root of this vCPU.
    fn load_root(&self) {
        let loaded = ROOTS.here();
        if loaded.load(Ordering::Relaxed) == self.root.0 {
            return;
        }
        let operation = MmuextOp {
            cmd: MMUEXT_NEW_USER_BASEPTR,
            arg1: self.root.0,
            ..MmuextOp::default()
        };
        // SAFETY: the root is pinned for ever and maps user pages only.
        let set = unsafe { mmu::mmuext_op(&[operation]) };
        debug_assert!(set.is_ok(), "the root was pinned as an L4 table");
        loaded.store(self.root.0, Ordering::Relaxed);
    }
}
