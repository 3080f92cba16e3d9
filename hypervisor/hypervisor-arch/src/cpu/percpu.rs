//! What one CPU keeps for itself, found from its stack pointer.
//!
//! All stacks of a CPU lie in its 2 MiB area (`mem::layout`), so the area, and with it [`CpuLocal`], is RSP rounded down.
//! GS is never used for this: guests change its base as they like.

use crate::boot::memory_map::{FreeMemory, PhysRange};
use crate::cpu::{gdt::TrapStack, msr};
use crate::mem::layout::{CPU_AREA_SIZE, CPU_AREAS, CpuArea, MAX_CPUS, PAGE};
use crate::mem::own_tables::{L1Window, OwnTables, Rights, entry, zeroed};
use crate::policy::Policy;
use alloc::boxed::Box;
use core::arch::asm;
use core::cell::{Cell, UnsafeCell};
use core::sync::atomic::{AtomicBool, Ordering};
use hypervisor_core::entry::Entry;
use hypervisor_core::ids::PhysCpu;
use x86_64::VirtAddr;
use x86_64::structures::tss::TaskStateSegment;

/// The data of one CPU, at a fixed place of its area. Only that CPU touches it once it runs.
#[derive(Debug)]
#[repr(C)]
pub(crate) struct CpuLocal {
    /// Where the syscall stub puts the guest's RSP.
    pub(crate) guest_rsp: Cell<u64>,
    /// End of the running vCPU's register frame: the stack of the syscall stub.
    pub(crate) frame_end: Cell<u64>,
    /// Where the stub page goes on behind `syscall`: it has no other way to the image.
    pub(crate) syscall_entry: u64,
    /// Where it goes on behind the others.
    pub(crate) guest_entry: u64,
    /// Top of the stack on which the hypervisor works.
    pub(crate) host_stack: u64,
    id: PhysCpu,
    tss: UnsafeCell<TaskStateSegment>,
    window: L1Window,
    zero_page: u64,
    /// Why the host stack is begun anew.
    pub(crate) again: Cell<Option<Entry>>,
    policy: Cell<*mut Policy>,
    /// Interrupts that came while this CPU was idle, and wait to be told: bit n is device line n, then as
    /// `PENDING_TIMER` and `PENDING_KICK` say.
    pub(crate) pending: Cell<u64>,
    /// When the timer is wanted, in nanoseconds; `u64::MAX` if never.
    pub(crate) deadline: Cell<u64>,
    /// What the time stamp counter shows then.
    pub(crate) deadline_ticks: Cell<u64>,
    /// Whether a breakpoint is enabled in the hardware.
    pub(crate) debug_armed: Cell<bool>,
}

/// In `CpuLocal::pending`: the timer.
pub(crate) const PENDING_TIMER: u64 = 1 << 32;
/// In `CpuLocal::pending`: a kick.
pub(crate) const PENDING_KICK: u64 = 1 << 33;

const _: () = assert!(size_of::<CpuLocal>() <= CpuArea::LOCAL_PAGES * PAGE as usize);

/// This CPU's data.
pub(crate) fn local() -> &'static CpuLocal {
    let stack: u64;
    // SAFETY: reads a register.
    unsafe { asm!("mov {}, rsp", out(reg) stack, options(nomem, nostack, preserves_flags)) };
    let area = stack & !(CPU_AREA_SIZE - 1);
    debug_assert!(area >= CPU_AREAS, "on a stack of the CPU's area");
    let address = area + CpuArea::LOCAL as u64 * PAGE;
    // SAFETY: all hypervisor code but the boot CPU's first steps runs on a stack of a CPU area, whose data `map_area` has
    // filled; it lives for ever, and its fields are cells that other CPUs never touch.
    unsafe { &*(address as *const CpuLocal) }
}

impl CpuLocal {
    /// Index of this CPU: the boot CPU is 0.
    pub(crate) fn index(&self) -> usize {
        self.id.index()
    }

    /// This CPU, as policy names it.
    pub(crate) fn id(&self) -> PhysCpu {
        self.id
    }

    /// Gives this CPU its part of the policy.
    pub(crate) fn set_policy(&self, policy: Box<Policy>) {
        self.policy.set(Box::into_raw(policy));
    }

