//! A first domain on the fake machine: from its first instruction through hypercalls, exceptions, events and idling.

use alloc::vec::Vec;

use hypercall_abi::Errno;
use hypercall_abi::control::counters::COUNTER_CPUID;
use hypercall_abi::multicall::MulticallEntry;
use hypercall_abi::number;
use hypercall_abi::trap::TrapInfo;
use zerocopy::{FromZeros, IntoBytes};

use super::*;
use crate::entry::ExitPath;
use crate::fake::bench::{BASE, Bench, DATA, ENTRY, STACK};
use crate::ids::Nanos;
use crate::sync::AtomicBool;
use crate::vcpu::Mode;
use crate::vcpu::context::rflags;

fn handle(bench: &mut Bench, vector: u8, flags: u8, address: u64) {
    let info = |vector, flags, address| TrapInfo {
        vector,
        flags,
        cs: 0,
        pad0: 0,
        address,
    };
    bench.write(DATA, &[info(vector, flags, address), info(0, 0, 0)]);
    assert_eq!(bench.result(number::SET_TRAP_TABLE, [DATA, 0, 0]), 0);
}

#[test]
fn the_first_instruction_finds_what_the_abi_promises() {
    let mut bench = Bench::new();
    let registers = bench.state().registers;
    assert_eq!(registers.rip, ENTRY);
    assert_eq!((registers.cs, registers.ss), (0xe033, 0xe02b));
    assert_eq!(registers.rflags, 0x202);
    assert_eq!(registers.rsp % 4096, 0);
    assert_eq!(bench.read::<[u8; 14]>(registers.rsi), *b"xen-3.0-x86_64");
    assert_eq!(bench.state().mode, Mode::Kernel);
    let machine = bench.hv.machine();
    let vcpu = &bench.cpu.current.as_ref().unwrap().domain.vcpus()[0];
    assert_eq!(vcpu.upcall_mask(machine), 1);
    let info = vcpu.info().unwrap();
    assert_ne!(
        machine.load_u32(info.frame(), info.time() + 24),
        0,
        "the multiplier of the clock"
    );
}

#[test]
fn a_hypercall_leaves_by_sysret_with_its_result() {
    let mut bench = Bench::new();
    bench.state().registers.rbx = 7;
    assert_eq!(bench.result(number::XEN_VERSION, [0, 0, 0]), 0x40011);
    let registers = bench.state().registers;
    assert_eq!(
        (registers.rcx, registers.r11),
        (registers.rip, registers.rflags)
    );
    assert_eq!(registers.rbx, 7);
}

#[test]
fn the_whole_of_rax_is_the_number() {
    let mut bench = Bench::new();
    for number in [11, 64, 1 << 32 | 17, u64::MAX] {
        bench.call(number, [0; 3]);
        assert_eq!(bench.state().registers.rax, Errno::ENOSYS.to_register());
    }
}

#[test]
fn a_bad_pointer_is_a_fault_and_nothing_else() {
    let mut bench = Bench::new();
    for address in [0xffff_8000_0000_0000, 1 << 47, 0x1234_5000] {
        assert_eq!(
            bench.result(number::XEN_VERSION, [1, address, 0]),
            Errno::EFAULT.to_register()
        );
    }
}

#[test]
fn a_page_fault_reaches_its_handler_with_address_and_kernel_error_code() {
    let mut bench = Bench::new();
    handle(&mut bench, 14, 4, BASE + 0x100);
    bench.state().registers.rsp = STACK;
    let rip = bench.state().registers.rip;
    let fault = Entry::Exception {
        vector: 14,
        error: 6,
        cr2: 0xdead_b000,
    };
    assert_eq!(bench.enter(fault), Next::Guest(ExitPath::Sysret));
    let registers = bench.state().registers;
    assert_eq!((registers.rip, registers.rsp), (BASE + 0x100, STACK - 0x40));
    let frame: [u64; 8] = bench.read(STACK - 0x40);
    assert_eq!(frame[2..6], [2, rip, 0xe030 | 1 << 32, 0x2]);
    let domain = bench.cpu.current.as_ref().unwrap().domain.clone();
    let info = domain.vcpus()[0].info().unwrap();
    assert_eq!(
        bench
            .hv
            .machine()
            .load_u64(info.frame(), info.offset() + 0x10),
        0xdead_b000
    );
}

