//! Starting vCPUs, and taking them down and up again while the domain runs.
//!
//! A vCPU leaves by its own hypercall, between two of its tasks; coming up it continues behind that call. Its tasks
//! stay its own and wait meanwhile.

use alloc::boxed::Box;
use alloc::vec::Vec;
use core::sync::atomic::{AtomicU8, AtomicU32, Ordering};

use hypercall_abi::trap::{FLAT_KERNEL_CS, FLAT_KERNEL_SS};
use hypercall_abi::vcpu::{VGCF_IN_KERNEL, VGCF_SYSCALL_DISABLES_EVENTS, VcpuGuestContext};
use thiserror::Error;
use zerocopy::FromZeros;

use super::identity::{MAX_VCPUS, VcpuId, block_address, current};
use crate::event::{Signal, shared};
use crate::hypercall::{Errno, sched, vcpu};
use crate::start::{STACK_SIZE, secondary_entry};
use crate::sync::PerVcpu;
use crate::{paging, task, trap};

/// Where a vCPU is in its life.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[repr(u8)]
pub enum State {
    /// Never started.
    Unused = 0,
    /// Told to start, not there yet.
    Starting = 1,
    /// Runs tasks.
    Online = 2,
    /// Told to leave, not gone yet.
    Leaving = 3,
    /// Down; comes up where it left.
    Offline = 4,
}

impl State {
    fn from_number(number: u8) -> Self {
        match number {
            1 => Self::Starting,
            2 => Self::Online,
            3 => Self::Leaving,
            4 => Self::Offline,
            _ => Self::Unused,
        }
    }
}

/// Why a vCPU does not change.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Error)]
pub enum SmpError {
    /// vCPU 0 cannot leave.
    #[error("vCPU 0 stays")]
    BootVcpu,
    /// It is not in a state from which it can do that.
    #[error("vCPU is {0:?}")]
    State(State),
    /// No memory for its stack.
    #[error("out of memory")]
    OutOfMemory,
    /// The hypervisor refused.
    #[error("refused: {}", .0.name())]
    Refused(Errno),
}

impl From<Errno> for SmpError {
    fn from(error: Errno) -> Self {
        Self::Refused(error)
    }
}

struct Life {
    state: AtomicU8,
    /// How often it has come up.
    starts: AtomicU32,
    changed: Signal,
}

static LIVES: PerVcpu<Life> = PerVcpu::new(
    [const {
        Life {
            state: AtomicU8::new(State::Unused as u8),
            starts: AtomicU32::new(0),
            changed: Signal::new(),
        }
    }; MAX_VCPUS],
);

impl Life {
    fn get(&self) -> State {
        State::from_number(self.state.load(Ordering::Acquire))
    }

    fn set(&self, state: State) {
        self.state.store(state as u8, Ordering::Release);
        self.changed.set();
    }

    /// Notes that the vCPU runs now.
    fn come_up(&self) {
        self.starts.fetch_add(1, Ordering::Relaxed);
        self.set(State::Online);
    }

    fn change(&self, from: State, to: State) -> Result<(), SmpError> {
        self.state
            .compare_exchange(from as u8, to as u8, Ordering::AcqRel, Ordering::Acquire)
            .map(|_| ())
            .map_err(|found| SmpError::State(State::from_number(found)))
    }

    /// Waits until it is in another state than this.
    async fn leave(&self, state: State) {
        self.changed.until(|| self.get() != state).await;
    }
}

/// Where a vCPU is in its life.
#[must_use]
pub fn state(vcpu: VcpuId) -> State {
    LIVES.of(vcpu).get()
}

/// How often a vCPU has come up: who measures time on it begins anew when this changes.
#[must_use]
pub fn starts(vcpu: VcpuId) -> u32 {
    LIVES.of(vcpu).starts.load(Ordering::Relaxed)
}

/// The vCPUs that run.
pub fn online() -> impl Iterator<Item = VcpuId> {
    (0..MAX_VCPUS)
        .filter_map(VcpuId::new)
        .filter(|&id| state(id) == State::Online)
}

/// The vCPUs that the domain may have, as far as this library can use them.
pub fn possible() -> impl Iterator<Item = VcpuId> {
    (0..MAX_VCPUS)
        .map_while(VcpuId::new)
        .take_while(|id| vcpu::is_up(id.number()).is_ok())
}

/// Notes that vCPU 0 runs, and lets others wake it.
pub(crate) fn init_boot_vcpu() -> Result<(), Errno> {
    task::accept_kicks(VcpuId::BOOT)?;
    LIVES.of(VcpuId::BOOT).come_up();
    Ok(())
}

