//! Rule tested: the areas that a vCPU registers show its states and its clock, a timer that is past is an event at once, and
//! bad places are refused.
#![no_std]
#![no_main]

use guest_kernel::event::upcall;
use guest_kernel::heap::Page;
use guest_kernel::hypercall::{Errno, event, hypercall, sched, vcpu};
use guest_kernel::start::Boot;
use guest_kernel::task::block_on;
use guest_kernel::timer::{MILLISECOND, SECOND, now, sleep};
use guest_kernels::{check, error, finish};
use hypercall_abi::RawMfn;
use hypercall_abi::RawPort;
use hypercall_abi::event::{EVTCHNSTAT_VIRQ, VIRQ_TIMER};
use hypercall_abi::number::{VCPU_OP, VM_ASSIST};
use hypercall_abi::time::{RUNSTATE_RUNNING, VcpuRunstateInfo, XEN_RUNSTATE_UPDATE};
use hypercall_abi::vcpu::RegisterVcpuInfo;

guest_kernel::entry!(main);

const RUNSTATE_AREA: u64 = 5;
const PERIODIC: u64 = 6;
const VCPU_INFO: u64 = 10;
const SEND_NMI: u64 = 11;
const PHYSID: u64 = 12;
const TIME_AREA: u64 = 13;

fn main(_: &'static Boot) {
    runstate();
    clock();
    timer();
    refused();
    finish()
}

fn issue(number: u32, arguments: [u64; 5]) -> Result<u64, Errno> {
    // SAFETY: areas are pages of this test, which outlive their registration.
    unsafe { hypercall(u64::from(number), arguments) }
}

fn vcpu_op<T>(command: u64, vcpu: u64, mut argument: T) -> Result<u64, Errno> {
    let address = core::ptr::from_mut(&mut argument).addr() as u64;
    issue(VCPU_OP, [command, vcpu, address, 0, 0])
}

fn page() -> Page {
    let Some(page) = Page::zeroed() else {
        error(format_args!("no page"))
    };
    page
}

fn read<T: Copy>(page: &Page) -> T {
    let at = core::ptr::with_exposed_provenance::<T>(page.address());
    // SAFETY: the page is this test's, large enough, and any bytes are a value of the types that it is used with.
    unsafe { at.read_volatile() }
}

fn runstate() {
    let page = page();
    let at = page.address() as u64;
    check!(
        vcpu_op(RUNSTATE_AREA, 0, at).is_ok(),
        "an area for runstates"
    );
    let first: VcpuRunstateInfo = read(&page);
    check!(
        first.state == RUNSTATE_RUNNING && first.state_entry_time <= now(),
        "is written at once"
    );
    block_on(sleep(20 * MILLISECOND));
    let later: VcpuRunstateInfo = read(&page);
    check!(later.state == RUNSTATE_RUNNING, "who reads it is running");
    check!(
        later.time[2] > first.time[2] + 5 * MILLISECOND,
        "and has slept in between"
    );
    let assist = issue(VM_ASSIST, [0, 5, 0, 0, 0]);
    check!(assist == Ok(0), "the update flag can be asked for");
    block_on(sleep(5 * MILLISECOND));
    let flagged: VcpuRunstateInfo = read(&page);
    check!(
        flagged.state_entry_time & XEN_RUNSTATE_UPDATE == 0
            && flagged.state_entry_time >= later.state_entry_time,
        "it is clear when nobody writes"
    );
    check!(
        issue(VM_ASSIST, [1, 5, 0, 0, 0]) == Ok(0),
        "and can be given up"
    );
    check!(vcpu_op(RUNSTATE_AREA, 0, 0_u64).is_ok(), "no area any more");
    let last: VcpuRunstateInfo = read(&page);
    block_on(sleep(5 * MILLISECOND));
    check!(
        read::<VcpuRunstateInfo>(&page) == last,
        "nothing is written then"
    );
}

fn clock() {
    /// A record of the clock.
    #[derive(Clone, Copy)]
    #[repr(C)]
    struct Record {
        version: u32,
        pad: u32,
        tsc: u64,
        system: u64,
        multiplier: u32,
        rest: u32,
    }
    let page = page();
    let at = page.address() as u64;
    check!(vcpu_op(TIME_AREA, 0, at).is_ok(), "an area for the clock");
    let record: Record = read(&page);
    check!(
        record.version != 0 && record.version.is_multiple_of(2),
        "is written at once, version {}",
        record.version
    );
    check!(
        record.multiplier >> 31 == 1 && record.system <= now() && record.tsc != 0,
        "with the scale and a time that is past"
    );
    check!(vcpu_op(TIME_AREA, 0, 0_u64).is_ok(), "no area any more");
}

/// The port of this vCPU's timer.
fn timer_port() -> Option<RawPort> {
    (1..64).map(RawPort).find(|&port| {
        event::status(port).is_ok_and(|status| {
            (status.status, status.detail, status.vcpu) == (EVTCHNSTAT_VIRQ, VIRQ_TIMER, 0)
        })
    })
}

fn timer() {
    let Some(port) = timer_port() else {
        error(format_args!("no timer"))
    };
    let _masked = upcall::mask();
    let start = now();
    check!(
        vcpu::set_singleshot_timer(0, now() - MILLISECOND).is_ok(),
        "a time that is past"
    );
    let polled = sched::poll(port, start + 10 * SECOND);
    check!(
        polled.is_ok() && now() - start < 5 * SECOND,
        "is pending when the call returns"
    );
    check!(
        vcpu_op(PERIODIC, 0, 1_u64 << 62) == Err(Errno::EINVAL),
        "no period is that long"
    );
}

fn refused() {
    for area in [RUNSTATE_AREA, TIME_AREA] {
        for (address, what) in [
            (0xffff_8300_0000_0000_u64, "the hypervisor's"),
            (1 << 47, "not canonical"),
        ] {
            check!(
                vcpu_op(area, 0, address) == Err(Errno::EFAULT),
                "no area {area} is at an address that is {what}"
            );
        }
        let nobody = issue(VCPU_OP, [area, 100_000, 0, 0, 0]);
        check!(
            nobody == Err(Errno::ENOENT),
            "nor another's who is not there"
        );
    }
    let info = |mfn, offset| RegisterVcpuInfo {
        mfn: RawMfn(mfn),
        offset,
        rsvd: 0,
    };
    for (mfn, offset, error) in [
        (0, 4033, Errno::ENXIO),
        (0, 4040, Errno::ENXIO),
        (0, 4, Errno::ENXIO),
        (u64::MAX >> 12, 0, Errno::EINVAL),
        (
            guest_kernel::paging::root().map_or(0, |root| root.0),
            0,
            Errno::EINVAL,
        ),
    ] {
        let result = vcpu_op(VCPU_INFO, 0, info(mfn, offset));
        check!(
            result == Err(error),
            "no vcpu_info in frame {mfn:#x} at {offset}: {result:?}"
        );
    }
    let result = issue(VCPU_OP, [SEND_NMI, 0, 1, 0, 0]);
    check!(result == Err(Errno::EINVAL), "an NMI has no argument");
    let result = vcpu_op(PHYSID, 0, 0_u64);
    check!(result == Err(Errno::EINVAL), "no vCPU is tied to a CPU");
    let result = issue(VCPU_OP, [60, 0, 0, 0, 0]);
    check!(result == Err(Errno::ENOSYS), "operation 60 does not exist");
}
