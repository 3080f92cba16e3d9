//! `dom0ctl version`: versions of this program, dom0, hypervisor and the interfaces between them. Schema `version.json`.

use super::Context;
use super::context::unexpected;
use crate::exit::Result;
use crate::output::Report;
use crate::output::table::pairs;
use dom0_protocol::host::VersionInfo;
use dom0_protocol::{Reply, Request};
use schemars::JsonSchema;
use serde::Serialize;

/// The result.
#[derive(Debug, Serialize, JsonSchema)]
pub struct Versions {
    /// This program's version.
    pub dom0ctl: &'static str,
    /// The machine's versions.
    #[serde(flatten)]
    pub machine: VersionInfo,
}

impl Report for Versions {
    fn text(&self, _: bool) -> String {
        let machine = &self.machine;
        pairs(&[
            ("dom0ctl", self.dom0ctl.into()),
            ("dom0", machine.dom0.clone()),
            ("hypervisor", machine.hypervisor.clone()),
            ("guest ABI", machine.guest_abi.to_string()),
            (
                "control ABI",
                format!(
                    "{} (back to {})",
                    machine.control_abi, machine.oldest_control_abi
                ),
            ),
            ("protocol", machine.protocol.to_string()),
        ])
    }
}

/// Runs the command.
///
/// # Errors
/// What dom0 answers.
pub fn run(context: &mut Context<'_, '_>) -> Result<()> {
    let reply = context.connect()?.ask(Request::Version)?;
    let Reply::Version(machine) = reply else {
        return Err(unexpected(&reply));
    };
    context.print(&Versions {
        dom0ctl: env!("CARGO_PKG_VERSION"),
        machine,
    })
}
