//! The shell in a Linux guest: commands go in by its console, and what they print comes back.

use std::time::Duration;

use anyhow::{Result, bail, ensure};

use crate::run::client::Console;

/// How long an ordinary command may take: far beyond what it takes.
pub(crate) const LIMIT: Duration = Duration::from_secs(60);

/// What init says before it gives the shell.
pub(crate) const SHELL: &str = "init: a shell on the console";

/// Lines that only the shell itself prints: in what is typed, and so in its echo, they are cut in two.
const BEGIN: &str = "@begin";
const END: &str = "@end ";

impl Console<'_> {
    /// Waits until the guest prints a line with these words; returns all lines up to it.
    pub(crate) fn await_words(&mut self, words: &str, limit: Duration) -> Result<Vec<String>> {
        let mut lines = Vec::new();
        self.hear(&format!("`{words}`"), limit, |line| {
            lines.push(line.to_owned());
            line.contains(words).then_some(())
        })?;
        Ok(lines)
    }

    /// Runs a command, which must end well, and returns its lines.
    pub(crate) fn sh(&mut self, command: &str) -> Result<Vec<String>> {
        self.sh_within(command, LIMIT)
    }

    /// The same for a command that takes its time.
    pub(crate) fn sh_within(&mut self, command: &str, limit: Duration) -> Result<Vec<String>> {
        self.say(
            &format!("echo \"@\"begin; {command}; echo \"@\"end $?"),
            limit,
        )?;
        let mut lines: Option<Vec<String>> = None;
        let code = self.hear(&format!("the end of `{command}`"), limit, |line| {
            if line == BEGIN {
                lines = Some(Vec::new());
            } else if let Some(code) = line.strip_prefix(END) {
                return Some(code.to_owned());
            } else if let Some(lines) = &mut lines {
                lines.push(line.to_owned());
            }
            None
        })?;
        let lines = lines.unwrap_or_default();
        ensure!(
            code == "0",
            "`{command}` in the guest ended with {code}: {}",
            lines.join("\n")
        );
        Ok(lines)
    }

    /// Runs a command that prints one number.
    pub(crate) fn sh_number(&mut self, command: &str) -> Result<u64> {
        let lines = self.sh(command)?;
        match lines.as_slice() {
            [line] if line.trim().parse::<u64>().is_ok() => Ok(line.trim().parse()?),
            _ => bail!("`{command}` printed no number: {}", lines.join("\n")),
        }
    }
}
