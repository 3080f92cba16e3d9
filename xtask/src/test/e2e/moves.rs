//! Memory from one domain to another, growth past the first maximum, keys, and what becomes of domains that end.

use std::thread;
use std::time::Duration;

use anyhow::{Result, bail, ensure};

use super::bench::{Bench, number};
use super::cuts::{Stage, cut_after};
use dom0_protocol::request::Move;
use dom0_protocol::{DomainSelector, Request};

const LIMIT: Duration = Duration::from_secs(30);

fn create(bench: &Bench<'_, '_>, name: &str, memory: &str, most: &str) -> Result<()> {
    let words = [
        "create",
        "--name",
        name,
        "--memory",
        memory,
        "--max-memory",
        most,
    ];
    bench.client().json(&words)?;
    bench.await_state(name, &["blocked"], LIMIT)
}

fn owns(bench: &Bench<'_, '_>, name: &str) -> Result<u64> {
    Ok(number(&bench.domain(name)?, "memory_bytes")? >> 20)
}

/// Memory moves whole or not at all: there and back, refused, cut off, with one of the two gone.
pub(crate) fn whole_or_not(bench: &Bench<'_, '_>) -> Result<()> {
    bench.leaves_nothing(|| {
        create(bench, "giver", "96MiB", "128MiB")?;
        create(bench, "taker", "32MiB", "96MiB")?;
        let both = || Ok::<_, anyhow::Error>((owns(bench, "giver")?, owns(bench, "taker")?));
        bench.client().json(&["move", "giver", "taker", "48MiB"])?;
        ensure!(
            both()? == (48, 80),
            "after a move they have {:?} MiB",
            both()?
        );
        bench.client().json(&["move", "taker", "giver", "48MiB"])?;
        ensure!(
            both()? == (96, 32),
            "after the way back they have {:?} MiB",
            both()?
        );
        for words in [
            ["move", "giver", "taker", "65MiB"],
            ["move", "giver", "taker", "95MiB"],
            ["move", "taker", "giver", "33MiB"],
        ] {
            let (said, json) = bench.refused(&words)?;
            ensure!(
                said.code == 4,
                "`{}` ended with {}: {json}",
                said.command,
                said.code
            );
            ensure!(both()? == (96, 32), "a refused move left {:?} MiB", both()?);
        }
        for stage in [Stage::Asked, Stage::Progress(1), Stage::Progress(2)] {
            let request = Request::Move(Move {
                from: selector("giver")?,
                to: selector("taker")?,
                bytes: 48 << 20,
                timeout_ms: 20_000,
            });
            cut_after(bench, request, stage)?;
            settle(bench, &[("giver", 96), ("taker", 32)])?;
        }
        one_is_destroyed(bench)
    })
}

/// The taker goes while memory is on its way: the giver has its own again.
fn one_is_destroyed(bench: &Bench<'_, '_>) -> Result<()> {
    let client = bench.client();
    let moved = thread::scope(|scope| {
        let moving = scope.spawn(|| client.say(&["move", "giver", "taker", "48MiB"]));
        thread::sleep(Duration::from_millis(20));
        client.json(&["destroy", "taker"])?;
        match moving.join() {
            Ok(said) => Ok(said),
            Err(_) => bail!("the client panicked"),
        }
    })?;
    // Done already, turned back, or told that there is no such domain any more.
    let expected = if moved.code == 0 { 48 } else { 96 };
    ensure!(
        matches!(moved.code, 0 | 3 | 5),
        "`{}` ended with {}: {}",
        moved.command,
        moved.code,
        moved.err
    );
    settle(bench, &[("giver", expected)])?;
    client.json(&["destroy", "giver"]).map(|_| ())
}

fn selector(name: &str) -> Result<DomainSelector> {
    name.parse()
        .map_err(|error| anyhow::anyhow!("{name}: {error}"))
}

