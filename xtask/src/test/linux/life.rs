//! What a Linux domain goes through in its life, and what others notice of it.

use std::thread;
use std::time::{Duration, Instant, SystemTime, UNIX_EPOCH};

use anyhow::{Context, Result, ensure};
use serde_json::Value;

use super::guest::{Guest, no_complaint};
use crate::linux::shell::SHELL;
use crate::run::client::Console;
use crate::test::e2e::bench::{Bench, number};

/// How long a guest may take to end, to start anew, to say something: far beyond what it takes.
const LIMIT: Duration = Duration::from_secs(180);

/// How long a guest stands still.
const PAUSE: Duration = Duration::from_secs(3);

/// Demo domains beside the Linux ones.
const DEMOS: [&str; 4] = ["demo-a", "demo-b", "demo-c", "demo-d"];

/// The guest's uptime in seconds.
fn uptime(shell: &mut Console<'_>) -> Result<f64> {
    let lines = shell.sh("cut -d' ' -f1 /proc/uptime")?;
    let line = lines.first().context("no uptime")?;
    Ok(line.trim().parse()?)
}

/// The date is the host's, no clock goes back, and programs read it without a system call.
pub(crate) fn clocks(bench: &Bench<'_, '_>, guest: &Guest) -> Result<()> {
    guest.talk(bench, |shell| {
        let seen = shell.sh_number("date +%s")?;
        let now = SystemTime::now().duration_since(UNIX_EPOCH)?.as_secs();
        ensure!(seen.abs_diff(now) <= 60, "the date is {seen}, here {now}");
        let source =
            shell.sh("cat /sys/devices/system/clocksource/clocksource0/current_clocksource")?;
        ensure!(source == ["xen"], "the clock's source is {source:?}");
        let said = shell.sh("vdso")?;
        ensure!(said == ["went back: 0"], "the vDSO's clock: {said:?}");
        Ok(())
    })
}

/// While a domain is paused its clock goes on, so that it is right afterwards, and nothing in it complains.
pub(crate) fn pause(bench: &Bench<'_, '_>, guest: &Guest) -> Result<()> {
    guest.talk(bench, |shell| {
        let (started, before) = (Instant::now(), uptime(shell)?);
        bench.client().json(&["pause", guest.name()])?;
        thread::sleep(PAUSE);
        bench.client().json(&["unpause", guest.name()])?;
        let (after, took) = (uptime(shell)?, started.elapsed().as_secs_f64());
        let passed = after - before;
        ensure!(
            passed >= PAUSE.as_secs_f64() && passed <= took + 0.1,
            "{passed:.2} s passed in the guest, {took:.2} s here"
        );
        shell.sh("sleep 1")?;
        no_complaint(&shell.sh("dmesg")?)
    })
}

/// A key sent through xenstore reaches the kernel.
pub(crate) fn sysrq(bench: &Bench<'_, '_>, guest: &Guest) -> Result<()> {
    guest.talk(bench, |shell| {
        bench.client().json(&["sysrq", guest.name(), "h"])?;
        shell.await_words("sysrq: HELP", LIMIT).map(|_| ())
    })
}

/// `reboot` goes through the guest's own; it comes again under its name.
pub(crate) fn reboot(bench: &Bench<'_, '_>, guest: &Guest) -> Result<()> {
    let before = number(&bench.domain(guest.name())?, "id")?;
    bench.client().json(&["reboot", guest.name()])?;
    comes_again(bench, guest, before)
}

/// Waits until another domain has its name, and that one's shell is there.
fn comes_again(bench: &Bench<'_, '_>, guest: &Guest, before: u64) -> Result<()> {
    await_shell(bench, guest, |domain| domain["id"] != before)
}

/// Waits until a domain of its name, which is the one that is meant, has said that its shell is there.
fn await_shell(bench: &Bench<'_, '_>, guest: &Guest, meant: impl Fn(&Value) -> bool) -> Result<()> {
    let deadline = Instant::now() + LIMIT;
    loop {
        let domains = bench.domains()?;
        let there = domains
            .iter()
            .any(|domain| domain["name"] == guest.name() && meant(domain));
        if there {
            let log = bench.client().scrollback(guest.name())?;
            if log.iter().any(|line| line.contains(SHELL)) {
                return Ok(());
            }
        }
        ensure!(Instant::now() < deadline, "it has no shell: {domains:?}");
        thread::sleep(Duration::from_secs(1));
    }
}

