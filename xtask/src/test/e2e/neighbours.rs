//! What one domain or one client does must not be noticed by others.

use std::thread;
use std::time::Duration;

use anyhow::{Context, Result, anyhow, ensure};
use dom0ctl::connect::Address;

use super::bench::Bench;
use crate::run::client::{Client, Console};
use crate::run::demo::TICK;

const QUIET: Duration = Duration::from_secs(3);
const LIMIT: Duration = Duration::from_secs(30);
const CLIENTS: usize = 16;

/// How often a gap is measured before it is the hypervisor's and not a busy host's.
const ATTEMPTS: u32 = 5;

/// One domain crashes; another one's heart does not miss a beat for it.
pub(crate) fn crash(bench: &Bench<'_, '_>) -> Result<()> {
    bench.leaves_nothing(|| {
        bench
            .client()
            .json(&["create", "--name", "stands", "--memory", "16MiB"])?;
        bench.client().console("stands", |console| {
            console.start_heartbeat()?;
            let mut quiet = Duration::ZERO;
            for left in (0..ATTEMPTS).rev() {
                thread::sleep(QUIET);
                quiet = quiet.max(console.heartbeat()?.longest);
                crash_one(bench)?;
                let during = console.heartbeat()?.longest;
                if during <= (TICK * 3).max(quiet * 2) {
                    break;
                }
                ensure!(
                    left > 0,
                    "the other domain stood still for {during:?}, without a crash {quiet:?}"
                );
            }
            console.stop_heartbeat()
        })?;
        bench.client().json(&["destroy", "stands"]).map(|_| ())
    })
}

/// A domain that is created, crashes by its own will, says why, and is destroyed.
fn crash_one(bench: &Bench<'_, '_>) -> Result<()> {
    bench
        .client()
        .json(&["create", "--name", "falls", "--memory", "16MiB"])?;
    bench.client().console("falls", |other| {
        other.say("crash", LIMIT)?;
        other.hear("that it crashes", LIMIT, |line| {
            line.contains("crash").then_some(())
        })
    })?;
    bench.await_state("falls", &["crashed"], LIMIT)?;
    let shown = bench.client().json(&["show", "falls"])?;
    let reason = shown["crash"]["reason"].as_str().unwrap_or_default();
    ensure!(
        !reason.is_empty() && shown["crash"]["rip"].as_u64().is_some_and(|rip| rip != 0),
        "no word of why and where it crashed in {shown}"
    );
    let log = bench.client().say(&["dmesg"]);
    for word in [reason, "rip 0x", "called from 0x", "`falls` crashed"] {
        ensure!(log.out.contains(word), "no `{word}` in the log of a crash");
    }
    bench.client().json(&["destroy", "falls"]).map(|_| ())
}

/// A domain suspends itself, is seen to have, and goes on where it stood when it is unpaused.
pub(crate) fn suspend(bench: &Bench<'_, '_>) -> Result<()> {
    bench.leaves_nothing(|| {
        let client = bench.client();
        client.json(&["create", "--name", "sleeps", "--memory", "16MiB"])?;
        client.console("sleeps", |console| {
            console.say("suspend", LIMIT)?;
            bench.await_state("sleeps", &["shutdown"], LIMIT)?;
            let shown = client.json(&["show", "sleeps"])?;
            ensure!(shown["shutdown_reason"] == "suspend", "it says {shown}");
            client.json(&["unpause", "sleeps"])?;
            console.hear("that it goes on", LIMIT, |line| {
                line.contains("suspend: it goes on").then_some(())
            })
        })?;
        client.json(&["destroy", "sleeps"]).map(|_| ())
    })
}

/// Sixteen clients hold a connection each; one more is refused with a reason, and served when there is room.
pub(crate) fn clients(bench: &Bench<'_, '_>) -> Result<()> {
    let address = Address::Unix(bench.socket());
    let connect = || {
        address
            .connect()
            .map_err(|failure| anyhow!("{}", failure.error().message))
    };
    let mut sessions = Vec::new();
    for number in 0..CLIENTS {
        sessions.push(connect().with_context(|| format!("client {number}"))?);
    }
    let refusal = connect().err().context("a seventeenth client was let in")?;
    ensure!(
        refusal.to_string().contains("16"),
        "the seventeenth client was told: {refusal}"
    );
    drop(sessions);
    bench.client().json(&["version"]).map(|_| ())
}

/// Destroys a domain while others work on it: everybody gets an answer, and nothing is left behind.
pub(crate) fn races(bench: &Bench<'_, '_>) -> Result<()> {
    bench.leaves_nothing(|| {
        for round in 0..10 {
            let name = format!("raced-{round}");
            let client = bench.client();
            thread::scope(|scope| {
                let create =
                    scope.spawn(|| client.say(&["create", "--name", &name, "--memory", "32MiB"]));
                let early = scope.spawn(|| client.say(&["destroy", &name]));
                drop((create.join(), early.join()));
            });
            client.say(&[
                "create",
                "--name",
                &name,
                "--memory",
                "32MiB",
                "--max-memory",
                "64MiB",
            ]);
            thread::scope(|scope| {
                let watcher = scope.spawn(|| watch(client, &name));
                let balloon =
                    scope.spawn(|| client.say(&["balloon", &name, "64MiB", "--timeout", "20"]));
                let vcpus = scope.spawn(|| client.say(&["vcpus", &name, "1", "--timeout", "20"]));
                thread::sleep(Duration::from_millis(20 * round));
                let destroyed = client.say(&["destroy", &name]);
                ensure!(
                    destroyed.code == 0,
                    "`{}` ended with code {}: {}",
                    destroyed.command,
                    destroyed.code,
                    destroyed.err
                );
                drop((watcher.join(), balloon.join(), vcpus.join()));
                Ok(())
            })?;
        }
        Ok(())
    })
}

/// Attaches to the console until it ends.
fn watch(client: &Client, name: &str) -> Result<()> {
    client.console(name, |console: &mut Console<'_>| {
        console.hear("that it ends", LIMIT, |_| None::<()>)
    })
}
