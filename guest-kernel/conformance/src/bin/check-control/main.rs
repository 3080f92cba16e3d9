//! Hypercall 56, Paravane's own interface: who may ask, headers, the machine, (in [`domains`] and [`peer`]) other
//! domains, and (in [`limits`]) where things end.
//!
//! One check asks whether the call is there. On a hypervisor without it all others are skipped.
#![no_std]
#![no_main]

use guest_conformance::errno::{
    EACCES, EEXIST, EFAULT, EINVAL, ENODEV, ENOENT, ENOSYS, EOPNOTSUPP, EPERM,
};
use guest_conformance::fixture::{close, read};
use guest_conformance::{
    HYPERVISOR, NOT_CANONICAL, Role, UNMAPPED, address_of, call, check, finish, prepare, role,
    seen, skip, start,
};
use guest_kernel::hypercall::control::with_header;
use guest_kernel::start::Boot;
use hypercall_abi::control::version::{QUERY_HYPERCALLS, QUERY_OPERATIONS, QUERY_VERSIONS};
use hypercall_abi::control::{ControlArgument, ControlHeader};
use hypercall_abi::number::{EVENT_CHANNEL_OP, PARAVANE_OP};
use hypercall_abi::table::prelude::*;
use hypercall_abi::table::{self, Who};
use zerocopy::{FromZeros, IntoBytes};

mod domains;
mod limits;
mod peer;

guest_kernel::entry!(main);

/// Why checks are skipped where the call is not there.
const ABSENT: &str = "no hypercall 56 here";

