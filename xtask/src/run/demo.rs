//! What the demo kernel says on its console, and how to read it.

use std::time::Duration;

use anyhow::Result;

use crate::run::client::Console;

/// How long a guest may take to answer a command: far beyond what it takes.
const LIMIT: Duration = Duration::from_secs(30);

/// One beat of the heartbeat.
pub(crate) const TICK: Duration = Duration::from_millis(10);

impl Console<'_> {
    /// The memory that the guest sees, in bytes.
    pub(crate) fn memory(&mut self) -> Result<u64> {
        self.say("mem", LIMIT)?;
        self.hear("how much memory it has", LIMIT, |line| {
            field(line, "memory", "KiB")
        })
        .map(|kib: u64| kib * 1024)
    }

    /// The vCPUs that the guest sees online.
    pub(crate) fn cpus(&mut self) -> Result<u64> {
        self.say("cpus", LIMIT)?;
        self.hear("how many vCPUs it has", LIMIT, |line| {
            field(line, "cpus", "online")
        })
    }

    /// Starts the heartbeat, or forgets what it has measured so far.
    pub(crate) fn start_heartbeat(&mut self) -> Result<()> {
        self.say("gap start", LIMIT)?;
        self.hear("that its heart beats", LIMIT, |line| {
            line.contains("gap: started").then_some(())
        })
    }

    /// The longest distance between two beats since the start.
    pub(crate) fn longest_gap(&mut self) -> Result<Duration> {
        self.say("gap", LIMIT)?;
        self.hear("its longest gap", LIMIT, |line| {
            field(line, "longest", "us")
        })
        .map(Duration::from_micros)
    }

    /// Stops the heartbeat.
    pub(crate) fn stop_heartbeat(&mut self) -> Result<()> {
        self.say("gap stop", LIMIT)?;
        self.hear("that its heart rests", LIMIT, |line| {
            line.contains("gap: stopped").then_some(())
        })
    }
}

/// The number between the word `name` and the word `unit` of a line.
fn field(line: &str, name: &str, unit: &str) -> Option<u64> {
    let words: Vec<&str> = line
        .split(|c: char| c.is_whitespace() || ",:;".contains(c))
        .filter(|word| !word.is_empty())
        .collect();
    let [_, number, _] = words
        .windows(3)
        .find(|three| matches!(three, [a, _, c] if *a == name && *c == unit))?
    else {
        return None;
    };
    number.parse().ok()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn numbers_are_found_by_the_words_around_them() {
        assert_eq!(
            field("mem: memory 65536 KiB, free 1 KiB", "memory", "KiB"),
            Some(65536)
        );
        assert_eq!(field("longest 12000 us", "longest", "us"), Some(12000));
        assert_eq!(field("memory many KiB", "memory", "KiB"), None);
        assert_eq!(field("", "memory", "KiB"), None);
    }
}
