//! The hardware as the policy sees it: each method of `Machine`, in one line or two.

use crate::boot::smp;
use crate::cpu::percpu::{self, local};
use crate::cpu::{apic, context, idt, msr, own_root, speculation, tlb};
use crate::mem::layout::CpuArea;
use crate::mem::{guest_access, pool};
use crate::{msix, pci, power, tsc, uart};
use core::arch::x86_64::__cpuid_count;
use core::sync::atomic::Ordering;
use hypervisor_core::ids::{CpuSet, Mfn, Nanos, PhysCpu, Place};
use hypervisor_core::machine::{
    ClockScale, DeviceLine, Flush, GuestBase, GuestFault, Machine, PciAddress, PciWidth,
    PowerAction, RootFlush, Words,
};
use hypervisor_core::vcpu::debug::DebugRegisters;
use hypervisor_core::vcpu::state::{Control, VcpuState};

/// The one machine there is; its state lies in `static`s and in the CPUs' areas.
#[derive(Debug)]
pub(crate) struct Hardware;

impl Machine for Hardware {
    fn copy_in(&self, from: u64, to: &mut [u8]) -> Result<(), GuestFault> {
        guest_access::copy_in(from, to)
    }

    fn copy_out(&self, to: u64, from: &[u8]) -> Result<(), GuestFault> {
        guest_access::copy_out(to, from)
    }

    #[inline(always)]
    fn copy_in_words<const N: usize>(&self, from: u64) -> Result<[u64; N], GuestFault> {
        guest_access::copy_in_words(from)
    }

    #[inline(always)]
    fn copy_out_words<const N: usize>(&self, to: u64, words: [u64; N]) -> Result<(), GuestFault> {
        guest_access::copy_out_words(to, words)
    }

    #[inline(always)]
    fn words(&self, frame: Mfn) -> &Words {
        pool::words(frame)
    }

    fn read_frame(&self, frame: Mfn, offset: usize, to: &mut [u8]) {
        pool::read(frame, offset, to);
    }

    fn write_frame(&self, frame: Mfn, offset: usize, from: &[u8]) {
        pool::write(frame, offset, from);
    }

    #[inline(always)]
    fn fetch_or_u64(&self, at: Place, bits: u64) -> u64 {
        pool::word_at(at).fetch_or(bits, Ordering::SeqCst)
    }

    #[inline(always)]
    fn fetch_and_u64(&self, frame: Mfn, offset: usize, bits: u64) -> u64 {
        pool::atomic_u64(frame, offset).fetch_and(bits, Ordering::SeqCst)
    }

    fn compare_exchange_u32(
        &self,
        frame: Mfn,
        offset: usize,
        old: u32,
        new: u32,
    ) -> Result<u32, u32> {
        let word = pool::atomic_u32(frame, offset);
        word.compare_exchange(old, new, Ordering::SeqCst, Ordering::SeqCst)
    }

    #[inline(always)]
    fn swap_u8(&self, at: Place, value: u8) -> u8 {
        pool::byte(at).swap(value, Ordering::SeqCst)
    }

    #[inline(always)]
    fn load_u8(&self, at: Place) -> u8 {
        pool::byte(at).load(Ordering::SeqCst)
    }

    #[inline(always)]
    fn load_u16(&self, at: Place) -> u16 {
        pool::pair(at).load(Ordering::SeqCst)
    }

    #[inline(always)]
    fn load_u32(&self, frame: Mfn, offset: usize) -> u32 {
        pool::atomic_u32(frame, offset).load(Ordering::SeqCst)
    }

    #[inline(always)]
    fn load_u64(&self, frame: Mfn, offset: usize) -> u64 {
        pool::atomic_u64(frame, offset).load(Ordering::SeqCst)
    }

    #[inline(always)]
    fn store_u8(&self, at: Place, value: u8) {
        pool::byte(at).store(value, Ordering::Release);
    }

    #[inline(always)]
    fn store_u16(&self, frame: Mfn, offset: usize, value: u16) {
        pool::atomic_u16(frame, offset).store(value, Ordering::Release);
    }

    #[inline(always)]
    fn store_u32(&self, frame: Mfn, offset: usize, value: u32) {
        pool::atomic_u32(frame, offset).store(value, Ordering::Release);
    }

    #[inline(always)]
    fn store_u64(&self, frame: Mfn, offset: usize, value: u64) {
        pool::atomic_u64(frame, offset).store(value, Ordering::Release);
    }

    fn scrub(&self, frame: Mfn) {
        pool::scrub(frame);
    }

    fn copy_frame(&self, from: Mfn, to: Mfn) {
        pool::copy_frame(from, to);
    }

    fn hypervisor_slots(&self) -> [u64; 15] {
        own_root::slots()
    }

