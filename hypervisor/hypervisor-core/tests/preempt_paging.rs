//! Long operations interrupted at each point, then continued, abandoned, or met by another vCPU or by destruction.

#![expect(clippy::unwrap_used, reason = "a test that cannot go on fails")]

mod common;

use common::{Host, Op, args};
use hypercall_abi::mmu::{
    MMUEXT_NEW_BASEPTR, MMUEXT_PIN_L1_TABLE, MMUEXT_PIN_L2_TABLE, MMUEXT_PIN_L3_TABLE,
    MMUEXT_PIN_L4_TABLE, MMUEXT_UNPIN_TABLE, MmuextOp,
};
use hypervisor_core::fake::{FakeMachine, Preempt};
use hypervisor_core::frame::types::Phase;
use hypervisor_core::ids::{EntryIndex, Level, Mfn};
use hypervisor_core::machine::Machine;
use hypervisor_core::paging::{BatchEnd, Step, Tables, VcpuMemory};
use hypervisor_core::sync::Held;

/// Preemption points of the tree below: one behind each entry of its L2, L3 and L4 tables but the last.
const POINTS: u64 = 7;

/// What the frame table says of every frame.
type Snapshot = Vec<String>;

/// A guest's tree: root, L3, two L2, three L1, and a page that all L1 tables map.
struct Tree {
    root: Mfn,
    l3: Mfn,
    l2: [Mfn; 2],
    l1: [Mfn; 3],
    page: Mfn,
}

fn link(host: &Host, table: Mfn, index: u16, to: Mfn, flags: u64) {
    host.machine
        .write_entry(table, EntryIndex::new(index).unwrap(), to.address() | flags);
}

/// A host whose first guest has an unpinned tree: two root slots lead to one L3, which leads to both L2, and so on.
fn host() -> (Host, Tree) {
    let host = Host::new(1, 8);
    let f = &host.guests[0].frames;
    let tree = Tree {
        root: f[0],
        l3: f[1],
        l2: [f[2], f[3]],
        l1: [f[4], f[5], f[6]],
        page: f[7],
    };
    f.iter().for_each(|&mfn| host.machine.scrub(mfn));
    link(&host, tree.root, 0, tree.l3, 7);
    link(&host, tree.root, 300, tree.l3, 7);
    link(&host, tree.root, 511, host.guests[0].stable[1], 7);
    link(&host, tree.l3, 0, tree.l2[0], 7);
    link(&host, tree.l3, 511, tree.l2[1], 7);
    for (at, l2) in tree.l2.into_iter().enumerate() {
        link(&host, l2, 0, tree.l1[0], 7);
        link(&host, l2, 1, tree.l1[at + 1], 7);
        link(&host, l2, 511, tree.l1[0], 7);
    }
    for l1 in tree.l1 {
        link(&host, l1, 0, tree.page, 5);
        link(&host, l1, 511, tree.page, 7);
    }
    (host, tree)
}

fn snapshot(host: &Host) -> Snapshot {
    let f = &host.guests[0].frames;
    f.iter()
        .map(|&mfn| {
            format!(
                "{:?} {:?}",
                host.frames.holding(mfn),
                host.frames.type_state(mfn)
            )
        })
        .collect()
}

fn partial(host: &Host) -> usize {
    let f = host.guests[0].frames.iter();
    f.filter(|&&mfn| matches!(host.frames.type_state(mfn).phase, Phase::Partial(_)))
        .count()
}

fn begin(host: &Host, cmd: u32, frame: Mfn) -> BatchEnd {
    host.put(
        0,
        &[MmuextOp {
            cmd,
            pad0: 0,
            arg1: frame.get(),
            arg2: 0,
        }],
    );
    host.batch(0, 0, Op::Ext, args(1))
}

