//! The `Machine` of the fake.

use crate::ids::{CpuSet, Mfn, Nanos, PhysCpu, Place};
use crate::machine::{
    ClockScale, DeviceLine, Flush, GuestBase, GuestFault, Machine, PciAddress, PciWidth,
    PowerAction, RootFlush, Words,
};
use crate::sync::{AtomicU64, Ordering};
use crate::vcpu::debug::DebugRegisters;
use crate::vcpu::state::{Control, VcpuState};

use super::FakeMachine;
use super::pci;
use super::tlb::Access;

/// What the fake's hypervisor slots hold: supervisor entries, told apart by slot.
fn hypervisor_entry(slot: usize) -> u64 {
    0x0000_7000_0000_0001 | u64::try_from(slot).unwrap_or(0) << 12
}

fn index_of(base: GuestBase) -> usize {
    match base {
        GuestBase::Fs => 0,
        GuestBase::GsActive => 1,
        GuestBase::GsInactive => 2,
    }
}

impl FakeMachine {
    fn word(&self, frame: Mfn, offset: usize, width: usize) -> &AtomicU64 {
        assert!(
            offset.is_multiple_of(width),
            "offset {offset} is not aligned to {width}"
        );
        self.ram.word(frame, offset)
    }

    fn load<const N: usize>(&self, frame: Mfn, offset: usize) -> [u8; N] {
        let mut bytes = [0; N];
        let word = self
            .word(frame, offset, N)
            .load(Ordering::Relaxed)
            .to_le_bytes();
        bytes.copy_from_slice(&word[offset % 8..offset % 8 + N]);
        bytes
    }

    fn store<const N: usize>(&self, frame: Mfn, offset: usize, value: [u8; N]) {
        self.change(frame, offset, |_| value);
    }

    /// Changes a part of a word in one step; what it was.
    fn change<const N: usize>(
        &self,
        frame: Mfn,
        offset: usize,
        new: impl Fn([u8; N]) -> [u8; N],
    ) -> [u8; N] {
        let part = offset % 8..offset % 8 + N;
        let mut old = [0; N];
        let changed =
            self.word(frame, offset, N)
                .fetch_update(Ordering::SeqCst, Ordering::SeqCst, |word| {
                    let mut bytes = word.to_le_bytes();
                    old.copy_from_slice(&bytes[part.clone()]);
                    bytes[part.clone()].copy_from_slice(&new(old));
                    Some(u64::from_le_bytes(bytes))
                });
        debug_assert!(changed.is_ok(), "there is always a new value");
        old
    }

    /// Runs `part(frame, offset in frame, range of the buffer)` page by page.
    fn copy(
        &self,
        address: u64,
        length: usize,
        how: Access,
        mut part: impl FnMut(Mfn, usize, core::ops::Range<usize>),
    ) -> Result<(), GuestFault> {
        if self.orders.lock().expect("not poisoned").copy_fails() {
            return Err(GuestFault { address, done: 0 });
        }
        let mut done = 0;
        while done < length {
            let at = address.wrapping_add(u64::try_from(done).expect("small"));
            let offset = usize::try_from(at & 0xfff).expect("small");
            let count = (4096 - offset).min(length - done);
            let frame = self
                .access(at, how)
                .ok_or(GuestFault { address: at, done })?;
            part(frame, offset, done..done + count);
            done += count;
        }
        Ok(())
    }
}

impl Machine for FakeMachine {
    fn copy_in(&self, from: u64, to: &mut [u8]) -> Result<(), GuestFault> {
        let length = to.len();
        self.copy(from, length, Access::Read, |frame, offset, part| {
            self.ram.read(frame, offset, &mut to[part]);
        })?;
        // What failed was not read.
        self.orders
            .lock()
            .expect("not poisoned")
            .fetch(from, length);
        Ok(())
    }

    fn copy_out(&self, to: u64, from: &[u8]) -> Result<(), GuestFault> {
        self.copy(to, from.len(), Access::Write, |frame, offset, part| {
            self.ram.write(frame, offset, &from[part]);
        })
    }

    fn words(&self, frame: Mfn) -> &Words {
        let words = self.ram.words(frame).try_into();
        words.expect("a frame has 512 words")
    }

    fn read_frame(&self, frame: Mfn, offset: usize, to: &mut [u8]) {
        self.ram.read(frame, offset, to);
    }

