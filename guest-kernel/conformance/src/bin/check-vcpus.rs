//! `vcpu_op`: states, first contexts, registered areas, timers' arguments.
#![no_std]
#![no_main]

use core::arch::global_asm;
use core::sync::atomic::{AtomicU64, Ordering::SeqCst};

use guest_conformance::errno::{EEXIST, EFAULT, EINVAL, ENOENT, ENOSYS, ENXIO};
use guest_conformance::fixture::{Frame, eventually, read};
use guest_conformance::{
    HYPERVISOR, NO_FRAME, NOT_CANONICAL, UNMAPPED, address_of, call, check, finish, prepare, seen,
    start,
};
use guest_kernel::paging::root;
use guest_kernel::start::Boot;
use hypercall_abi::number::VCPU_OP;

guest_kernel::entry!(main);

const INITIALISE: u64 = 0;
const UP: u64 = 1;
const DOWN: u64 = 2;
const IS_UP: u64 = 3;
const RUNSTATE: u64 = 4;
const RUNSTATE_AREA: u64 = 5;
const SET_PERIODIC: u64 = 6;
const STOP_PERIODIC: u64 = 7;
const SET_SINGLESHOT: u64 = 8;
const STOP_SINGLESHOT: u64 = 9;
const VCPU_INFO: u64 = 10;
const SEND_NMI: u64 = 11;
const PHYSID: u64 = 12;
const TIME_AREA: u64 = 13;

/// A vCPU that does not exist.
const NONE: u64 = 1000;

fn main(boot: &'static Boot) {
    start(boot);
    states();
    contexts();
    runstates();
    timers();
    infos();
    others();
    nowhere();
    arrives();
    started();
    finish()
}

fn op(command: u64, vcpu: u64, argument: u64) -> i64 {
    call(VCPU_OP, &[command, vcpu, argument])
}

fn states() {
    check("is_up.self", 1, || op(IS_UP, 0, 0));
    check("is_up.not-started", true, || {
        op(IS_UP, 1, 0) == 0 && op(IS_UP, 0, 0) == 1
    });
    check("is_up.no-such-vcpu", ENOENT, || op(IS_UP, NONE, 0));
    check("is_up.number-has-32-bits", 1, || op(IS_UP, 1 << 32, 0));
    check("up.already", true, || {
        op(UP, 0, 0) == 0 && op(IS_UP, 0, 0) == 1
    });
    check("up.never-initialised", EINVAL, || op(UP, 1, 0));
    check("up.no-such-vcpu", ENOENT, || op(UP, NONE, 0));
    check("down.not-started", true, || {
        op(DOWN, 1, 0) == 0 && op(IS_UP, 0, 0) == 1
    });
    check("down.no-such-vcpu", ENOENT, || op(DOWN, NONE, 0));
    check("initialise.no-such-vcpu", ENOENT, || {
        op(INITIALISE, NONE, 0)
    });
    check("initialise.context-fault", [EFAULT; 2], || {
        [UNMAPPED, HYPERVISOR].map(|address| op(INITIALISE, 1, address))
    });
}

/// A first context: 646 words.
struct Context([u64; 646]);

impl Context {
    /// One that is fine as far as it goes: kernel mode, this kernel's root, everything else zero.
    fn new() -> Self {
        let mut words = [0; 646];
        words[512 / 8] = 4;
        words[5000 / 8 + 1] = root().map_or(0, |root| root.0) << 12;
        words[(520 + 144) / 8] = 0x202;
        words[(520 + 136) / 8] = 0xe033;
        words[(520 + 160) / 8] = 0xe02b;
        Self(words)
    }

    /// With another value at a byte offset.
    fn with(mut self, offset: usize, value: u64) -> Self {
        self.0[offset / 8] = value;
        self
    }

    /// Given to vCPU 1, which stays as it is when that is refused.
    fn give(&self) -> i64 {
        op(INITIALISE, 1, address_of(&self.0))
    }
}

/// Offset of the kernel's root.
const KERNEL_ROOT: usize = 4984 + 24;
/// Offset of the user root.
const USER_ROOT: usize = 4984 + 8;

