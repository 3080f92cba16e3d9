//! Hypercall 56 by hypercalls of the first domain, each life of a domain recounted to the frame.

use alloc::vec::Vec;

use hypercall_abi::control::audit::{BREACH_INVARIANTS, BREACH_MEND};
use hypercall_abi::control::domain::{
    DOMAIN_STATE_BUILDING, DOMAIN_STATE_DYING, DOMAIN_STATE_PAUSED, DOMAIN_STATE_RUNNING,
    DomainRecord,
};
use hypercall_abi::control::vcpu::VCPU_STATE_DOWN;
use hypercall_abi::grant::GTF_PERMIT_ACCESS;
use hypercall_abi::memory::{MemoryReservation, XENMEM_POPULATE_PHYSMAP};
use hypercall_abi::table::prelude::*;
use hypercall_abi::{Errno, GuestPtr, RawGrantRef, number};
use zerocopy::IntoBytes;

use super::*;
use crate::domain::DomId;
use crate::fake::Preempt;
use crate::fake::bench::{Bench, DATA};
use crate::sync::Held;

/// Where lists and buffers are: behind the structure that is at `DATA`.
const LIST: u64 = DATA + 0x800;
/// Number of the domain that the tests make.
const SECOND: RawDomId = RawDomId(3);

/// Runs an operation; gives the structure as it is afterwards, or the error.
fn op<T: ControlArgument>(bench: &mut Bench, argument: T) -> Result<T, Errno> {
    bench.write(DATA, &argument);
    let result = bench.result(number::PARAVANE_OP, [T::OPERATION.to_register(), DATA, 0]);
    Errno::from_register(result).map(|_| bench.read(DATA))
}

fn with<T: ControlArgument>(fill: impl FnOnce(&mut T)) -> T {
    let mut argument = T::new_zeroed();
    argument.as_mut_bytes()[..8].copy_from_slice(T::HEADER.as_bytes());
    fill(&mut argument);
    argument
}

fn create(bench: &mut Bench) -> Result<DomainCreate, Errno> {
    let request = with(|request: &mut DomainCreate| {
        request.domid = SECOND;
        request.max_vcpus = 2;
        request.max_frames = 64;
        request.weight = 100;
        request.uuid = *b"a name of 16 byt";
    });
    op(bench, request)
}

fn destroy(bench: &mut Bench) -> Result<(), Errno> {
    let request = with(|request: &mut DomainDestroy| request.domid = SECOND);
    op(bench, request).map(drop)
}

fn info(bench: &mut Bench) -> Result<DomainRecord, Errno> {
    let request = with(|request: &mut DomainInfo| request.first = SECOND);
    op(bench, request).map(|answer| answer.record)
}

/// Gives the second domain frames; their numbers.
fn populate(bench: &mut Bench, count: u64) -> Vec<u64> {
    let pfns: [u64; 8] = core::array::from_fn(|index| u64::try_from(index).unwrap());
    bench.write(LIST, &pfns);
    let request = MemoryReservation {
        extent_start: GuestPtr::new(LIST),
        nr_extents: count,
        domid: SECOND,
        ..MemoryReservation::default()
    };
    bench.write(DATA, &request);
    let done = bench.result(number::MEMORY_OP, [XENMEM_POPULATE_PHYSMAP.into(), DATA, 0]);
    assert_eq!(done, count);
    let frames: [u64; 8] = bench.read(LIST);
    frames[..usize::try_from(count).unwrap()].to_vec()
}

fn host(bench: &mut Bench) -> HostInfo {
    op(bench, with(|_: &mut HostInfo| {})).unwrap()
}

fn recount(bench: &mut Bench) -> Audit {
    let audit = op(bench, with(|_: &mut Audit| {})).unwrap();
    let first = core::str::from_utf8(&audit.first)
        .unwrap()
        .trim_end_matches('\0');
    assert_eq!(first, "");
    audit
}