macro_rules! headers {
    ($($(#[doc = $doc:literal])* $number:literal $name:ident($argument:ident: InOut<$type:ident>)
        since $since:literal by $who:ident;)*) => {
        /// Every operation with the header that its structure begins with.
        const HEADERS: &[(u32, ControlHeader)] = &[$(($number, <$type as ControlArgument>::HEADER)),*];
    };
}
hypercall_abi::for_each_control_operation!(headers);

fn main(boot: &'static Boot) {
    start(boot);
    check("paravane_op", ENOSYS, || ask(Query::default()).0);
    let suite = Suite {
        present: prepared(Query::default()).is_some(),
    };
    suite.queries();
    suite.rights();
    if role() == Role::First {
        suite.headers();
        suite.machine();
        suite.devices();
        domains::checks(&suite);
        peer::checks(&suite);
        limits::checks(&suite);
    }
    finish()
}

/// The operation under test on its structure, whose header is filled in; its result and the structure afterwards.
fn ask<T: ControlArgument>(mut argument: T) -> (i64, T) {
    with_header(&mut argument);
    let result = call(PARAVANE_OP, &[T::OPERATION.into(), address_of(&argument)]);
    (result, core::hint::black_box(argument))
}

/// Only the result.
fn result<T: ControlArgument>(argument: T) -> i64 {
    ask(argument).0
}

/// The same to prepare a check, if it succeeds.
fn prepared<T: ControlArgument>(mut argument: T) -> Option<T> {
    with_header(&mut argument);
    let result = prepare(PARAVANE_OP, &[T::OPERATION.into(), address_of(&argument)]);
    (result == 0).then_some(core::hint::black_box(argument))
}

/// The checks, which are skipped where the call is not there.
struct Suite {
    present: bool,
}

impl Suite {
    fn check<A: PartialEq + core::fmt::Debug>(
        &self,
        name: &str,
        rule: A,
        find: impl FnOnce() -> A,
    ) {
        if self.present {
            check(name, rule, find);
        } else {
            skip(name, ABSENT);
        }
    }

    fn queries(&self) {
        let query = |topic, index| {
            ask(Query {
                topic,
                index,
                ..Query::default()
            })
        };
        self.check("query.versions", (0, 4, true), || {
            let (result, Query { values, .. }) = query(QUERY_VERSIONS, 0);
            let known = values[2] >= 1 && values[2] <= values[1];
            (result, seen(values[0] >> 16), seen(known))
        });
        self.check("query.hypercalls-are-those-of-the-table", (0, true), || {
            let (result, Query { values, .. }) = query(QUERY_HYPERCALLS, 0);
            let bits = table::HYPERCALLS
                .iter()
                .fold(0, |bits, row| bits | 1_u64 << row.number);
            (result, seen(values[0] == bits))
        });
        self.check("query.operations-are-those-of-the-table", true, || {
            let same = |(index, (call, operation)): (u32, Row)| {
                let (result, Query { values, .. }) = query(QUERY_OPERATIONS, index);
                let number = operation.map_or(u64::from(u32::MAX), |row| row.number.into());
                result == 0
                    && values[0] == u64::from(call.number)
                    && values[1] & 0xffff_ffff == number
            };
            seen((0..).zip(table::operations()).all(same))
        });
        self.check("query.behind-the-last-operation", ENOENT, || {
            let count = u32::try_from(table::operations().count()).unwrap_or(0);
            query(QUERY_OPERATIONS, count).0
        });
        self.check("query.no-such-topic", EINVAL, || query(99, 0).0);
        self.check("operation.unknown", [ENOSYS; 4], || {
            [0x0fff, 0x1ff, 0x103, u64::from(u32::MAX)]
                .map(|operation| call(PARAVANE_OP, &[operation, UNMAPPED]))
        });
        self.check("operation.has-32-bits", EFAULT, || {
            call(PARAVANE_OP, &[1 << 32, UNMAPPED])
        });
    }

    /// Who may ask comes before everything else but the operation.
    fn rights(&self) {
        let (name, rule) = match role() {
            Role::First => ("right.of-the-first-domain", EFAULT),
            Role::Ordinary => ("right.of-an-ordinary-domain", EPERM),
        };
        self.check(name, true, || {
            let operations =
                table::hypercall(PARAVANE_OP.into()).map_or(&[][..], |row| row.operations);
            operations
                .iter()
                .filter(|row| row.who == Who::Dom0)
                .all(|row| {
                    [UNMAPPED, HYPERVISOR, NOT_CANONICAL]
                        .iter()
                        .all(|&address| call(PARAVANE_OP, &[row.number.into(), address]) == rule)
                })
        });
        self.check("query.fault", [EFAULT; 3], || {
            [UNMAPPED, HYPERVISOR, NOT_CANONICAL].map(|address| call(PARAVANE_OP, &[0, address]))
        });
    }

    /// Each operation holds its structure's header to its version.
    fn headers(&self) {
        let all = |change: fn(&mut ControlHeader)| {
            let mut answers = HEADERS.iter().map(|&(operation, mut header)| {
                change(&mut header);
                let mut place = [0_u64; 256];
                place.as_mut_bytes()[..8].copy_from_slice(header.as_bytes());
                call(PARAVANE_OP, &[operation.into(), address_of(&place)])
            });
            let first = answers.next().unwrap_or(0);
            answers.all(|answer| answer == first).then_some(first)
        };
        self.check("header.newer-version", Some(EOPNOTSUPP), || {
            all(|header| header.version += 1)
        });
        self.check("header.version-0", Some(EINVAL), || {
            all(|header| header.version = 0)
        });
        self.check("header.flags", Some(EINVAL), || {
            all(|header| header.flags = 1)
        });
        self.check("header.size-too-large", Some(EINVAL), || {
            all(|header| header.size += 8)
        });
        self.check("header.size-0", Some(EINVAL), || {
            all(|header| header.size = 0)
        });
    }

    fn machine(&self) {
        self.check("host_info.tells-the-machine", (0, [true; 2]), || {
            let (result, host) = ask(HostInfo::default());
            let memory = host.free_frames > 0 && host.free_frames < host.total_frames;
            (result, seen([memory, host.cpus >= 1]))
        });
        self.check("host_promises.tells-what-is-free", (0, [true; 2]), || {
            let free = prepared(HostInfo::default()).map_or(0, |host| host.free_frames);
            let (result, told) = ask(HostPromises::default());
            let less = told.promised_frames < told.free_frames;
            (result, seen([told.free_frames == free, less]))
        });
        let cpu = |cpu| {
            result(CpuInfo {
                cpu,
                ..CpuInfo::default()
            })
        };
        self.check("cpu_info.first", 0, || cpu(0));
        self.check("cpu_info.none", [ENOENT; 2], || [cpu(64), cpu(u32::MAX)]);
        let buffer = [0_u8; 256];
        let log = |address: u64| {
            ask(LogRead {
                buffer: GuestPtr::new(address),
                len: 256,
                ..LogRead::default()
            })
        };
        self.check("log_read.from-its-beginning", (0, true), || {
            let (result, log) = log(address_of(&buffer));
            (
                result,
                seen(log.copied > 0 && log.copied <= 256 && log.cursor > 0),
            )
        });
        self.check("log_read.buffer-fault", EFAULT, || log(UNMAPPED).0);
        self.check("set_wallclock.is-seen", (0, true), || {
            let wanted = 1_900_000_000_000_000_000;
            let result = result(SetWallclock {
                wallclock_ns: wanted,
                ..SetWallclock::default()
            });
            let told = prepared(HostInfo::default()).map_or(0, |host| host.wallclock_ns);
            (
                result,
                seen((wanted..wanted + 60_000_000_000).contains(&told)),
            )
        });
        self.audits();
    }

    fn audits(&self) {
        let step = |progress| {
            let mut question = Audit::new_zeroed();
            question.progress = progress;
            ask(question)
        };
        self.check("audit.finds-nothing", (0, (0, true)), || {
            let (mut result, mut answer) = step(0);
            while result == 0 && answer.progress != 0 {
                (result, answer) = step(answer.progress);
            }
            (
                result,
                seen_pair(answer.breaches, answer.frames_checked > 0),
            )
        });
        self.check("audit.not-under-way", EINVAL, || step(77).0);
        self.check("audit_breach.not-in-this-build", ENOSYS, || {
            result(AuditBreach::new_zeroed())
        });
    }

    fn devices(&self) {
        let ask_for = |device, register, width| {
            ask(PciRead {
                device,
                register,
                width,
                ..PciRead::default()
            })
        };
        self.check("pci_read.host-bridge", (0, 0x8086), || {
            let (result, answer) = ask_for(0, 0, 2);
            (result, seen(answer.value))
        });
        self.check("pci_read.nothing-is-there", (0, 0xffff_ffff), || {
            let (result, answer) = ask_for(30, 0, 4);
            (result, seen(answer.value))
        });
        self.check("pci_read.no-such-address", [EINVAL; 4], || {
            [(32, 0, 4), (0, 0, 3), (0, 1, 2), (0, 0x1000, 4)]
                .map(|(device, register, width)| ask_for(device, register, width).0)
        });
        let write = |device, register, width, value| {
            result(PciWrite {
                device,
                register,
                width,
                value,
                ..PciWrite::default()
            })
        };
        self.check("pci_write.command-as-it-is", 0, || {
            let command = prepared(PciRead {
                register: 4,
                width: 2,
                ..PciRead::default()
            });
            write(0, 4, 2, command.map_or(0, |answer| answer.value))
        });
        self.check("pci_write.header-is-the-hypervisors", EACCES, || {
            write(0, 0, 4, 0)
        });
        self.check("pci_write.no-such-address", [EINVAL; 2], || {
            [write(32, 4, 2, 0), write(0, 4, 3, 0)]
        });
        let bind = |device, entry| {
            result(MsixBind {
                device,
                entry,
                ..MsixBind::default()
            })
        };
        self.check("msix_bind.interrupt-can-be-bound", (0, [0, EEXIST]), || {
            let Some(device) = (0..32).find(|&device| has_msix(device)) else {
                return (ENODEV, [0; 2]);
            };
            let (result, bound) = ask(MsixBind {
                device,
                ..MsixBind::default()
            });
            let place = [u64::from(bound.pirq), 0];
            let bind = || call(EVENT_CHANNEL_OP, &[BIND_PIRQ, address_of(&place)]);
            let answers = [bind(), bind()];
            close(u32::try_from(read(address_of(&place) + 8) & 0xffff_ffff).unwrap_or(0));
            (result, answers)
        });
        self.check("msix_bind.no-such-device", ENODEV, || bind(30, 0));
        self.check("msix_bind.no-such-address", [EINVAL; 2], || {
            [bind(32, 0), bind(0, 1 << 16)]
        });
    }
}

const BIND_PIRQ: u64 = 2;

/// A register of a device of the first bus, or 0.
fn register(device: u8, register: u16, width: u8) -> u32 {
    let question = PciRead {
        device,
        register,
        width,
        ..PciRead::default()
    };
    prepared(question).map_or(0, |answer| answer.value)
}

/// Whether a device has MSI-X, by its list of capabilities (PCI 3.0, 6.7).
fn has_msix(device: u8) -> bool {
    if register(device, 0, 2) == 0xffff || register(device, 6, 2) & 0x10 == 0 {
        return false;
    }
    let mut place = register(device, 0x34, 1);
    for _ in 0..48 {
        let Ok(at @ 0x40..) = u16::try_from(place & 0xfc) else {
            return false;
        };
        if register(device, at, 1) == 0x11 {
            return true;
        }
        place = register(device, at + 1, 1);
    }
    false
}

/// A row of the table's operations.
type Row = (
    &'static table::HypercallRow,
    Option<&'static table::OperationRow>,
);

fn seen_pair(number: u64, truth: bool) -> (u64, bool) {
    (seen(number), seen(truth))
}
