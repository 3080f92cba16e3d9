//! Sixty-four domains in 1 GiB, and what a request costs among 1, 8 and 64 of them.
//!
//! The machine counts instructions as time, so costs are figures and not guesses: the time that its CPU was busy.

use std::time::Duration;

use anyhow::{Context, Result, ensure};

use super::bench::{Bench, number};

/// How many there are when the costs are taken.
const CROWDS: [usize; 3] = [1, 8, 64];
/// Each request is made so often.
const TIMES: u64 = 2;
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
                create(bench, &name, &[])?;
                names.push(name);
            }
            for name in &names {
                bench.await_state(name, &["blocked"], LIMIT)?;
            }
            costs.push(Costs::take(bench)?);
        }
        report(&costs)?;
        for name in names.iter().step_by(9) {
            let seen = bench.client().console(name, |console| console.memory())?;
            ensure!(seen == 12 << 20, "{name} sees {seen} bytes");
        }
        for name in &names {
            bench.client().json(&["destroy", name])?;
        }
        Ok(())
    })
}

fn create(bench: &Bench<'_, '_>, name: &str, more: &[&str]) -> Result<()> {
    let words = [
        "create",
        "--name",
        name,
        "--memory",
        "12MiB",
        "--max-vcpus",
        "2",
    ];
    bench.client().json(&[&words, more].concat()).map(|_| ())
}

/// Nanoseconds of counted time that the CPU was busy for one request of each kind.
struct Costs {
    create: u64,
    list: u64,
    balloon: u64,
    vcpus: u64,
}

impl Costs {
    fn take(bench: &Bench<'_, '_>) -> Result<Self> {
        let client = bench.client();
        let name = "one-of-many-0";
        let turn = |command: &'static str, first: &'static str, second: &'static str| {
            move || -> Result<()> {
                client.json(&[command, name, first])?;
                client.json(&[command, name, second]).map(|_| ())
            }
        };
        Ok(Self {
            create: cost(bench, || {
                // How far its kernel gets before its end is the host's chance.
                create(bench, "newcomer", &["--paused"])?;
                client.json(&["destroy", "newcomer"]).map(|_| ())
            })?,
            list: cost(bench, || client.json(&["list"]).map(|_| ()))?,
            balloon: cost(bench, turn("balloon", "10MiB", "12MiB"))?,
            vcpus: cost(bench, turn("vcpus", "2", "1"))?,
        })
    }
}

/// What one round of requests keeps the CPU busy for.
fn cost(bench: &Bench<'_, '_>, round: impl Fn() -> Result<()>) -> Result<u64> {
    // What looking costs is told by looking again and again; what was done before may still be settling at first.
    let mut before = busy(bench)?;
    let mut look = u64::MAX;
    for _ in 0..3 {
        let now = busy(bench)?;
        look = look.min(now.saturating_sub(before));
        before = now;
    }
    for _ in 0..TIMES {
        round()?;
    }
    let all = busy(bench)?.saturating_sub(before);
    Ok(all.saturating_sub(look) / TIMES)
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
    let kinds: [(&str, Of); 4] = [
        ("create and destroy", |costs| costs.create),
        ("balloon down and up", |costs| costs.balloon),
        ("vcpus up and down", |costs| costs.vcpus),
        ("list", |costs| costs.list),
    ];
    for (name, of) in kinds {
        let all: Vec<u64> = costs.iter().map(of).collect();
        let micros: Vec<String> = all.iter().map(|ns| format!("{} us", ns / 1000)).collect();
        println!(
            "         {name}: {} among {CROWDS:?} domains",
            micros.join(", ")
        );
        let (Some(alone), Some(crowded)) = (all.first(), all.last()) else {
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