fn contexts() {
    check("initialise.self-again", EEXIST, || {
        op(INITIALISE, 0, address_of(&Context::new().0))
    });
    for (name, offset) in [
        ("initialise.rip-not-canonical", 520 + 128),
        ("initialise.rsp-not-canonical", 520 + 152),
        ("initialise.kernel-stack-not-canonical", 4976),
        ("initialise.fs-base-not-canonical", 5144),
        ("initialise.kernel-gs-base-not-canonical", 5152),
        ("initialise.user-gs-base-not-canonical", 5160),
        ("initialise.event-callback-not-canonical", 5112),
        ("initialise.failsafe-callback-not-canonical", 5120),
        ("initialise.syscall-callback-not-canonical", 5128),
        ("initialise.trap-address-not-canonical", 720 + 6 * 16 + 8),
    ] {
        check(name, EINVAL, || {
            Context::new().with(offset, NOT_CANONICAL).give()
        });
    }
    check("initialise.ldt-too-long", EINVAL, || {
        Context::new().with(4824, 8193).give()
    });
    check("initialise.ldt-unaligned", EINVAL, || {
        Context::new().with(4824, 1).with(4816, 0x1008).give()
    });
    check("initialise.gdt-too-long", EINVAL, || {
        Context::new().with(4960, 7169).give()
    });
    check("initialise.gdt-frame-not-own", EINVAL, || {
        Context::new().with(4960, 16).with(4832, NO_FRAME).give()
    });
    check("initialise.gdt-frame-mapped-writable", EINVAL, || {
        Context::new()
            .with(4960, 16)
            .with(4832, Frame::take().mfn)
            .give()
    });
    check("initialise.no-root", EINVAL, || {
        Context::new().with(KERNEL_ROOT, 0).give()
    });
    check("initialise.root-not-own", EINVAL, || {
        Context::new().with(KERNEL_ROOT, NO_FRAME << 12).give()
    });
    check("initialise.root-mapped-writable", EINVAL, || {
        Context::new()
            .with(KERNEL_ROOT, Frame::take().mfn << 12)
            .give()
    });
    check("initialise.user-mode-without-user-root", EINVAL, || {
        Context::new().with(512, 0).give()
    });
    check("initialise.user-root-not-own", EINVAL, || {
        Context::new().with(USER_ROOT, NO_FRAME << 12).give()
    });
    check(
        "initialise.refused-leaves-it-uninitialised",
        (EINVAL, EINVAL),
        || (Context::new().with(KERNEL_ROOT, 0).give(), op(UP, 1, 0)),
    );
    check("initialise.refused-frees-frames", (EINVAL, 0), || {
        let table = Frame::take().read_only();
        let result = Context::new()
            .with(4960, 16)
            .with(4832, table.mfn)
            .with(KERNEL_ROOT, NO_FRAME << 12)
            .give();
        (result, seen(table.remap(3)))
    });
}

