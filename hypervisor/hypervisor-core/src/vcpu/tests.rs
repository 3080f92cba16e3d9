//! vCPUs on the fake machine: a second one, modes, NMI, failsafe, poll, and what they are told of their times.

use alloc::boxed::Box;

use hypercall_abi::mmu::{MMUEXT_NEW_USER_BASEPTR, MmuextOp, PAGE_SHIFT};
use hypercall_abi::sched::SchedPoll;
use hypercall_abi::time::VcpuRunstateInfo;
use hypercall_abi::trap::{CallbackRegister, TrapInfo};
use hypercall_abi::vcpu::{RegisterVcpuInfo, VGCF_IN_KERNEL, VcpuGuestContext};
use hypercall_abi::{Errno, GuestPtr, RawMfn, number};
use zerocopy::FromZeros;

use super::context::selector;
use super::debug::DR6_DEFAULT;
use crate::emulate::control::CR4_DE;
use crate::entry::{Entry, ExitPath, Interrupt, Next};
use crate::fake::Access;
use crate::fake::bench::{BASE, Bench, DATA, ENTRY, STACK};
use crate::ids::{Place, VcpuId};
use crate::machine::Machine;
use crate::vcpu::Mode;

const HANDLER: u64 = BASE + 0x400;
const OTHER_ENTRY: u64 = BASE + 0x800;

fn root(bench: &Bench) -> u64 {
    let domain = bench.domain();
    let memory = &domain.vcpus()[0].memory;
    memory.kernel_root().unwrap().get()
}

fn context(bench: &Bench) -> Box<VcpuGuestContext> {
    let mut context = crate::heap::boxed(VcpuGuestContext::new_zeroed()).unwrap();
    context.flags = VGCF_IN_KERNEL;
    context.user_regs.rip = OTHER_ENTRY;
    context.user_regs.rsp = STACK;
    context.ctrlreg[3] = root(bench) << PAGE_SHIFT;
    context
}

fn initialise(bench: &mut Bench, context: &VcpuGuestContext) -> u64 {
    bench.write(DATA, context);
    bench.result(number::VCPU_OP, [0, 1, DATA])
}

/// Gives vCPU 1 a context and brings it up.
fn start_second(bench: &mut Bench) {
    let context = context(bench);
    assert_eq!(initialise(bench, &context), 0);
    assert_eq!(bench.result(number::VCPU_OP, [1, 1, 0]), 0);
}

fn running(bench: &Bench) -> VcpuId {
    bench.cpu.current.as_ref().unwrap().vcpu
}

#[test]
fn a_second_vcpu_runs_once_the_first_yields() {
    let mut bench = Bench::new();
    start_second(&mut bench);
    assert_eq!(running(&bench), VcpuId::new(0));
    assert_eq!(
        bench.call(number::SCHED_OP.into(), [0, 0, 0]),
        Next::Guest(ExitPath::Iret)
    );
    assert_eq!(running(&bench), VcpuId::new(1));
    assert_eq!(bench.state().registers.rip, OTHER_ENTRY);
    bench.hv.machine().advance(5_000_000);
    assert_eq!(
        bench.enter(Entry::Interrupt(Interrupt::Timer)),
        Next::Guest(ExitPath::Sysret)
    );
    assert_eq!(running(&bench), VcpuId::new(0), "its slice is over");
    assert_eq!(bench.state().registers.rax, 0, "the yield's result");
}

