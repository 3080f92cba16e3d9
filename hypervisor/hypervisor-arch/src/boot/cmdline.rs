//! The hypervisor's command line: words `key=value`, parted by spaces.
//!
//! A word that is not understood is named in the log and otherwise ignored: a typing error must not keep the machine
//! from starting.

use crate::mem::layout::MAX_CPUS;
use core::str::FromStr;
use hypervisor_core::ids::Nanos;
use hypervisor_core::speculation;
use log::LevelFilter;

const NANOS_PER_MILLISECOND: u64 = 1_000_000;

/// What the command line asks for.
#[derive(Debug, Clone)]
pub(crate) struct Options {
    /// Whether the log goes to COM1 (`console=com1`) or nowhere (`console=none`).
    pub(crate) console: bool,
    /// Least important level that is logged.
    pub(crate) log_level: LevelFilter,
    /// Bytes of the first domain, if given.
    pub(crate) dom0_memory: Option<u64>,
    /// vCPUs of the first domain.
    pub(crate) dom0_vcpus: u16,
    /// Most CPUs that are brought up.
    pub(crate) max_cpus: usize,
    /// Length of a scheduler's slice in milliseconds.
    pub(crate) slice_ms: u32,
    /// What is done against speculation.
    pub(crate) speculation: speculation::Mode,
}

impl Default for Options {
    fn default() -> Self {
        Self {
            console: true,
            log_level: LevelFilter::Info,
            dom0_memory: None,
            dom0_vcpus: 1,
            max_cpus: MAX_CPUS,
            slice_ms: 5,
            speculation: speculation::Mode::Default,
        }
    }
}

impl Options {
    /// Reads the words of a command line; `refused` is told each word that means nothing.
    pub(crate) fn parse(line: &str, mut refused: impl FnMut(&str)) -> Self {
        let mut options = Self::default();
        for word in line.split_ascii_whitespace() {
            if options.apply(word).is_none() {
                refused(word);
            }
        }
        options
    }

    fn apply(&mut self, word: &str) -> Option<()> {
        let (key, value) = word.split_once('=')?;
        match key {
            "console" => {
                self.console = match value {
                    "com1" => true,
                    "none" => false,
                    _ => return None,
                }
            }
            "loglvl" => self.log_level = level(value)?,
            "dom0_mem" => self.dom0_memory = Some(size(value)?),
            "dom0_max_vcpus" => self.dom0_vcpus = number(value, 1, 64)?,
            "maxcpus" => self.max_cpus = number(value, 1, MAX_CPUS)?,
            "sched_slice" => self.slice_ms = number(value, 1, 100)?,
            "spec-ctrl" => {
                self.speculation = match value {
                    "off" => speculation::Mode::Off,
                    "default" => speculation::Mode::Default,
                    "max" => speculation::Mode::Max,
                    _ => return None,
                }
            }
            _ => return None,
        }
        Some(())
    }

    /// What of this the policy decides by.
    pub(crate) fn for_policy(&self, max_domains: u16) -> hypervisor_core::Options {
        hypervisor_core::Options {
            first_domain_memory: self.dom0_memory.unwrap_or(0),
            first_domain_vcpus: self.dom0_vcpus,
            slice: Nanos::new(u64::from(self.slice_ms) * NANOS_PER_MILLISECOND),
            max_domains,
        }
    }
}

fn level(word: &str) -> Option<LevelFilter> {
    Some(match word {
        "error" => LevelFilter::Error,
        "warn" => LevelFilter::Warn,
        "info" => LevelFilter::Info,
        "debug" => LevelFilter::Debug,
        "trace" => LevelFilter::Trace,
        _ => return None,
    })
}

fn number<T: FromStr + PartialOrd>(word: &str, least: T, most: T) -> Option<T> {
    let value = word.parse().ok()?;
    (least..=most).contains(&value).then_some(value)
}

/// A size with an optional unit: K, M or G, alone or as KiB, MiB, GiB.
fn size(word: &str) -> Option<u64> {
    let digits = word
        .find(|c: char| !c.is_ascii_digit())
        .unwrap_or(word.len());
    let (count, unit) = word.split_at(digits);
    let shift = match unit {
        "" => 0,
        "K" | "KiB" => 10,
        "M" | "MiB" => 20,
        "G" | "GiB" => 30,
        _ => return None,
    };
    count.parse::<u64>().ok()?.checked_mul(1 << shift)
}
