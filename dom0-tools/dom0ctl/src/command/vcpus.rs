//! `dom0ctl vcpus`: changes how many vCPUs of a running domain are online, with the help of its guest.

use super::Context;
use super::balloon::wait;
use super::context::unexpected;
use crate::args::seconds;
use crate::exit::{Failure, Result};
use crate::output::Report;
use crate::output::units::span;
use clap::Args;
use dom0_protocol::reply::{Outcome, VcpusChanged};
use dom0_protocol::request::Vcpus;
use dom0_protocol::wait::Otherwise;
use dom0_protocol::{DomainSelector, Reply, Request};
use std::time::Duration;

/// Arguments of `vcpus`.
#[derive(Args, Debug)]
pub struct Arguments {
    /// The domain, by name or number
    domain: DomainSelector,
    /// How many vCPUs are to be online
    count: u32,
    /// How long to wait for the guest
    #[arg(long, value_name = "SECONDS", default_value = "60", value_parser = seconds)]
    timeout: Duration,
    /// Set the target and return at once
    #[arg(long, conflicts_with = "timeout")]
    no_wait: bool,
}

impl Report for VcpusChanged {
    fn text(&self, _: bool) -> String {
        let Self { name, vcpus, .. } = self;
        let now = match self.vcpus_online {
            1 => "1 vCPU".into(),
            count => format!("{count} vCPUs"),
        };
        match self.outcome {
            Outcome::Reached => {
                let time = span(self.elapsed_ns);
                format!("{name} has {now} online (was {}), {time}\n", self.previous)
            }
            Outcome::Started => format!("{name} has {now} online, target set to {vcpus}\n"),
        }
    }
}

/// Runs the command.
///
/// # Errors
/// The refusals and shortfalls that the exit codes tell apart.
pub fn run(arguments: Arguments, context: &mut Context<'_, '_>) -> Result<()> {
    if arguments.count == 0 {
        return Err(Failure::usage(
            "a domain cannot have 0 vCPUs",
            "`dom0ctl pause` stops all of them, `dom0ctl destroy` ends the domain",
        ));
    }
    let name = arguments.domain.to_string();
    let request = Request::Vcpus(Vcpus {
        domain: arguments.domain,
        target: arguments.count,
        wait: wait(arguments.no_wait, arguments.timeout, Otherwise::Keep),
    });
    let mut session = context.connect()?;
    let reply = context.follow(&mut session, request, &name)?;
    let Reply::Vcpus(result) = reply else {
        return Err(unexpected(&reply));
    };
    context.print(&result)
}