/// Runs `cmd` interrupted at question `at` only, and goes on. False if there was no such question.
fn interrupted(host: &Host, cmd: u32, frame: Mfn, at: u64) -> Option<i64> {
    host.machine
        .order(|o| (o.questions, o.preempt) = (0, Preempt::At(at)));
    let end = begin(host, cmd, frame);
    let asked = host.machine.orders().questions;
    host.machine.order(|o| o.preempt = Preempt::Never);
    match end {
        BatchEnd::Done(result) if asked <= at => {
            assert_eq!(result, 0);
            None
        }
        BatchEnd::Done(result) => Some(result),
        BatchEnd::Again(args) => Some(host.batch_to_end(0, 0, Op::Ext, args)),
    }
}

#[test]
fn a_pin_interrupted_anywhere_ends_as_if_it_were_not() {
    let (host, tree) = host();
    assert_eq!(host.ext(0, 0, MMUEXT_PIN_L4_TABLE, tree.root.get(), 0), 0);
    let wanted = snapshot(&host);
    let mut points = 0_u64;
    for at in 0.. {
        let (mut host, tree) = crate::host();
        let Some(result) = interrupted(&host, MMUEXT_PIN_L4_TABLE, tree.root, at) else {
            break;
        };
        assert_eq!((result, partial(&host)), (0, 0), "at {at}");
        assert_eq!(snapshot(&host), wanted, "at {at}");
        host.check("pinned");
        points += 1;
    }
    assert!(
        points >= POINTS,
        "only {points} points: P1 wants one after each L1 table"
    );
}

#[test]
fn an_unpin_interrupted_anywhere_takes_everything_down() {
    let (host, _) = host();
    let wanted: Vec<u32> = host.guests[0]
        .frames
        .iter()
        .map(|&f| host.frames.holding(f).count)
        .collect();
    for at in 0.. {
        let (mut host, tree) = crate::host();
        assert_eq!(host.ext(0, 0, MMUEXT_PIN_L4_TABLE, tree.root.get(), 0), 0);
        let Some(result) = interrupted(&host, MMUEXT_UNPIN_TABLE, tree.root, at) else {
            assert!(at >= POINTS);
            break;
        };
        assert_eq!((result, partial(&host)), (0, 0), "at {at}");
        let counts: Vec<u32> = host.guests[0]
            .frames
            .iter()
            .map(|&f| host.frames.holding(f).count)
            .collect();
        assert_eq!(counts, wanted, "at {at}");
        host.check("unpinned");
    }
}

#[test]
fn a_pin_that_fails_late_leaves_nothing_wherever_it_is_interrupted() {
    for at in 0.. {
        let (mut host, tree) = host();
        // The last entry of the last table names somebody else's frame.
        let stranger = host.guests[0].stable[1].get() + 0x1000;
        let bad = stranger << 12 | 7;
        host.machine
            .write_entry(tree.l1[2], EntryIndex::new(510).unwrap(), bad);
        let before = snapshot(&host);
        host.machine
            .order(|o| (o.questions, o.preempt) = (0, Preempt::At(at)));
        let end = begin(&host, MMUEXT_PIN_L4_TABLE, tree.root);
        let asked = host.machine.orders().questions;
        host.machine.order(|o| o.preempt = Preempt::Never);
        let result = match end {
            BatchEnd::Done(result) => result,
            BatchEnd::Again(next) => host.batch_to_end(0, 0, Op::Ext, next),
        };
        assert_eq!((result, partial(&host)), (-1, 0), "at {at}");
        let after = snapshot(&host);
        for (before, after) in before.iter().zip(&after) {
            // The name of the last type stays; counts do not.
            assert_eq!(
                before.split("kind").next(),
                after.split("kind").next(),
                "at {at}"
            );
        }
        assert!(
            after.iter().all(|state| state.contains("phase: Idle")),
            "at {at}: {after:?}"
        );
        host.check("failed");
        if asked <= at {
            // It fails in the last L2 table, behind four points; taking it back has some of its own.
            assert!(at > 4);
            break;
        }
    }
}