    fn write_frame(&self, frame: Mfn, offset: usize, from: &[u8]) {
        self.ram.write(frame, offset, from);
    }

    fn fetch_or_u64(&self, at: Place, bits: u64) -> u64 {
        let (frame, offset) = (at.frame(), at.offset());
        self.word(frame, offset, 8).fetch_or(bits, Ordering::SeqCst)
    }

    fn fetch_and_u64(&self, frame: Mfn, offset: usize, bits: u64) -> u64 {
        self.word(frame, offset, 8)
            .fetch_and(bits, Ordering::SeqCst)
    }

    fn compare_exchange_u32(
        &self,
        frame: Mfn,
        offset: usize,
        old: u32,
        new: u32,
    ) -> Result<u32, u32> {
        let now = self.change(frame, offset, |now| {
            if u32::from_le_bytes(now) == old {
                new.to_le_bytes()
            } else {
                now
            }
        });
        let now = u32::from_le_bytes(now);
        if now == old { Ok(old) } else { Err(now) }
    }

    fn swap_u8(&self, at: Place, value: u8) -> u8 {
        let [before] = self.change(at.frame(), at.offset(), |_| [value]);
        before
    }

    fn load_u8(&self, at: Place) -> u8 {
        u8::from_le_bytes(self.load(at.frame(), at.offset()))
    }

    fn load_u16(&self, at: Place) -> u16 {
        let (frame, offset) = (at.frame(), at.offset());
        let rewritten = self.orders.lock().expect("not poisoned").rewritten;
        if let Some((.., value)) = rewritten.filter(|&(f, o, _)| (f, o) == (frame, offset)) {
            self.store_u16(frame, offset, value);
        }
        u16::from_le_bytes(self.load(frame, offset))
    }

    fn load_u32(&self, frame: Mfn, offset: usize) -> u32 {
        u32::from_le_bytes(self.load(frame, offset))
    }

    fn load_u64(&self, frame: Mfn, offset: usize) -> u64 {
        u64::from_le_bytes(self.load(frame, offset))
    }

    fn store_u8(&self, at: Place, value: u8) {
        self.store(at.frame(), at.offset(), value.to_le_bytes());
    }

    fn store_u16(&self, frame: Mfn, offset: usize, value: u16) {
        self.store(frame, offset, value.to_le_bytes());
    }

    fn store_u32(&self, frame: Mfn, offset: usize, value: u32) {
        self.store(frame, offset, value.to_le_bytes());
    }

    fn store_u64(&self, frame: Mfn, offset: usize, value: u64) {
        self.store(frame, offset, value.to_le_bytes());
    }

    fn scrub(&self, frame: Mfn) {
        for word in self.ram.words(frame) {
            word.store(0, Ordering::Relaxed);
        }
    }

    fn copy_frame(&self, from: Mfn, to: Mfn) {
        for (to, from) in self.ram.words(to).iter().zip(self.ram.words(from)) {
            to.store(from.load(Ordering::Relaxed), Ordering::Relaxed);
        }
    }

    fn hypervisor_slots(&self) -> [u64; 15] {
        core::array::from_fn(hypervisor_entry)
    }

    fn load_root(&self, root: Mfn, flush: RootFlush) {
        self.with_cpu(self.cpu_id().get(), |cpu| cpu.load(Some(root), flush));
    }

    fn load_idle_root(&self) {
        self.with_cpu(self.cpu_id().get(), |cpu| cpu.load(None, RootFlush::All));
    }

    fn flush(&self, cpus: CpuSet, what: Flush) {
        self.flushes.fetch_add(1, Ordering::Relaxed);
        for cpu in cpus.iter() {
            self.with_cpu(cpu.get(), |c| c.flush(what));
        }
    }

    fn set_descriptor_window(&self, page: u8, frame: Option<Mfn>) {
        self.with_cpu(self.cpu_id().get(), |cpu| {
            cpu.windows[usize::from(page)] = frame
        });
    }

    fn descriptor_window(&self) -> u64 {
        0xffff_8200_0000_0000
    }

    fn load_ldt(&self, entries: u16) {
        self.with_cpu(self.cpu_id().get(), |cpu| cpu.ldt_entries = entries);
    }

    fn switch_in(&self, state: &mut VcpuState) {
        self.with_cpu(self.cpu_id().get(), |cpu| {
            cpu.bases = [state.fs_base, state.gs_base_kernel, state.gs_base_user];
            if state.mode == crate::vcpu::state::Mode::User {
                cpu.bases.swap(1, 2);
            }
            cpu.task_switched = state.control.task_switched;
            cpu.tsc_aux = state.tsc_aux;
        });
    }

