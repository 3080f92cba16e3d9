//! Rule tested: what is refused is refused with the documented error, in the documented order of checks.
#![no_std]
#![no_main]

use guest_kernel::hypercall::{Errno, hypercall};
use guest_kernel::start::Boot;
use guest_kernels::{check, error, finish};
use hypercall_abi::event::{EVTCHNOP_STATUS, EVTCHNOP_UNMASK, EvtchnStatus};
use hypercall_abi::grant::{
    CacheFlush, GNTST_BAD_DOMAIN, GNTST_BAD_GNTREF, GNTST_BAD_HANDLE, GNTST_OKAY, GetStatusFrames,
    SwapGrantRef, UnmapAndReplace,
};
use hypercall_abi::ids::RawGrantRef;
use hypercall_abi::memory::{
    AcquireResource, ForeignMemoryMap, MemoryExchange, MemoryReservation, RemoveFromPhysmap,
    VnumaTopologyInfo,
};
use hypercall_abi::mmu::MmuextOp;
use hypercall_abi::number as call;
use hypercall_abi::sched::SchedWatchdog;
use hypercall_abi::{GuestPtr, RawDomId, RawMfn, RawPort};

guest_kernel::entry!(main);

/// A domain that does not exist.
const NOBODY: RawDomId = RawDomId(1234);
/// Not mapped.
const ABSENT: u64 = 0xffff_9008_0000_0000;

fn main(_: &'static Boot) {
    ports();
    watchdogs();
    memory();
    exchange();
    grants();
    tools();
    callbacks();
    tables();
    finish()
}

fn issue(number: u32, arguments: [u64; 5]) -> Result<u64, Errno> {
    // SAFETY: every call of this kernel is one that is refused, or that changes nothing that Rust knows of.
    unsafe { hypercall(u64::from(number), arguments) }
}

fn address<T>(value: &mut T) -> u64 {
    core::ptr::from_mut(value).addr() as u64
}

/// A call of the form (command, structure).
fn with<T>(number: u32, command: u32, value: &mut T) -> Result<u64, Errno> {
    issue(number, [u64::from(command), address(value), 0, 0, 0])
}

fn ports() {
    let status = |port| {
        let mut argument = EvtchnStatus {
            dom: RawDomId::SELF,
            port: RawPort(port),
            status: 77,
            ..EvtchnStatus::default()
        };
        let done = with(call::EVENT_CHANNEL_OP, EVTCHNOP_STATUS, &mut argument);
        done.map(|_| argument.status)
    };
    check!(status(0) == Ok(0), "port 0 exists and is closed");
    check!(status(63) == Ok(0), "so is the last of the first 64");
    check!(
        status(64) == Err(Errno::EINVAL),
        "those behind it come into being when they are needed"
    );
    let unmask = with(call::EVENT_CHANNEL_OP, EVTCHNOP_UNMASK, &mut RawPort(0));
    check!(unmask == Ok(0), "port 0 can be unmasked");
    let unmask = with(call::EVENT_CHANNEL_OP, EVTCHNOP_UNMASK, &mut RawPort(64));
    check!(unmask == Err(Errno::EINVAL), "a port that is none cannot");
}

fn watchdogs() {
    let watchdog = |id, timeout| with(call::SCHED_OP, 6, &mut SchedWatchdog { id, timeout });
    for (id, timeout, answer) in [
        (3, 1, Err(Errno::EINVAL)),
        (1, 1, Err(Errno::EINVAL)),
        (2, 0, Err(Errno::EINVAL)),
        (0, 1000, Ok(1)),
        (0, 1000, Ok(2)),
        (0, 1000, Err(Errno::ENOSPC)),
        (2, 2000, Ok(0)),
        (1, 0, Ok(0)),
        (1, 0, Err(Errno::EINVAL)),
        (2, 0, Ok(0)),
    ] {
        // Xen gives the low half of this one error only.
        let result = match watchdog(id, timeout) {
            Ok(0xffff_ffe4) => Err(Errno::ENOSPC),
            result => result,
        };
        check!(
            result == answer,
            "watchdog {id} with {timeout} s: {result:?}"
        );
    }
}

