//! `dom0ctl audit`: the hypervisor recounts every frame and says whether its books are right. Schema `audit.json`.

use super::Context;
use super::context::unexpected;
use crate::exit::{Failure, Result};
use crate::output::Report;
use crate::output::units::span;
use dom0_protocol::host::AuditReport;
use dom0_protocol::{ErrorCode, Reply, Request};

impl Report for AuditReport {
    fn text(&self, _: bool) -> String {
        let done = format!(
            "{} frames, {} tables, {} ports, {} grants recounted in {}, in {} steps (longest pause {})",
            self.frames_checked,
            self.tables_checked,
            self.ports_checked,
            self.grants_checked,
            span(self.duration_ns),
            self.steps,
            span(self.longest_pause_ns),
        );
        match &self.first {
            None => format!("{done}: all counts are right\n"),
            Some(first) => format!(
                "{done}: {} counts are wrong; the first: {first}\n",
                self.breaches
            ),
        }
    }
}

/// Runs the command.
///
/// # Errors
/// `internal` when counts are wrong, or what else dom0 answers.
pub fn run(context: &mut Context<'_, '_>) -> Result<()> {
    let reply = context.connect()?.ask(Request::Audit)?;
    let Reply::Audit(report) = reply else {
        return Err(unexpected(&reply));
    };
    context.print(&report)?;
    if report.breaches == 0 {
        return Ok(());
    }
    Err(Failure::new(
        ErrorCode::Internal,
        format!("the hypervisor's books have {} breaches", report.breaches),
    )
    .hint("this is a bug of the hypervisor: keep its log, `dom0ctl dmesg`"))
}