fn runstates() {
    let area = [0xa5a5_u64; 8];
    let at = address_of(&area);
    check("runstate.self-runs", (0, 0), || {
        let result = op(RUNSTATE, 0, at);
        (result, seen(read(at) & 0xffff_ffff))
    });
    check("runstate.not-started-is-offline", (0, 3), || {
        let result = op(RUNSTATE, 1, at);
        (result, seen(read(at) & 0xffff_ffff))
    });
    check("runstate.writes-48-bytes", (0, 0xa5a5), || {
        let area = [0xa5a5_u64; 8];
        let result = op(RUNSTATE, 0, address_of(&area));
        (result, seen(read(address_of(&area) + 48)))
    });
    check("runstate.times-grow", (0, true), || {
        let result = op(RUNSTATE, 0, at);
        let before = read(at + 16);
        prepare(VCPU_OP, &[RUNSTATE, 0, at]);
        (result, seen(read(at + 16) > before))
    });
    check("runstate.no-such-vcpu", ENOENT, || op(RUNSTATE, NONE, at));
    check("runstate.fault", [EFAULT; 2], || {
        [UNMAPPED, HYPERVISOR].map(|address| op(RUNSTATE, 0, address))
    });
    check("runstate-area.written-at-once", (0, true), || {
        let area = Frame::take();
        let result = op(RUNSTATE_AREA, 0, address_of(&area.address));
        // The time of entry was 0.
        let written = area.word(1) != 0;
        prepare(VCPU_OP, &[RUNSTATE_AREA, 0, address_of(&0_u64)]);
        (result, seen(written))
    });
    check("runstate-area.of-another-vcpu", (0, 3), || {
        let area = Frame::take();
        let result = op(RUNSTATE_AREA, 1, address_of(&area.address));
        let state = area.word(0) & 0xffff_ffff;
        prepare(VCPU_OP, &[RUNSTATE_AREA, 1, address_of(&0_u64)]);
        (result, seen(state))
    });
    check("runstate-area.hypervisor-address", EFAULT, || {
        op(RUNSTATE_AREA, 0, address_of(&HYPERVISOR))
    });
    check("runstate-area.no-such-vcpu", ENOENT, || {
        op(RUNSTATE_AREA, NONE, at)
    });
    check("runstate-area.null-unregisters", true, || {
        op(RUNSTATE_AREA, 0, address_of(&0_u64)) == 0 && op(IS_UP, 0, 0) == 1
    });
    check("time-area.written-at-once", (0, true), || {
        let area = Frame::take();
        let result = op(TIME_AREA, 0, address_of(&area.address));
        let written = area.word(3) & 0xffff_ffff != 0;
        prepare(VCPU_OP, &[TIME_AREA, 0, address_of(&0_u64)]);
        (result, seen(written))
    });
    check("time-area.version-is-even", (0, 0), || {
        let area = Frame::take();
        let result = op(TIME_AREA, 0, address_of(&area.address));
        let version = area.word(0) & 1;
        prepare(VCPU_OP, &[TIME_AREA, 0, address_of(&0_u64)]);
        (result, seen(version))
    });
    check("time-area.hypervisor-address", EFAULT, || {
        op(TIME_AREA, 0, address_of(&HYPERVISOR))
    });
    check("time-area.no-such-vcpu", ENOENT, || op(TIME_AREA, NONE, at));
}

fn timers() {
    let period = |nanoseconds: u64| op(SET_PERIODIC, 0, address_of(&nanoseconds));
    check("periodic.below-a-millisecond", EINVAL, || period(999_999));
    check("periodic.zero", EINVAL, || period(0));
    check("periodic.beyond-all-time", EINVAL, || period(u64::MAX));
    check("periodic.set-and-stopped", (0, 0), || {
        let set = period(1_000_000);
        (set, op(STOP_PERIODIC, 0, 0))
    });
    check("periodic.no-such-vcpu", [ENOENT; 2], || {
        [
            op(SET_PERIODIC, NONE, address_of(&1_000_000_u64)),
            op(STOP_PERIODIC, NONE, 0),
        ]
    });
    check("periodic.fault", EFAULT, || op(SET_PERIODIC, 0, UNMAPPED));
    check("periodic.of-another-vcpu", (0, 0), || {
        let set = op(SET_PERIODIC, 1, address_of(&10_000_000_u64));
        (set, op(STOP_PERIODIC, 1, 0))
    });
    let far = [1_u64 << 40, 0];
    check("singleshot.set-and-stopped", (0, 0), || {
        (
            op(SET_SINGLESHOT, 0, address_of(&far)),
            op(STOP_SINGLESHOT, 0, 0),
        )
    });
    check("singleshot.of-another-vcpu", [EINVAL; 2], || {
        [
            op(SET_SINGLESHOT, 1, address_of(&far)),
            op(STOP_SINGLESHOT, 1, 0),
        ]
    });
    check("singleshot.vcpu-before-argument", EINVAL, || {
        op(SET_SINGLESHOT, 1, UNMAPPED)
    });
    check("singleshot.past-with-flag", 0, || {
        op(SET_SINGLESHOT, 0, address_of(&[1_u64, 1]))
    });
    check("singleshot.unknown-flags-are-ignored", 0, || {
        op(SET_SINGLESHOT, 0, address_of(&[1_u64, 0xff]))
    });
    check("singleshot.no-such-vcpu", [ENOENT; 2], || {
        [
            op(SET_SINGLESHOT, NONE, address_of(&far)),
            op(STOP_SINGLESHOT, NONE, 0),
        ]
    });
}