#[test]
fn a_software_interrupt_is_found_by_its_instruction_whatever_the_code() {
    for code in [0x20 * 8 + 2, 0x20 * 16 + 2] {
        let mut bench = Bench::new();
        handle(&mut bench, 0x20, 1, BASE + 0x200);
        bench.write(ENTRY, &[0xcd_u8, 0x20]);
        bench.state().registers.rip = ENTRY;
        bench.state().registers.rsp = STACK;
        bench.enter(Entry::Exception {
            vector: 13,
            error: code,
            cr2: 0,
        });
        assert_eq!(bench.state().registers.rip, BASE + 0x200);
        let frame: [u64; 7] = bench.read(STACK - 0x38);
        assert_eq!(frame[2], ENTRY + 2);
    }
}

#[test]
fn a_forced_cpuid_is_counted_at_the_end_of_what_can_be_read_too() {
    let mut bench = Bench::new();
    let count = |bench: &Bench| {
        bench.domain().vcpus()[0]
            .counts
            .all()
            .nth(COUNTER_CPUID as usize)
    };
    let fault = Entry::Exception {
        vector: 6,
        error: 0,
        cr2: 0,
    };
    assert_eq!(bench.result(number::UPDATE_VA_MAPPING, [DATA, 0, 0]), 0);
    for (at, counted) in [(ENTRY, Some(1)), (DATA - 7, Some(2))] {
        bench.write(at, &[0x0f_u8, 0x0b, 0x78, 0x65, 0x6e, 0x0f, 0xa2]);
        let registers = &mut bench.state().registers;
        (registers.rip, registers.rax) = (at, 0x4000_0000);
        bench.enter(fault);
        let registers = bench.state().registers;
        assert_eq!(registers.rip, at + 7);
        assert_eq!(registers.rbx, u64::from(u32::from_le_bytes(*b"XenV")));
        assert_eq!(count(&bench), counted);
    }
}

#[test]
fn privileged_instructions_are_emulated_in_place() {
    let mut bench = Bench::new();
    // wrmsr GS_BASE, the first thing that Linux does.
    bench.write(ENTRY, &[0x0f_u8, 0x30]);
    let registers = &mut bench.state().registers;
    (registers.rcx, registers.rax, registers.rdx) = (0xc000_0101, 0x8123_4000, 0xffff_ffff);
    registers.rip = ENTRY;
    bench.enter(Entry::Exception {
        vector: 13,
        error: 0,
        cr2: 0,
    });
    assert_eq!(bench.state().registers.rip, ENTRY + 2);
    let base = crate::machine::GuestBase::GsActive;
    assert_eq!(bench.hv.machine().guest_base(base), 0xffff_ffff_8123_4000);
    // The forced-emulation prefix.
    bench.write(ENTRY, &[0x0f_u8, 0x0b, 0x78, 0x65, 0x6e, 0x0f, 0xa2]);
    let registers = &mut bench.state().registers;
    (registers.rax, registers.rip) = (0x4000_0001, ENTRY);
    bench.enter(Entry::Exception {
        vector: 6,
        error: 0,
        cr2: 0,
    });
    assert_eq!(
        (bench.state().registers.rip, bench.state().registers.rax),
        (ENTRY + 7, 0x40011)
    );
}

#[test]
fn a_multicall_stores_each_result_and_refuses_to_nest() {
    let mut bench = Bench::new();
    let entry = |op: u32, args| MulticallEntry {
        op: op.into(),
        result: 99,
        args,
    };
    let list = [
        entry(number::XEN_VERSION, [0; 6]),
        entry(number::MULTICALL, [0; 6]),
        entry(63, [0; 6]),
        entry(number::STACK_SWITCH, [0xe02b, STACK, 0, 0, 0, 0]),
    ];
    bench.write(
        DATA,
        &list.map(|entry| <[u64; 8]>::try_from(words(&entry)).unwrap()),
    );
    assert_eq!(bench.result(number::MULTICALL, [DATA, 4, 0]), 0);
    let after: [[u64; 8]; 4] = bench.read(DATA);
    let refused = [Errno::EINVAL, Errno::ENOSYS].map(Errno::to_register);
    assert_eq!(
        after.map(|entry| entry[1]),
        [0x40011, refused[0], refused[1], 0]
    );
    assert_eq!(bench.state().kernel_sp, STACK);
}

fn words(entry: &MulticallEntry) -> Vec<u64> {
    let bytes = entry.as_bytes().chunks_exact(8);
    bytes
        .map(|word| u64::from_le_bytes(word.try_into().unwrap()))
        .collect()
}

