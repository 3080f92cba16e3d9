//! `dom0ctl` from within: the same commands with the same words, their output caught instead of printed.

use std::ffi::OsString;
use std::path::PathBuf;
use std::time::{Duration, Instant};

use anyhow::{Context, Result, bail};
use dom0_protocol::progress::Phase;
use dom0_protocol::request::{Console as ConsoleRequest, ConsoleMode};
use dom0_protocol::{DomainSelector, Request};
use dom0ctl::connect::Address;
use dom0ctl::output::Surface;
use dom0ctl::session::{Call, Event};
use rustix::event::{PollFd, PollFlags, Timespec, poll};
use serde_json::Value;

/// How long dom0 may take to replay a console's scroll-back.
const ATTACH: Duration = Duration::from_secs(30);

/// A client of one machine.
#[derive(Debug, Clone)]
pub(crate) struct Client {
    address: Address,
}

/// What a command said, and its exit code.
#[derive(Debug, Clone)]
pub(crate) struct Said {
    /// The command, for people.
    pub(crate) command: String,
    /// The exit code.
    pub(crate) code: u8,
    /// Standard output.
    pub(crate) out: String,
    /// Standard error.
    pub(crate) err: String,
}

impl Client {
    /// A client of the machine that listens at this socket.
    pub(crate) fn new(socket: PathBuf) -> Self {
        Self {
            address: Address::Unix(socket),
        }
    }

    /// Runs one command, whatever its outcome.
    pub(crate) fn say<S: AsRef<str>>(&self, words: &[S]) -> Said {
        let words: Vec<&str> = words.iter().map(AsRef::as_ref).collect();
        let args = std::iter::once("dom0ctl").chain(words.iter().copied());
        let (mut out, mut err) = (Vec::new(), Vec::new());
        let code = dom0ctl::run_on(
            args.map(OsString::from),
            Some(&self.address),
            &mut Surface::plain(&mut out, &mut err),
        );
        Said {
            command: format!("dom0ctl {}", words.join(" ")),
            code,
            out: String::from_utf8_lossy(&out).into_owned(),
            err: String::from_utf8_lossy(&err).into_owned(),
        }
    }

    /// Runs one command that must succeed, and returns its JSON.
    pub(crate) fn json<S: AsRef<str>>(&self, words: &[S]) -> Result<Value> {
        let mut words: Vec<&str> = words.iter().map(AsRef::as_ref).collect();
        words.push("--json");
        let said = self.say(&words);
        if said.code != 0 {
            bail!(
                "`{}` ended with code {}: {}",
                said.command,
                said.code,
                said.err.trim()
            );
        }
        serde_json::from_str(&said.out)
            .with_context(|| format!("`{}` printed something other than JSON", said.command))
    }

    /// Runs one command on the terminal, as the program would.
    pub(crate) fn show(&self, words: impl IntoIterator<Item = OsString>) -> u8 {
        use std::io::IsTerminal;
        let (mut out, mut err) = (std::io::stdout(), std::io::stderr());
        let mut surface = Surface {
            out_is_terminal: out.is_terminal(),
            err_is_terminal: err.is_terminal(),
            out: &mut out,
            err: &mut err,
        };
        let args = std::iter::once(OsString::from("dom0ctl")).chain(words);
        dom0ctl::run_on(args, Some(&self.address), &mut surface)
    }

    /// What a domain has printed on its console, as far back as dom0 keeps it.
    pub(crate) fn scrollback(&self, domain: &str) -> Result<Vec<String>> {
        let said = self.say(&["console", domain, "--log"]);
        if said.code != 0 {
            bail!("`{}` ended with code {}", said.command, said.code);
        }
        Ok(said
            .out
            .lines()
            .map(|line| line.trim_end_matches('\r').to_owned())
            .collect())
    }

