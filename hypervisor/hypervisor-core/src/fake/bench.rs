//! The whole hypervisor on the fake machine, with a first domain that has just been started: for tests that make hypercalls as
//! a guest does.

use alloc::sync::Arc;
use alloc::vec;
use alloc::vec::Vec;

use hypercall_abi::control::ControlArgument;
use hypercall_abi::elf_note::{XEN_ELFNOTE_LOADER, XEN_ELFNOTE_VIRT_BASE, XEN_ELFNOTE_XEN_VERSION};
use hypercall_abi::{Errno, GuestPtr, number};
use zerocopy::{FromBytes, FromZeros, Immutable, IntoBytes};

use super::FakeMachine;
use crate::caller::Caller;
use crate::control::Everyone;
use crate::cpu::Cpu;
use crate::dispatch;
use crate::domain::Domain;
use crate::effects::Effects;
use crate::entry::{Entry, ExitPath, Interrupt, Next};
use crate::frame::{AllocError, FrameRange, Layout};
use crate::heap;
use crate::hypervisor::{BootInfo, Hypervisor, Options};
use crate::ids::{CpuSet, Frames, Nanos, PhysCpu, VcpuId};
use crate::outcome::Outcome;
use crate::paging::Tables;
use crate::sync::Held;
use crate::vcpu::VcpuState;

/// Where the kernel's image begins.
pub const BASE: u64 = 0xffff_ffff_8000_0000;
/// Its entry.
pub const ENTRY: u64 = BASE + 0x1000;
/// A page of the image for the tests' data.
pub const DATA: u64 = BASE + 0x2000;
/// The end of a page for a stack.
pub const STACK: u64 = BASE + 0x4000;
const POOL_START: u64 = 0x100;

/// An ELF with the notes of a PV kernel and eight pages of nothing at 0x1000.
fn kernel() -> Vec<u8> {
    let note = |kind: u32, contents: &[u8]| {
        let mut bytes = Vec::new();
        for word in [
            4,
            u32::try_from(contents.len()).expect("the bench is right"),
            kind,
        ] {
            bytes.extend(word.to_le_bytes());
        }
        bytes.extend(b"Xen\0");
        bytes.extend(contents);
        bytes
    };
    let notes = [
        note(XEN_ELFNOTE_XEN_VERSION, b"xen-3.0\0"),
        note(XEN_ELFNOTE_LOADER, b"generic\0"),
        note(XEN_ELFNOTE_VIRT_BASE, &BASE.to_le_bytes()),
    ]
    .concat();
    let mut bytes = vec![0x7f, b'E', b'L', b'F', 2, 1, 1, 0, 0, 0, 0, 0, 0, 0, 0, 0];
    bytes.extend(2_u16.to_le_bytes());
    bytes.extend(62_u16.to_le_bytes());
    bytes.extend(1_u32.to_le_bytes());
    for word in [ENTRY, 64, 0] {
        bytes.extend(word.to_le_bytes());
    }
    bytes.extend(0_u32.to_le_bytes());
    for half in [64_u16, 56, 2, 0, 0, 0] {
        bytes.extend(half.to_le_bytes());
    }
    let (at, length) = (
        64 + 2 * 56,
        u64::try_from(notes.len()).expect("the bench is right"),
    );
    for (kind, flags, offset, paddr, file, memory) in [
        (4_u32, 4_u32, at, 0, length, length),
        (1, 7, at, 0x1000, 0, 0x8000),
    ] {
        bytes.extend(kind.to_le_bytes());
        bytes.extend(flags.to_le_bytes());
        for word in [offset, 0, paddr, file, memory, 8] {
            bytes.extend(word.to_le_bytes());
        }
    }
    bytes.extend(notes);
    bytes
}

/// How often a call may ask to be repeated.
const REPETITIONS: u32 = 100_000;

/// How a hypercall ended.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Ended {
    /// With this result.
    Result(u64),
    /// The vCPU waits, and nobody else wants to run.
    Idle,
}

/// A machine with the first domain at its first instruction.
#[derive(Debug)]
pub struct Bench {
    /// The hypervisor.
    pub hv: Hypervisor<FakeMachine>,
    /// The one CPU.
    pub cpu: Cpu<FakeMachine>,
}

