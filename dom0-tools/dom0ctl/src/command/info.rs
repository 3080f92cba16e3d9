//! `dom0ctl info`: the machine's memory and CPUs. Schema `info.json`.

use super::Context;
use super::context::unexpected;
use crate::exit::Result;
use crate::output::Report;
use crate::output::table::{Align, pairs, render};
use crate::output::units::{cpu_time, span, utc};
use crate::size::human;
use dom0_protocol::host::HostInfo;
use dom0_protocol::{Reply, Request};

impl Report for HostInfo {
    fn text(&self, terminal: bool) -> String {
        let lines = [
            ("hypervisor", self.hypervisor_version.clone()),
            ("up", span(self.uptime_ns)),
            ("time", utc(self.wallclock_ns)),
            (
                "memory",
                format!(
                    "{} in all, {} free, {} available to domains, {} used by the hypervisor",
                    human(self.total_memory_bytes),
                    human(self.free_memory_bytes),
                    human(self.available_memory_bytes),
                    human(self.hypervisor_memory_bytes)
                ),
            ),
            (
                "domains",
                format!("{} of {}", self.domains, self.max_domains),
            ),
            ("slice", span(self.sched_slice_ns)),
            ("tsc", format!("{} MHz", self.tsc_khz / 1000)),
            ("dom0 wakeups", self.wakeups.to_string()),
        ];
        let columns = [
            ("CPU", Align::Right),
            ("IDLE", Align::Right),
            ("BUSY", Align::Right),
            ("WAKEUPS", Align::Right),
            ("INTERRUPTS", Align::Right),
        ];
        let rows = self.per_cpu.iter().map(|cpu| {
            vec![
                cpu.cpu.to_string(),
                cpu_time(cpu.idle_ns),
                cpu_time(cpu.busy_ns),
                cpu.wakeups.to_string(),
                cpu.interrupts.to_string(),
            ]
        });
        pairs(&lines) + "\n" + &render(&columns, rows.collect(), terminal)
    }
}

/// Runs the command.
///
/// # Errors
/// What dom0 answers.
pub fn run(context: &mut Context<'_, '_>) -> Result<()> {
    let reply = context.connect()?.ask(Request::HostInfo)?;
    let Reply::Host(info) = reply else {
        return Err(unexpected(&reply));
    };
    context.print(&info)
}