#[test]
fn an_unknown_operation_a_newer_version_and_a_bad_header_have_errors_of_their_own() {
    let mut bench = Bench::new();
    for operation in [1_u64, 0x103, 0x999, u64::from(u32::MAX)] {
        assert_eq!(
            bench.result(number::PARAVANE_OP, [operation, DATA, 0]),
            Errno::ENOSYS.to_register()
        );
    }
    let newer = with(|request: &mut HostInfo| request.header.version = 2);
    assert_eq!(op(&mut bench, newer).map(drop), Err(Errno::EOPNOTSUPP));
    let flags = with(|request: &mut HostInfo| request.header.flags = 1);
    assert_eq!(op(&mut bench, flags).map(drop), Err(Errno::EINVAL));
    let reserved = with(|request: &mut DomainInfo| request.reserved[2] = 1);
    assert_eq!(op(&mut bench, reserved).map(drop), Err(Errno::EINVAL));
    let result = bench.result(
        number::PARAVANE_OP,
        [HostInfo::OPERATION.into(), 1 << 47, 0],
    );
    assert_eq!(result, Errno::EFAULT.to_register());
}

#[test]
fn the_hosts_frames_add_up() {
    let mut bench = Bench::new();
    create(&mut bench).unwrap();
    populate(&mut bench, 8);
    let (host, record) = (host(&mut bench), info(&mut bench).unwrap());
    assert_eq!(record.frames, 8);
    assert_eq!((record.max_frames, record.shared_frames), (64, 2));
    let request = with(|request: &mut DomainInfo| request.first = RawDomId(0));
    let first = op(&mut bench, request).unwrap().record;
    let owned =
        |record: &DomainRecord| record.frames + record.shared_frames + record.overhead_frames;
    let sum = host.free_frames + host.hypervisor_frames + owned(&record) + owned(&first);
    assert_eq!(host.total_frames, sum);
    assert!(host.version.starts_with(b"Paravane "));
    assert_eq!(host.cpus, 1);
}

#[test]
fn a_domain_lives_from_building_to_gone_and_leaves_nothing_behind() {
    let mut bench = Bench::new();
    let before = host(&mut bench).free_frames;
    let made = create(&mut bench).unwrap();
    assert_eq!(made.domid, SECOND);
    assert_ne!((made.shared_info_mfn.0, made.grant_table_mfn.0), (0, 0));
    let record = info(&mut bench).unwrap();
    assert_eq!(
        (record.state, record.vcpus_max, record.vcpus_online),
        (DOMAIN_STATE_BUILDING, 2, 0)
    );
    assert_eq!(
        (record.weight, record.affinity, &record.uuid),
        (100, 1, b"a name of 16 byt")
    );
    assert_eq!(create(&mut bench).map(drop), Err(Errno::EEXIST));
    populate(&mut bench, 5);
    recount(&mut bench);

    let unpause = with(|request: &mut DomainUnpause| request.domid = SECOND);
    op(&mut bench, unpause).unwrap();
    assert_eq!(info(&mut bench).unwrap().state, DOMAIN_STATE_RUNNING);
    assert_eq!(
        op(&mut bench, unpause).map(drop),
        Err(Errno::EINVAL),
        "it is not paused"
    );
    op(
        &mut bench,
        with(|request: &mut DomainPause| request.domid = SECOND),
    )
    .unwrap();
    assert_eq!(info(&mut bench).unwrap().state, DOMAIN_STATE_PAUSED);

    destroy(&mut bench).unwrap();
    assert_eq!(info(&mut bench).map(drop), Err(Errno::ESRCH));
    assert_eq!(destroy(&mut bench), Err(Errno::ESRCH));
    assert_eq!(host(&mut bench).free_frames, before);
    recount(&mut bench);
}

#[test]
fn destruction_stops_and_goes_on_at_every_step() {
    let mut bench = Bench::new();
    let before = host(&mut bench).free_frames;
    create(&mut bench).unwrap();
    populate(&mut bench, 8);
    bench
        .hv
        .machine()
        .order(|orders| orders.preempt = Preempt::Always);
    let request = with(|request: &mut DomainDestroy| request.domid = SECOND);
    bench.write(DATA, &request);
    let mut calls = 0;
    loop {
        let registers = &mut bench.state().registers;
        registers.rax = 56;
        [registers.rdi, registers.rsi] = [DomainDestroy::OPERATION.into(), DATA];
        registers.rip += 2;
        let rip = registers.rip;
        bench.enter(crate::entry::Entry::Syscall);
        calls += 1;
        if bench.state().registers.rip == rip {
            break;
        }
        assert_eq!(
            bench.state().registers.rax,
            56,
            "it goes on when it is repeated"
        );
    }
    assert_eq!(bench.state().registers.rax, 0);
    assert!(calls > 1);
    bench
        .hv
        .machine()
        .order(|orders| orders.preempt = Preempt::Never);
    assert_eq!(host(&mut bench).free_frames, before);
    recount(&mut bench);
}