/// Waits until domains have so many MiB, as they must in the end.
pub(crate) fn settle(bench: &Bench<'_, '_>, wanted: &[(&str, u64)]) -> Result<()> {
    let deadline = std::time::Instant::now() + LIMIT;
    loop {
        let mut there = true;
        let mut now = String::new();
        for (name, mib) in wanted {
            let domain = bench.domain(name)?;
            let owned = number(&domain, "memory_bytes")? >> 20;
            let target = number(&domain, "target_memory_bytes")? >> 20;
            there &= owned == *mib && target == *mib;
            now += &format!(" {name} has {owned} MiB, target {target};");
        }
        if there {
            return Ok(());
        }
        ensure!(
            std::time::Instant::now() < deadline,
            "wanted {wanted:?}, but{now}"
        );
        thread::sleep(Duration::from_millis(20));
    }
}

/// A domain grows past the maximum that it was started with, and its guest sees it.
pub(crate) fn growth(bench: &Bench<'_, '_>) -> Result<()> {
    bench.leaves_nothing(|| {
        create(bench, "grows", "32MiB", "32MiB")?;
        let (said, json) = bench.refused(&["balloon", "grows", "64MiB"])?;
        ensure!(
            said.code == 4,
            "beyond the maximum ended with {}: {json}",
            said.code
        );
        let set = bench.client().json(&["max-memory", "grows", "160MiB"])?;
        ensure!(
            set["usable"] == "now",
            "the demo kernel cannot use it: {set}"
        );
        bench.client().json(&["balloon", "grows", "160MiB"])?;
        let seen = bench.client().console("grows", |console| {
            console.say("stress mem 1", LIMIT)?;
            console.hear("that memory holds", LIMIT, |line| {
                line.contains("stress mem: done, 0 words wrong")
                    .then_some(())
            })?;
            console.memory()
        })?;
        ensure!(seen == 160 << 20, "the guest sees {seen} bytes");
        bench.client().json(&["balloon", "grows", "24MiB"])?;
        bench.client().json(&["destroy", "grows"]).map(|_| ())
    })
}

/// Keys reach a guest's kernel; ends have the consequences that were asked for, and who waits hears of them.
pub(crate) fn keys_and_ends(bench: &Bench<'_, '_>) -> Result<()> {
    bench.leaves_nothing(|| {
        let words = [
            "create",
            "--name",
            "ends",
            "--memory",
            "16MiB",
            "--on-crash",
            "restart",
            "--on-poweroff",
            "preserve",
        ];
        bench.client().json(&words)?;
        let wait = |state| {
            let words = ["wait", "ends", "--for", state, "--timeout", "30"];
            bench.client().json(&words)
        };
        wait("blocked")?;
        bench.client().console("ends", |console| {
            bench.client().json(&["sysrq", "ends", "h"])?;
            console.hear("the list of keys", LIMIT, |line| {
                line.contains("sysrq: help(h)").then_some(())
            })
        })?;
        let before = number(&bench.domain("ends")?, "id")?;
        thread::scope(|scope| {
            let crashed = scope.spawn(|| wait("crashed"));
            thread::sleep(Duration::from_millis(100));
            bench.client().json(&["sysrq", "ends", "c"])?;
            match crashed.join() {
                Ok(waited) => waited.map(|_| ()),
                Err(_) => bail!("who waited panicked"),
            }
        })?;
        wait("blocked")?;
        let after = number(&bench.domain("ends")?, "id")?;
        ensure!(
            after != before,
            "it has crashed and kept its number {before}"
        );
        bench.client().json(&["sysrq", "ends", "o"])?;
        wait("shutdown")?;
        bench.await_state("ends", &["shutdown"], LIMIT)?;
        let listed = bench.client().json(&["rename", "ends", "ended"])?;
        ensure!(listed["previous"] == "ends", "{listed}");
        bench.client().json(&["destroy", "ended"]).map(|_| ())
    })
}