    /// Attaches to a domain's console for as long as `talk` takes.
    pub(crate) fn console<R>(
        &self,
        domain: &str,
        talk: impl FnOnce(&mut Console<'_>) -> Result<R>,
    ) -> Result<R> {
        let selector: DomainSelector = domain
            .parse()
            .map_err(|error| anyhow::anyhow!("{domain}: {error}"))?;
        let mut session = self.address.connect().map_err(complaint)?;
        let request = Request::Console(ConsoleRequest {
            domain: selector,
            mode: ConsoleMode::Attach,
        });
        let call = session.call(request).map_err(complaint)?;
        let mut console = Console {
            call,
            partial: String::new(),
            lines: Vec::new(),
            live: false,
            ended: false,
        };
        console.pass_scroll_back()?;
        talk(&mut console).with_context(|| format!("on the console of {domain}"))
    }
}

/// An attached console.
#[derive(Debug)]
pub(crate) struct Console<'a> {
    call: Call<'a>,
    partial: String,
    lines: Vec<String>,
    /// Whether what comes is new, not scroll-back.
    live: bool,
    ended: bool,
}

impl Console<'_> {
    /// Passes over what the guest said before.
    fn pass_scroll_back(&mut self) -> Result<()> {
        let deadline = Instant::now() + ATTACH;
        while !self.live {
            if self.ended || !self.listen(deadline)? {
                bail!("the console was not attached within {} s", ATTACH.as_secs());
            }
        }
        self.lines.clear();
        self.partial.clear();
        Ok(())
    }

    /// Types a line.
    pub(crate) fn say(&mut self, line: &str, limit: Duration) -> Result<()> {
        let deadline = Instant::now() + limit;
        let text = format!("{line}\n");
        let mut rest = text.as_bytes();
        while !rest.is_empty() {
            if self.call.room() == 0 && !self.listen(deadline)? {
                bail!("the console took no input within {} s", limit.as_secs());
            }
            let sent = self.call.send(rest).map_err(complaint)?;
            rest = rest.get(sent..).unwrap_or_default();
        }
        Ok(())
    }

    /// Waits for a line for which `wanted` finds something; lines before it are passed over.
    pub(crate) fn hear<R>(
        &mut self,
        what: &str,
        limit: Duration,
        mut wanted: impl FnMut(&str) -> Option<R>,
    ) -> Result<R> {
        let deadline = Instant::now() + limit;
        let mut passed: Vec<String> = Vec::new();
        loop {
            while !self.lines.is_empty() {
                let line = self.lines.remove(0);
                if let Some(found) = wanted(&line) {
                    return Ok(found);
                }
                passed.push(line);
            }
            if self.ended || !self.listen(deadline)? {
                let start = passed.len().saturating_sub(10);
                let last = passed.get(start..).unwrap_or_default().join("\n    | ");
                bail!(
                    "the guest did not say {what} within {} s; last:\n    | {last}",
                    limit.as_secs()
                );
            }
        }
    }

    /// Waits until something has come; false when the time is over first.
    fn listen(&mut self, deadline: Instant) -> Result<bool> {
        loop {
            if let Some(event) = self.call.try_next().map_err(complaint)? {
                match event {
                    Event::Data(bytes) => self.take(&String::from_utf8_lossy(&bytes)),
                    Event::Done(_) => self.ended = true,
                    Event::Progress(progress) => self.live |= progress.phase == Phase::Live,
                    Event::Window => {}
                }
                return Ok(true);
            }
            let left = deadline.saturating_duration_since(Instant::now());
            let timeout = Timespec::try_from(left).context("a time limit is too long")?;
            let mut waited = [PollFd::new(&self.call, PollFlags::IN)];
            match poll(&mut waited, Some(&timeout)) {
                Ok(0) => return Ok(false),
                Ok(_) => {}
                Err(rustix::io::Errno::INTR) => continue,
                Err(error) => return Err(error).context("cannot wait for the console"),
            }
            self.call.fill().map_err(complaint)?;
        }
    }

    fn take(&mut self, text: &str) {
        self.partial.push_str(text);
        while let Some((line, rest)) = self.partial.split_once('\n') {
            self.lines.push(line.trim_end_matches('\r').to_owned());
            self.partial = rest.to_owned();
        }
    }
}

#[expect(
    clippy::needless_pass_by_value,
    reason = "it is the form that map_err takes"
)]
fn complaint(failure: dom0ctl::exit::Failure) -> anyhow::Error {
    let error = failure.error();
    anyhow::anyhow!("{} ({:?})", error.message, error.code)
}

#[cfg(test)]
mod tests;