#[test]
fn permanent_preemption_still_ends() {
    let (mut host, tree) = host();
    host.machine.order(|o| o.preempt = Preempt::Always);
    assert_eq!(host.ext(0, 0, MMUEXT_PIN_L4_TABLE, tree.root.get(), 0), 0);
    assert_eq!(host.ext(0, 0, MMUEXT_NEW_BASEPTR, tree.root.get(), 0), 0);
    assert_eq!(host.ext(0, 0, MMUEXT_UNPIN_TABLE, tree.root.get(), 0), 0);
    let stable = host.guests[0].stable[0].get();
    assert_eq!(host.ext(0, 0, MMUEXT_NEW_BASEPTR, stable, 0), 0);
    assert_eq!(partial(&host), 0);
    host.check("taken down in the smallest steps");
}

#[test]
fn an_abandoned_pin_is_finished_by_whoever_wants_the_table_and_refused_to_others() {
    for at in 0..POINTS {
        let (mut host, tree) = host();
        host.machine
            .order(|o| (o.questions, o.preempt) = (0, Preempt::At(at)));
        assert!(matches!(
            begin(&host, MMUEXT_PIN_L4_TABLE, tree.root),
            BatchEnd::Again(_)
        ));
        host.machine.order(|o| o.preempt = Preempt::Never);
        assert!(partial(&host) > 0);
        host.check("abandoned");
        for cmd in [
            MMUEXT_PIN_L1_TABLE,
            MMUEXT_PIN_L2_TABLE,
            MMUEXT_PIN_L3_TABLE,
        ] {
            assert_eq!(host.ext(0, 1, cmd, tree.root.get(), 0), -22, "at {at}");
        }
        host.check("refused to others");
        assert_eq!(
            host.ext(0, 1, MMUEXT_PIN_L4_TABLE, tree.root.get(), 0),
            0,
            "at {at}"
        );
        assert_eq!(partial(&host), 0);
        host.check("finished by another vCPU");
    }
}

#[test]
fn an_abandoned_pin_does_not_outlive_its_domain() {
    for at in 0..POINTS {
        for unpin in [false, true] {
            let (mut host, tree) = host();
            let cmd = if unpin {
                assert_eq!(host.ext(0, 0, MMUEXT_PIN_L4_TABLE, tree.root.get(), 0), 0);
                MMUEXT_UNPIN_TABLE
            } else {
                MMUEXT_PIN_L4_TABLE
            };
            host.machine
                .order(|o| (o.questions, o.preempt) = (0, Preempt::At(at)));
            let _abandoned = begin(&host, cmd, tree.root);
            host.machine.order(|o| o.preempt = Preempt::Always);
            host.destroy(&[0]);
            assert_eq!(
                host.frames.free().get() + 3,
                host.frames.total().get(),
                "at {at}"
            );
        }
    }
}

#[test]
fn a_frame_given_back_while_partial_is_freed_when_it_is_finished() {
    let (mut host, tree) = host();
    host.machine
        .order(|o| (o.questions, o.preempt) = (0, Preempt::At(3)));
    let BatchEnd::Again(next) = begin(&host, MMUEXT_PIN_L4_TABLE, tree.root) else {
        panic!("interrupted");
    };
    let owner = host.guests[0].memory.owner();
    assert_eq!(host.ram().end_allocation(owner, tree.root.get()), Ok(()));
    assert_eq!(host.ram().end_allocation(owner, tree.l2[0].get()), Ok(()));
    host.check("given back while partial");
    host.machine.order(|o| o.preempt = Preempt::Never);
    assert_eq!(host.batch_to_end(0, 0, Op::Ext, next), 0);
    assert_eq!(host.ext(0, 0, MMUEXT_UNPIN_TABLE, tree.root.get(), 0), 0);
    assert_eq!(host.frames.holding(tree.root).count, 0);
    assert_eq!(host.frames.holding(tree.l2[0]).count, 0);
    host.check("freed");
}

