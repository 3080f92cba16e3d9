//! A Linux domain under test: how it is created, and how to talk with it.

use std::path::{Path, PathBuf};
use std::time::{Duration, Instant};

use anyhow::{Result, bail};

use crate::linux::shell::SHELL;
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
    name: String,
    kernel: PathBuf,
    ramdisk: Option<PathBuf>,
    cmdline: String,
    on_crash: &'static str,
    /// Memory and vCPUs, at first and at most.
    memory: (&'static str, &'static str),
    vcpus: (&'static str, &'static str),
}

impl Guest {
    pub(crate) fn new(name: &str, kernel: &Path, ramdisk: &Path) -> Self {
        Self {
            name: name.to_owned(),
            kernel: kernel.to_path_buf(),
            ramdisk: Some(ramdisk.to_path_buf()),
            cmdline: "console=hvc0".to_owned(),
            on_crash: "preserve",
            memory: ("256MiB", "512MiB"),
            vcpus: ("2", "4"),
        }
    }

    /// The same with a kernel that has all that it needs inside.
    pub(crate) fn with_all_inside(self, kernel: PathBuf) -> Self {
        Self {
            kernel,
            ramdisk: None,
            cmdline: String::new(),
            ..self
        }
    }

    /// The same with as little as serves, so that several fit.
    pub(crate) fn small(self) -> Self {
        Self {
            memory: ("160MiB", "256MiB"),
            vcpus: ("1", "2"),
            ..self
        }
    }

    /// The same, begun anew whenever it crashes.
    pub(crate) fn restarted(self) -> Self {
        Self {
            on_crash: "restart",
            ..self
        }
    }

    pub(crate) fn name(&self) -> &str {
        &self.name
    }

    /// The same with more words on its kernel's command line.
    pub(crate) fn with_words(mut self, words: &str) -> Self {
        self.cmdline = format!("{} {words}", self.cmdline);
        self
    }

    /// Creates it, usually with 256 MiB that may become 512, and two vCPUs that may become four, and waits for its shell;
    /// returns what it printed on the way.
    pub(crate) fn boot(&self, bench: &Bench<'_, '_>) -> Result<Vec<String>> {
        let started = Instant::now();
        let lines = self.boot_until(bench, SHELL, BOOT)?;
        println!(
            "         {}: {} lines to its shell in {:.1} s",
            self.name,
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
        let kernel = self.kernel.to_string_lossy();
        let ramdisk = self.ramdisk.as_ref().map(|path| path.to_string_lossy());
        #[rustfmt::skip]
        let mut call = vec![
            "create", "--name", &self.name, "--kernel", &kernel,
            "--memory", self.memory.0, "--max-memory", self.memory.1, "--vcpus", self.vcpus.0,
            "--max-vcpus", self.vcpus.1, "--cmdline", &self.cmdline, "--on-crash", self.on_crash, "--paused",
        ];
        if let Some(ramdisk) = &ramdisk {
            call.extend(["--ramdisk", ramdisk]);
        }
        bench.client().json(&call)?;
        self.talk(bench, |console| {
            bench.client().json(&["unpause", &self.name])?;
            console.await_words(words, limit)
        })
    }

    /// Talks with its shell.
    pub(crate) fn talk<R>(
        &self,
        bench: &Bench<'_, '_>,
        talk: impl FnOnce(&mut Console<'_>) -> Result<R>,
    ) -> Result<R> {
        bench.client().console(&self.name, talk)
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