impl Bench {
    /// A machine that runs the first domain.
    #[must_use]
    #[expect(clippy::new_without_default, reason = "it starts a machine")]
    pub fn new() -> Self {
        Self::of(8 << 20, 0x1700)
    }

    /// The smallest that there can be: for tests that make many.
    #[must_use]
    pub fn small() -> Self {
        Self::of(4 << 20, 0x480)
    }

    /// `memory` bytes are the first domain's; the pool has `frames` frames.
    fn of(memory: u64, frames: u64) -> Self {
        let pool = [FrameRange {
            start: POOL_START,
            end: POOL_START.saturating_add(frames),
        }];
        let machine = FakeMachine::new(&pool, 1);
        let boot = BootInfo {
            layout: Layout {
                pool: &pool,
                withheld: &[FrameRange {
                    start: 0,
                    end: POOL_START,
                }],
                address_bits: 40,
                no_execute: true,
                max_domains: 4,
            },
            machine_map: &[],
            cpus: CpuSet::from_bits(1),
            options: Options {
                first_domain_memory: memory,
                first_domain_vcpus: 2,
                slice: Nanos::new(5_000_000),
                max_domains: 4,
            },
            wallclock: Nanos::new(0),
            tsc_stable: true,
        };
        let hv = Hypervisor::new(machine, &boot).expect("the bench is right");
        let kernel = kernel();
        let module = kernel_image::Module {
            bytes: &kernel,
            line: b"",
        };
        let first = hv.build_first_domain(&[module]);
        hv.start_first_domain(&first.expect("the bench is right"));
        let mut bench = Self {
            hv,
            cpu: Cpu::new(PhysCpu::new(0).expect("the bench is right")),
        };
        assert_eq!(
            bench.enter(Entry::Interrupt(Interrupt::Kick)),
            Next::Guest(ExitPath::Iret)
        );
        bench
    }

    /// The domain that runs.
    #[must_use]
    pub fn domain(&self) -> Arc<Domain> {
        Arc::clone(
            &self
                .cpu
                .current
                .as_ref()
                .expect("the bench is right")
                .domain,
        )
    }

    /// An entry into the hypervisor.
    pub fn enter(&mut self, entry: Entry) -> Next {
        self.cpu.enter(&self.hv, entry)
    }

    /// The registers of the vCPU that runs.
    pub fn state(&mut self) -> &mut VcpuState {
        self.cpu.current_state().expect("the bench is right")
    }