/// What another vCPU does first, once it is known who it is.
pub(crate) fn secondary() {
    LIVES.here().come_up();
}

/// Brings a vCPU up, whether for the first time or again, and waits until it runs tasks.
///
/// # Errors
/// It runs already, there is no memory, or the hypervisor refuses.
pub async fn up(id: VcpuId) -> Result<(), SmpError> {
    let life = LIVES.of(id);
    let before = life.get();
    let begin = match before {
        State::Unused => start,
        State::Offline => start_again,
        State::Starting | State::Online | State::Leaving => return Err(SmpError::State(before)),
    };
    life.change(before, State::Starting)?;
    if let Err(error) = begin(id) {
        life.set(before);
        return Err(error);
    }
    life.leave(State::Starting).await;
    Ok(())
}

/// Takes a vCPU down between two of its tasks, and waits until it is.
///
/// # Errors
/// It is vCPU 0, or does not run.
pub async fn down(id: VcpuId) -> Result<(), SmpError> {
    if id == VcpuId::BOOT {
        return Err(SmpError::BootVcpu);
    }
    let life = LIVES.of(id);
    life.change(State::Online, State::Leaving)?;
    task::kick(id);
    life.leave(State::Leaving).await;
    wait_for_goodbye(id, State::Offline)
}

/// Waits until a vCPU is down: it says so just before its hypercall, which follows at once. Not for one that has another
/// state than this, since somebody else is at it then.
fn wait_for_goodbye(id: VcpuId, state: State) -> Result<(), SmpError> {
    while LIVES.of(id).get() == state && vcpu::is_up(id.number())? {
        sched::yield_now();
    }
    Ok(())
}

/// True when this vCPU was told to leave.
pub(crate) fn asked_to_leave() -> bool {
    LIVES.here().get() == State::Leaving
}

/// Leaves if told to; returns when the vCPU is up again.
pub(crate) fn leave_if_asked() {
    let life = LIVES.here();
    if life.change(State::Leaving, State::Offline).is_err() {
        return;
    }
    life.changed.set();
    // Returns an error only for a vCPU that does not exist.
    let _continued = vcpu::down(current().number());
    life.come_up();
}

/// Gives a vCPU its first context and lets it run.
fn start(id: VcpuId) -> Result<(), SmpError> {
    let root = paging::root().ok_or(SmpError::OutOfMemory)?;
    let mut context = VcpuGuestContext::new_box_zeroed().map_err(|_| SmpError::OutOfMemory)?;
    let mut stack = Vec::<u8>::new();
    stack
        .try_reserve_exact(STACK_SIZE)
        .map_err(|_| SmpError::OutOfMemory)?;
    fill(
        &mut context,
        id,
        stack.as_mut_ptr().expose_provenance() + STACK_SIZE,
        root,
    );

    shared::vcpu_info_of(id)
        .upcall_mask
        .store(1, Ordering::SeqCst);
    task::accept_kicks(id)?;
    // SAFETY: the context starts this library's entry, with its own stack and block, in the kernel's address space.
    unsafe { vcpu::initialise(id.number(), &context) }?;
    // The vCPU keeps its stack for ever: it can come up again at any time.
    core::mem::forget(stack);
    vcpu::up(id.number())?;
    Ok(())
}

/// Lets a vCPU go on that has left.
fn start_again(id: VcpuId) -> Result<(), SmpError> {
    // One that is told to come up before it is down would go down for good.
    wait_for_goodbye(id, State::Starting)?;
    vcpu::up(id.number())?;
    Ok(())
}

fn fill(context: &mut Box<VcpuGuestContext>, id: VcpuId, stack_top: usize, root: paging::Mfn) {
    context.flags = VGCF_IN_KERNEL | VGCF_SYSCALL_DISABLES_EVENTS;
    context.user_regs.rip = secondary_entry() as u64;
    context.user_regs.cs = FLAT_KERNEL_CS;
    // As behind a call: the stack is 16-byte aligned before the entry code calls.
    context.user_regs.rsp = (stack_top & !15) as u64;
    context.user_regs.ss = FLAT_KERNEL_SS;
    context.user_regs.rdi = u64::from(id.number());
    context.kernel_ss = u64::from(FLAT_KERNEL_SS);
    context.kernel_sp = context.user_regs.rsp;
    context.ctrlreg[3] = root.0 << 12;
    context.gs_base_kernel = block_address(id) as u64;
    context.event_callback_eip = trap::callback_address(trap::UPCALL);
    context.syscall_callback_eip = trap::callback_address(trap::SYSTEM_CALL);
    for entry in trap::entries() {
        context.trap_ctxt[usize::from(entry.vector)] = entry;
    }
}
