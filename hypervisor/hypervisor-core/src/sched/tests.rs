//! The scheduler on a simulated clock: shares, caps, wakes and affinity.

use alloc::vec;
use alloc::vec::Vec;

use super::*;
use crate::ids::{CpuSet, Nanos, PhysCpu, VcpuId};

const SLICE: u64 = 5_000_000;
const MS: u64 = 1_000_000;

/// A machine of some CPUs whose vCPUs never block by themselves.
struct Simulation {
    scheduler: Scheduler<usize>,
    now: u64,
    cpus: u8,
    /// When each CPU asks again.
    until: Vec<Option<u64>>,
    /// Nanoseconds that each domain ran.
    ran: Vec<u64>,
    running: Vec<Option<usize>>,
}

impl Simulation {
    fn new(cpus: u8) -> Self {
        Self {
            scheduler: Scheduler::new(Nanos::new(SLICE)),
            now: 0,
            cpus,
            until: vec![Some(0); cpus.into()],
            ran: vec![],
            running: vec![None; cpus.into()],
        }
    }

    fn domain(
        &mut self,
        vcpus: u16,
        weight: u32,
        cap_percent: u32,
        affinity: u64,
    ) -> (GroupId, Vec<EntityId>) {
        let now = Nanos::new(self.now);
        let online = CpuSet::from_bits((1 << self.cpus) - 1);
        let affinity = affinity::resolve(affinity, online).unwrap();
        let share = Share {
            weight,
            cap_percent,
            affinity,
        };
        let group = self
            .scheduler
            .add_group(self.ran.len(), share, now)
            .unwrap();
        self.ran.push(0);
        let ids: Vec<_> = (0..vcpus)
            .map(|n| {
                self.scheduler
                    .add_entity(group, VcpuId::new(n), now)
                    .unwrap()
            })
            .collect();
        for &id in &ids {
            let kicked = self.scheduler.resume(id, Halt::Down, now);
            self.kick(kicked);
        }
        for cpu in self.scheduler.unpause(group, now).unwrap().iter() {
            self.kick(Some(cpu));
        }
        (group, ids)
    }

    fn kick(&mut self, cpu: Option<PhysCpu>) {
        if let Some(cpu) = cpu {
            self.until[cpu.index()] = Some(self.now);
        }
    }

    /// Runs for `time`, CPU by CPU in the order of their deadlines.
    fn run(&mut self, time: u64) {
        let end = self.now + time;
        loop {
            let due = (0..self.cpus)
                .filter_map(|c| self.until[usize::from(c)].map(|at| (at.max(self.now), c)))
                .min();
            let Some((at, cpu)) = due.filter(|&(at, _)| at < end) else {
                break;
            };
            self.advance(at);
            let cpu = PhysCpu::new(cpu).unwrap();
            let decision = self.scheduler.schedule(cpu, Nanos::new(at));
            self.running[cpu.index()] = decision.next.map(|(_, domain, _)| domain);
            self.until[cpu.index()] = decision.until.map(Nanos::get);
            self.kick(decision.kick);
        }
        self.advance(end);
    }

    fn advance(&mut self, to: u64) {
        for domain in self.running.iter().flatten() {
            self.ran[*domain] += to - self.now;
        }
        self.now = to;
    }

    fn shares(&self) -> Vec<u64> {
        let total: u64 = self.ran.iter().sum();
        self.ran
            .iter()
            .map(|&ran| (ran * 100 + total / 2) / total)
            .collect()
    }
}

#[test]
fn equal_weights_share_equally_whatever_the_number_of_vcpus() {
    let mut simulation = Simulation::new(2);
    simulation.domain(4, 256, 0, 0);
    simulation.domain(2, 256, 0, 0);
    simulation.run(4_000 * MS);
    let shares = simulation.shares();
    assert!((48..=52).contains(&shares[0]), "{shares:?}");
}

#[test]
fn double_weight_gets_double_time() {
    let mut simulation = Simulation::new(1);
    simulation.domain(1, 512, 0, 0);
    simulation.domain(1, 256, 0, 0);
    simulation.run(3_000 * MS);
    let shares = simulation.shares();
    assert!((65..=69).contains(&shares[0]), "{shares:?}");
}

#[test]
fn no_cpu_idles_while_something_may_run_on_it() {
    let mut simulation = Simulation::new(4);
    simulation.domain(3, 8, 0, 0);
    simulation.domain(1, 65535, 0, 0b1);
    simulation.run(1_000 * MS);
    assert_eq!(simulation.ran.iter().sum::<u64>(), 4_000 * MS);
}

#[test]
fn affinity_is_never_left() {
    let mut simulation = Simulation::new(2);
    simulation.domain(2, 256, 0, 0b10);
    simulation.run(1_000 * MS);
    assert_eq!(simulation.ran[0], 1_000 * MS);
    assert_eq!(simulation.running[0], None);
}

#[test]
fn a_cap_holds_on_an_idle_machine() {
    let mut simulation = Simulation::new(2);
    simulation.domain(2, 256, 50, 0);
    simulation.run(2_000 * MS);
    let percent = simulation.ran[0] / (20 * MS);
    assert!((47..=53).contains(&percent), "{percent}");
}

#[test]
fn a_cap_of_one_domain_leaves_the_rest_to_others() {
    let mut simulation = Simulation::new(2);
    simulation.domain(2, 256, 25, 0);
    simulation.domain(2, 256, 0, 0);
    simulation.run(2_000 * MS);
    assert_eq!(simulation.ran.iter().sum::<u64>(), 4_000 * MS);
    let percent = simulation.ran[0] / (20 * MS);
    assert!((22..=28).contains(&percent), "{percent}");
}