    /// The vCPU that runs, as a caller.
    pub(crate) fn caller(&mut self) -> Caller<'_, FakeMachine> {
        self.cpu
            .caller(&self.hv, Effects::new())
            .expect("the bench is right")
    }

    /// Writes to its memory.
    pub fn write<T: IntoBytes + Immutable>(&mut self, address: u64, value: &T) {
        self.caller()
            .copy_out(GuestPtr::new(address), value)
            .expect("the bench is right");
    }

    /// Reads its memory.
    pub fn read<T: FromBytes + FromZeros + IntoBytes>(&mut self, address: u64) -> T {
        self.caller()
            .copy_in(GuestPtr::new(address))
            .expect("the bench is right")
    }

    /// A hypercall as hardware brings it in.
    pub fn call(&mut self, number: u64, arguments: [u64; 3]) -> Next {
        let registers = &mut self.state().registers;
        registers.rax = number;
        [registers.rdi, registers.rsi, registers.rdx] = arguments;
        registers.rip += 2;
        self.enter(Entry::Syscall)
    }

    /// The result of a hypercall that ends at once.
    pub fn result(&mut self, number: u32, arguments: [u64; 3]) -> u64 {
        assert_eq!(
            self.call(number.into(), arguments),
            Next::Guest(ExitPath::Sysret)
        );
        self.state().registers.rax
    }

    /// A hypercall, repeated as often as it asks for that, to its end.
    pub fn hypercall(&mut self, number: u32, arguments: [u64; 5]) -> Ended {
        let registers = &mut self.state().registers;
        registers.rax = number.into();
        [
            registers.rdi,
            registers.rsi,
            registers.rdx,
            registers.r10,
            registers.r8,
        ] = arguments;
        registers.rip += 2;
        let rip = registers.rip;
        for _ in 0..REPETITIONS {
            self.hv.machine().begin_call();
            if self.enter(Entry::Syscall) == Next::Idle {
                return Ended::Idle;
            }
            let registers = &mut self.state().registers;
            if registers.rip != rip.wrapping_sub(2) || registers.rax != u64::from(number) {
                return Ended::Result(registers.rax);
            }
            registers.rip = rip;
        }
        panic!("hypercall {number} never ends");
    }

    /// A hypercall of vCPU 0 of any domain, repeated to its end. Guest memory is the first domain's, which is loaded.
    pub fn call_as(&self, domain: &Arc<Domain>, number: u32, mut arguments: [u64; 5]) -> u64 {
        let mut state = heap::boxed(VcpuState::new()).expect("memory for it");
        let cpu = self.cpu.id();
        for _ in 0..REPETITIONS {
            self.hv.machine().begin_call();
            let mut caller = Caller {
                hv: &self.hv,
                domain,
                vcpu: domain.vcpu(VcpuId::FIRST).expect("it has one"),
                state: &mut state,
                cpu,
                effects: Effects::new(),
                held: Held::enter(),
                in_multicall: false,
            };
            let outcome = dispatch::call(&mut caller, number.into(), &mut arguments);
            caller.effects.run(self.hv.machine(), cpu);
            match outcome {
                Outcome::Done(value) => return value,
                Outcome::Refused(error) => return error.to_register(),
                Outcome::Again => {}
                Outcome::Crash(reason) => panic!("hypercall {number} crashed: {reason:?}"),
            }
        }
        panic!("hypercall {number} never ends");
    }

    /// Writes the structure of operation `T` of hypercall 56 to [`DATA`]; the operation's number.
    pub fn ask<T: ControlArgument>(&mut self, fill: impl FnOnce(&mut T)) -> u32 {
        let mut argument = T::new_zeroed();
        argument.as_mut_bytes()[..8].copy_from_slice(T::HEADER.as_bytes());
        fill(&mut argument);
        self.write(DATA, &argument);
        T::OPERATION
    }

    /// Operation `T` of hypercall 56, its structure being at [`DATA`]: the structure as it is afterwards, or the error.
    ///
    /// # Errors
    /// The operation's.
    pub fn control<T: ControlArgument>(&mut self, fill: impl FnOnce(&mut T)) -> Result<T, Errno> {
        let operation = self.ask(fill);
        let arguments = [operation.into(), DATA, 0, 0, 0];
        match self.hypercall(number::PARAVANE_OP, arguments) {
            Ended::Result(result) => Errno::from_register(result).map(|_| self.read(DATA)),
            Ended::Idle => panic!("dom0 stopped in an operation"),
        }
    }

    /// The frame that the first domain has at an address.
    #[must_use]
    pub fn frame_at(&mut self, address: u64) -> u64 {
        let mut caller = self.caller();
        let memory = &caller.vcpu.memory;
        let (tables, _held) = Tables::lock(
            caller.hv.ram(),
            &caller.domain.memory,
            memory,
            &mut caller.held,
        );
        let slot = tables.leaf_slot(memory, address).expect("it is mapped");
        slot.value().frame_number()
    }

    /// Frame of the kernel root.
    #[must_use]
    pub fn root(&mut self) -> u64 {
        let caller = self.caller();
        let root = caller.vcpu.memory.kernel_root();
        root.expect("it runs").get()
    }

    /// Gives the first domain all frames that nobody has, but some.
    pub fn leave_free(&mut self, frames: u64) {
        let domain = self.domain();
        let owner = domain.memory.owner();
        let account = self.hv.frames().account(owner).expect("it lives");
        account.set_maximum(Frames::new(u64::MAX));
        while self.hv.frames().free().get() > frames {
            let taken = self.hv.ram().allocate_for(owner, 0, u64::MAX);
            debug_assert_ne!(taken, Err(AllocError::NoMemory), "there are more");
        }
    }

    /// Recounts everything.
    ///
    /// # Panics
    /// With the first breach.
    pub fn recount(&self) {
        let everyone = Everyone::of(&self.hv);
        let report = crate::audit::audit(self.hv.ram(), &everyone).expect("memory for it");
        let mut text = [0; 128];
        report.describe(&mut text);
        let text = core::str::from_utf8(&text).expect("plain text");
        assert_eq!(report.breaches, 0, "{}", text.trim_end_matches('\0'));
    }
}