#[test]
fn a_context_is_given_once_and_only_if_it_is_valid() {
    let mut bench = Bench::new();
    let good = context(&bench);
    for damage in [
        |context: &mut VcpuGuestContext| context.user_regs.rip = 1 << 47,
        |context: &mut VcpuGuestContext| context.trap_ctxt[255].address = 1 << 47,
        |context: &mut VcpuGuestContext| context.gdt_ents = 7169,
        |context: &mut VcpuGuestContext| context.ctrlreg[3] = 0,
        |context: &mut VcpuGuestContext| context.flags = 0,
        |context: &mut VcpuGuestContext| (context.ldt_ents, context.ldt_base) = (1, 0x123),
    ] {
        let mut bad = good.clone();
        damage(&mut bad);
        assert_eq!(initialise(&mut bench, &bad), Errno::EINVAL.to_register());
        assert_eq!(
            bench.result(number::VCPU_OP, [1, 1, 0]),
            Errno::EINVAL.to_register()
        );
    }
    start_second(&mut bench);
    assert_eq!(initialise(&mut bench, &good), Errno::EEXIST.to_register());
}

#[test]
fn a_vcpu_that_is_taken_down_leaves_the_others_up() {
    let mut bench = Bench::new();
    start_second(&mut bench);
    assert_eq!(bench.result(number::VCPU_OP, [2, 1, 0]), 0);
    assert_eq!(bench.result(number::VCPU_OP, [3, 1, 0]), 0);
    assert_eq!(bench.result(number::VCPU_OP, [3, 0, 0]), 1);
}

#[test]
fn an_nmi_is_masked_until_the_next_iret() {
    let mut bench = Bench::new();
    bench.write(
        DATA,
        &CallbackRegister {
            kind: 4,
            flags: 0,
            pad0: 0,
            address: HANDLER,
        },
    );
    assert_eq!(bench.result(number::CALLBACK_OP, [0, DATA, 0]), 0);
    bench.state().registers.rsp = STACK;
    let before = bench.state().registers.rip;
    bench.call(number::VCPU_OP.into(), [11, 0, 0]);
    assert_eq!(bench.state().registers.rip, HANDLER);
    bench.call(number::VCPU_OP.into(), [11, 0, 0]);
    assert_eq!(
        bench.state().registers.rip,
        HANDLER + 2,
        "the second is latched"
    );
    let frame = [0_u64, 0, 0, 0, before + 2, 0xe030, 0x2, STACK, 0xe02b];
    bench.write(DATA, &frame);
    bench.state().registers.rsp = DATA;
    bench.call(number::IRET.into(), [0; 3]);
    assert_eq!(bench.state().registers.rip, HANDLER, "and comes now");
}

#[test]
fn a_failed_segment_load_enters_the_failsafe_callback_once() {
    let mut bench = Bench::new();
    bench.result(number::SET_CALLBACKS, [0, HANDLER, 0]);
    let state = bench.state();
    state.registers.rsp = STACK;
    (state.segments.gs, state.segments.load_failed) = (0x33, true);
    assert_eq!(
        bench.enter(Entry::Interrupt(Interrupt::Kick)),
        Next::Guest(ExitPath::Sysret)
    );
    assert_eq!(bench.state().registers.rip, HANDLER);
    let frame: [u64; 11] = bench.read(STACK - 88);
    assert_eq!(frame[2..6], [0, 0, 0, 0x33]);
    bench.enter(Entry::Interrupt(Interrupt::Kick));
    assert_eq!(bench.state().registers.rsp, STACK - 88);
}