fn memory() {
    let op = |command: u32, result: Result<u64, Errno>, expected: Errno, what: &str| {
        check!(
            result == Err(expected),
            "memory_op {command}, {what}: {result:?}"
        );
    };
    for command in [13, 15, 24, 26, 28] {
        let result = issue(call::MEMORY_OP, [command.into(), ABSENT, 0, 0, 0]);
        op(command, result, Errno::EFAULT, "no structure");
        let result = issue(
            call::MEMORY_OP,
            [(command | 1 << 6).into(), ABSENT, 0, 0, 0],
        );
        check!(result.is_err(), "nor does it continue ({result:?})");
    }
    let mut map = ForeignMemoryMap::default();
    map.map.nr_entries = 1025;
    let result = with(call::MEMORY_OP, 13, &mut map);
    op(13, result, Errno::EINVAL, "1025 entries");
    (map.map.nr_entries, map.domid) = (1024, NOBODY);
    op(
        13,
        with(call::MEMORY_OP, 13, &mut map),
        Errno::ESRCH,
        "nobody",
    );
    let mut remove = RemoveFromPhysmap {
        domid: NOBODY,
        ..RemoveFromPhysmap::default()
    };
    let result = with(call::MEMORY_OP, 15, &mut remove);
    op(15, result, Errno::ESRCH, "nobody");
    remove.domid = RawDomId::SELF;
    let result = with(call::MEMORY_OP, 15, &mut remove);
    op(15, result, Errno::EACCES, "a PV domain");
    let mut claim = MemoryReservation {
        domid: NOBODY,
        ..MemoryReservation::default()
    };
    op(
        24,
        with(call::MEMORY_OP, 24, &mut claim),
        Errno::EINVAL,
        "nobody",
    );
    (claim.domid, claim.extent_order) = (RawDomId(0), 1);
    op(
        24,
        with(call::MEMORY_OP, 24, &mut claim),
        Errno::EINVAL,
        "an order",
    );
    let mut vnuma = VnumaTopologyInfo {
        domid: NOBODY,
        pad: 1,
        ..VnumaTopologyInfo::default()
    };
    op(
        26,
        with(call::MEMORY_OP, 26, &mut vnuma),
        Errno::EINVAL,
        "padding",
    );
    vnuma.pad = 0;
    op(
        26,
        with(call::MEMORY_OP, 26, &mut vnuma),
        Errno::ESRCH,
        "nobody",
    );
    vnuma.domid = RawDomId::SELF;
    let result = with(call::MEMORY_OP, 26, &mut vnuma);
    op(26, result, Errno::EOPNOTSUPP, "there is none");
    let mut resource = AcquireResource {
        domid: NOBODY,
        pad: 1,
        ..AcquireResource::default()
    };
    let result = with(call::MEMORY_OP, 28, &mut resource);
    op(28, result, Errno::EINVAL, "padding");
    (resource.pad, resource.frame) = (0, 1 << 32);
    let result = with(call::MEMORY_OP, 28, &mut resource);
    op(28, result, Errno::EINVAL, "a frame beyond 32 bits");
    resource.frame = 0;
    for (domid, expected) in [
        (NOBODY, Errno::ESRCH),
        (RawDomId::SELF, Errno::ESRCH),
        (RawDomId(0), Errno::EPERM),
    ] {
        resource.domid = domid;
        let result = with(call::MEMORY_OP, 28, &mut resource);
        op(28, result, expected, "not another domain");
    }
}

fn exchange() {
    let side = |extents, order| MemoryReservation {
        nr_extents: extents,
        extent_order: order,
        domid: NOBODY,
        ..MemoryReservation::default()
    };
    let good = MemoryExchange {
        input: side(2, 0),
        output: side(1, 1),
        nr_exchanged: 0,
    };
    type Spoil = fn(&mut MemoryExchange);
    let cases: [(Spoil, Result<u64, Errno>, &str); 7] = [
        (|e| e.input.extent_order = 40, Err(Errno::EPERM), "an order"),
        (|e| e.nr_exchanged = 3, Err(Errno::EINVAL), "more than all"),
        (|e| e.output.nr_extents = 2, Err(Errno::EINVAL), "two sizes"),
        (
            |e| e.output.domid = RawDomId(0),
            Err(Errno::EINVAL),
            "two domains",
        ),
        (|e| e.nr_exchanged = 2, Ok(0), "all is done"),
        (
            |e| e.input.extent_start = GuestPtr::new(0xffff_8300_0000_0000),
            Err(Errno::EFAULT),
            "a list of the hypervisor's",
        ),
        (|_| {}, Err(Errno::ESRCH), "nobody"),
    ];
    for (spoil, expected, what) in cases {
        let mut argument = good;
        spoil(&mut argument);
        let result = with(call::MEMORY_OP, 11, &mut argument);
        check!(result == expected, "exchange, {what}: {result:?}");
    }
}