#[test]
fn two_roots_given_up_at_once_are_both_taken_down() {
    let (mut host, tree) = host();
    let guest = &host.guests[0];
    // The second root leads to the tree too.
    let second = guest.frames[7];
    link(&host, second, 0, tree.l3, 7);
    link(&host, second, 300, tree.l3, 7);
    for l1 in tree.l1 {
        link(&host, l1, 0, tree.root, 0);
        link(&host, l1, 511, tree.root, 0);
    }
    let vcpu = VcpuMemory::new();
    let tables = |work: &dyn Fn(&Tables<'_, FakeMachine>)| {
        let mut held = Held::enter();
        work(&Tables::lock(host.ram(), &guest.memory, &vcpu, &mut held).0);
    };
    tables(&|tables| {
        let (kernel, user) = (tree.root.get(), second.get());
        assert_eq!(tables.assign_roots(&vcpu, kernel, user), Ok(Step::Done(())));
    });
    host.machine.order(|o| o.preempt = Preempt::Always);
    tables(&|tables| tables.drop_roots(&vcpu));
    assert_eq!(partial(&host), 2, "both are interrupted");
    tables(&|tables| while tables.finish_pending() == Step::Again {});
    assert_eq!(partial(&host), 0);
    host.check("both roots are gone");
}

#[test]
fn a_start_that_is_not_issued_again_leaves_nothing_that_its_author_cannot_take_back() {
    for at in 0..POINTS {
        let (mut host, tree) = host();
        let stable = host.guests[0].stable;
        let user = host.guests[0].frames[7];
        for l1 in tree.l1 {
            link(&host, l1, 0, tree.root, 0);
            link(&host, l1, 511, tree.root, 0);
        }
        let guest = &host.guests[0];
        let vcpu = VcpuMemory::new();
        host.machine
            .order(|o| (o.questions, o.preempt) = (0, Preempt::At(at)));
        let assign = || {
            let mut held = Held::enter();
            let tables = Tables::lock(host.ram(), &guest.memory, &vcpu, &mut held).0;
            tables.assign_roots(&vcpu, tree.root.get(), user.get())
        };
        assert_eq!(assign(), Ok(Step::Again), "at {at}");
        host.machine.order(|o| o.preempt = Preempt::Never);
        assert_eq!(vcpu.user_root(), None);
        assert_eq!(host.frames.type_state(user).phase, Phase::Partial(512));
        if at % 2 == 0 {
            assert_eq!(assign(), Ok(Step::Done(())), "at {at}");
            assert_eq!(vcpu.user_root(), Some(user));
            let mut held = Held::enter();
            Tables::lock(host.ram(), &guest.memory, &vcpu, &mut held)
                .0
                .drop_roots(&vcpu);
        } else {
            for root in [user, tree.root] {
                assert_eq!(host.ext(0, 0, MMUEXT_PIN_L4_TABLE, root.get(), 0), 0);
                assert_eq!(host.ext(0, 0, MMUEXT_UNPIN_TABLE, root.get(), 0), 0);
            }
        }
        assert_eq!(host.frames.type_state(user).phase, Phase::Idle);
        assert_eq!(partial(&host), 0);
        assert_ne!(stable[0], user);
        host.check("nothing is left");
    }
}

#[test]
fn a_long_pin_stops_for_who_waits_for_the_tables() {
    let (host, tree) = host();
    link(&host, tree.l2[0], 7, tree.l1[0], 7);
    let (memory, vcpu) = (&host.guests[0].memory, VcpuMemory::new());
    let mut held = Held::enter();
    let (tables, _held) = Tables::lock(host.ram(), memory, &vcpu, &mut held);
    std::thread::scope(|scope| {
        scope.spawn(|| drop(memory.lock_tables(&mut Held::enter())));
        while !memory.is_waited_for() {
            std::thread::yield_now();
        }
        assert_eq!(tables.pin(tree.root.get(), Level::L4), Ok(Step::Again));
        drop(tables);
    });
    assert!(!memory.is_waited_for());
    assert_eq!(host.ext(0, 0, MMUEXT_PIN_L4_TABLE, tree.root.get(), 0), 0);
}
