//! What the hypervisor's policy asks of the machine. No method decides anything; none fails but with [`GuestFault`].
//!
//! `hypervisor-arch` implements it on hardware, `fake` for tests. All frames named here are frames of the pool: no method
//! reaches the hypervisor's own memory. Accesses to frames are volatile or atomic, because guests write at any time.

use zerocopy::IntoBytes;

use crate::ids::{CpuSet, EntryIndex, Mfn, Nanos, PhysCpu, Place};
use crate::sync::{AtomicU64, Ordering};
use crate::vcpu::debug::DebugRegisters;
use crate::vcpu::state::{Control, VcpuState};

/// A frame as words.
pub type Words = [AtomicU64; 512];

/// A guest address could not be read or written with the permissions of the live address space.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct GuestFault {
    /// The first address that could not be reached.
    pub address: u64,
    /// Bytes copied before it.
    pub done: usize,
}

/// What loading a root must flush on this CPU.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum RootFlush {
    /// All but global pages: a switch between a guest's kernel and user roots.
    NonGlobal,
    /// Everything, global pages and paging-structure caches included.
    All,
}

/// What a TLB flush removes.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Flush {
    /// Everything, global pages and paging-structure caches included.
    All,
    /// The translations of one canonical guest address.
    Page(u64),
}

/// How time counter values become nanoseconds: `system_origin + ((tsc - tsc_origin) << shift) * multiplier >> 32`.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct ClockScale {
    /// The counter at the origin.
    pub tsc_origin: u64,
    /// The hypervisor's clock at the origin.
    pub system_origin: Nanos,
    /// Fraction of 2^32.
    pub multiplier: u32,
    /// Left shift of the difference, right if negative.
    pub shift: i8,
    /// The counter's frequency.
    pub frequency_khz: u64,
}

/// How the machine ends (docs: QEMU's exit codes).
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum PowerAction {
    /// Orderly power-off.
    Off,
    /// Restart asked for by the first domain.
    Reboot,
    /// The first domain crashed.
    FirstDomainCrashed,
    /// The hypervisor panicked.
    Panic,
}

/// A function of a PCI device.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct PciAddress {
    /// Bus.
    pub bus: u8,
    /// Device, 0..=31.
    pub device: u8,
    /// Function, 0..=7.
    pub function: u8,
}

/// Width of a PCI configuration access.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum PciWidth {
    /// One byte.
    Byte,
    /// Two bytes.
    Word,
    /// Four bytes.
    Double,
}

/// A slot of the machine's table of device interrupts, as `Interrupt::Device` reports it.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct DeviceLine(pub u8);

/// A segment base of the vCPU in this CPU's registers.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum GuestBase {
    /// FS.
    Fs,
    /// GS of the mode that runs.
    GsActive,
    /// GS of the other mode, which the next `swap_guest_gs` brings in.
    GsInactive,
}