#[test]
fn a_domain_whose_memory_others_map_is_dying_until_they_do_not() {
    let mut bench = Bench::new();
    create(&mut bench).unwrap();
    let frames = populate(&mut bench, 1);
    let domain = bench
        .hv
        .domains
        .get(DomId::new(3).unwrap(), &mut Held::enter())
        .unwrap();
    let hold = bench
        .hv
        .ram()
        .reference(domain.memory.owner(), frames[0])
        .unwrap();
    let number = hold.record();
    drop(domain);
    assert_eq!(destroy(&mut bench), Err(Errno::EBUSY));
    assert_eq!(info(&mut bench).unwrap().state, DOMAIN_STATE_DYING);
    drop(crate::frame::FrameRef::adopt(bench.hv.ram(), number));
    assert_eq!(destroy(&mut bench), Ok(()));
    recount(&mut bench);
}

#[test]
fn the_caller_cannot_end_pause_or_unpause_itself() {
    let mut bench = Bench::new();
    for named in [RawDomId(0), RawDomId::SELF] {
        let request = with(|request: &mut DomainDestroy| request.domid = named);
        assert_eq!(op(&mut bench, request).map(drop), Err(Errno::EPERM));
        let request = with(|request: &mut DomainPause| request.domid = named);
        assert_eq!(op(&mut bench, request).map(drop), Err(Errno::EPERM));
    }
    assert_eq!(destroy(&mut bench), Err(Errno::ESRCH));
}

#[test]
fn creation_refuses_what_could_not_run() {
    let mut bench = Bench::new();
    let changes: [fn(&mut DomainCreate); 7] = [
        |request| request.max_vcpus = 0,
        |request| request.max_vcpus = 1000,
        |request| request.weight = 0,
        |request| request.weight = 65536,
        |request| request.affinity = 2,
        |request| request.domid = RawDomId(0x7ff1),
        |request| request.reserved = 1,
    ];
    let before = host(&mut bench).free_frames;
    for change in changes {
        let mut request = with(|request: &mut DomainCreate| {
            (request.domid, request.max_vcpus, request.weight) = (SECOND, 1, 256);
        });
        change(&mut request);
        assert_eq!(op(&mut bench, request).map(drop), Err(Errno::EINVAL));
    }
    assert_eq!(host(&mut bench).free_frames, before);
}

#[test]
fn frames_of_a_building_domain_are_written_read_and_zeroed() {
    let mut bench = Bench::new();
    create(&mut bench).unwrap();
    let frames = populate(&mut bench, 1);
    bench.write(LIST, &frames[0]);
    let data: [u8; 4096] = core::array::from_fn(|index| index.to_le_bytes()[0]);
    // The page behind the structures.
    let page = DATA + 0x1000;
    bench.write(page, &data);
    let write = with(|request: &mut MemoryWrite| {
        (request.domid, request.count) = (SECOND, 1);
        (request.frames, request.data) = (GuestPtr::new(LIST), GuestPtr::new(page));
    });
    assert_eq!(op(&mut bench, write).unwrap().done, 1);
    bench.write(page, &[0_u8; 4096]);
    let read = with(|request: &mut MemoryRead| {
        (request.domid, request.count) = (SECOND, 1);
        (request.frames, request.data) = (GuestPtr::new(LIST), GuestPtr::new(page));
    });
    assert_eq!(op(&mut bench, read).unwrap().done, 1);
    assert_eq!(bench.read::<[u8; 4096]>(page), data);
    let zero = MemoryWrite {
        data: GuestPtr::NULL,
        ..write
    };
    op(&mut bench, zero).unwrap();
    op(&mut bench, read).unwrap();
    assert_eq!(bench.read::<[u8; 4096]>(page), [0; 4096]);

    let beyond = MemoryWrite { done: 2, ..write };
    assert_eq!(op(&mut bench, beyond).map(drop), Err(Errno::EINVAL));
    bench.write(LIST, &0xffff_ffff_u64);
    assert_eq!(op(&mut bench, write).map(drop), Err(Errno::EINVAL));
    let unpause = with(|request: &mut DomainUnpause| request.domid = SECOND);
    op(&mut bench, unpause).unwrap();
    bench.write(LIST, &frames[0]);
    assert_eq!(
        op(&mut bench, write).map(drop),
        Err(Errno::EBUSY),
        "it runs"
    );
    assert_eq!(op(&mut bench, read).map(drop), Ok(()));
}