#[test]
fn user_mode_enters_the_kernel_by_its_callback_on_the_kernels_stack() {
    let mut bench = Bench::new();
    let op = MmuextOp {
        cmd: MMUEXT_NEW_USER_BASEPTR,
        arg1: root(&bench),
        ..MmuextOp::default()
    };
    bench.write(DATA, &op);
    let arguments = [DATA, 1, 0];
    bench.state().registers.r10 = 0x7ff0;
    assert_eq!(bench.result(number::MMUEXT_OP, arguments), 0);
    bench.write(
        DATA,
        &CallbackRegister {
            kind: 2,
            flags: 1,
            pad0: 0,
            address: HANDLER,
        },
    );
    assert_eq!(bench.result(number::CALLBACK_OP, [0, DATA, 0]), 0);
    assert_eq!(
        bench.result(number::STACK_SWITCH, [selector::DATA, STACK, 0]),
        0
    );
    bench.write(
        DATA,
        &[0_u64, 0, 0, 0, ENTRY, 0xe033, 0x202, 0x7000, 0xe02b],
    );
    bench.state().registers.rsp = DATA;
    bench.call(number::IRET.into(), [0; 3]);
    assert_eq!(bench.state().mode, Mode::User);
    // A number that would be a hypercall in kernel mode.
    bench.state().registers.rax = 17;
    bench.state().registers.rip = ENTRY + 2;
    assert_eq!(bench.enter(Entry::Syscall), Next::Guest(ExitPath::Sysret));
    let registers = bench.state().registers;
    assert_eq!((registers.rip, registers.rsp), (HANDLER, STACK - 56));
    assert_eq!(registers.rax, 17);
    assert_eq!(bench.state().mode, Mode::Kernel);
    let frame: [u64; 7] = bench.read(STACK - 56);
    assert_eq!(frame[2..4], [ENTRY + 2, 0xe033]);
    assert_eq!(frame[5], 0x7000);
}

#[test]
#[should_panic(expected = "FirstDomainCrashed")]
fn returning_to_user_mode_without_a_user_root_is_the_end() {
    let mut bench = Bench::new();
    bench.write(
        DATA,
        &[0_u64, 0, 0, 0, ENTRY, 0xe033, 0x202, 0x7000, 0xe02b],
    );
    bench.state().registers.rsp = DATA;
    bench.call(number::IRET.into(), [0; 3]);
}

#[test]
fn vcpu_info_moves_once_with_everything_pending() {
    let mut bench = Bench::new();
    let frame = bench.hv.machine().access(STACK - 8, Access::Read).unwrap();
    let request = |offset| RegisterVcpuInfo {
        mfn: RawMfn(frame.get()),
        offset,
        rsvd: 0,
    };
    for (offset, error) in [(4033, Errno::ENXIO), (4, Errno::ENXIO)] {
        bench.write(DATA, &request(offset));
        assert_eq!(
            bench.result(number::VCPU_OP, [10, 0, DATA]),
            error.to_register()
        );
    }
    bench.write(DATA, &request(64));
    assert_eq!(bench.result(number::VCPU_OP, [10, 0, DATA]), 0);
    assert_eq!(
        bench.result(number::VCPU_OP, [10, 0, DATA]),
        Errno::EINVAL.to_register()
    );
    let machine = bench.hv.machine();
    assert_eq!(
        machine.load_u16(Place::new(frame, 64)),
        0x0101,
        "pending and masked"
    );
    assert_eq!(machine.load_u64(frame, 64 + 8), u64::MAX);
    assert_eq!(machine.load_u32(frame, 64 + 32) & 1, 0);
    assert_eq!(bench.domain().vcpus()[0].info().unwrap().frame(), frame);
}

#[test]
fn a_poll_ends_by_its_timeout_and_returns_0() {
    let mut bench = Bench::new();
    let timeout = bench.hv.machine().now().get() + 2_000_000;
    let poll = SchedPoll {
        ports: GuestPtr::NULL,
        nr_ports: 0,
        pad0: 0,
        timeout,
    };
    bench.write(DATA, &poll);
    assert_eq!(
        bench.call(number::SCHED_OP.into(), [3, DATA, 0]),
        Next::Idle
    );
    bench.hv.machine().advance(1_000_000);
    assert_eq!(bench.enter(Entry::Interrupt(Interrupt::Timer)), Next::Idle);
    bench.hv.machine().advance(1_000_000);
    assert_eq!(
        bench.enter(Entry::Interrupt(Interrupt::Timer)),
        Next::Guest(ExitPath::Sysret)
    );
    assert_eq!(bench.state().registers.rax, 0);
    bench.write(
        DATA,
        &SchedPoll {
            nr_ports: 129,
            ..poll
        },
    );
    assert_eq!(
        bench.result(number::SCHED_OP, [3, DATA, 0]),
        Errno::EINVAL.to_register()
    );
}

