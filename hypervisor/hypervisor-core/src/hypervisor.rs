//! The hypervisor as a whole: the machine, its frames, its domains, and who is to be woken.

use alloc::sync::Arc;
use alloc::vec::Vec;

use hypercall_abi::memory::{E820_RAM, E820Entry};

use crate::console;
use crate::control::{AuditUnderWay, Devices};
use crate::domain::{Domain, DomainTable};
use crate::effects::Effects;
use crate::event::DeviceLines;
use crate::frame::{FrameTable, Layout, LayoutError, Ram};
use crate::heap;
use crate::ids::{CpuSet, FRAME_SHIFT, Frames, Nanos, PhysCpu};
use crate::machine::Machine;
use crate::sched::{Halt, Scheduler};
use crate::standstill::Standstill;
use crate::sync::{AtomicBool, AtomicU64, Held, Ordering, Ranked, rank};
use crate::time::timer::TimerQueue;
use crate::vcpu::shared::Vcpu;

/// What boot found out and the command line asked for.
#[derive(Debug)]
pub struct BootInfo<'a> {
    /// RAM.
    pub layout: Layout<'a>,
    /// The firmware's memory map.
    pub machine_map: &'a [E820Entry],
    /// CPUs that run.
    pub cpus: CpuSet,
    /// Options.
    pub options: Options,
    /// Nanoseconds since 1970 at time 0 of the hypervisor's clock.
    pub wallclock: Nanos,
    /// Whether all CPUs read one time stamp counter that never steps back.
    pub tsc_stable: bool,
}

/// Options of the command line.
#[derive(Clone, Copy, Debug)]
pub struct Options {
    /// Memory of the first domain in bytes; 0 for the default.
    pub first_domain_memory: u64,
    /// vCPUs of the first domain.
    pub first_domain_vcpus: u16,
    /// Time slice.
    pub slice: Nanos,
    /// The most domains at once.
    pub max_domains: u16,
}

/// Why the hypervisor could not start.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
pub enum StartError {
    /// The memory map makes no sense, or the heap is too small for the frame table.
    #[error("memory layout: {0}")]
    Layout(LayoutError),
    /// The heap is too small.
    #[error("the heap is too small for the tables of domains and CPUs")]
    NoMemory,
}

/// What a CPU shows to the others.
#[derive(Debug)]
pub struct CpuRecord {
    /// Alarms set on this CPU.
    pub timers: Ranked<{ rank::TIMERS }, TimerQueue>,
    /// Set by others: choose anew who runs.
    reschedule: AtomicBool,
    /// When the scheduler wants to be asked again, in nanoseconds; `u64::MAX` for never. The CPU's own.
    until: AtomicU64,
    /// Nanoseconds idle, up to the last wake-up.
    pub idle: AtomicU64,
    /// When it began to idle, 0 while it works.
    pub idle_since: AtomicU64,
    /// Ends of idling.
    pub wakeups: AtomicU64,
    /// Interrupts taken.
    pub interrupts: AtomicU64,
    /// The standstill in which it stood still last.
    pub(crate) still: AtomicU64,
}

impl CpuRecord {
    const fn new() -> Self {
        Self {
            timers: Ranked::new(TimerQueue::new()),
            reschedule: AtomicBool::new(false),
            until: AtomicU64::new(u64::MAX),
            idle: AtomicU64::new(0),
            idle_since: AtomicU64::new(0),
            wakeups: AtomicU64::new(0),
            interrupts: AtomicU64::new(0),
            still: AtomicU64::new(0),
        }
    }

    /// Asks the CPU to choose anew; it also has to be kicked.
    pub fn ask_reschedule(&self) {
        self.reschedule.store(true, Ordering::Release);
    }

    /// Whether it was asked.
    #[must_use]
    pub fn reschedule_asked(&self) -> bool {
        self.reschedule.load(Ordering::Acquire)
    }