#[test]
fn a_blocked_vcpu_idles_until_an_event_enters_its_callback() {
    let mut bench = Bench::new();
    bench.hv.machine().advance(1);
    assert_eq!(bench.result(number::SET_CALLBACKS, [BASE + 0x300, 0, 0]), 0);
    bench.state().registers.rsp = STACK;
    assert_eq!(bench.call(number::SCHED_OP.into(), [1, 0, 0]), Next::Idle);
    assert!(bench.cpu.current.is_none());
    bench.hv.machine().advance(1_000_000);
    let domain = bench
        .hv
        .domains
        .get(crate::domain::DomId::FIRST, &mut Held::enter())
        .unwrap();
    let vcpu = &domain.vcpus()[0];
    let mut effects = Effects::new();
    assert!(vcpu.post(bench.hv.machine(), 3));
    bench.hv.notify(vcpu, &mut effects, &mut Held::enter());
    assert_eq!(
        bench.enter(Entry::Interrupt(Interrupt::Kick)),
        Next::Guest(ExitPath::Sysret)
    );
    assert_eq!(bench.state().registers.rip, BASE + 0x300);
    assert_eq!(vcpu.upcall_mask(bench.hv.machine()), 1);
    let frame: [u64; 7] = bench.read(STACK - 0x38);
    assert_ne!(frame[4] & rflags::IF, 0, "events were open");
    let record = bench.hv.cpu(bench.cpu.id()).unwrap();
    assert_eq!(record.wakeups.load(Ordering::Relaxed), 1);
    assert!(record.idle.load(Ordering::Relaxed) >= 1_000_000);
}

#[test]
fn an_event_that_is_pending_already_keeps_a_vcpu_from_blocking() {
    let mut bench = Bench::new();
    bench.result(number::SET_CALLBACKS, [BASE + 0x300, 0, 0]);
    bench.state().registers.rsp = STACK;
    let domain = bench.cpu.current.as_ref().unwrap().domain.clone();
    domain.vcpus()[0].post(bench.hv.machine(), 0);
    assert_eq!(
        bench.call(number::SCHED_OP.into(), [1, 0, 0]),
        Next::Guest(ExitPath::Sysret)
    );
    assert_eq!(bench.state().registers.rip, BASE + 0x300);
}

#[test]
fn the_one_shot_timer_sets_the_deadline_of_an_idle_cpu() {
    let mut bench = Bench::new();
    let at = bench.hv.machine().now().get() + 3_000_000;
    bench.result(number::SET_TIMER_OP, [at, 0, 0]);
    assert_eq!(bench.call(number::SCHED_OP.into(), [1, 0, 0]), Next::Idle);
    assert_eq!(
        bench.hv.machine().with_cpu(0, |cpu| cpu.deadline),
        Some(Nanos::new(at))
    );
    bench.hv.machine().advance(3_000_000);
    // No port is bound to the interrupt: it is dropped, and the CPU has no further reason to wake.
    assert_eq!(bench.enter(Entry::Interrupt(Interrupt::Timer)), Next::Idle);
    assert_eq!(bench.hv.machine().with_cpu(0, |cpu| cpu.deadline), None);
}

#[test]
fn a_second_vcpu_is_counted_but_not_up() {
    let mut bench = Bench::new();
    assert_eq!(bench.result(number::VCPU_OP, [3, 0, 0]), 1);
    assert_eq!(bench.result(number::VCPU_OP, [3, 1, 0]), 0);
    assert_eq!(
        bench.result(number::VCPU_OP, [3, 2, 0]),
        Errno::ENOENT.to_register()
    );
    assert_eq!(
        bench.result(number::VCPU_OP, [1, 1, 0]),
        Errno::EINVAL.to_register()
    );
}

#[test]
fn iret_returns_to_its_frame_and_opens_events() {
    let mut bench = Bench::new();
    let frame = [1_u64, 2, 3, 0, ENTRY + 0x40, 0xe030, 0x202, STACK, 0xe028];
    bench.write(DATA, &frame);
    bench.state().registers.rsp = DATA;
    assert_eq!(
        bench.call(number::IRET.into(), [0; 3]),
        Next::Guest(ExitPath::Iret)
    );
    let registers = bench.state().registers;
    assert_eq!((registers.rax, registers.r11, registers.rcx), (1, 2, 3));
    assert_eq!(
        (registers.rip, registers.rsp, registers.cs),
        (ENTRY + 0x40, STACK, 0xe033)
    );
    let domain = bench.cpu.current.as_ref().unwrap().domain.clone();
    assert_eq!(domain.vcpus()[0].upcall_mask(bench.hv.machine()), 0);
}

#[test]
#[should_panic(expected = "FirstDomainCrashed")]
fn an_exception_without_a_handler_ends_the_first_domain_and_the_machine() {
    Bench::new().enter(Entry::Exception {
        vector: 0,
        error: 0,
        cr2: 0,
    });
}

