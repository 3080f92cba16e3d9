//! Everything of a vCPU that one CPU at a time owns: registers, hardware state, trap table, callbacks.
//!
//! Ownership is by move. While a vCPU runs, its boxed `VcpuState` belongs to the CPU that runs it; otherwise it is parked in
//! the `Vcpu`. So nothing in here needs a lock, and the entry code may save registers straight into the box: the
//! stack pointer of a trap from ring 3 is the end of `registers`.

use super::callback::Callbacks;
use super::context::Registers;
use super::debug::DebugRegisters;
use super::fpu::FpuArea;
use crate::entry::ExitPath;

/// Which half of the guest runs. Hardware cannot tell: both are ring 3 (pv-abi 5.1).
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Mode {
    /// The guest's kernel: its `syscall` is a hypercall.
    Kernel,
    /// The guest's user programs: their `syscall` goes to the guest kernel.
    User,
}

/// The data segment selectors, which survive every trap and are reloaded at a vCPU switch only.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
#[expect(missing_docs, reason = "each field is the register of its name")]
pub struct Segments {
    pub ds: u16,
    pub es: u16,
    pub fs: u16,
    pub gs: u16,
    /// Set by the machine at switch-in where a selector could not be loaded: the vCPU then enters its failsafe callback.
    pub load_failed: bool,
}

/// The virtual control registers: what the guest believes CR0.TS, CR2, CR4 and XCR0 to be.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Control {
    /// CR0.TS, virtual and real alike while the vCPU runs.
    pub task_switched: bool,
    /// CR2 as the guest reads it.
    pub cr2: u64,
    /// The guest's own part of CR4: a subset of [`super::super::emulate::control::CR4_GUEST`].
    pub cr4: u64,
    /// XCR0, real while the vCPU runs; 3 at start.
    pub xcr0: u64,
}

/// One row of the guest's trap table (pv-abi 5.3). Address 0: no handler.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct TrapGate {
    /// The handler; canonical.
    pub address: u64,
    /// Stored as given with RPL 3; of no effect.
    pub cs: u16,
    /// Who may reach it by `INT n`: 0..=3.
    pub dpl: u8,
    /// Whether entry masks events.
    pub masks_events: bool,
}

/// The state of a vCPU that is moved to the CPU that runs it.
#[derive(Debug)]
#[repr(C, align(64))]
pub struct VcpuState {
    /// Makes `registers` end at a multiple of 16: the CPU aligns its stack so before it saves there.
    alignment: u64,
    /// Saved by the entry code, restored by the exit code.
    pub registers: Registers,
    /// The host stack pointer of the CPU that runs this vCPU; the machine sets it at switch-in.
    pub host_stack: u64,
    /// Kernel or user mode.
    pub mode: Mode,
    /// How to return to the guest, as far as RCX and R11 go.
    pub exit: ExitPath,
    /// DS, ES, FS, GS.
    pub segments: Segments,
    /// FS base, as of the last switch-out.
    pub fs_base: u64,
    /// GS base of kernel mode, as of the last switch-out.
    pub gs_base_kernel: u64,
    /// GS base of user mode, as of the last switch-out.
    pub gs_base_user: u64,
    /// Virtual CR0.TS, CR2, CR4, XCR0.
    pub control: Control,
    /// Virtual DR0-3, DR6, DR7.
    pub debug: DebugRegisters,
    /// TSC_AUX.
    pub tsc_aux: u32,
    /// Virtual IOPL, 0..=3.
    pub iopl: u8,
    /// Set from the delivery of an NMI to the next `iret` hypercall.
    pub nmi_masked: bool,
    /// Kernel stack for entries from user mode: SS (unused) and RSP.
    pub kernel_ss: u16,
    /// See `kernel_ss`.
    pub kernel_sp: u64,
    /// Address of the I/O bitmap in guest memory, and the number of ports in it.
    pub io_bitmap: (u64, u32),
    /// A registered area could not be written in user mode: the next switch to kernel mode writes it.
    pub area_due: bool,
    /// Event, failsafe, syscall and other callbacks.
    pub callbacks: Callbacks,
    /// The trap table.
    pub traps: [TrapGate; 256],
    /// FPU, SSE and AVX state, as of the last switch-out.
    pub fpu: FpuArea,
}

impl VcpuState {
    /// A vCPU that has never run: pv-abi 3.7, but for what its starter adds.
    #[must_use]
    pub const fn new() -> Self {
        Self {
            alignment: 0,
            registers: Registers {
                r15: 0,
                r14: 0,
                r13: 0,
                r12: 0,
                rbp: 0,
                rbx: 0,
                r11: 0,
                r10: 0,
                r9: 0,
                r8: 0,
                rax: 0,
                rcx: 0,
                rdx: 0,
                rsi: 0,
                rdi: 0,
                error_and_vector: 0,
                rip: 0,
                cs: super::context::selector::CODE64,
                rflags: super::context::rflags::IF | super::context::rflags::ONE,
                rsp: 0,
                ss: super::context::selector::DATA,
            },
            host_stack: 0,
            mode: Mode::Kernel,
            exit: ExitPath::Iret,
            segments: Segments {
                ds: 0,
                es: 0,
                fs: 0,
                gs: 0,
                load_failed: false,
            },
            fs_base: 0,
            gs_base_kernel: 0,
            gs_base_user: 0,
            control: Control {
                task_switched: false,
                cr2: 0,
                cr4: 0,
                xcr0: 3,
            },
            debug: DebugRegisters::new(),
            tsc_aux: 0,
            iopl: 0,
            nmi_masked: false,
            kernel_ss: 0xe02b,
            kernel_sp: 0,
            io_bitmap: (0, 0),
            area_due: false,
            callbacks: Callbacks::new(),
            traps: [TrapGate {
                address: 0,
                cs: 0,
                dpl: 0,
                masks_events: false,
            }; 256],
            fpu: FpuArea::new(),
        }
    }

    /// The gate of a vector.
    #[must_use]
    pub fn gate(&self, vector: u8) -> TrapGate {
        self.traps
            .get(usize::from(vector))
            .copied()
            .unwrap_or_default()
    }
}

impl Default for VcpuState {
    fn default() -> Self {
        Self::new()
    }
}
