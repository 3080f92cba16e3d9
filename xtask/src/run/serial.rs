//! The serial line of a machine: kept in memory for whoever waits for a line, and in a log file.

use std::fs::File;
use std::io::{Read, Write};
use std::path::Path;
use std::process::{ChildStderr, ChildStdin, ChildStdout};
use std::sync::{Arc, Condvar, Mutex, MutexGuard, PoisonError};
use std::thread::{self, JoinHandle};
use std::time::{Duration, Instant};

use anyhow::{Context, Result};

/// Whether the serial line is shown as it comes.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Echo {
    /// In the log only.
    Quiet,
    /// On the terminal too.
    Terminal,
}

/// A listener.
#[derive(Debug)]
pub(crate) struct Serial {
    shared: Arc<Shared>,
    threads: Vec<JoinHandle<()>>,
}

#[derive(Debug, Default)]
struct Shared {
    heard: Mutex<Heard>,
    changed: Condvar,
}

#[derive(Debug, Default)]
struct Heard {
    lines: Vec<String>,
    partial: Vec<u8>,
    ended: bool,
}

impl Heard {
    fn push(&mut self, bytes: &[u8]) {
        for &byte in bytes {
            match byte {
                b'\n' => {
                    let line = String::from_utf8_lossy(&self.partial)
                        .trim_end_matches('\r')
                        .to_owned();
                    self.lines.push(line);
                    self.partial.clear();
                }
                other => self.partial.push(other),
            }
        }
    }
}

impl Shared {
    fn lock(&self) -> MutexGuard<'_, Heard> {
        self.heard.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Serial {
    /// Listens to a machine's output until it ends.
    pub(crate) fn listen(
        output: ChildStdout,
        complaints: ChildStderr,
        log: &Path,
        echo: Echo,
    ) -> Result<Self> {
        let file = File::create(log).with_context(|| format!("cannot create {}", log.display()))?;
        let second = file
            .try_clone()
            .context("cannot duplicate a log's handle")?;
        let shared = Arc::new(Shared::default());
        let heard = Arc::clone(&shared);
        let threads = vec![
            thread::spawn(move || listen(output, file, echo, Some(&heard))),
            thread::spawn(move || listen(complaints, second, Echo::Quiet, None)),
        ];
        Ok(Self { shared, threads })
    }

    /// All whole lines so far.
    pub(crate) fn lines(&self) -> Vec<String> {
        self.shared.lock().lines.clone()
    }

    /// Waits for a line for which `wanted` holds; `None` when the time is over or the machine has ended without.
    pub(crate) fn wait_for(
        &self,
        limit: Duration,
        mut wanted: impl FnMut(&str) -> bool,
    ) -> Option<String> {
        let deadline = Instant::now() + limit;
        let mut seen = 0;
        let mut heard = self.shared.lock();
        loop {
            for line in heard.lines.iter().skip(seen) {
                if wanted(line) {
                    return Some(line.clone());
                }
            }
            seen = heard.lines.len();
            let left = deadline.saturating_duration_since(Instant::now());
            if heard.ended || left.is_zero() {
                return None;
            }
            let waited = self.shared.changed.wait_timeout(heard, left);
            heard = waited.unwrap_or_else(PoisonError::into_inner).0;
        }
    }

    /// Waits until everything that was said has been heard; for a machine that has ended.
    pub(crate) fn drain(&mut self) {
        for listener in self.threads.drain(..) {
            // A listener that panicked has told so itself.
            listener.join().ok();
        }
    }
}

fn listen(mut from: impl Read, mut log: File, echo: Echo, heard: Option<&Shared>) {
    let mut buffer = [0; 4096];
    while let Ok(length @ 1..) = from.read(&mut buffer) {
        let bytes = buffer.get(..length).unwrap_or_default();
        // A full disk or a closed terminal must not stop the listening.
        log.write_all(bytes).ok();
        if echo == Echo::Terminal {
            let mut terminal = std::io::stdout().lock();
            terminal
                .write_all(bytes)
                .and_then(|()| terminal.flush())
                .ok();
        }
        if let Some(shared) = heard {
            shared.lock().push(bytes);
            shared.changed.notify_all();
        }
    }
    if let Some(shared) = heard {
        let mut heard = shared.lock();
        if !heard.partial.is_empty() {
            heard.push(b"\n");
        }
        heard.ended = true;
        shared.changed.notify_all();
    }
}

/// Passes this program's standard input on to a machine, until either side ends.
pub(crate) fn feed(mut pipe: ChildStdin) {
    thread::spawn(move || {
        let mut buffer = [0; 256];
        let mut input = std::io::stdin();
        while let Ok(length @ 1..) = input.read(&mut buffer) {
            let bytes = buffer.get(..length).unwrap_or_default();
            if pipe.write_all(bytes).and_then(|()| pipe.flush()).is_err() {
                return;
            }
        }
    });
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn lines_are_whole_and_without_carriage_returns() {
        let mut heard = Heard::default();
        heard.push(b"one\r\ntw");
        assert_eq!(heard.lines, ["one"]);
        heard.push(b"o\n");
        assert_eq!(heard.lines, ["one", "two"]);
    }
}