#[test]
fn a_long_write_tells_how_far_it_got() {
    let mut bench = Bench::new();
    create(&mut bench).unwrap();
    let frames = populate(&mut bench, 2);
    bench.write(LIST, &[frames[0], frames[1], 0xffff_ffff]);
    let request = with(|request: &mut MemoryWrite| {
        (request.domid, request.count, request.frames) = (SECOND, 3, GuestPtr::new(LIST));
    });
    assert_eq!(op(&mut bench, request).map(drop), Err(Errno::EINVAL));
    assert_eq!(bench.read::<MemoryWrite>(DATA).done, 2);
}

#[test]
fn shares_are_set_and_told() {
    let mut bench = Bench::new();
    create(&mut bench).unwrap();
    let set = with(|request: &mut SchedSet| {
        (request.domid, request.weight, request.cap_percent) = (SECOND, 512, 150);
    });
    op(&mut bench, set).unwrap();
    let told = op(
        &mut bench,
        with(|request: &mut SchedGet| request.domid = SECOND),
    )
    .unwrap();
    assert_eq!(
        (told.weight, told.cap_percent, told.affinity),
        (512, 150, 1)
    );
    let vcpu = with(|request: &mut VcpuRecord| (request.domid, request.vcpu) = (SECOND, 1));
    assert_eq!(op(&mut bench, vcpu).unwrap().state, VCPU_STATE_DOWN);
    let vcpu = with(|request: &mut VcpuRecord| (request.domid, request.vcpu) = (SECOND, 2));
    assert_eq!(op(&mut bench, vcpu).map(drop), Err(Errno::ENOENT));
}

#[test]
fn a_seeded_grant_is_an_entry_of_the_new_domains_table() {
    let mut bench = Bench::new();
    let made = create(&mut bench).unwrap();
    let frames = populate(&mut bench, 1);
    let seed = with(|request: &mut GrantSeed| {
        (request.domid, request.backend, request.gref) = (SECOND, RawDomId(0), RawGrantRef(1));
        request.mfn = RawMfn(frames[0]);
    });
    op(&mut bench, seed).unwrap();
    let table = bench.hv.frames().lookup(made.grant_table_mfn.0).unwrap();
    let entry = bench.hv.machine().load_u64(table, 8);
    assert_eq!(entry, frames[0] << 32 | u64::from(GTF_PERMIT_ACCESS));
    let beyond = GrantSeed {
        gref: RawGrantRef(8),
        ..seed
    };
    assert_eq!(op(&mut bench, beyond).map(drop), Err(Errno::EINVAL));
}

#[test]
fn the_log_and_the_cpus_can_be_read() {
    let mut bench = Bench::new();
    crate::console::LOG
        .lock_leaf()
        .write(b"a line of the test\n");
    let request = with(|request: &mut LogRead| {
        (request.buffer, request.len) = (GuestPtr::new(LIST), 1024);
    });
    let answer = op(&mut bench, request).unwrap();
    assert!(answer.copied > 0);
    let again = LogRead {
        cursor: answer.cursor + 1_000_000,
        ..request
    };
    assert_eq!(op(&mut bench, again).unwrap().copied, 0);
    bench.hv.machine().advance(1_000);
    let cpu = op(&mut bench, with(|_: &mut CpuInfo| {})).unwrap();
    assert_eq!(cpu.idle_ns + cpu.busy_ns, bench.hv.machine().now().get());
    assert_eq!(
        op(&mut bench, with(|request: &mut CpuInfo| request.cpu = 1)).map(drop),
        Err(Errno::ENOENT)
    );
}