    fn load_root(&self, root: Mfn, _flush: RootFlush) {
        // CR4.PGE is off: there are no global pages, and a load flushes everything.
        own_root::load_guest(root);
    }

    fn load_idle_root(&self) {
        own_root::load();
    }

    fn flush(&self, cpus: CpuSet, what: Flush) {
        if cpus.contains(self.cpu_id()) {
            match what {
                Flush::All => tlb::flush_here(None),
                Flush::Page(address) => tlb::flush_here(Some(address)),
            }
        }
        tlb::flush_others(cpus.bits());
    }

    fn flush_page_here(&self, address: u64) {
        tlb::flush_here(Some(address));
    }

    fn set_descriptor_window(&self, page: u8, frame: Option<Mfn>) {
        local().set_descriptor_page(page, frame.map(Mfn::address));
    }

    fn descriptor_window(&self) -> u64 {
        CpuArea::page(local().index(), CpuArea::GDT)
    }

    fn load_ldt(&self, entries: u16) {
        crate::cpu::gdt::load_ldt(local().index(), entries);
    }

    fn switch_in(&self, state: &mut VcpuState) {
        context::switch_in(state);
    }

    fn switch_out(&self, state: &mut VcpuState) {
        context::switch_out(state);
    }

    fn swap_guest_gs(&self) {
        context::swap_gs();
    }

    fn set_task_switched(&self, set: bool) {
        context::set_task_switched(set);
    }

    fn load_debug_registers(&self, registers: &DebugRegisters) {
        context::load_debug_registers(registers);
    }

    fn load_control(&self, control: &Control) {
        context::load_control(control);
    }

    fn guest_base(&self, base: GuestBase) -> u64 {
        context::base(base)
    }

    fn set_guest_base(&self, base: GuestBase, value: u64) {
        context::set_base(base, value);
    }

    fn load_user_gs(&self, selector: u16) {
        context::load_user_gs(selector);
    }

    fn separate_domains(&self) {
        speculation::separate_domains();
    }

    fn set_tsc_aux(&self, value: u32) {
        context::set_tsc_aux(value);
    }

    #[inline(always)]
    fn cpu_id(&self) -> PhysCpu {
        local().id()
    }

    fn online_cpus(&self) -> CpuSet {
        CpuSet::from_bits((1 << smp::online()) - 1)
    }

    fn kick(&self, cpu: PhysCpu) {
        percpu::note_kick(cpu.index());
        apic::send(cpu.index(), idt::KICK);
    }

    fn relax(&self) {
        tlb::serve();
        core::hint::spin_loop();
    }

    fn now(&self) -> Nanos {
        Nanos::new(tsc::nanos())
    }

    fn clock(&self) -> ClockScale {
        let clock = tsc::clock();
        ClockScale {
            tsc_origin: clock.origin,
            system_origin: Nanos::new(0),
            multiplier: clock.multiplier,
            shift: clock.shift,
            frequency_khz: clock.khz,
        }
    }

    fn read_tsc(&self) -> u64 {
        tsc::read()
    }

    fn set_deadline(&self, at: Option<Nanos>) {
        tsc::set_deadline(at.map(Nanos::get));
    }

    fn preempt_due(&self) -> bool {
        // Long operations ask at each step: a good time not to let others wait for a flush.
        tlb::serve();
        percpu::was_kicked() || tsc::deadline_passed()
    }

    fn host_cpuid(&self, leaf: u32, subleaf: u32) -> [u32; 4] {
        let found = __cpuid_count(leaf, subleaf);
        [found.eax, found.ebx, found.ecx, found.edx]
    }

    fn read_host_msr(&self, register: u32) -> Option<u64> {
        msr::read_safely(register)
    }

    fn pci_read(&self, address: PciAddress, register: u16, width: PciWidth) -> u32 {
        pci::read(address, register, width)
    }

    fn pci_write(&self, address: PciAddress, register: u16, width: PciWidth, value: u32) {
        pci::write(address, register, width, value);
    }

    fn bind_msix(&self, address: PciAddress, entry: u16) -> Option<DeviceLine> {
        msix::bind(address, entry)
    }

    fn mask_line(&self, line: DeviceLine, masked: bool) {
        msix::set_masked(line, masked);
    }

    fn console_write(&self, bytes: &[u8]) {
        uart::write(bytes);
    }

    fn power(&self, how: PowerAction) -> ! {
        power::end(match how {
            PowerAction::Off => power::Ending::PowerOff,
            PowerAction::Reboot => power::Ending::Reboot,
            PowerAction::FirstDomainCrashed => power::Ending::FirstDomainCrashed,
            PowerAction::Panic => power::Ending::HypervisorPanic,
        })
    }
}