    fn switch_out(&self, state: &mut VcpuState) {
        self.with_cpu(self.cpu_id().get(), |cpu| {
            if state.mode == crate::vcpu::state::Mode::User {
                cpu.bases.swap(1, 2);
            }
            [state.fs_base, state.gs_base_kernel, state.gs_base_user] = cpu.bases;
        });
    }

    fn swap_guest_gs(&self) {
        self.with_cpu(self.cpu_id().get(), |cpu| cpu.bases.swap(1, 2));
    }

    fn set_task_switched(&self, set: bool) {
        self.with_cpu(self.cpu_id().get(), |cpu| cpu.task_switched = set);
    }

    fn load_debug_registers(&self, registers: &DebugRegisters) {
        self.with_cpu(self.cpu_id().get(), |cpu| cpu.debug = Some(*registers));
    }

    fn load_control(&self, control: &Control) {
        self.with_cpu(self.cpu_id().get(), |cpu| cpu.control = Some(*control));
    }

    fn guest_base(&self, base: GuestBase) -> u64 {
        self.with_cpu(self.cpu_id().get(), |cpu| cpu.bases[index_of(base)])
    }

    fn set_guest_base(&self, base: GuestBase, value: u64) {
        self.with_cpu(self.cpu_id().get(), |cpu| cpu.bases[index_of(base)] = value);
    }

    fn load_user_gs(&self, _selector: u16) {
        self.set_guest_base(GuestBase::GsInactive, 0);
    }

    fn separate_domains(&self) {
        self.with_cpu(self.cpu_id().get(), |cpu| cpu.separations += 1);
    }

    fn set_tsc_aux(&self, value: u32) {
        self.with_cpu(self.cpu_id().get(), |cpu| cpu.tsc_aux = value);
    }

    fn cpu_id(&self) -> PhysCpu {
        PhysCpu::new(super::CURRENT.get()).expect("a CPU of the fake")
    }

    fn online_cpus(&self) -> CpuSet {
        self.all_cpus()
    }

    fn kick(&self, cpu: PhysCpu) {
        self.kicked
            .fetch_or(CpuSet::only(cpu).bits(), Ordering::Relaxed);
    }

    fn relax(&self) {
        crate::sync::relax();
    }

    fn now(&self) -> Nanos {
        Nanos::new(self.nanos.load(Ordering::Relaxed))
    }

    fn clock(&self) -> ClockScale {
        ClockScale {
            tsc_origin: 0,
            system_origin: Nanos::new(0),
            multiplier: 1 << 31,
            shift: 1,
            frequency_khz: 1_000_000,
        }
    }

    fn read_tsc(&self) -> u64 {
        self.now().get()
    }

    fn set_deadline(&self, at: Option<Nanos>) {
        self.with_cpu(self.cpu_id().get(), |cpu| cpu.deadline = at);
    }

    fn preempt_due(&self) -> bool {
        self.orders.lock().expect("not poisoned").preempt_due()
    }

    fn host_cpuid(&self, _leaf: u32, _subleaf: u32) -> [u32; 4] {
        [0; 4]
    }

    fn read_host_msr(&self, _msr: u32) -> Option<u64> {
        None
    }

    fn pci_read(&self, address: PciAddress, register: u16, width: PciWidth) -> u32 {
        self.with_device(|device| device.read(address, register, width))
    }

    fn pci_write(&self, address: PciAddress, register: u16, width: PciWidth, value: u32) {
        self.with_device(|device| device.write(address, register, width, value));
    }

    fn bind_msix(&self, address: PciAddress, entry: u16) -> Option<DeviceLine> {
        let is_there = self.with_device(|device| device.present) && address == pci::ADDRESS;
        let line = u8::try_from(entry).ok()?;
        (is_there && entry < pci::ENTRIES).then_some(DeviceLine(line))
    }

    fn mask_line(&self, _line: DeviceLine, _masked: bool) {}

    fn console_write(&self, bytes: &[u8]) {
        self.console
            .lock()
            .expect("not poisoned")
            .extend_from_slice(bytes);
    }

    fn power(&self, how: PowerAction) -> ! {
        panic!("the machine ends: {how:?}");
    }
}
