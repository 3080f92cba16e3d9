//! Hostile arguments: each register and each field of a structure in turn holds what an attacker would try. The call may end
//! as it likes, but the hypervisor goes on, and every count still adds up.

use hypercall_abi::number;
use hypercall_abi::vcpu::VCPUOP_DOWN;
use hypervisor_core::fake::bench::{BASE, Bench, DATA, Ended};
use hypervisor_core::fake::snapshot::{Snapshot, domains};

use super::setting::{SECOND, create};
use super::{Arguments, End, Scenario, all};

/// Numbers, addresses of the hypervisor's, ends of ranges, ranges that wrap, domains that are none, frames of others.
const WORDS: &[u64] = &[
    0,
    1,
    7,
    0xfff,
    0x7ff0,
    0x7ff2,
    0x7ff4,
    0xffff,
    u32::MAX as u64,
    1 << 31,
    1 << 32,
    1 << 47,
    (1 << 47) - 8,
    0xffff_8000_0000_0000,
    0xffff_82d0_4000_0000,
    0xffff_87ff_ffff_fff8,
    BASE + 0x4000_0000,
    DATA + 0x6ffc,
    (1 << 63) - 1,
    1 << 63,
    u64::MAX - 7,
    u64::MAX,
];
/// The same for halves of words.
const HALVES: &[u32] = &[
    0,
    1,
    3,
    64,
    0x7ff0,
    0x7ff4,
    0xffff,
    0x101,
    0x0fff_ffff,
    1 << 31,
    u32::MAX - 1,
    u32::MAX,
];
/// Bytes of a structure that are tried.
const FIELDS: u64 = 96;

/// A machine that is made anew when an attack has ended it.
struct Target {
    scenario: Scenario,
    bench: Bench,
    arguments: Arguments,
    /// What the attacked page holds at first.
    page: Box<[u8; 4096]>,
}

impl Target {
    #[expect(clippy::disallowed_methods, reason = "a test's box")]
    fn new(scenario: Scenario) -> Self {
        let (mut bench, arguments) = scenario.prepare().expect("it was there before");
        let page = Box::new(bench.read(DATA));
        Self {
            scenario,
            bench,
            arguments,
            page,
        }
    }

    fn attack(&mut self, arguments: Arguments, words: &str) {
        match self.scenario.run(&mut self.bench, arguments) {
            End::Call(Ended::Result(_)) => {}
            End::Call(Ended::Idle) => *self = Self::new(self.scenario),
            End::Off => {
                // dom0 may end the machine: by a shutdown, its last vCPU, or a return to nowhere.
                let down =
                    self.scenario.call == number::VCPU_OP && arguments[0] == u64::from(VCPUOP_DOWN);
                let may = down || [number::SCHED_OP, number::IRET].contains(&self.scenario.call);
                assert!(
                    may,
                    "{} by {words}: the machine ended",
                    self.scenario.name()
                );
                *self = Self::new(self.scenario);
            }
        }
    }

    /// Stores the structure as it was but for some bytes.
    fn store(&mut self, at: u64, bytes: &[u8]) {
        let mut page = *self.page;
        let at = usize::try_from(at).expect("in a page");
        page[at..at + bytes.len()].copy_from_slice(bytes);
        self.bench.write(DATA, &page);
    }
}

#[test]
fn hostile_registers_harm_nobody() {
    for (scenario, _, _) in all() {
        for register in 0..5 {
            let mut target = Target::new(scenario);
            for &word in WORDS {
                target.store(0, &[]);
                let mut arguments = target.arguments;
                arguments[register] = word;
                target.attack(arguments, &format!("register {register} {word:#x}"));
            }
            target.bench.recount();
        }
    }
}

#[test]
fn hostile_fields_harm_nobody() {
    for (scenario, _, arguments) in all() {
        if !arguments.contains(&DATA) {
            continue;
        }
        let mut target = Target::new(scenario);
        for at in (0..FIELDS).step_by(4) {
            for &half in HALVES {
                target.store(at, &half.to_le_bytes());
                target.attack(target.arguments, &format!("half {at} {half:#x}"));
            }
            if at.is_multiple_of(8) {
                for &word in WORDS {
                    target.store(at, &word.to_le_bytes());
                    target.attack(target.arguments, &format!("word {at} {word:#x}"));
                }
            }
            target.bench.recount();
        }
    }
}

#[test]
fn an_ordinary_domain_with_dom0s_arguments_changes_nothing_of_dom0s() {
    for (scenario, mut bench, arguments) in all() {
        // What it has agreed to, and what needs a CPU of one's own.
        let own = [number::EVENT_CHANNEL_OP, number::SCHED_OP, number::IRET];
        if own.contains(&scenario.call) {
            continue;
        }
        let second = |bench: &Bench| {
            let mut all = domains(bench).into_iter();
            all.find(|domain| domain.id().get() == SECOND.0)
        };
        if second(&bench).is_none() {
            create(&mut bench);
            let (_, prepared) = scenario.prepare().expect("it was there before");
            assert_eq!(prepared, arguments);
        }
        let before = Snapshot::of(&bench);
        let caller = second(&bench).expect("it was made");
        bench.call_as(&caller, scenario.call, arguments);
        drop(caller);
        let after = Snapshot::of(&bench);
        assert_eq!(
            before.of_domain(0),
            after.of_domain(0),
            "{}",
            scenario.name()
        );
        bench.recount();
    }
}
