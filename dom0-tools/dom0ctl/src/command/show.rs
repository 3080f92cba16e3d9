//! `dom0ctl show`: all there is to say about one domain. Schema `show.json`.

use super::Context;
use super::context::unexpected;
use super::sched::cap_in_words;
use crate::exit::Result;
use crate::output::Report;
use crate::output::table::{Align, pairs, render};
use crate::output::units::{cpu_time, span};
use crate::size::human;
use clap::Args;
use dom0_protocol::domain::{Counter, DomainDetail, DomainRecord, DriverState, VcpuRecord};
use dom0_protocol::reply::Shown;
use dom0_protocol::{DomainSelector, Reply, Request};
use schemars::JsonSchema;
use serde::Serialize;

/// Arguments of `show`.
#[derive(Args, Debug)]
pub struct Arguments {
    /// The domain, by name or number
    domain: DomainSelector,
    /// Also show what it has asked of the hypervisor, by kind
    #[arg(long)]
    counters: bool,
}

/// The result: the fields of `list`, and more.
#[derive(Debug, Serialize, JsonSchema)]
pub struct Show {
    /// What `list` says too.
    #[serde(flatten)]
    pub record: DomainRecord,
    /// What only `show` says.
    #[serde(flatten)]
    pub detail: DomainDetail,
    /// How often it has asked for each kind of thing, the most frequent first; only with `--counters`.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub counters: Option<Vec<Counter>>,
}

impl Show {
    fn lines(&self) -> Vec<(&'static str, String)> {
        let Self { record, detail, .. } = self;
        let driver = |state| match state {
            DriverState::Ready => "ready",
            DriverState::Unknown => "not seen",
        };
        let mut lines = vec![
            ("name", record.name.to_string()),
            ("id", record.id.to_string()),
            ("uuid", detail.uuid.clone()),
            ("state", record.state.as_str().into()),
            ("uptime", span(record.uptime_ns)),
            ("kernel", detail.kernel.clone()),
        ];
        if let Some(ramdisk) = &detail.ramdisk {
            lines.push(("ramdisk", ramdisk.clone()));
        }
        if !detail.cmdline.is_empty() {
            lines.push(("cmdline", detail.cmdline.clone()));
        }
        lines.extend([
            (
                "memory",
                format!(
                    "{} (target {}, maximum {}, overhead {})",
                    human(record.memory_bytes),
                    human(record.target_memory_bytes),
                    human(record.max_memory_bytes),
                    human(detail.overhead_bytes)
                ),
            ),
            (
                "vcpus",
                format!(
                    "{} online (target {}, maximum {})",
                    record.vcpus_online, record.vcpus, record.max_vcpus
                ),
            ),
            ("balloon driver", driver(detail.balloon_driver).into()),
            ("vcpu driver", driver(detail.vcpu_driver).into()),
            ("weight", detail.weight.to_string()),
            ("cap", cap_in_words(detail.cap_percent)),
            ("cpus", cpu_numbers(&detail.cpus)),
            ("cpu time", cpu_time(record.cpu_time_ns)),
            ("wakeups", record.wakeups.to_string()),
            ("hypercalls", detail.hypercalls.to_string()),
            ("faults", detail.faults.to_string()),
        ]);
        if let Some(on_end) = detail.on_end {
            let (crash, reboot, poweroff) = (on_end.crash, on_end.reboot, on_end.poweroff);
            let text = format!(
                "{} on a crash, {} on a reboot, {} on a poweroff",
                crash.as_str(),
                reboot.as_str(),
                poweroff.as_str()
            );
            lines.push(("at its end", text));
        }
        if let Some(reason) = &detail.shutdown_reason {
            lines.push(("ended by", reason.clone()));
        }
        if let Some(crash) = &detail.crash {
            let (rip, cr2) = (crash.rip, crash.cr2);
            let place = format!("{} at rip {rip:#x}, cr2 {cr2:#x}", crash.reason);
            lines.push(("crashed by", place));
        }
        lines
    }
}

/// A list of CPUs in words.
pub(super) fn cpu_numbers(cpus: &[u32]) -> String {
    if cpus.is_empty() {
        return "all".into();
    }
    let numbers: Vec<String> = cpus.iter().map(u32::to_string).collect();
    numbers.join(",")
}

fn vcpu_table(vcpus: &[VcpuRecord], terminal: bool) -> String {
    let columns = [
        ("VCPU", Align::Right),
        ("STATE", Align::Left),
        ("CPU", Align::Right),
        ("MAY USE", Align::Left),
        ("CPU TIME", Align::Right),
        ("READY", Align::Right),
        ("BLOCKED", Align::Right),
        ("WAKEUPS", Align::Right),
    ];
    let rows = vcpus.iter().map(|vcpu| {
        vec![
            vcpu.vcpu.to_string(),
            vcpu.state.as_str().into(),
            vcpu.cpu.map_or_else(|| "-".into(), |cpu| cpu.to_string()),
            cpu_numbers(&vcpu.affinity),
            cpu_time(vcpu.cpu_time_ns),
            cpu_time(vcpu.ready_time_ns),
            cpu_time(vcpu.blocked_time_ns),
            vcpu.wakeups.to_string(),
        ]
    });
    render(&columns, rows.collect(), terminal)
}

fn counter_table(counters: &[Counter], terminal: bool) -> String {
    let columns = [("KIND", Align::Left), ("COUNT", Align::Right)];
    let rows = counters
        .iter()
        .map(|counter| vec![counter.kind.clone(), counter.count.to_string()]);
    render(&columns, rows.collect(), terminal)
}

impl Report for Show {
    fn text(&self, terminal: bool) -> String {
        let mut text = pairs(&self.lines()) + "\n" + &vcpu_table(&self.detail.vcpu, terminal);
        if let Some(counters) = &self.counters {
            text = text + "\n" + &counter_table(counters, terminal);
        }
        text
    }
}

/// Runs the command.
///
/// # Errors
/// `no-such-domain`, or what else dom0 answers.
pub fn run(arguments: Arguments, context: &mut Context<'_, '_>) -> Result<()> {
    let mut session = context.connect()?;
    let reply = session.ask(Request::Show(arguments.domain))?;
    let Reply::Domain(shown) = reply else {
        return Err(unexpected(&reply));
    };
    let Shown { record, detail } = *shown;
    let counters = if arguments.counters {
        // By number: it is the same domain that the lines above are about.
        let reply = session.ask(Request::Counters(DomainSelector::Id(record.id)))?;
        let Reply::Counters(counters) = reply else {
            return Err(unexpected(&reply));
        };
        Some(counters)
    } else {
        None
    };
    context.print(&Show {
        record,
        detail,
        counters,
    })
}
