//! Sixty-four domains in 1 GiB, and what a request costs among 1, 8 and 64 of them.
//!
//! The machine counts instructions as time, so costs are figures and not guesses: what dom0's clock says from a request to its
//! reply. A listing tells no time; for it counts how long the CPU was busy.

use std::time::Duration;

use anyhow::{Context, Result, ensure};

use super::bench::{Bench, number};

/// How many there are when the costs are taken.
const CROWDS: [usize; 3] = [1, 8, 64];
/// Each request is made so often.
const TIMES: usize = 2;
/// Listings that are looked at.
const LISTINGS: usize = 5;
/// A request among 64 may cost at most so many percent of what it costs beside one.
const MOST_PERCENT: u64 = 115;
const LIMIT: Duration = Duration::from_secs(60);

/// Makes the crowd, takes the costs on the way, and leaves nothing behind.
pub(crate) fn of_sixty_four(bench: &Bench<'_, '_>) -> Result<()> {
    bench.leaves_nothing(|| {
        let mut costs = Vec::new();
        let mut names: Vec<String> = Vec::new();
        for crowd in CROWDS {
            while names.len() < crowd {
                let name = format!("one-of-many-{}", names.len());
                bench.client().json(&create_words(&name, &[]))?;
                names.push(name);
            }
            for name in &names {
                bench.await_state(name, &["blocked"], LIMIT)?;
            }
            costs.push(Costs::take(bench)?);
        }
        for name in names.iter().step_by(9) {
            let seen = bench.client().console(name, |console| console.memory())?;
            ensure!(seen == 12 << 20, "{name} sees {seen} bytes");
        }
        for name in names.iter().skip(1) {
            bench.client().json(&["destroy", name])?;
        }
        // Beside one again: now there are scrubbed frames for a new domain, as there were among all.
        costs.push(Costs::take(bench)?);
        bench.client().json(&["destroy", "one-of-many-0"])?;
        report(&costs)
    })
}

fn create_words<'a>(name: &'a str, more: &[&'a str]) -> Vec<&'a str> {
    let words = [
        "create",
        "--name",
        name,
        "--memory",
        "12MiB",
        "--max-vcpus",
        "2",
    ];
    [&words, more].concat()
}

/// Nanoseconds of counted time for one round of requests of each kind.
struct Costs {
    create: u64,
    destroy: u64,
    list: u64,
    balloon: u64,
    vcpus: u64,
}

impl Costs {
    fn take(bench: &Bench<'_, '_>) -> Result<Self> {
        let name = "one-of-many-0";
        // How far the newcomer's kernel would get before its end is the host's chance.
        let new = create_words("newcomer", &["--paused"]);
        let [create, destroy] = cost(bench, [&new, &["destroy", "newcomer"]])?;
        let [down, up] = cost(
            bench,
            [&["balloon", name, "10MiB"], &["balloon", name, "12MiB"]],
        )?;
        let [more, less] = cost(bench, [&["vcpus", name, "2"], &["vcpus", name, "1"]])?;
        Ok(Self {
            create,
            destroy,
            list: listing(bench)?,
            balloon: down + up,
            vcpus: more + less,
        })
    }
}

/// What each of two requests takes from its arrival to its reply, when they are made in turns: the least, since a domain may be
/// given frames that nobody has scrubbed yet.
fn cost(bench: &Bench<'_, '_>, round: [&[&str]; 2]) -> Result<[u64; 2]> {
    let mut all = [u64::MAX; 2];
    for _ in 0..TIMES {
        for (least, words) in all.iter_mut().zip(round) {
            *least = number(&bench.client().json(words)?, "elapsed_ns")?.min(*least);
        }
    }
    Ok(all)
}

/// What a listing keeps the CPU busy for: the least of some, since an idle CPU may have frames to scrub.
fn listing(bench: &Bench<'_, '_>) -> Result<u64> {
    let (mut look, mut both) = (u64::MAX, u64::MAX);
    for _ in 0..LISTINGS {
        let before = busy(bench)?;
        let between = busy(bench)?;
        bench.client().json(&["list"])?;
        look = look.min(between - before);
        both = both.min(busy(bench)? - between);
    }
    Ok(both.saturating_sub(look))
}

fn busy(bench: &Bench<'_, '_>) -> Result<u64> {
    let info = bench.client().json(&["info"])?;
    let cpus = info["per_cpu"].as_array().context("no CPUs")?;
    cpus.iter().map(|cpu| number(cpu, "busy_ns")).sum()
}

/// Picks one of the costs.
type Of = fn(&Costs) -> u64;

/// Prints the costs, and holds that they do not grow. `list` tells of each domain, so its cost is per domain told of.
fn report(costs: &[Costs]) -> Result<()> {
    let kinds: [(&str, Of); 5] = [
        ("create", |costs| costs.create),
        ("destroy", |costs| costs.destroy),
        ("balloon down and up", |costs| costs.balloon),
        ("vcpus up and down", |costs| costs.vcpus),
        ("list", |costs| costs.list),
    ];
    for (name, of) in kinds {
        let all: Vec<u64> = costs.iter().map(of).collect();
        let micros: Vec<String> = all.iter().map(|ns| format!("{} us", ns / 1000)).collect();
        println!(
            "         {name}: {} among {CROWDS:?} domains and one again",
            micros.join(", ")
        );
        let [.., crowded, alone] = all[..] else {
            continue;
        };
        if name != "list" {
            ensure!(
                crowded * 100 <= alone * MOST_PERCENT,
                "{name} costs {crowded} ns among 64 domains and {alone} ns beside one"
            );
        }
    }
    Ok(())
}