fn grants() {
    for (command, what) in [(3, "dump_table"), (13, "13")] {
        let result = issue(call::GRANT_TABLE_OP, [command, 0, 0, 0, 0]);
        check!(result == Err(Errno::ENOSYS), "{what} is ENOSYS: {result:?}");
    }
    let one = |command: u64, at: u64| issue(call::GRANT_TABLE_OP, [command, at, 1, 0, 0]);
    let mut swap = SwapGrantRef {
        ref_a: RawGrantRef(u32::MAX),
        ..SwapGrantRef::default()
    };
    let done = one(11, address(&mut swap));
    check!(
        done == Ok(0) && swap.status == GNTST_BAD_GNTREF,
        "swap_grant_ref of an entry that does not exist ({done:?}, {})",
        swap.status
    );
    swap.ref_a = RawGrantRef(0);
    let done = one(11, address(&mut swap));
    check!(
        done == Ok(0) && swap.status == GNTST_OKAY,
        "of one with itself"
    );
    let mut unmap = UnmapAndReplace {
        handle: 4000,
        ..UnmapAndReplace::default()
    };
    let done = one(7, address(&mut unmap));
    check!(
        done == Ok(0) && unmap.status == GNTST_BAD_HANDLE,
        "unmap_and_replace of nothing ({done:?}, {})",
        unmap.status
    );
    let mut frames = GetStatusFrames {
        dom: NOBODY,
        ..GetStatusFrames::default()
    };
    let done = one(9, address(&mut frames));
    check!(
        done == Ok(0) && frames.status == GNTST_BAD_DOMAIN,
        "get_status_frames of nobody ({done:?}, {})",
        frames.status
    );
    caches();
    for command in [2, 6, 9] {
        let result = issue(
            call::GRANT_TABLE_OP,
            [command, address(&mut frames), 2, 0, 0],
        );
        check!(
            result == Err(Errno::EINVAL),
            "operation {command} takes one request"
        );
    }
}

fn caches() {
    let own = guest_kernel::paging::root().map_or(0, |root| root.0 << 12);
    for (dev_bus_addr, offset, length, op, expected) in [
        (own, 4096, 0, 1, Err(Errno::EINVAL)),
        (own, 4000, 97, 1, Err(Errno::EINVAL)),
        (own, 0, 8, 4, Err(Errno::EINVAL)),
        (1 << 51, 0, 0, 1, Ok(0)),
        (1 << 51, 0, 8, 0, Ok(0)),
        (1 << 51, 0, 8, 1, Err(Errno::EINVAL)),
        (own, 0, 8, 2, Err(Errno::EOPNOTSUPP)),
        (own, 0, 4096, 3, Ok(0)),
        (own, 64, 8, 1, Ok(0)),
    ] {
        let mut flush = CacheFlush {
            dev_bus_addr,
            offset,
            length,
            op,
        };
        let at = address(&mut flush);
        let result = issue(call::GRANT_TABLE_OP, [12, at, 1, 0, 0]);
        check!(
            result == expected,
            "cache_flush {op} of {length} at {offset}: {result:?}"
        );
    }
}

/// Hypercalls of the tools of Xen, whose version can be probed for.
fn tools() {
    let mut structure = [0_u32; 36];
    for (number, name) in [(call::SYSCTL, "sysctl"), (call::DOMCTL, "domctl")] {
        let result = issue(number, [ABSENT, 0, 0, 0, 0]);
        check!(result == Err(Errno::EFAULT), "{name} without a structure");
        let result = issue(number, [address(&mut structure), 0, 0, 0, 0]);
        check!(
            result == Err(Errno::EACCES),
            "{name} of another version: {result:?}"
        );
    }
}

