//! Random event channel, grant and memory operations of four domains, half of them hostile, with domains that end in the
//! middle, against a reference that is slow and obvious. After each step the result, the shared pages, the records and all
//! counts are compared.

mod events;
mod grants;
mod world;

use events::Events;
use grants::Grants;
use world::World;

/// What a run is about.
#[derive(Clone, Copy, PartialEq, Eq)]
enum About {
    Events,
    Grants,
    All,
}

/// Runs `steps` operations.
fn run(seed: u64, steps: u32, about: About) {
    let mut world = World::new(seed);
    let (mut events, mut grants) = (Events::default(), Grants::new(&mut world));
    for step in 0..steps {
        let what = match (world.below(100), about) {
            (0..2, _) => end_or_create(&mut world, &mut events, &mut grants),
            (2..6, About::All) => world.give_or_take(&grants),
            (6..50, About::All) | (_, About::Events) => events.step(&mut world),
            (_, About::Grants | About::All) => grants.step(&mut world),
        };
        let place = format!("seed {seed}, step {step}: {what}");
        events.check(&world, &place);
        grants.check(&world, &place);
        world.bench.recount();
    }
}

/// Ends a domain, or makes one where there is none.
fn end_or_create(world: &mut World, events: &mut Events, grants: &mut Grants) -> String {
    let id = 1 + u16::try_from(world.below(3)).expect("few");
    if !world.domains.contains_key(&id) {
        world.create(id);
        return format!("d{id} is made");
    }
    let held = grants.holds(world, id);
    let ended = world.destroy(id);
    assert_eq!(ended, !held, "d{id} ends only when nobody maps its frames");
    // Ports and mappings go first, whatever becomes of the memory.
    events.end(world, id, ended);
    grants.end(world, id, ended);
    format!("d{id} is destroyed: {ended}")
}

#[test]
fn event_channels_do_what_the_reference_says() {
    for seed in 1..7 {
        run(seed, 1000, About::Events);
    }
}

#[test]
fn grants_do_what_the_reference_says() {
    for seed in 1..7 {
        run(seed, 1000, About::Grants);
    }
}

#[test]
fn events_grants_and_memory_do_not_disturb_each_other() {
    for seed in 1..7 {
        run(seed, 1000, About::All);
    }
}
