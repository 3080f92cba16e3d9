//! Who gets how much of a CPU, by counted instructions: weight, cap, affinity, wake-up, and no CPU that idles beside work.
//!
//! The machine has two CPUs; what is measured shares CPU 1, so that dom0 on CPU 0 takes no part. Shares are ratios of the
//! hypervisor's own counts between two lists, windows are of the machine's time: a busy host makes the test slow, not false.

use std::thread;
use std::time::{Duration, Instant};

use anyhow::{Context, Result, ensure};
use serde_json::Value;

use super::bench::{Bench, number};
use crate::run::demo::TICK;

/// How long shares are watched, by the machine's clock: 400 slices.
const WINDOW: Duration = Duration::from_secs(2);
/// How far a share may be from what was asked for.
const TOLERANCE: f64 = 0.05;
/// `sched_slice`'s default.
const SLICE: Duration = Duration::from_millis(5);
/// What switching itself may take.
const SWITCH: Duration = Duration::from_micros(500);
/// How long the host may take for all that.
const LIMIT: Duration = Duration::from_secs(240);
/// How often those that spin are destroyed, and how long dom0 may take to answer then: a busy host takes a second.
const ENDS: u32 = 8;
const ANSWER: Duration = Duration::from_secs(8);
/// Between two looks at the clock.
const LOOK: Duration = Duration::from_millis(250);

