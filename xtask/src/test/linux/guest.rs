//! A Linux domain under test: how it is created, and how to talk with it.

use std::path::{Path, PathBuf};
use std::time::{Duration, Instant};

use anyhow::{Result, bail};

use crate::linux::shell::SHELL;
use crate::peer::xen_linux::guest::Guest as Domain;
use crate::run::client::Console;
use crate::test::e2e::bench::Bench;

/// From the first instruction to the shell: some seconds here, and as much more as a busy host may need.
const BOOT: Duration = Duration::from_secs(180);

/// What a kernel prints when something is wrong with it or with the machine.
const COMPLAINTS: [&str; 7] = [
    "BUG",
    "Oops",
    "WARNING",
    "Call Trace",
    "general protection",
    "soft lockup",
    "detected stall",
];

/// A Linux domain.
#[derive(Debug, Clone)]
pub(crate) struct Guest {
    domain: Domain,
    on_crash: &'static str,
}

impl Guest {
    pub(crate) fn new(name: &str, kernel: &Path, ramdisk: &Path) -> Self {
        let domain = Domain {
            ramdisk: Some(ramdisk.to_path_buf()),
            cmdline: "console=hvc0".to_owned(),
            memory_mib: 256,
            max_memory_mib: 512,
            vcpus: 2,
            max_vcpus: 4,
            ..Domain::new(name, kernel.to_path_buf())
        };
        Self {
            domain,
            on_crash: "preserve",
        }
    }

    /// The same with a kernel that has all that it needs inside.
    pub(crate) fn with_all_inside(mut self, kernel: PathBuf) -> Self {
        self.domain.kernel = kernel;
        self.domain.ramdisk = None;
        self.domain.cmdline.clear();
        self
    }

    /// The same with as little as serves, so that several fit.
    pub(crate) fn small(mut self) -> Self {
        (self.domain.memory_mib, self.domain.max_memory_mib) = (160, 256);
        (self.domain.vcpus, self.domain.max_vcpus) = (1, 2);
        self
    }

    /// The same, begun anew whenever it crashes.
    pub(crate) fn restarted(mut self) -> Self {
        self.on_crash = "restart";
        self
    }

    pub(crate) fn name(&self) -> &str {
        &self.domain.name
    }

    /// The same with more words on its kernel's command line.
    pub(crate) fn with_words(mut self, words: &str) -> Self {
        self.domain.cmdline.push(' ');
        self.domain.cmdline.push_str(words);
        self
    }

    /// Creates it, paused.
    fn create(&self, bench: &Bench<'_, '_>) -> Result<()> {
        let words = self.domain.words();
        let mut call: Vec<&str> = words.iter().map(String::as_str).collect();
        call.extend(["--on-crash", self.on_crash]);
        bench.client().json(&call).map(|_| ())
    }

    /// Creates it and lets it go; nobody listens to it.
    pub(crate) fn start(&self, bench: &Bench<'_, '_>) -> Result<()> {
        self.create(bench)?;
        bench.client().json(&["unpause", self.name()]).map(|_| ())
    }

    /// Creates it, usually with 256 MiB that may become 512, and two vCPUs that may become four, and waits for its shell;
    /// returns what it printed on the way.
    pub(crate) fn boot(&self, bench: &Bench<'_, '_>) -> Result<Vec<String>> {
        let started = Instant::now();
        let lines = self.boot_until(bench, SHELL, BOOT)?;
        println!(
            "         {}: {} lines to its shell in {:.1} s",
            self.name(),
            lines.len(),
            started.elapsed().as_secs_f64()
        );
        Ok(lines)
    }

    /// The same until it prints these words.
    pub(crate) fn boot_until(
        &self,
        bench: &Bench<'_, '_>,
        words: &str,
        limit: Duration,
    ) -> Result<Vec<String>> {
        self.create(bench)?;
        self.talk(bench, |console| {
            bench.client().json(&["unpause", self.name()])?;
            console.await_words(words, limit)
        })
    }

    /// Talks with its shell.
    pub(crate) fn talk<R>(
        &self,
        bench: &Bench<'_, '_>,
        talk: impl FnOnce(&mut Console<'_>) -> Result<R>,
    ) -> Result<R> {
        bench.client().console(self.name(), talk)
    }
}

/// Holds that a kernel's log has no complaint in it.
pub(crate) fn no_complaint(log: &[String]) -> Result<()> {
    let found: Vec<&str> = log
        .iter()
        .map(String::as_str)
        .filter(|line| COMPLAINTS.iter().any(|complaint| line.contains(complaint)))
        .collect();
    if !found.is_empty() {
        bail!("the kernel complains:\n{}", found.join("\n"));
    }
    Ok(())
}