fn callbacks() {
    #[repr(C)]
    struct Register {
        kind: u16,
        flags: u16,
        pad: u32,
        address: u64,
    }
    let register = |command, kind, address| {
        let mut argument = Register {
            kind,
            flags: 0,
            pad: 0,
            address,
        };
        with(call::CALLBACK_OP, command, &mut argument)
    };
    for (command, kind, address, expected) in [
        (0, 99, 1 << 62, Errno::EINVAL),
        (0, 99, 0, Errno::ENOSYS),
        (0, 3, 0, Errno::ENOSYS),
        (1, 0, 0, Errno::EINVAL),
        (1, 7, 0, Errno::EINVAL),
        (1, 99, 0, Errno::ENOSYS),
        (2, 0, 0, Errno::ENOSYS),
    ] {
        let result = register(command, kind, address);
        check!(
            result == Err(expected),
            "callback_op {command} of type {kind}: {result:?}"
        );
    }
    let result = issue(call::NMI_OP, [2, 0, 0, 0, 0]);
    check!(result == Err(Errno::ENOSYS), "nmi_op 2 is ENOSYS");
    for (command, kind, expected) in [(2, 6, Errno::EINVAL), (2, 0, Errno::ENOSYS)] {
        let result = issue(call::VM_ASSIST, [command, kind, 0, 0, 0]);
        check!(
            result == Err(expected),
            "vm_assist {command} of type {kind}: {result:?}"
        );
    }
}

fn tables() {
    let mut list = [MmuextOp::default()];
    let at = address(&mut list);
    for (command, argument, second, expected) in [
        (14, 0, 0, Errno::ENOSYS),
        (19, 0, 0, Errno::EOPNOTSUPP),
        (21, 0, 0, Errno::ENOSYS),
        (4, 0xf_ffff_ffff, 0, Errno::EINVAL),
        (0, 0xf_ffff_ffff, 0, Errno::EINVAL),
        (13, 0x1000, 8193, Errno::EINVAL),
        (13, 0x1008, 1, Errno::EINVAL),
        (13, 0xffff_8300_0000_0000, 1, Errno::EINVAL),
        (16, 0xf_ffff_ffff, 0, Errno::EINVAL),
    ] {
        list[0] = MmuextOp {
            cmd: command,
            pad0: 0,
            arg1: argument,
            arg2: second,
        };
        let result = issue(call::MMUEXT_OP, [at, 1, 0, 0x7ff0, 0]);
        check!(
            result == Err(expected),
            "mmuext_op {command} with {argument:#x}: {result:?}"
        );
    }
    let Some(RawMfn(root)) = guest_kernel::paging::root().map(|root| RawMfn(root.0)) else {
        error(format_args!("no root"))
    };
    let mut update = [root << 12 | 4, 0_u64];
    for (pointer, foreign, expected, what) in [
        (root << 12 | 4, 0x7ff0, Errno::ENOSYS, "command 4"),
        (root << 12, 0, Errno::ESRCH, "one's own number"),
        (root << 12, u64::from(NOBODY.0), Errno::ESRCH, "nobody"),
        (
            (root << 12) | (256 * 8),
            0x7ff0,
            Errno::EINVAL,
            "a slot of the hypervisor's",
        ),
    ] {
        update[0] = pointer;
        let at = address(&mut update);
        let result = issue(call::MMU_UPDATE, [at, 1, 0, foreign, 0]);
        check!(result == Err(expected), "mmu_update, {what}: {result:?}");
    }
    for (address, what) in [
        (0xffff_8300_0000_0000, "the hypervisor's"),
        (1 << 47, "not canonical"),
        (ABSENT, "without a table"),
    ] {
        let result = issue(call::UPDATE_VA_MAPPING, [address, 0, 0, 0, 0]);
        check!(
            result == Err(Errno::EINVAL),
            "update_va_mapping of an address that is {what}"
        );
    }
    let result = issue(call::UPDATE_DESCRIPTOR, [4, 0, 0, 0, 0]);
    check!(
        result == Err(Errno::EINVAL),
        "update_descriptor of an odd address"
    );
}
