//! `dom0ctl sched`: shows or changes a domain's share of CPU time. Schema `sched.json`.

use super::Context;
use super::context::unexpected;
use super::show::cpu_numbers;
use crate::cpus::CpuSet;
use crate::exit::Result;
use crate::output::Report;
use crate::output::table::pairs;
use clap::Args;
use dom0_protocol::reply::SchedSettings;
use dom0_protocol::request::Sched;
use dom0_protocol::{DomainSelector, Reply, Request};

/// Arguments of `sched`.
#[derive(Args, Debug)]
pub struct Arguments {
    /// The domain, by name or number
    domain: DomainSelector,
    /// Share of CPU time when CPUs are short, relative to others
    #[arg(long, value_name = "N")]
    weight: Option<u32>,
    /// Most CPU time that it may use, in percent of one CPU; 0 is no bound
    #[arg(long, value_name = "PERCENT")]
    cap: Option<u32>,
    /// CPUs that it may run on, as 0-3,5, or `all`
    #[arg(long, value_name = "LIST")]
    cpus: Option<CpuSet>,
}

/// A cap in words.
pub(super) fn cap_in_words(percent: u32) -> String {
    match percent {
        0 => "none".into(),
        cap => format!("{cap}% of a CPU"),
    }
}

impl Report for SchedSettings {
    fn text(&self, _: bool) -> String {
        pairs(&[
            ("name", self.name.to_string()),
            ("weight", self.weight.to_string()),
            ("cap", cap_in_words(self.cap_percent)),
            ("cpus", cpu_numbers(&self.cpus)),
        ])
    }
}

/// Runs the command.
///
/// # Errors
/// `no-such-domain`, `invalid-argument`, `insufficient-cpu`, or what else dom0 answers.
pub fn run(arguments: Arguments, context: &mut Context<'_, '_>) -> Result<()> {
    let request = Request::Sched(Sched {
        domain: arguments.domain,
        weight: arguments.weight,
        cap_percent: arguments.cap,
        affinity: arguments.cpus.map(CpuSet::mask),
    });
    let reply = context.connect()?.ask(request)?;
    let Reply::Sched(settings) = reply else {
        return Err(unexpected(&reply));
    };
    context.print(&settings)
}