/// Starts three more at once, and four of the demo kernel, whose hearts beat from now on.
pub(crate) fn crowd(bench: &Bench<'_, '_>, others: &[Guest]) -> Result<()> {
    for guest in others {
        guest.start(bench)?;
    }
    for guest in others {
        await_shell(bench, guest, |_| true)?;
    }
    for name in DEMOS {
        bench
            .client()
            .json(&["create", "--name", name, "--memory", "16MiB"])?;
        bench
            .client()
            .console(name, |demo| demo.start_heartbeat())?;
    }
    Ok(())
}

/// 32 MiB from one to another and back, seen by both.
pub(crate) fn moves(bench: &Bench<'_, '_>, from: &Guest, to: &Guest) -> Result<()> {
    let memory = |guest: &Guest| number(&bench.domain(guest.name())?, "memory_bytes");
    let (one, two) = (memory(from)?, memory(to)?);
    let amount = 32 << 20;
    for (giver, taker, wanted) in [
        (from, to, (one - amount, two + amount)),
        (to, from, (one, two)),
    ] {
        bench
            .client()
            .json(&["move", giver.name(), taker.name(), "32MiB"])?;
        let now = (memory(from)?, memory(to)?);
        ensure!(now == wanted, "they have {now:?} and not {wanted:?}");
    }
    Ok(())
}

/// More vCPUs spin than there are CPUs: each guest's own statistics say that it was kept waiting.
pub(crate) fn steal(bench: &Bench<'_, '_>, one: &Guest, others: &[Guest]) -> Result<()> {
    let stolen = "sed -n 's/^cpu0 //p' /proc/stat | cut -d' ' -f8";
    let before = one.talk(bench, |shell| shell.sh_number(stolen))?;
    for guest in others {
        guest.talk(bench, |shell| {
            shell
                .sh("(timeout 4 sh -c 'while :; do :; done' &)")
                .map(|_| ())
        })?;
    }
    one.talk(bench, |shell| {
        shell.sh("timeout 3 sh -c 'while :; do :; done' || true")?;
        let after = shell.sh_number(stolen)?;
        ensure!(
            after > before,
            "{before} ticks were stolen before, {after} after"
        );
        Ok(())
    })
}

/// One panics by its own will: it stays as it is and is reported with its reason.
pub(crate) fn panic(bench: &Bench<'_, '_>, guest: &Guest) -> Result<()> {
    fall(bench, guest)?;
    bench.await_state(guest.name(), &["crashed"], LIMIT)?;
    let shown = bench.client().json(&["show", guest.name()])?;
    ensure!(
        shown["shutdown_reason"] == "crash",
        "nothing is said of why: {shown}"
    );
    Ok(())
}

/// One panics that shall be begun anew then: it comes again.
pub(crate) fn panic_and_restart(bench: &Bench<'_, '_>, guest: &Guest) -> Result<()> {
    let before = number(&bench.domain(guest.name())?, "id")?;
    fall(bench, guest)?;
    comes_again(bench, guest, before)
}

fn fall(bench: &Bench<'_, '_>, guest: &Guest) -> Result<()> {
    guest.talk(bench, |shell| {
        shell.say("echo c > /proc/sysrq-trigger", LIMIT)?;
        shell
            .await_words("Kernel panic - not syncing: sysrq triggered crash", LIMIT)
            .map(|_| ())
    })
}

/// Who did not panic works, has nothing to complain of, and its heart has beaten all the time.
pub(crate) fn others_go_on(bench: &Bench<'_, '_>, others: &[&Guest]) -> Result<()> {
    for guest in others {
        guest.talk(bench, |shell| {
            shell.sh("true")?;
            no_complaint(&shell.sh("dmesg")?)
        })?;
    }
    for name in DEMOS {
        let window = bench.client().console(name, |demo| demo.heartbeat())?;
        ensure!(window.beats > 100, "{name} had {} beats only", window.beats);
    }
    Ok(())
}

/// All end, by their own means where they can, and all memory is free again.
pub(crate) fn all_gone(bench: &Bench<'_, '_>, free: u64) -> Result<()> {
    for domain in bench.domains()? {
        if let (Some(name), Some(id)) = (domain["name"].as_str(), domain["id"].as_u64())
            && id != 0
        {
            bench.client().json(&["destroy", name])?;
        }
    }
    let now = bench.free_memory()?;
    ensure!(now == free, "{free} bytes were free before, {now} are now");
    Ok(())
}