/// The machine as the policy sees it.
pub trait Machine: Sync + Sized + 'static {
    /// Reads guest memory through the live address space. The caller has checked that the range is the guest's.
    ///
    /// # Errors
    /// [`GuestFault`] where a page is absent.
    fn copy_in(&self, from: u64, to: &mut [u8]) -> Result<(), GuestFault>;
    /// Writes guest memory through the live address space, honouring read-only leaves (CR0.WP).
    ///
    /// # Errors
    /// [`GuestFault`] where a page is absent or read-only.
    fn copy_out(&self, to: u64, from: &[u8]) -> Result<(), GuestFault>;
    /// As [`Self::copy_in`], for a few words.
    ///
    /// # Errors
    /// As there.
    fn copy_in_words<const N: usize>(&self, from: u64) -> Result<[u64; N], GuestFault> {
        let mut words = [0; N];
        self.copy_in(from, words.as_mut_bytes())?;
        Ok(words)
    }
    /// As [`Self::copy_out`], for a few words.
    ///
    /// # Errors
    /// As there.
    fn copy_out_words<const N: usize>(&self, to: u64, words: [u64; N]) -> Result<(), GuestFault> {
        self.copy_out(to, words.as_bytes())
    }

    /// A frame's words: found once, for who goes over all of them or changes one that was read.
    fn words(&self, frame: Mfn) -> &Words;
    /// Reads one entry, in one 8-byte access.
    #[inline(always)]
    fn read_entry(&self, frame: Mfn, index: EntryIndex) -> u64 {
        index.of(self.words(frame)).load(Ordering::Acquire)
    }
    /// Writes one entry, in one 8-byte access.
    #[inline(always)]
    fn write_entry(&self, frame: Mfn, index: EntryIndex, value: u64) {
        index.of(self.words(frame)).store(value, Ordering::Release);
    }

    /// Copies bytes out of a frame; `offset + to.len()` is at most 4096.
    fn read_frame(&self, frame: Mfn, offset: usize, to: &mut [u8]);
    /// Copies bytes into a frame; `offset + from.len()` is at most 4096.
    fn write_frame(&self, frame: Mfn, offset: usize, from: &[u8]);
    /// Sets bits of an aligned word; gives the word before.
    fn fetch_or_u64(&self, at: Place, bits: u64) -> u64;
    /// Keeps only `bits` of an aligned word; gives the word before.
    fn fetch_and_u64(&self, frame: Mfn, offset: usize, bits: u64) -> u64;
    /// Replaces `old` by `new` in an aligned word.
    ///
    /// # Errors
    /// The value found, if it is not `old`.
    fn compare_exchange_u32(
        &self,
        frame: Mfn,
        offset: usize,
        old: u32,
        new: u32,
    ) -> Result<u32, u32>;
    /// Exchanges a byte; gives the byte before.
    fn swap_u8(&self, at: Place, value: u8) -> u8;
    /// Reads a byte.
    fn load_u8(&self, at: Place) -> u8;
    /// Reads an aligned word of 2 bytes.
    fn load_u16(&self, at: Place) -> u16;
    /// Reads an aligned word of 4 bytes.
    fn load_u32(&self, frame: Mfn, offset: usize) -> u32;
    /// Reads an aligned word of 8 bytes.
    fn load_u64(&self, frame: Mfn, offset: usize) -> u64;
    /// Writes a byte.
    fn store_u8(&self, at: Place, value: u8);
    /// Writes an aligned word of 2 bytes.
    fn store_u16(&self, frame: Mfn, offset: usize, value: u16);
    /// Writes an aligned word of 4 bytes.
    fn store_u32(&self, frame: Mfn, offset: usize, value: u32);
    /// Writes an aligned word of 8 bytes.
    fn store_u64(&self, frame: Mfn, offset: usize, value: u64);
    /// Fills a frame with zeros.
    fn scrub(&self, frame: Mfn);
    /// Copies a whole frame.
    fn copy_frame(&self, from: Mfn, to: Mfn);

    /// The hypervisor's own L4 entries 257..=271, the same in every root.
    fn hypervisor_slots(&self) -> [u64; 15];
    /// Loads a root into this CPU's CR3.
    fn load_root(&self, root: Mfn, flush: RootFlush);
    /// Loads a root without any guest mapping into this CPU's CR3 and flushes everything.
    fn load_idle_root(&self);
    /// Flushes the TLBs of `cpus`; returns when all have done it. This CPU serves requests of others meanwhile.
    fn flush(&self, cpus: CpuSet, what: Flush);
    /// Flushes one address on this CPU.
    fn flush_page_here(&self, address: u64) {
        self.flush(CpuSet::only(self.cpu_id()), Flush::Page(address));
    }
    /// Maps one page of this CPU's descriptor window: 0..=13 the GDT, 16..=31 the LDT. `None`: the shared zero page for a
    /// GDT page, nothing for an LDT page. Flushes the page on this CPU.
    fn set_descriptor_window(&self, page: u8, frame: Option<Mfn>);
    /// Where this CPU's descriptor window begins: its page n is 4096 * n bytes further on.
    fn descriptor_window(&self) -> u64;
    /// Loads LDTR with the LDT window of `entries` descriptors, with the null selector for 0.
    fn load_ldt(&self, entries: u16);

    /// Puts a vCPU into this CPU's registers: data segments (`load_failed` set where one faulted, the register then being
    /// null), FS base and both GS bases by `mode`, FPU, debug registers, CR0.TS, CR4 bits, XCR0, TSC_AUX; sets `host_stack`
    /// and makes the end of `registers` the place where traps from ring 3 save. Root and descriptor window are loaded before.
    fn switch_in(&self, state: &mut VcpuState);
    /// Takes a vCPU out: stores selectors, bases and FPU, as `switch_in` loaded them, back into the state.
    fn switch_out(&self, state: &mut VcpuState);
    /// Exchanges the active and the inactive GS base: at each change between kernel and user mode.
    fn swap_guest_gs(&self);
    /// Sets or clears the real CR0.TS.
    fn set_task_switched(&self, set: bool);
    /// Loads DR7 and, where it enables something, DR0..DR3; resets DR6.
    fn load_debug_registers(&self, registers: &DebugRegisters);
    /// Loads the guest's part of CR4 (TSD, DE, FSGSBASE) and XCR0.
    fn load_control(&self, control: &Control);
    /// Reads a segment base.
    fn guest_base(&self, base: GuestBase) -> u64;
    /// Writes a segment base; `value` is canonical.
    fn set_guest_base(&self, base: GuestBase, value: u64);
    /// Loads the user's GS: the selector register, and the descriptor's base as the inactive base. A selector that cannot be
    /// loaded becomes null with base 0. The active base stays.
    fn load_user_gs(&self, selector: u16);
    /// Another domain than the last one runs on this CPU from now on: keeps what either's code has left in predictors and
    /// caches from the other, as far as the machine's plan goes.
    fn separate_domains(&self);
    /// Writes TSC_AUX.
    fn set_tsc_aux(&self, value: u32);

    /// This CPU.
    fn cpu_id(&self) -> PhysCpu;
    /// All CPUs that run.
    fn online_cpus(&self) -> CpuSet;
    /// Makes `cpu` leave guest mode or its halt and pass its exit path.
    fn kick(&self, cpu: PhysCpu);
    /// One turn of a spin loop: serves flush requests to this CPU.
    fn relax(&self);

    /// The hypervisor's clock.
    fn now(&self) -> Nanos;
    /// How guests may compute the clock from the time stamp counter.
    fn clock(&self) -> ClockScale;
    /// The time stamp counter.
    fn read_tsc(&self) -> u64;
    /// When this CPU wants its next timer interrupt.
    fn set_deadline(&self, at: Option<Nanos>);
    /// Whether something waits for this CPU, so that a long operation should stop at its next step.
    fn preempt_due(&self) -> bool;

    /// CPUID on the hardware: EAX, EBX, ECX, EDX.
    fn host_cpuid(&self, leaf: u32, subleaf: u32) -> [u32; 4];
    /// RDMSR on the hardware; `None` if that faults.
    fn read_host_msr(&self, msr: u32) -> Option<u64>;

    /// Reads PCI configuration space.
    fn pci_read(&self, address: PciAddress, register: u16, width: PciWidth) -> u32;
    /// Writes PCI configuration space.
    fn pci_write(&self, address: PciAddress, register: u16, width: PciWidth, value: u32);
    /// Routes an MSI-X entry of a device to a free line, masked; `None` if there is no line or no such entry.
    fn bind_msix(&self, address: PciAddress, entry: u16) -> Option<DeviceLine>;
    /// Masks a line, or opens it again.
    fn mask_line(&self, line: DeviceLine, masked: bool);

    /// Writes bytes to the machine's console.
    fn console_write(&self, bytes: &[u8]);
    /// Ends the machine.
    fn power(&self, how: PowerAction) -> !;
}