#[test]
#[should_panic(expected = "Off")]
fn the_first_domains_shutdown_ends_the_machine() {
    let mut bench = Bench::new();
    bench.write(DATA, &0_u32);
    bench.call(number::SCHED_OP.into(), [2, DATA, 0]);
}

#[test]
fn a_guest_that_keeps_opening_its_event_mask_gets_one_upcall_per_exit() {
    let mut bench = Bench::new();
    assert_eq!(bench.result(number::SET_CALLBACKS, [BASE + 0x300, 0, 0]), 0);
    bench.state().registers.rsp = STACK;
    let domain = bench.cpu.current.as_ref().unwrap().domain.clone();
    let info = domain.vcpus()[0].info().unwrap();
    // Another vCPU of the guest writes "pending and not masked" without end.
    let place = (info.frame(), info.offset(), 1);
    bench
        .hv
        .machine()
        .order(|orders| orders.rewritten = Some(place));
    assert_eq!(
        bench.enter(Entry::Interrupt(Interrupt::Kick)),
        Next::Guest(ExitPath::Sysret)
    );
    assert_eq!(bench.state().registers.rsp, STACK - 0x38, "one frame");
}

#[test]
fn an_exit_that_wants_a_page_of_the_ldt_is_tried_again_with_it() {
    const LDT: u64 = BASE + 0x3000;
    let mut bench = Bench::new();
    let number = bench.frame_at(LDT);
    let read_only = number << 12 | 5;
    assert_eq!(
        bench.result(number::UPDATE_VA_MAPPING, [LDT, read_only, 0]),
        0
    );
    let set_ldt = hypercall_abi::mmu::MmuextOp {
        cmd: hypercall_abi::mmu::MMUEXT_SET_LDT,
        arg1: LDT,
        arg2: 8,
        ..FromZeros::new_zeroed()
    };
    bench.write(DATA, &set_ldt);
    bench.state().registers.r10 = 0x7ff0;
    assert_eq!(bench.result(number::MMUEXT_OP, [DATA, 1, 0]), 0);
    let before = bench.state().registers;
    let fault = Entry::ExitFault {
        vector: 14,
        error: 0,
        cr2: bench.hv.machine().descriptor_window() + 16 * 4096 + 8,
    };
    assert_eq!(bench.enter(fault), Next::Guest(ExitPath::Iret));
    assert_eq!(bench.state().registers, before);
    let shown = bench.hv.machine().with_cpu(0, |cpu| cpu.windows[16]);
    assert_eq!(shown, bench.hv.frames().lookup(number));
}

#[test]
fn questions_of_other_cpus_do_not_hold_a_cpu_in_its_exit_loop() {
    let Bench { hv, mut cpu } = Bench::new();
    let done = AtomicBool::new(false);
    std::thread::scope(|scope| {
        scope.spawn(|| {
            while !done.load(Ordering::Relaxed) {
                hv.cpu(PhysCpu::new(0).unwrap()).unwrap().ask_reschedule();
            }
        });
        for _ in 0..100 {
            let next = cpu.enter(&hv, Entry::Interrupt(Interrupt::Kick));
            assert_eq!(next, Next::Guest(ExitPath::Iret));
        }
        done.store(true, Ordering::Relaxed);
    });
}

#[test]
fn the_short_way_to_the_version_answers_as_the_long_one_or_not_at_all() {
    let mut bench = Bench::new();
    let long = bench.result(number::XEN_VERSION, [0, 0, 0]);
    assert_eq!(bench.cpu.version(&bench.hv), Some(long));
    bench.state().mode = Mode::User;
    assert_eq!(bench.cpu.version(&bench.hv), None, "it is no hypercall");
    bench.state().mode = Mode::Kernel;
    let domain = bench.domain();
    let vcpu = domain.vcpu(VcpuId::FIRST).unwrap();
    vcpu.set_upcall_mask(bench.hv.machine(), 0);
    vcpu.post(bench.hv.machine(), 0);
    assert_eq!(bench.cpu.version(&bench.hv), None, "an upcall is due");
    vcpu.set_upcall_mask(bench.hv.machine(), 1);
    assert_eq!(bench.cpu.version(&bench.hv), Some(long));
}

#[test]
fn a_cpu_separates_domains_once_for_each_change() {
    let mut bench = Bench::new();
    let separations = |bench: &Bench| bench.hv.machine().with_cpu(0, |cpu| cpu.separations);
    let before = separations(&bench);
    bench.result(number::SCHED_OP, [0, 0, 0]);
    assert_eq!((before, separations(&bench)), (1, 1));
}
