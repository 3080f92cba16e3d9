//! The three views of a machine that a step compares, and how they are shown.

use std::time::{Duration, Instant};

use anyhow::{Context, Result, bail, ensure};
use serde_json::Value;

use crate::run::client::{Client, Console};
use crate::run::demo::TICK;

/// How long a state that is on its way may take to arrive.
const SETTLE: Duration = Duration::from_secs(30);

/// Between two looks at something that no event tells of.
const LOOK: Duration = Duration::from_millis(100);

/// How long the heartbeat is watched while nothing changes.
const QUIET: Duration = Duration::from_secs(2);

/// How often a change is carried out before its gap is its own.
const ATTEMPTS: u32 = 5;

/// What a step looks at.
#[derive(Debug)]
pub(crate) struct View<'a> {
    client: &'a Client,
}

impl<'a> View<'a> {
    pub(crate) fn new(client: &'a Client) -> Self {
        Self { client }
    }

    /// Runs a command that must succeed, shows it, and returns what it said.
    pub(crate) fn command(&self, words: &[&str]) -> Result<Value> {
        println!("   $ dom0ctl {}", words.join(" "));
        self.client.json(words)
    }

    /// Shows a command's output as a person would see it.
    pub(crate) fn show(&self, words: &[&str]) -> Result<()> {
        println!("   $ dom0ctl {}", words.join(" "));
        let said = self.client.say(words);
        ensure!(
            said.code == 0,
            "`{}` ended with code {}: {}",
            said.command,
            said.code,
            said.err.trim()
        );
        for line in said.out.lines() {
            println!("     {line}");
        }
        Ok(())
    }

    /// The hypervisor's count of a domain; `None` when there is no such domain.
    pub(crate) fn domain(&self, name: &str) -> Result<Option<Value>> {
        let list = self.client.json(&["list"])?;
        let domains = list.as_array().context("`list --json` is no array")?;
        Ok(domains
            .iter()
            .find(|domain| domain["name"] == name)
            .cloned())
    }

    /// Free memory by the hypervisor's count, in bytes.
    pub(crate) fn free_memory(&self) -> Result<u64> {
        number(&self.client.json(&["info"])?, "free_memory_bytes")
    }

    /// Waits until the hypervisor counts for a domain what it should.
    pub(crate) fn await_count(&self, name: &str, field: &str, wanted: u64) -> Result<()> {
        let deadline = Instant::now() + SETTLE;
        loop {
            let domain = self
                .domain(name)?
                .with_context(|| format!("{name} is not listed"))?;
            let counted = number(&domain, field)?;
            if counted == wanted {
                return Ok(());
            }
            if Instant::now() >= deadline {
                bail!("the hypervisor counts {field} {counted} for {name}, not {wanted}");
            }
            std::thread::sleep(LOOK);
        }
    }

    /// A conversation with a guest.
    pub(crate) fn guest<R>(
        &self,
        name: &str,
        talk: impl FnOnce(&mut Console<'_>) -> Result<R>,
    ) -> Result<R> {
        self.client.console(name, talk)
    }

    /// Carries out `change` while the guest's heart beats, and holds the longest gap to what it is without a change.
    ///
    /// The host can stop the whole machine for a moment at any time. So a change whose gap is too long is carried out
    /// again, a few times: what the change itself costs is there every time.
    pub(crate) fn without_downtime(
        &self,
        name: &str,
        change: impl Fn(&mut Console<'_>) -> Result<()>,
    ) -> Result<()> {
        self.guest(name, |console| {
            console.start_heartbeat()?;
            let mut quiet = quiet_window(console)?;
            for left in (0..ATTEMPTS).rev() {
                change(console)?;
                let during = console.heartbeat()?.longest;
                quiet = quiet.max(quiet_window(console)?);
                let allowed = (TICK * 3).max(quiet * 2);
                guest_sees(&format!(
                    "longest gap between two beats {:.1} ms during the change, {:.1} ms without",
                    millis(during),
                    millis(quiet)
                ));
                if during <= allowed {
                    return console.stop_heartbeat();
                }
                ensure!(
                    left > 0,
                    "the guest stood still for {:.1} ms during the change, {:.1} ms are allowed",
                    millis(during),
                    millis(allowed)
                );
                println!("   that is too long; the change itself, or a busy host? Once more:");
            }
            Ok(())
        })
    }
}

/// The longest gap while nothing changes; the window before it is forgotten.
fn quiet_window(console: &mut Console<'_>) -> Result<Duration> {
    std::thread::sleep(QUIET);
    Ok(console.heartbeat()?.longest)
}

fn millis(time: Duration) -> f64 {
    time.as_secs_f64() * 1000.0
}

/// Shows what `dom0ctl` answered.
pub(crate) fn dom0ctl_says(what: &str) {
    println!("   dom0ctl says         {what}");
}

/// Shows what the hypervisor counts.
pub(crate) fn hypervisor_counts(what: &str) {
    println!("   hypervisor counts    {what}");
}

/// Shows what a guest sees.
pub(crate) fn guest_sees(what: &str) {
    println!("   guest sees           {what}");
}

/// A number of a JSON object.
pub(crate) fn number(value: &Value, field: &str) -> Result<u64> {
    value[field]
        .as_u64()
        .with_context(|| format!("no number `{field}` in {value}"))
}

/// A text of a JSON object.
pub(crate) fn text<'v>(value: &'v Value, field: &str) -> Result<&'v str> {
    value[field]
        .as_str()
        .with_context(|| format!("no text `{field}` in {value}"))
}