    /// The question is being answered.
    pub fn take_reschedule(&self) {
        // SeqCst: what is asked for besides is looked for after this.
        self.reschedule.store(false, Ordering::SeqCst);
    }

    /// When the scheduler wants to be asked again.
    #[must_use]
    pub fn until(&self) -> Option<Nanos> {
        let until = self.until.load(Ordering::Relaxed);
        (until != u64::MAX).then(|| Nanos::new(until))
    }

    /// The scheduler wants to be asked again then.
    pub fn set_until(&self, until: Option<Nanos>) {
        let until = until.map_or(u64::MAX, Nanos::get);
        self.until.store(until, Ordering::Relaxed);
    }

    /// Nanoseconds idle until `now`.
    #[must_use]
    pub fn idle_until(&self, now: Nanos) -> Nanos {
        let since = self.idle_since.load(Ordering::Acquire);
        let running = if since == 0 {
            0
        } else {
            now.get().saturating_sub(since)
        };
        Nanos::new(self.idle.load(Ordering::Acquire).saturating_add(running))
    }
}

/// The hypervisor.
#[derive(Debug)]
pub struct Hypervisor<M: Machine> {
    machine: M,
    frames: FrameTable,
    /// Domains.
    pub domains: DomainTable,
    /// Who runs where.
    pub scheduler: Ranked<{ rank::RUN_QUEUE }, Scheduler<Arc<Domain>>>,
    cpus: Vec<CpuRecord>,
    machine_map: Vec<E820Entry>,
    online: CpuSet,
    options: Options,
    /// Nanoseconds since 1970 at time 0 of the clock.
    pub wallclock: AtomicU64,
    pub(crate) next_serial: AtomicU64,
    /// Alarms that all vCPUs together may set.
    pub(crate) alarms: AtomicU64,
    tsc_stable: bool,
    lines: DeviceLines,
    devices: Devices,
    /// Writes to the log that dom0 was told of.
    told_of_log: AtomicU64,
    pub(crate) standstill: Standstill,
    /// The recount under way. Only ever tried: another one is refused.
    pub(crate) audit: Ranked<{ rank::AUDIT }, AuditUnderWay>,
}

impl<M: Machine> Hypervisor<M> {
    /// Takes over the machine.
    ///
    /// # Errors
    /// [`StartError`].
    pub fn new(machine: M, boot: &BootInfo<'_>) -> Result<Self, StartError> {
        let frames = FrameTable::new(&machine, &boot.layout).map_err(StartError::Layout)?;
        let domains =
            DomainTable::new(boot.options.max_domains).map_err(|_| StartError::NoMemory)?;
        let mut cpus = heap::list(PhysCpu::LIMIT).map_err(|_| StartError::NoMemory)?;
        cpus.resize_with(PhysCpu::LIMIT, CpuRecord::new);
        let mut machine_map =
            heap::list(boot.machine_map.len()).map_err(|_| StartError::NoMemory)?;
        machine_map.extend_from_slice(boot.machine_map);
        Ok(Self {
            machine,
            frames,
            domains,
            scheduler: Ranked::new(Scheduler::new(boot.options.slice)),
            cpus,
            machine_map,
            online: boot.cpus,
            options: boot.options,
            wallclock: AtomicU64::new(boot.wallclock.get()),
            next_serial: AtomicU64::new(1),
            alarms: AtomicU64::new(0),
            tsc_stable: boot.tsc_stable,
            lines: DeviceLines::default(),
            devices: Devices::default(),
            told_of_log: AtomicU64::new(0),
            standstill: Standstill::default(),
            audit: Ranked::new(AuditUnderWay::default()),
        })
    }

    /// The machine.
    pub const fn machine(&self) -> &M {
        &self.machine
    }

    /// The frames.
    pub const fn frames(&self) -> &FrameTable {
        &self.frames
    }