fn infos() {
    let register =
        |vcpu: u64, frame: u64, offset: u64| op(VCPU_INFO, vcpu, address_of(&[frame, offset]));
    check("vcpu_info.beyond-the-page", ENXIO, || {
        register(1, Frame::take().mfn, 4033)
    });
    check("vcpu_info.last-place", (0, true), || {
        let frame = Frame::take();
        let result = register(3, frame.mfn, 4032);
        (result, seen(frame.word(504) & 0xff == 1))
    });
    check("vcpu_info.unaligned", ENXIO, || {
        register(1, Frame::take().mfn, 4)
    });
    check("vcpu_info.frame-not-own", EINVAL, || {
        register(1, NO_FRAME, 0)
    });
    check("vcpu_info.page-table", EINVAL, || {
        register(1, Frame::take().read_only().pinned(1).mfn, 0)
    });
    check("vcpu_info.fault", EFAULT, || op(VCPU_INFO, 1, UNMAPPED));
    check("vcpu_info.no-such-vcpu", ENOENT, || register(NONE, 0, 0));
    check("vcpu_info.of-another-vcpu", (0, [true, true]), || {
        let frame = Frame::take();
        let result = register(2, frame.mfn, 128);
        // Everything is to be looked at once, so that nothing is lost.
        (
            result,
            seen([frame.word(16) & 0xff == 1, frame.word(17) == u64::MAX]),
        )
    });
    check("vcpu_info.carries-the-clock", (0, true), || {
        let frame = Frame::take();
        let result = register(1, frame.mfn, 64);
        (result, seen(frame.word(15) & 0xffff_ffff != 0))
    });
    check("vcpu_info.twice", EINVAL, || {
        register(2, Frame::take().mfn, 128)
    });
    check("vcpu_info.place-before-registration", ENXIO, || {
        register(2, Frame::take().mfn, 4)
    });
}

fn others() {
    check("send_nmi.argument", EINVAL, || op(SEND_NMI, 1, 8));
    check("send_nmi.no-such-vcpu", ENOENT, || op(SEND_NMI, NONE, 0));
    check("get_physid", EINVAL, || {
        op(PHYSID, 0, address_of(&[0_u64; 2]))
    });
    check("physical-areas", [ENOSYS; 2], || {
        [14, 15].map(|command| op(command, 0, address_of(&[0_u64; 2])))
    });
}

/// What a vCPU found when it started: RBX, RSI, flags, RSP, CS, SS, DS, FS base, GS base, user GS base, CR4's part of the guest.
static FOUND: [AtomicU64; 12] = [const { AtomicU64::new(0) }; 12];

// It tells, and takes itself down.
global_asm!(
    ".section .text.vcpus, \"ax\"",
    ".global vcpus_landing", "vcpus_landing:",
    "mov [rip + {found}], rbx", "mov [rip + {found} + 8], rsi", "mov [rip + {found} + 24], rsp",
    "pushfq", "pop qword ptr [rip + {found} + 16]",
    "mov eax, cs", "mov [rip + {found} + 32], rax", "mov eax, ss", "mov [rip + {found} + 40], rax",
    "mov eax, ds", "mov [rip + {found} + 48], rax",
    "mov ecx, 0xc0000100", "rdmsr", "mov [rip + {found} + 56], eax",
    "mov ecx, 0xc0000101", "rdmsr", "mov [rip + {found} + 64], eax",
    "mov ecx, 0xc0000102", "rdmsr", "mov [rip + {found} + 72], eax",
    "mov eax, 9", "mov edi, 7", "syscall", "mov [rip + {found} + 80], rax",
    "mov qword ptr [rip + {found} + 88], 1",
    "2: mov eax, 24", "mov edi, 2", "mov esi, 2", "syscall", "jmp 2b",
    found = sym FOUND,
);

unsafe extern "C" {
    fn vcpus_landing();
}

