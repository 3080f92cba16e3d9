//! `dom0ctl list`: a line for every domain. Schema `list.json`.

use super::Context;
use super::context::unexpected;
use crate::exit::Result;
use crate::output::Report;
use crate::output::table::{Align, render};
use crate::output::units::{cpu_time, span};
use crate::size::human;
use dom0_protocol::domain::DomainRecord;
use dom0_protocol::{Reply, Request};
use schemars::JsonSchema;
use serde::Serialize;

/// The result: all domains, in order of their numbers.
#[derive(Debug, Serialize, JsonSchema)]
#[serde(transparent)]
pub struct List(pub Vec<DomainRecord>);

impl Report for List {
    fn text(&self, terminal: bool) -> String {
        let columns = [
            ("NAME", Align::Left),
            ("ID", Align::Right),
            ("STATE", Align::Left),
            ("VCPUS", Align::Right),
            ("MEMORY", Align::Right),
            ("MAX", Align::Right),
            ("CPU TIME", Align::Right),
            ("UP", Align::Right),
        ];
        let rows = self.0.iter().map(|domain| {
            let vcpus = if domain.vcpus == domain.vcpus_online {
                domain.vcpus.to_string()
            } else {
                format!("{} of {}", domain.vcpus_online, domain.vcpus)
            };
            vec![
                domain.name.to_string(),
                domain.id.to_string(),
                domain.state.as_str().into(),
                vcpus,
                human(domain.memory_bytes),
                human(domain.max_memory_bytes),
                cpu_time(domain.cpu_time_ns),
                span(domain.uptime_ns),
            ]
        });
        render(&columns, rows.collect(), terminal)
    }
}

/// Runs the command.
///
/// # Errors
/// What dom0 answers.
pub fn run(context: &mut Context<'_, '_>) -> Result<()> {
    let reply = context.connect()?.ask(Request::List)?;
    let Reply::Domains(domains) = reply else {
        return Err(unexpected(&reply));
    };
    context.print(&List(domains))
}