/// A case, and what it is called.
type Case = (&'static str, fn(&Bench<'_, '_>) -> Result<()>);

/// All cases.
pub(crate) const CASES: &[Case] = &[
    ("weights 2:1 give 2:1", weights),
    ("a cap holds", caps),
    ("a cap is for all vCPUs together", caps_of_many),
    ("affinity holds", affinity),
    ("no CPU idles beside work", conserves_work),
    ("who wakes runs within a slice", wakes),
];

/// Two that spin on one CPU get it by their weights.
fn weights(bench: &Bench<'_, '_>) -> Result<()> {
    spinner(bench, "heavy", "1", &["--cpus", "1", "--weight", "512"])?;
    spinner(bench, "light", "1", &["--cpus", "1", "--weight", "256"])?;
    let [heavy, light] = shares(bench, ["heavy", "light"])?;
    println!(
        "         weights 2:1 give {:.3}:1, together {:.3} of the CPU",
        heavy / light,
        heavy + light
    );
    near(
        "the heavier one's share by the lighter one's",
        heavy / light,
        2.0,
    )?;
    near("their share of the CPU", heavy + light, 1.0)?;
    Ok(())
}

/// A cap holds, though nobody else wants the CPU; and beside another it takes nothing from a weight.
fn caps(bench: &Bench<'_, '_>) -> Result<()> {
    spinner(bench, "capped", "1", &["--cpus", "1", "--cap", "30"])?;
    let [alone] = shares(bench, ["capped"])?;
    spinner(bench, "free", "1", &["--cpus", "1"])?;
    let [beside, free] = shares(bench, ["capped", "free"])?;
    println!(
        "         a cap of 30 % gives {:.1} % alone, {:.1} % beside one that gets {:.1} %",
        alone * 100.0,
        beside * 100.0,
        free * 100.0
    );
    near("the capped share of an idle CPU", alone, 0.3)?;
    near("the capped share of a busy CPU", beside, 0.3)?;
    near("what is left to the other", free, 0.7)?;
    Ok(())
}

/// A cap above 100 is for all vCPUs of a domain together.
fn caps_of_many(bench: &Bench<'_, '_>) -> Result<()> {
    spinner(bench, "wide", "2", &["--cap", "120"])?;
    let [share] = shares(bench, ["wide"])?;
    println!(
        "         a cap of 120 % over two vCPUs gives {:.1} %",
        share * 100.0
    );
    near("the share of two CPUs", share, 1.2)?;
    Ok(())
}

/// Whoever may run on CPU 1 only never takes CPU 0, however much it wants.
fn affinity(bench: &Bench<'_, '_>) -> Result<()> {
    spinner(bench, "tied", "2", &["--cpus", "1"])?;
    let before = bench.client().json(&["info"])?;
    let [share] = shares(bench, ["tied"])?;
    let after = bench.client().json(&["info"])?;
    let time = grown(&before, &after, "uptime_ns")?;
    let other = idle(&after, 0)?.saturating_sub(idle(&before, 0)?);
    let own = idle(&after, 1)?.saturating_sub(idle(&before, 1)?);
    let (other, own) = (other.as_secs_f64(), own.as_secs_f64());
    println!(
        "         two vCPUs tied to CPU 1 get {:.1} %; CPU 0 idles for {:.1} %, CPU 1 for {:.1} %",
        share * 100.0,
        other / time.as_secs_f64() * 100.0,
        own / time.as_secs_f64() * 100.0
    );
    near("the share of one CPU", share, 1.0)?;
    ensure!(
        other > 0.9 * time.as_secs_f64(),
        "CPU 0, where nobody but dom0 may run, idled for {other:.3} s of {time:?}"
    );
    ensure!(
        own < 0.01 * time.as_secs_f64(),
        "CPU 1 idled for {own:.3} s of {time:?} beside two vCPUs that spin"
    );
    Ok(())
}

/// No CPU idles while somebody could run there: three that spin fill two CPUs.
fn conserves_work(bench: &Bench<'_, '_>) -> Result<()> {
    let names = ["first", "second", "third"];
    for name in names {
        spinner(bench, name, "1", &[])?;
    }
    let before = bench.client().json(&["info"])?;
    let given = shares(bench, names)?;
    let after = bench.client().json(&["info"])?;
    let time = grown(&before, &after, "uptime_ns")?;
    println!(
        "         three that spin on two CPUs get {:.3}, {:.3} and {:.3}",
        given[0], given[1], given[2]
    );
    for cpu in [0, 1] {
        let idle = idle(&after, cpu)?.saturating_sub(idle(&before, cpu)?);
        ensure!(
            idle.as_secs_f64() < 0.01 * time.as_secs_f64(),
            "CPU {cpu} idled for {idle:?} of {time:?} beside three that spin"
        );
    }
    let mean = given.iter().sum::<f64>() / 3.0;
    for share in given {
        near("one share by the mean", share / mean, 1.0)?;
    }
    Ok(())
}

/// A vCPU that wakes beside one that spins runs within a slice.
fn wakes(bench: &Bench<'_, '_>) -> Result<()> {
    spinner(bench, "spins", "1", &["--cpus", "1"])?;
    let own = [
        "create", "--name", "wakes", "--memory", "16MiB", "--cpus", "1",
    ];
    bench.client().json(&own)?;
    bench.client().console("wakes", |console| {
        console.start_heartbeat()?;
        pass(bench, "wakes", WINDOW)?;
        let window = console.heartbeat()?;
        let late = window.longest.saturating_sub(TICK);
        println!(
            "         {} beats every 10 ms beside one that spins, the latest {:.3} ms late",
            window.beats,
            late.as_secs_f64() * 1000.0
        );
        ensure!(
            late <= SLICE + SWITCH,
            "a beat was {late:?} late, the slice is {SLICE:?}"
        );
        console.stop_heartbeat()
    })?;
    Ok(())
}

/// Two CPUs then scrub what both left. One of them that waits for the other must let it go on.
pub(crate) fn ends(bench: &Bench<'_, '_>) -> Result<()> {
    for round in 0..ENDS {
        alone(bench, |bench| {
            spinner(bench, "one", "1", &["--cpus", "1"])?;
            spinner(bench, "other", "1", &["--cpus", "1"])
        })?;
        let asked = Instant::now();
        bench.domains()?;
        ensure!(
            asked.elapsed() < ANSWER,
            "in round {round} dom0 answered after {:?}",
            asked.elapsed()
        );
    }
    Ok(())
}

/// Tries a case, and destroys what it created even if it fails: who spins on would spoil the next one.
pub(crate) fn alone(
    bench: &Bench<'_, '_>,
    case: impl FnOnce(&Bench<'_, '_>) -> Result<()>,
) -> Result<()> {
    bench.leaves_nothing(|| {
        let outcome = case(bench);
        for domain in bench.domains()? {
            if let Some(name) = domain["name"].as_str().filter(|name| *name != "dom0") {
                bench.client().json(&["destroy", name])?;
            }
        }
        outcome
    })
}

/// Creates a domain all of whose vCPUs compute without end.
fn spinner(bench: &Bench<'_, '_>, name: &str, vcpus: &str, options: &[&str]) -> Result<()> {
    let own = [
        "create", "--name", name, "--memory", "16MiB", "--vcpus", vcpus,
    ];
    bench.client().json(&[&own, options].concat())?;
    // Returns when the guest has started them all.
    bench.client().json(&["vcpus", name, vcpus])?;
    bench.client().console(name, |console| {
        console.say("stress cpu 3600", LIMIT)?;
        console.hear("that it computes", LIMIT, |line| {
            line.contains("stress cpu: ").then_some(())
        })
    })
}

/// The CPU time that each domain gets over a window, by the time of the window.
fn shares<const N: usize>(bench: &Bench<'_, '_>, names: [&str; N]) -> Result<[f64; N]> {
    let first = names.first().context("no domain to watch")?;
    // What the start of the last one has cost is past.
    pass(bench, first, WINDOW / 4)?;
    let before = bench.domains()?;
    pass(bench, first, WINDOW)?;
    let after = bench.domains()?;
    let mut shares = [0.0; N];
    for (share, name) in shares.iter_mut().zip(names) {
        let (before, after) = (named(&before, name)?, named(&after, name)?);
        let used = grown(before, after, "cpu_time_ns")?;
        *share = used.as_secs_f64() / grown(before, after, "uptime_ns")?.as_secs_f64();
    }
    Ok(shares)
}

/// Waits until the machine's clock has gone on by `time`.
fn pass(bench: &Bench<'_, '_>, name: &str, time: Duration) -> Result<()> {
    let start = bench.domain(name)?;
    let deadline = Instant::now() + LIMIT;
    while grown(&start, &bench.domain(name)?, "uptime_ns")? < time {
        ensure!(
            Instant::now() < deadline,
            "the machine's clock did not go on by {time:?} within {LIMIT:?}"
        );
        thread::sleep(LOOK);
    }
    Ok(())
}

fn named<'d>(domains: &'d [Value], name: &str) -> Result<&'d Value> {
    let found = domains.iter().find(|domain| domain["name"] == name);
    found.with_context(|| format!("{name} is not listed"))
}

fn grown(before: &Value, after: &Value, field: &str) -> Result<Duration> {
    let growth = number(after, field)?.saturating_sub(number(before, field)?);
    Ok(Duration::from_nanos(growth))
}

fn idle(info: &Value, cpu: usize) -> Result<Duration> {
    let cpus = info["per_cpu"].as_array().context("no `per_cpu` in info")?;
    let cpu = cpus.get(cpu).context("no such CPU in info")?;
    number(cpu, "idle_ns").map(Duration::from_nanos)
}

fn near(what: &str, found: f64, wanted: f64) -> Result<()> {
    ensure!(
        (found / wanted - 1.0).abs() <= TOLERANCE,
        "{what} is {found:.3}, not {wanted:.3} within {:.0} %",
        TOLERANCE * 100.0
    );
    Ok(())
}