#[test]
fn a_newer_version_is_told_from_a_header_that_is_wrong() {
    let known = ControlHeader {
        version: 1,
        flags: 0,
        size: 48,
    };
    assert_eq!(check_header(known, known), Ok(()));
    assert_eq!(
        check_header(
            ControlHeader {
                version: 2,
                size: 56,
                ..known
            },
            known
        ),
        Err(Errno::EOPNOTSUPP)
    );
    assert_eq!(
        check_header(
            ControlHeader {
                version: 0,
                ..known
            },
            known
        ),
        Err(Errno::EINVAL)
    );
    assert_eq!(
        check_header(ControlHeader { flags: 1, ..known }, known),
        Err(Errno::EINVAL)
    );
    assert_eq!(
        check_header(ControlHeader { size: 40, ..known }, known),
        Err(Errno::EINVAL)
    );
}

/// Runs an operation with its k-th guest copy failing, for each k; the error is `EFAULT` and the counts stay right.
fn each_copy_fails<T: ControlArgument>(prepare: impl Fn(&mut Bench) -> T) {
    for failing in 0.. {
        let mut bench = Bench::new();
        let argument = prepare(&mut bench);
        bench.write(DATA, &argument);
        let at = bench.hv.machine().orders().copies + failing;
        // Two in a row: one alone may be a stale translation, and is tried again.
        bench
            .hv
            .machine()
            .order(|orders| orders.fail_copies = at..at + 2);
        let result = bench.result(number::PARAVANE_OP, [T::OPERATION.to_register(), DATA, 0]);
        bench.hv.machine().order(|orders| orders.fail_copies = 0..0);
        recount(&mut bench);
        if result == 0 {
            assert!(failing > 1, "one copy in, one out");
            return;
        }
        assert_eq!(result, Errno::EFAULT.to_register(), "copy {failing}");
    }
}

#[test]
fn a_guest_copy_that_fails_is_efault_wherever_it_is() {
    each_copy_fails(|_| with(|_: &mut HostInfo| {}));
    each_copy_fails(|_| with(|_: &mut DomainInfo| {}));
    each_copy_fails(|_| {
        with(|request: &mut DomainCreate| {
            (request.domid, request.max_vcpus, request.weight) = (SECOND, 1, 256);
        })
    });
    each_copy_fails(|bench| {
        create(bench).unwrap();
        with(|request: &mut DomainDestroy| request.domid = SECOND)
    });
    each_copy_fails(|bench| {
        create(bench).unwrap();
        let frames = populate(bench, 2);
        bench.write(LIST, &[frames[0], frames[1]]);
        with(|request: &mut MemoryWrite| {
            (request.domid, request.count) = (SECOND, 2);
            (request.frames, request.data) = (GuestPtr::new(LIST), GuestPtr::new(DATA));
        })
    });
}

#[test]
fn a_domain_takes_frames_up_to_its_limit_whatever_its_maximum() {
    let mut bench = Bench::new();
    create(&mut bench).unwrap();
    let limit = |bench: &mut Bench, frames| {
        let request = with(|request: &mut DomainSetLimit| {
            request.domid = SECOND;
            request.limit_frames = frames;
        });
        op(bench, request).map(drop)
    };
    assert_eq!(limit(&mut bench, 6), Ok(()));
    let pfns: [u64; 8] = core::array::from_fn(|index| u64::try_from(index).unwrap());
    bench.write(LIST, &pfns);
    let request = MemoryReservation {
        extent_start: GuestPtr::new(LIST),
        nr_extents: 8,
        domid: SECOND,
        ..MemoryReservation::default()
    };
    bench.write(DATA, &request);
    let done = bench.result(number::MEMORY_OP, [XENMEM_POPULATE_PHYSMAP.into(), DATA, 0]);
    assert_eq!(done, 6);
    let record = info(&mut bench).unwrap();
    assert_eq!((record.frames, record.max_frames), (6, 64));
    // Below what it has: nothing more, and nothing is taken away.
    assert_eq!(limit(&mut bench, 2), Ok(()));
    bench.write(DATA, &request);
    let done = bench.result(number::MEMORY_OP, [XENMEM_POPULATE_PHYSMAP.into(), DATA, 0]);
    assert_eq!((done, info(&mut bench).unwrap().frames), (0, 6));
    assert_eq!(limit(&mut bench, u64::MAX), Ok(()));
    destroy(&mut bench).unwrap();
    assert_eq!(limit(&mut bench, 1), Err(Errno::ESRCH));
    recount(&mut bench);
}