#[test]
fn a_woken_vcpu_runs_within_a_slice_however_many_compete() {
    let mut simulation = Simulation::new(1);
    let (_, sleeper) = simulation.domain(1, 256, 0, 0);
    for _ in 0..8 {
        simulation.domain(1, 256, 0, 0);
    }
    for _ in 0..50 {
        let now = Nanos::new(simulation.now);
        simulation.scheduler.halt(sleeper[0], Halt::Blocked, now);
        simulation.until[0] = Some(simulation.now);
        simulation.run(40 * MS);
        let woken = simulation.now;
        let kicked = simulation
            .scheduler
            .resume(sleeper[0], Halt::Blocked, Nanos::new(woken));
        simulation.kick(kicked);
        while simulation.running[0] != Some(0) {
            simulation.run(MS / 10);
            assert!(
                simulation.now - woken <= SLICE + MS / 5,
                "waited {}",
                simulation.now - woken
            );
        }
        simulation.run(MS / 2);
    }
}

#[test]
fn a_sleeper_saves_up_no_more_than_a_slice() {
    let mut simulation = Simulation::new(1);
    let (_, sleeper) = simulation.domain(1, 256, 0, 0);
    simulation
        .scheduler
        .halt(sleeper[0], Halt::Blocked, Nanos::new(0));
    simulation.domain(1, 256, 0, 0);
    simulation.run(10_000 * MS);
    let kicked = simulation
        .scheduler
        .resume(sleeper[0], Halt::Blocked, Nanos::new(simulation.now));
    simulation.kick(kicked);
    let before = simulation.ran[1];
    simulation.run(100 * MS);
    assert!(simulation.ran[1] - before > 40 * MS);
}

#[test]
fn yield_lets_every_other_ready_vcpu_run_first() {
    let mut simulation = Simulation::new(1);
    let ids: Vec<_> = (0..4)
        .map(|_| simulation.domain(1, 256, 0, 0).1[0])
        .collect();
    simulation.run(2 * MS);
    let cpu = PhysCpu::new(0).unwrap();
    let yielder = simulation.running[0].unwrap();
    simulation
        .scheduler
        .yield_now(ids[yielder], Nanos::new(simulation.now));
    let mut seen = vec![];
    for _ in 0..3 {
        let decision = simulation
            .scheduler
            .schedule(cpu, Nanos::new(simulation.now));
        let domain = decision.next.unwrap().1;
        assert_ne!(domain, yielder);
        seen.push(domain);
        simulation
            .scheduler
            .yield_now(ids[domain], Nanos::new(simulation.now));
    }
    seen.sort_unstable();
    seen.dedup();
    assert_eq!(seen.len(), 3);
}

#[test]
fn pauses_are_counted_and_the_runstate_adds_up() {
    let mut simulation = Simulation::new(1);
    let (group, ids) = simulation.domain(1, 256, 0, 0);
    simulation.run(10 * MS);
    for _ in 0..2 {
        for cpu in simulation
            .scheduler
            .pause(group, Nanos::new(simulation.now))
            .iter()
        {
            simulation.kick(Some(cpu));
        }
    }
    simulation.run(10 * MS);
    assert!(
        simulation
            .scheduler
            .unpause(group, Nanos::new(simulation.now))
            .unwrap()
            .is_empty()
    );
    simulation.run(10 * MS);
    for cpu in simulation
        .scheduler
        .unpause(group, Nanos::new(simulation.now))
        .unwrap()
        .iter()
    {
        simulation.kick(Some(cpu));
    }
    assert!(
        simulation
            .scheduler
            .unpause(group, Nanos::new(simulation.now))
            .is_none()
    );
    simulation.run(10 * MS);
    let runstate = simulation
        .scheduler
        .runstate(ids[0], Nanos::new(simulation.now))
        .unwrap();
    assert_eq!(runstate.state, Runstate::Running);
    assert_eq!(runstate.time, [20 * MS, 0, 0, 20 * MS]);
}

#[test]
fn a_removed_domain_is_forgotten_and_its_numbers_are_used_again() {
    let mut simulation = Simulation::new(1);
    let (group, ids) = simulation.domain(2, 256, 0, 0);
    simulation.scheduler.pause(group, Nanos::new(0));
    simulation
        .scheduler
        .schedule(PhysCpu::new(0).unwrap(), Nanos::new(0));
    assert_eq!(simulation.scheduler.remove_group(group), Some(0));
    assert_eq!(simulation.scheduler.place(ids[0]), None);
    let (again, _) = simulation.domain(2, 256, 0, 0);
    assert_eq!(again, group);
}

#[test]
fn vcpus_of_one_domain_take_turns_within_a_millisecond_each() {
    let mut simulation = Simulation::new(1);
    let (_, ids) = simulation.domain(4, 256, 0, 0);
    simulation.run(MS);
    for _ in 0..20 {
        let before: Vec<_> = ids
            .iter()
            .map(|&id| {
                let times = simulation
                    .scheduler
                    .runstate(id, Nanos::new(simulation.now));
                times.unwrap().time[0]
            })
            .collect();
        simulation.run(4 * MS);
        for (&id, before) in ids.iter().zip(before) {
            let times = simulation
                .scheduler
                .runstate(id, Nanos::new(simulation.now));
            assert_ne!(times.unwrap().time[0], before, "everybody had a turn");
        }
    }
}