    /// Machine and frames, as frame and paging code takes them.
    pub fn ram(&self) -> Ram<'_, M> {
        Ram {
            machine: &self.machine,
            frames: &self.frames,
        }
    }

    /// The firmware's memory map.
    pub fn machine_map(&self) -> &[E820Entry] {
        &self.machine_map
    }

    /// Frames of the machine's RAM, the pool's and those that the hypervisor keeps for itself.
    #[must_use]
    pub fn ram_frames(&self) -> Frames {
        let ram = self.machine_map.iter().filter(|e| e.kind == E820_RAM);
        let bytes = ram.fold(0_u64, |sum, entry| sum.saturating_add(entry.size));
        // Firmware's map may be without entries where a test made it.
        Frames::new((bytes >> FRAME_SHIFT).max(self.frames.total().get()))
    }

    /// CPUs that run.
    pub const fn online(&self) -> CpuSet {
        self.online
    }

    /// Options of the command line.
    pub const fn options(&self) -> &Options {
        &self.options
    }

    /// Lines of devices and the ports that they are bound to.
    pub const fn lines(&self) -> &DeviceLines {
        &self.lines
    }

    /// What control operations remember of devices.
    pub const fn devices(&self) -> &Devices {
        &self.devices
    }

    /// Whether all CPUs read one time stamp counter.
    pub const fn tsc_stable(&self) -> bool {
        self.tsc_stable
    }

    /// What `cpu` shows.
    pub fn cpu(&self, cpu: PhysCpu) -> Option<&CpuRecord> {
        self.cpus.get(cpu.index())
    }

    /// Whether there is something in the log that dom0 was not told of. Asked at every exit.
    pub(crate) fn has_log_news(&self) -> bool {
        self.told_of_log.load(Ordering::Relaxed) != console::writes()
    }

    /// As [`Self::has_log_news`]; dom0 is being told then.
    pub(crate) fn take_log_news(&self) -> bool {
        let writes = console::writes();
        self.has_log_news() && self.told_of_log.swap(writes, Ordering::Relaxed) != writes
    }

    /// Makes `cpu` choose anew who runs.
    pub fn reschedule(&self, cpu: PhysCpu, effects: &mut Effects) {
        if let Some(record) = self.cpu(cpu) {
            record.ask_reschedule();
        }
        effects.kick(cpu);
        if cpu == self.machine.cpu_id() {
            effects.reschedule();
        }
    }

    /// As [`Self::reschedule`], for several CPUs.
    pub fn reschedule_all(&self, cpus: CpuSet, effects: &mut Effects) {
        for cpu in cpus.iter() {
            self.reschedule(cpu, effects);
        }
    }

    /// A vCPU has news in its `vcpu_info`: wakes it, or makes the CPU where it runs look.
    ///
    /// The caller has set the pending bits before (SeqCst, as all atomic changes of frames are); a vCPU that blocks sets
    /// its mark before it reads them. So one of the two sees the other.
    pub fn notify<const TOP: u8>(
        &self,
        vcpu: &Vcpu,
        effects: &mut Effects,
        held: &mut Held<'_, TOP>,
    ) {
        if vcpu.is_waiting() {
            self.wake(vcpu, effects, held);
        } else if let Some(cpu) = vcpu.running_elsewhere(self.machine.cpu_id()) {
            // This CPU looks by itself at its exit.
            effects.kick(cpu);
        }
    }

    /// Ends a vCPU's wait, if it waits.
    pub fn wake<const TOP: u8>(
        &self,
        vcpu: &Vcpu,
        effects: &mut Effects,
        held: &mut Held<'_, TOP>,
    ) {
        if !vcpu.set_waiting(false) {
            return;
        }
        vcpu.set_polling(crate::vcpu::shared::Polling::No);
        let Some(entity) = vcpu.entity() else { return };
        let now = self.machine.now();
        let cpu = self
            .scheduler
            .lock(held)
            .0
            .resume(entity, Halt::Blocked, now);
        if let Some(cpu) = cpu {
            self.reschedule(cpu, effects);
        }
    }
}
