//! The tour's steps.

use anyhow::{Context, Result, ensure};

use super::view::{View, dom0ctl_says, guest_sees, hypervisor_counts, number, text};

const MIB: u64 = 1 << 20;
const DOMAINS: [&str; 2] = ["one", "two"];
const START: u64 = 64 * MIB;
const LESS: u64 = 48 * MIB;
const MORE: u64 = 128 * MIB;
const MOST_VCPUS: u64 = 4;

pub(crate) fn create(view: &View<'_>) -> Result<()> {
    for name in DOMAINS {
        let before = view.free_memory()?;
        let said = view.command(&[
            "create",
            "--name",
            name,
            "--memory",
            "64MiB",
            "--max-memory",
            "128MiB",
            "--vcpus",
            "1",
            "--max-vcpus",
            "4",
        ])?;
        ensure!(
            text(&said, "name")? == name,
            "the answer names another domain: {said}"
        );
        dom0ctl_says(&format!(
            "{name} is domain {}, {}",
            number(&said, "id")?,
            mib(&said, "memory_bytes")?
        ));
        view.await_count(name, "memory_bytes", START)?;
        view.await_count(name, "vcpus_online", 1)?;
        let taken = before.saturating_sub(view.free_memory()?);
        hypervisor_counts(&format!(
            "64 MiB and one vCPU; free memory fell by {} KiB",
            taken / 1024
        ));
        ensure!(taken >= START, "free memory fell by {taken} bytes only");
        let seen = view.guest(name, |console| Ok((console.memory()?, console.cpus()?)))?;
        guest_sees(&format!("{} MiB, {} vCPU", seen.0 / MIB, seen.1));
        ensure!(
            seen == (START, 1),
            "{name} sees {} bytes and {} vCPUs",
            seen.0,
            seen.1
        );
    }
    Ok(())
}

pub(crate) fn list(view: &View<'_>) -> Result<()> {
    view.show(&["list"])?;
    for name in DOMAINS {
        let domain = view
            .domain(name)?
            .with_context(|| format!("{name} is not listed"))?;
        let state = text(&domain, "state")?;
        ensure!(
            ["running", "blocked"].contains(&state),
            "{name} is {state}, it should be running or blocked"
        );
        let used = number(&domain, "cpu_time_ns")?;
        hypervisor_counts(&format!(
            "{name}: {state}, {:.1} ms of CPU time",
            millis(used)
        ));
        ensure!(used > 0, "{name} has used no CPU time");
        view.guest(name, |console| console.cpus())?;
        guest_sees("its console answers");
    }
    Ok(())
}

pub(crate) fn balloon(view: &View<'_>) -> Result<()> {
    view.without_downtime("one", |console| {
        for target in [LESS, MORE, START] {
            let before = view.free_memory()?;
            let size = format!("{}MiB", target / MIB);
            let said = view.command(&["balloon", "one", &size])?;
            ensure!(text(&said, "outcome")? == "reached", "the answer is {said}");
            dom0ctl_says(&format!("{} reached", mib(&said, "memory_bytes")?));
            view.await_count("one", "memory_bytes", target)?;
            let moved = before.abs_diff(view.free_memory()?);
            hypervisor_counts(&format!(
                "{} MiB; free memory moved by {} KiB",
                target / MIB,
                moved / 1024
            ));
            ensure!(moved >= 8 * MIB, "free memory moved by {moved} bytes only");
            let seen = console.memory()?;
            guest_sees(&format!("{} MiB", seen / MIB));
            ensure!(seen == target, "one sees {seen} bytes, not {target}");
        }
        Ok(())
    })
}

pub(crate) fn vcpus(view: &View<'_>) -> Result<()> {
    view.without_downtime("two", |console| {
        for target in [MOST_VCPUS, 1] {
            let said = view.command(&["vcpus", "two", &target.to_string()])?;
            ensure!(text(&said, "outcome")? == "reached", "the answer is {said}");
            dom0ctl_says(&format!("{} vCPUs online", number(&said, "vcpus_online")?));
            view.await_count("two", "vcpus_online", target)?;
            hypervisor_counts(&format!("{target} vCPUs online"));
            let seen = console.cpus()?;
            guest_sees(&format!("{seen} vCPUs online"));
            ensure!(seen == target, "two sees {seen} vCPUs, not {target}");
        }
        Ok(())
    })
}

pub(crate) fn destroy(view: &View<'_>) -> Result<()> {
    let before = view.free_memory()?;
    let said = view.command(&["destroy", "one"])?;
    dom0ctl_says(&format!("{} is gone", text(&said, "name")?));
    ensure!(view.domain("one")?.is_none(), "one is still listed");
    let back = view.free_memory()?.saturating_sub(before);
    hypervisor_counts(&format!(
        "{} KiB more of free memory, one domain less",
        back / 1024
    ));
    ensure!(back >= START, "only {back} bytes of memory came back");
    let seen = view.guest("two", |console| console.cpus())?;
    guest_sees(&format!("two goes on with {seen} vCPU"));
    Ok(())
}

fn mib(value: &serde_json::Value, field: &str) -> Result<String> {
    Ok(format!("{} MiB", number(value, field)? / MIB))
}

fn millis(nanoseconds: u64) -> f64 {
    std::time::Duration::from_nanos(nanoseconds).as_secs_f64() * 1000.0
}
