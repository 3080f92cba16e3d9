//! What the demo kernel says on its console, and how to read it.

use std::thread;
use std::time::{Duration, Instant};

use anyhow::{Result, ensure};

use crate::run::client::Console;

/// How long a guest may take to answer a command: far beyond what it takes.
const LIMIT: Duration = Duration::from_secs(30);

/// One beat of the heartbeat.
pub(crate) const TICK: Duration = Duration::from_millis(10);

/// What the heartbeat has seen since it was last asked.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct Window {
    /// The longest distance between two beats.
    pub(crate) longest: Duration,
    /// How many beats there were.
    pub(crate) beats: u64,
}

impl Console<'_> {
    /// The memory that the guest sees, in bytes.
    pub(crate) fn memory(&mut self) -> Result<u64> {
        self.say("mem", LIMIT)?;
        let kib = self.hear("how much memory it has", LIMIT, |line| {
            line.split_once("memory: ")?
                .1
                .split_once(" KiB")?
                .0
                .parse::<u64>()
                .ok()
        })?;
        Ok(kib * 1024)
    }

    /// The vCPUs that the guest sees online, when none is on its way: the hypervisor counts a vCPU before its own first
    /// instructions, and the guest after them.
    pub(crate) fn cpus(&mut self) -> Result<u64> {
        let deadline = Instant::now() + LIMIT;
        loop {
            self.say("cpus", LIMIT)?;
            // It lists one per line; the answer to the next command is the list's end.
            self.say("uptime", LIMIT)?;
            let (mut online, mut on_the_way) = (0, false);
            self.hear("which vCPUs it has", LIMIT, |line| {
                online += u64::from(line.contains("cpu ") && line.ends_with(": online"));
                on_the_way |= line.ends_with(": starting") || line.ends_with(": leaving");
                line.contains("uptime: ").then_some(())
            })?;
            if !on_the_way || Instant::now() >= deadline {
                return Ok(online);
            }
        }
    }

    /// Starts the heartbeat, and leaves its first beats behind: they set up what they need, and are no measure.
    pub(crate) fn start_heartbeat(&mut self) -> Result<()> {
        self.say("gap start", LIMIT)?;
        self.hear("that its heart beats", LIMIT, |line| {
            (line.contains("gap: started") || line.contains("gap: on already")).then_some(())
        })?;
        // A busy host may keep the whole machine from running for as long.
        let deadline = Instant::now() + LIMIT;
        loop {
            thread::sleep(TICK * 20);
            let first = self.heartbeat().map(|_| ());
            if first.is_ok() || Instant::now() >= deadline {
                return first;
            }
        }
    }

    /// What the heartbeat has seen; begins a new window.
    pub(crate) fn heartbeat(&mut self) -> Result<Window> {
        self.say("gap show", LIMIT)?;
        let window = self.hear("its longest gap", LIMIT, window)?;
        ensure!(window.beats > 0, "its heart did not beat");
        Ok(window)
    }

    /// Stops the heartbeat.
    pub(crate) fn stop_heartbeat(&mut self) -> Result<()> {
        self.say("gap stop", LIMIT)?;
        self.hear("that its heart rests", LIMIT, |line| {
            line.contains("gap: stopped").then_some(())
        })
    }
}

/// Reads `gap: longest 12.345 ms over 200 beats on 4 vcpus`.
fn window(line: &str) -> Option<Window> {
    let (longest, rest) = line
        .split_once("gap: longest ")?
        .1
        .split_once(" ms over ")?;
    let (whole, thousandths) = longest.split_once('.')?;
    let micros = whole.parse::<u64>().ok()?.checked_mul(1000)? + thousandths.parse::<u64>().ok()?;
    Some(Window {
        longest: Duration::from_micros(micros),
        beats: rest.split_once(" beats")?.0.parse().ok()?,
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_longest_gap_is_read_from_its_line() {
        let read =
            window("demo> gap: longest 12.345 ms over 200 beats on 4 vcpus, user echoes 200");
        let wanted = Window {
            longest: Duration::from_micros(12_345),
            beats: 200,
        };
        assert_eq!(read, Some(wanted));
        assert_eq!(window("gap: started"), None);
        assert_eq!(window("gap: longest many ms over few beats"), None);
    }
}
