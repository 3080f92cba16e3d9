//! Rule tested: Paravane's own call answers the unknown, the newer and the malformed with distinct errors, and its query
//! describes what is there.
#![no_std]
#![no_main]

use guest_kernel::hypercall::control::paravane_op;
use guest_kernel::hypercall::{Errno, hypercall, manage};
use guest_kernel::start::Boot;
use guest_kernels::{check, finish, skip};
use hypercall_abi::control::host::HostInfo;
use hypercall_abi::control::version::Query;
use hypercall_abi::control::{ControlArgument, ControlHeader};
use hypercall_abi::number::{self, PARAVANE_OP};

guest_kernel::entry!(main);

/// Issues HOST_INFO with a header of the caller's making.
fn with_header(header: ControlHeader) -> Result<u64, Errno> {
    let mut argument = HostInfo {
        header,
        ..HostInfo::default()
    };
    // SAFETY: the structure has no address in it.
    unsafe { paravane_op(HostInfo::OPERATION, &mut argument) }
}

fn main(_: &'static Boot) {
    let Ok(versions) = manage::query(0, 0) else {
        skip(format_args!("this is not Paravane"))
    };
    check!(versions[0] >> 16 == 4, "the guest ABI is of version 4.x");
    check!(
        versions[2] >= 1 && versions[2] <= versions[1],
        "control versions {} to {}",
        versions[2],
        versions[1]
    );
    calls();
    headers();
    addresses();
    machine();
    finish()
}

fn calls() {
    let Ok([bitmap, ..]) = manage::query(1, 0) else {
        check!(false, "the calls that exist can be asked");
        return;
    };
    for number in [
        number::XEN_VERSION,
        number::MMU_UPDATE,
        number::IRET,
        PARAVANE_OP,
    ] {
        check!(bitmap >> number & 1 == 1, "call {number} exists");
    }
    check!(
        bitmap >> 11 & 1 == 0 && bitmap >> 63 == 0,
        "calls that do not exist are not named"
    );
    let mut rows = 0;
    while manage::query(2, rows).is_ok() {
        rows += 1;
    }
    check!(rows > 30, "the table of operations has {rows} rows");
    check!(
        manage::query(2, rows) == Err(Errno::ENOENT),
        "its end is ENOENT"
    );
    check!(
        manage::query(99, 0).is_err(),
        "a topic that does not exist is refused"
    );
}

fn headers() {
    let right = HostInfo::HEADER;
    check!(with_header(right).is_ok(), "a right header is taken");
    let newer = ControlHeader {
        version: right.version + 1,
        ..right
    };
    check!(
        with_header(newer) == Err(Errno::EOPNOTSUPP),
        "a newer version is EOPNOTSUPP"
    );
    check!(
        with_header(ControlHeader {
            version: 0,
            ..right
        }) == Err(Errno::EINVAL),
        "version 0 is EINVAL"
    );
    check!(
        with_header(ControlHeader { flags: 1, ..right }) == Err(Errno::EINVAL),
        "so is a flag"
    );
    check!(
        with_header(ControlHeader {
            size: right.size + 8,
            ..right
        }) == Err(Errno::EINVAL),
        "and a wrong size"
    );
    check!(
        with_header(ControlHeader { size: 0, ..right }) == Err(Errno::EINVAL),
        "and none"
    );
    let mut argument = Query {
        header: Query::HEADER,
        ..Query::default()
    };
    for operation in [0x0fff_u32, 0x1ff, u32::MAX] {
        // SAFETY: there is no such operation.
        let answer = unsafe { paravane_op(operation, &mut argument) };
        check!(
            answer == Err(Errno::ENOSYS),
            "operation {operation:#x} is ENOSYS"
        );
    }
}

fn addresses() {
    for address in [
        0xffff_8300_0000_0000,
        0xffff_9008_0000_0000,
        0x0000_8000_0000_0000,
        u64::MAX - 7,
    ] {
        let arguments = [u64::from(HostInfo::OPERATION), address, 0, 0, 0];
        // SAFETY: the address is not this kernel's: refused.
        let answer = unsafe { hypercall(u64::from(PARAVANE_OP), arguments) };
        check!(
            answer == Err(Errno::EFAULT),
            "a structure at {address:#x} is EFAULT"
        );
    }
}

fn machine() {
    let Ok(host) = manage::host_info() else {
        check!(false, "the machine can be asked");
        return;
    };
    check!(
        host.free_frames < host.total_frames,
        "{} of {} frames are free",
        host.free_frames,
        host.total_frames
    );
    check!(host.cpus >= 1, "it has {} CPUs", host.cpus);
    check!(manage::cpu_info(0).is_ok(), "CPU 0 can be asked");
    check!(
        manage::cpu_info(host.cpus).is_err(),
        "one beyond the last cannot"
    );
    let own = manage::domain_info(hypercall_abi::RawDomId(0));
    check!(
        own.is_ok_and(|record| record.frames > 0),
        "this domain is listed with its frames"
    );
    let nobody = manage::domain_info(hypercall_abi::RawDomId(1));
    check!(nobody == Err(Errno::ESRCH), "nobody is behind it");
}