#[test]
fn the_runstate_adds_up_and_the_area_shows_a_running_vcpu() {
    let mut bench = Bench::new();
    bench.write(DATA, &(DATA + 0x100));
    assert_eq!(bench.result(number::VCPU_OP, [5, 0, DATA]), 0);
    bench.hv.machine().advance(3_000_000);
    assert_eq!(bench.result(number::VCPU_OP, [4, 0, DATA + 0x200]), 0);
    let record: VcpuRunstateInfo = bench.read(DATA + 0x200);
    assert_eq!((record.state, record.time[0]), (0, 3_000_000));
    let area: VcpuRunstateInfo = bench.read(DATA + 0x100);
    assert_eq!(area.state, 0);
    bench.write(DATA, &0xffff_8000_0000_0000_u64);
    assert_eq!(
        bench.result(number::VCPU_OP, [5, 0, DATA]),
        Errno::EFAULT.to_register()
    );
}

#[test]
fn an_io_breakpoint_is_a_debug_exception_behind_the_access() {
    let mut bench = Bench::new();
    let trap = |vector, address| TrapInfo {
        vector,
        flags: 0,
        cs: 0,
        pad0: 0,
        address,
    };
    bench.write(
        DATA,
        &[trap(1, 0x1111_0000), trap(13, 0x3333_0000), trap(0, 0)],
    );
    assert_eq!(bench.result(number::SET_TRAP_TABLE, [DATA, 0, 0]), 0);
    bench.state().iopl = 1;
    bench.state().control.cr4 = CR4_DE;
    assert_eq!(bench.result(number::SET_DEBUGREG, [2, 0x80, 0]), 0);
    assert_eq!(
        bench.result(number::SET_DEBUGREG, [7, 2 << 24 | 0x10, 0]),
        0
    );
    let fault = Entry::Exception {
        vector: 13,
        error: 0,
        cr2: 0,
    };
    // OUT to the port, OUT to another, REP OUTSB with more to come, and its last element.
    for (code, rcx, handler, behind, dr6) in [
        ([0xe6_u8, 0x80, 0x90, 0x90], 3, 0x1111_0000, 2, 4),
        ([0xe6, 0x81, 0x90, 0x90], 3, 0, 2, 0),
        ([0xf3, 0x6e, 0x90, 0x90], 3, 0x1111_0000, 0, 4),
        ([0xf3, 0x6e, 0x90, 0x90], 1, 0x1111_0000, 2, 4),
    ] {
        bench.write(ENTRY, &code);
        let state = bench.state();
        state.debug.dr6 = DR6_DEFAULT;
        state.registers.rip = ENTRY;
        state.registers.rsp = STACK;
        (state.registers.rcx, state.registers.rdx) = (rcx, 0x80);
        state.registers.rsi = DATA;
        bench.enter(fault);
        let registers = bench.state().registers;
        let debug = bench.state().debug;
        assert_eq!(
            debug.dr6,
            DR6_DEFAULT | dr6,
            "{code:x?} {debug:x?} {registers:x?}"
        );
        if handler == 0 {
            assert_eq!(registers.rip, ENTRY + behind, "{code:x?}");
        } else {
            assert_eq!(registers.rip, handler, "{code:x?}");
            assert_eq!(bench.read::<u64>(STACK - 40), ENTRY + behind);
        }
    }
    for (code, vector) in [([0x6e_u8, 0x90], 0x3333_0000), ([0x6c, 0x90], 0x3333_0000)] {
        bench.write(ENTRY, &code);
        let state = bench.state();
        state.registers.rip = ENTRY;
        state.registers.rsp = STACK;
        (state.registers.rsi, state.registers.rdi) = (1 << 47, 0xffff_8000_0000_0000);
        bench.enter(fault);
        assert_eq!(bench.state().registers.rip, vector, "{code:x?}");
    }
}
