//! Each call is interrupted where it asks whether to stop, and goes on.

use hypervisor_core::fake::Preempt;
use hypervisor_core::fake::snapshot::Snapshot;

use super::{all, clean};

#[test]
fn every_call_ends_the_same_when_it_is_interrupted() {
    let mut points = 0;
    for (scenario, mut bench, arguments) in all() {
        let questions = bench.hv.machine().orders().questions;
        let clean = clean(scenario, &mut bench, arguments);
        let questions = bench.hv.machine().orders().questions - questions;
        // At each question alone, and at all of them.
        for when in (0..questions)
            .map(Some)
            .chain((questions > 0).then_some(None))
        {
            let (mut bench, arguments) = scenario.prepare().unwrap();
            bench.hv.machine().order(|orders| {
                let asked = orders.questions;
                orders.preempt = when.map_or(Preempt::Always, |n| Preempt::At(asked + n));
            });
            let end = scenario.run(&mut bench, arguments);
            let name = scenario.name();
            assert_eq!(end, clean.end, "{name} interrupted: {when:?}");
            bench.recount();
            let now = Snapshot::of(&bench);
            if let Some(wanted) = &clean.after {
                let difference = wanted.difference(&now);
                assert!(now == *wanted, "{name} interrupted: {when:?}: {difference}");
            }
            points += 1;
        }
    }
    println!("{points} interruptions");
}