#[test]
fn what_a_domain_asks_for_is_counted_by_kind() {
    let mut bench = Bench::new();
    let counts = |bench: &mut Bench| {
        let first = with(|request: &mut DomainCounters| request.domid = RawDomId(0));
        op(bench, first).unwrap().counts
    };
    let before = counts(&mut bench);
    bench.result(number::XEN_VERSION, [0, 0, 0]);
    bench.result(number::XEN_VERSION, [0, 0, 0]);
    bench.result(999, [0, 0, 0]);
    let after = counts(&mut bench);
    let more = |kind: u32| {
        let kind = usize::try_from(kind).unwrap();
        after[kind] - before[kind]
    };
    assert_eq!((more(number::XEN_VERSION), more(63)), (2, 1));
    assert_eq!(more(number::PARAVANE_OP), 1);
    let request = with(|request: &mut DomainInfo| request.first = RawDomId(0));
    let record = op(&mut bench, request).unwrap().record;
    assert_eq!(record.hypercalls, after[..64].iter().sum::<u64>() + 1);
    let stranger = with(|request: &mut DomainCounters| request.domid = RawDomId(9));
    assert_eq!(op(&mut bench, stranger).map(drop), Err(Errno::ESRCH));
}

/// The first breach in words.
fn first_breach(audit: &Audit) -> &str {
    let first = core::str::from_utf8(&audit.first).unwrap();
    first.trim_end_matches('\0')
}

#[test]
fn every_breach_is_planted_found_under_its_name_and_mended() {
    let mut bench = Bench::new();
    create(&mut bench).unwrap();
    populate(&mut bench, 8);
    recount(&mut bench);
    let before = host(&mut bench).free_frames;
    for domid in [SECOND, RawDomId(0)] {
        for invariant in 1..=BREACH_INVARIANTS {
            let mut breach = with(|request: &mut AuditBreach| {
                (request.invariant, request.domid) = (invariant, domid);
            });
            breach = op(&mut bench, breach).unwrap();
            let audit = op(&mut bench, with(|_: &mut Audit| {})).unwrap();
            let (first, id) = (first_breach(&audit), alloc::format!("I-{invariant:02} "));
            assert!(first.starts_with(&id), "{invariant}: {first}");
            let place = match invariant {
                9 => alloc::format!("d{}:", domid.0),
                10 => "expected".into(),
                12 | 13 => alloc::format!(" {}: ", breach.place),
                _ => alloc::format!("{:#x}", breach.place),
            };
            assert!(first.contains(&place), "{invariant}: {first}");
            breach.action = BREACH_MEND;
            op(&mut bench, breach).unwrap();
            recount(&mut bench);
        }
    }
    // What the views of the two have grown by is theirs.
    let grown = before - host(&mut bench).free_frames;
    assert!(grown <= 6, "{grown} frames are gone");
}

#[test]
fn a_recount_goes_on_over_many_calls_and_only_the_last_begun_does() {
    let mut bench = Bench::new();
    bench
        .hv
        .machine()
        .order(|orders| orders.preempt = Preempt::Always);
    let first = op(&mut bench, with(|_: &mut Audit| {})).unwrap();
    assert_ne!(first.progress, 0);
    let mut audit = op(&mut bench, with(|_: &mut Audit| {})).unwrap();
    let stale = with(|request: &mut Audit| request.progress = first.progress);
    assert_eq!(op(&mut bench, stale).map(drop), Err(Errno::EINVAL));
    let mut calls = 1;
    while audit.progress != 0 {
        let next = audit.progress;
        audit = op(
            &mut bench,
            with(|request: &mut Audit| request.progress = next),
        )
        .unwrap();
        calls += 1;
    }
    assert_eq!((audit.breaches, audit.steps), (0, calls));
    assert!(audit.frames_checked > 4000 && audit.tables_checked > 3);
    let ended = with(|request: &mut Audit| request.progress = 1);
    assert_eq!(op(&mut bench, ended).map(drop), Err(Errno::EINVAL));
}
