//! Nothing polls: with every domain blocked, CPUs sleep and dom0 hardly wakes.

use std::thread;
use std::time::Duration;

use anyhow::{Context, Result, ensure};
use serde_json::Value;

use super::bench::{Bench, number};

const WINDOW: Duration = Duration::from_secs(10);
const SETTLE: Duration = Duration::from_secs(2);
const WAKEUPS_PER_SECOND: f64 = 5.0;
const IDLE_SHARE: f64 = 0.99;

/// Watches ten seconds of three domains that have nothing to do.
pub(crate) fn nothing_polls(bench: &Bench<'_, '_>) -> Result<()> {
    let names = ["sleeper-1", "sleeper-2", "sleeper-3"];
    for name in names {
        bench
            .client()
            .json(&["create", "--name", name, "--memory", "16MiB"])?;
        bench.client().console(name, |console| console.memory())?;
    }
    thread::sleep(SETTLE);
    let before = bench.client().json(&["info"])?;
    thread::sleep(WINDOW);
    let after = bench.client().json(&["info"])?;
    let seconds = grown(&before, &after, "uptime_ns")? / 1e9;
    let wakeups = grown(&before, &after, "wakeups")? / seconds;
    let idle = idle(&after)? - idle(&before)?;
    let cpus = number(&after, "cpus")?;
    let share = idle / 1e9 / seconds / f64::from(u32::try_from(cpus).context("too many CPUs")?);
    println!(
        "         {:.2} % idle, dom0 wakes {wakeups:.1} times a second",
        share * 100.0
    );
    ensure!(
        share > IDLE_SHARE,
        "the CPUs are idle for {:.2} % of the time only",
        share * 100.0
    );
    ensure!(
        wakeups < WAKEUPS_PER_SECOND,
        "dom0 wakes {wakeups:.1} times a second"
    );
    for name in names {
        bench.client().json(&["destroy", name])?;
    }
    Ok(())
}

/// How much a counter has grown.
fn grown(before: &Value, after: &Value, field: &str) -> Result<f64> {
    let growth = number(after, field)?.saturating_sub(number(before, field)?);
    // Beyond 2^32 the lowest bits do not matter here.
    Ok(Duration::from_nanos(growth).as_secs_f64() * 1e9)
}

/// Idle nanoseconds of all CPUs.
fn idle(info: &Value) -> Result<f64> {
    let cpus = info["per_cpu"].as_array().context("no `per_cpu` in info")?;
    cpus.iter()
        .map(|cpu| Ok(Duration::from_nanos(number(cpu, "idle_ns")?).as_secs_f64() * 1e9))
        .sum()
}
