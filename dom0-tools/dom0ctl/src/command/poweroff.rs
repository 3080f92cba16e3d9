//! `dom0ctl poweroff`: ends the machine, and with it all domains.

use super::Context;
use super::context::unexpected;
use crate::exit::Result;
use crate::output::Report;
use dom0_protocol::{Reply, Request};
use schemars::JsonSchema;
use serde::Serialize;

/// The result. Schema `poweroff.json`.
#[derive(Debug, Serialize, JsonSchema)]
pub struct PoweredOff {
    /// What was done.
    pub action: &'static str,
}

impl Report for PoweredOff {
    fn text(&self, _: bool) -> String {
        "the machine powers off\n".into()
    }
}

/// Runs the command.
///
/// # Errors
/// What dom0 answers.
pub fn run(context: &mut Context<'_, '_>) -> Result<()> {
    let reply = context.connect()?.ask(Request::Poweroff)?;
    let Reply::PoweringOff = reply else {
        return Err(unexpected(&reply));
    };
    context.print(&PoweredOff { action: "poweroff" })
}