    /// This CPU's part of the policy, once there is one. Only `entry::from_guest` asks, once at a time.
    #[expect(
        clippy::mut_from_ref,
        reason = "one entry at a time, with interrupts off"
    )]
    pub(crate) fn policy(&self) -> Option<&mut Policy> {
        // SAFETY: null, or leaked by `set_policy`; no two borrows at a time, by the caller's duty.
        unsafe { self.policy.get().as_mut() }
    }

    /// Address of this CPU's task state segment.
    pub(crate) fn tss_address(&self) -> u64 {
        self.tss.get().addr() as u64
    }

    /// Makes traps from ring 3, and the syscall stub, save registers below `frame_end`.
    pub(crate) fn set_frame_end(&self, frame_end: u64) {
        assert!(frame_end.is_multiple_of(16), "the CPU aligns its stack so");
        self.frame_end.set(frame_end);
        // SAFETY: only this CPU, with interrupts off, uses its TSS; the field is inside it, if unaligned.
        let field = unsafe { &raw mut (*self.tss.get()).privilege_stack_table };
        // SAFETY: as above; the first of the three is RSP0.
        unsafe {
            field
                .cast::<VirtAddr>()
                .write_unaligned(VirtAddr::new(frame_end));
        }
    }

    /// Replaces one page of this CPU's descriptor window and flushes it: 0 to 13 the GDT, 16 to 31 the LDT. `None` shows
    /// zeros in the GDT, nothing in the LDT.
    pub(crate) fn set_descriptor_page(&self, page: u8, physical: Option<u64>) {
        let page = usize::from(page);
        let is_gdt = page < CpuArea::GUEST_GDT_PAGES;
        assert!(is_gdt || (16..32).contains(&page), "no such window page");
        let value = match physical {
            Some(frame) => entry(frame, Rights::Write),
            None if is_gdt => entry(self.zero_page, Rights::Read),
            None => 0,
        };
        if self.window.set(CpuArea::GDT + page, value) {
            let address = CpuArea::page(self.index(), CpuArea::GDT + page);
            x86_64::instructions::tlb::flush(VirtAddr::new(address));
        }
    }
}

/// Kicks on their way, by CPU: a long operation asks here whether it should stop.
static KICKED: [AtomicBool; MAX_CPUS] = [const { AtomicBool::new(false) }; MAX_CPUS];

/// Notes that a kick has been sent to a CPU.
pub(crate) fn note_kick(index: usize) {
    KICKED[index].store(true, Ordering::Release);
}

/// Whether a kick to this CPU is on its way.
pub(crate) fn was_kicked() -> bool {
    KICKED[local().index()].load(Ordering::Acquire)
}

/// Notes that a kick has reached this CPU.
pub(crate) fn take_kick() {
    KICKED[local().index()].store(false, Ordering::Release);
}

/// Maps and fills the area of the CPU with this index. `entries` is where its stub page goes on.
pub(crate) fn map_area(
    tables: &mut OwnTables,
    free: &mut FreeMemory,
    index: usize,
    [syscall_entry, guest_entry]: [u64; 2],
) {
    assert!(index < MAX_CPUS, "no more CPUs than areas");
    let id = u8::try_from(index).ok().and_then(PhysCpu::new);
    let id = id.expect("there are fewer CPUs than policy can name");
    let stub = PhysRange::with_length(msr::stub_frame(), PAGE);
    let at = |page| CpuArea::page(index, page);
    tables.map(free, at(CpuArea::STUB), stub, Rights::Execute);
    tables.map_fresh(free, at(CpuArea::LOCAL), CpuArea::LOCAL_PAGES);
    tables.map_fresh(free, at(CpuArea::GDT + CpuArea::GUEST_GDT_PAGES), 1);
    tables.map_fresh(free, at(CpuArea::STACK), CpuArea::STACK_PAGES);
    for number in 0..4 {
        tables.map_fresh(
            free,
            at(CpuArea::trap_stack(number)),
            CpuArea::TRAP_STACK_PAGES,
        );
    }
    let window = tables.l1_of(free, CpuArea::base(index));
    let zero_page = zeroed(free, PAGE).start;
    for page in 0..CpuArea::GUEST_GDT_PAGES {
        window.set(CpuArea::GDT + page, entry(zero_page, Rights::Read));
    }

    let mut tss = TaskStateSegment::new();
    for (number, stack) in [
        TrapStack::Debug,
        TrapStack::Nmi,
        TrapStack::DoubleFault,
        TrapStack::MachineCheck,
    ]
    .into_iter()
    .enumerate()
    {
        let top = CpuArea::trap_stack(number) + CpuArea::TRAP_STACK_PAGES;
        tss.interrupt_stack_table[stack as usize - 1] = VirtAddr::new(at(top));
    }
    let local = CpuLocal {
        guest_rsp: Cell::new(0),
        frame_end: Cell::new(0),
        syscall_entry,
        guest_entry,
        host_stack: stack_top(index),
        id,
        tss: UnsafeCell::new(tss),
        window,
        zero_page,
        again: Cell::new(None),
        policy: Cell::new(core::ptr::null_mut()),
        pending: Cell::new(0),
        deadline: Cell::new(u64::MAX),
        deadline_ticks: Cell::new(u64::MAX),
        debug_armed: Cell::new(false),
    };
    let place = at(CpuArea::LOCAL) as *mut CpuLocal;
    // SAFETY: mapped just now, large enough (asserted above), page-aligned, and its CPU does not run yet.
    unsafe { place.write(local) };
}

/// Top of the stack of the CPU with this index.
pub(crate) fn stack_top(index: usize) -> u64 {
    CpuArea::page(index, CpuArea::STACK + CpuArea::STACK_PAGES)
}