/// A context arrives as it was given, but for what is the hypervisor's.
fn arrives() {
    let stack = Frame::take();
    let context = Context::new()
        .with(520 + 40, 0x1234_5678_9abc)
        .with(520 + 104, 0x77)
        .with(520 + 128, (vcpus_landing as *const ()).addr() as u64)
        .with(520 + 144, 0x3c02)
        .with(520 + 152, stack.address + 2048)
        .with(5048 + 56, 0x500)
        .with(5144, 0x5000)
        .with(5152, 0x6000)
        .with(5160, 0x7000);
    check("initialise.context-that-starts", (0, 0, true), || {
        let given = op(INITIALISE, 2, address_of(&context.0));
        let up = op(UP, 2, 0);
        let started = eventually(|| FOUND[11].load(SeqCst) == 1);
        (given, up, seen(started))
    });
    let found = |at: usize| seen(FOUND[at].load(SeqCst));
    let again = || op(INITIALISE, 2, address_of(&context.0));
    check(
        "initialise.registers-arrive",
        (EEXIST, [0x1234_5678_9abc, 0x77]),
        || (again(), [found(0), found(1)]),
    );
    check(
        "initialise.flags-arrive-sanitised",
        (EEXIST, 0xe02 & !0x200),
        || {
            // Interrupts are on and the level is 0; the direction is as it was.
            (again(), found(2) & !0x200)
        },
    );
    check("initialise.stack-arrives", (EEXIST, true), || {
        (again(), found(3) == stack.address + 2048)
    });
    check(
        "initialise.selectors-arrive",
        (EEXIST, [0xe033, 0xe02b, 0]),
        || (again(), [found(4), found(5), found(6)]),
    );
    check(
        "initialise.bases-arrive",
        (EEXIST, [0x5000, 0x6000, 0x7000]),
        || (again(), [found(7), found(8), found(9)]),
    );
    check("initialise.breakpoints-arrive", (EEXIST, 0x500), || {
        (again(), found(10))
    });
    check("down.of-itself", (0, true), || {
        let went = eventually(|| prepare(VCPU_OP, &[IS_UP, 2, 0]) == 0);
        (op(IS_UP, 2, 0), seen(went))
    });
    check("up.goes-on-behind-down", (0, true), || {
        FOUND[0].store(0, SeqCst);
        let result = op(UP, 2, 0);
        // It takes itself down again, and does not start anew.
        let went = eventually(|| prepare(VCPU_OP, &[IS_UP, 2, 0]) == 0);
        (result, seen(went && FOUND[0].load(SeqCst) == 0))
    });
}

/// Areas where nothing is: they are taken, and the write that fails is nobody's.
fn nowhere() {
    check("runstate-area.that-is-not-mapped", 0, || {
        let result = op(RUNSTATE_AREA, 0, address_of(&UNMAPPED));
        prepare(VCPU_OP, &[RUNSTATE_AREA, 0, address_of(&0_u64)]);
        result
    });
    check("time-area.that-is-not-mapped", 0, || {
        let result = op(TIME_AREA, 0, address_of(&UNMAPPED));
        prepare(VCPU_OP, &[TIME_AREA, 0, address_of(&0_u64)]);
        result
    });
    check("areas.not-canonical", [EFAULT; 2], || {
        [RUNSTATE_AREA, TIME_AREA].map(|command| op(command, 0, address_of(&NOT_CANONICAL)))
    });
    check("runstate-area.read-only-page", (0, 0), || {
        let area = Frame::take().read_only();
        let result = op(RUNSTATE_AREA, 0, address_of(&area.address));
        prepare(VCPU_OP, &[RUNSTATE_AREA, 0, address_of(&0_u64)]);
        (result, seen(area.word(1)))
    });
    check("runstate.adds-up", (0, true), || {
        let area = [0_u64; 6];
        let at = address_of(&area);
        let result = op(RUNSTATE, 0, at);
        // Since it began to run: the times are not later than now, and cover what was before.
        let sum = (2..6).map(|index| read(at + 8 * index)).sum::<u64>();
        let now = guest_kernel::timer::now();
        (result, seen(sum <= now && read(at + 8) <= now && sum > 0))
    });
}

/// Last, since vCPU 1 is initialised here for good.
fn started() {
    check("initialise.stays-down", (0, true), || {
        let result = Context::new().give();
        (result, seen(prepare(VCPU_OP, &[IS_UP, 1, 0]) == 0))
    });
    check("initialise.twice", EEXIST, || Context::new().give());
    check("initialise.holds-the-root", (EEXIST, -16), || {
        let kernel = root().map_or(0, |root| root.0);
        let result = Context::new().give();
        let window = Frame::take();
        let writable = prepare(
            hypercall_abi::number::UPDATE_VA_MAPPING,
            &[window.address, kernel << 12 | 3, 0],
        );
        (result, seen(writable))
    });
}
