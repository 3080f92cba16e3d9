//! `dom0ctl reboot`: asks a guest to start anew. It keeps its name and configuration and gets a new number.

use super::{Context, act};
use crate::exit::Result;
use clap::Args;
use dom0_protocol::request::Shutdown;
use dom0_protocol::wait::Wait;
use dom0_protocol::{DomainSelector, Request};

/// Arguments of `reboot`.
#[derive(Args, Debug)]
pub struct Arguments {
    /// The domain, by name or number
    domain: DomainSelector,
}

/// Runs the command.
///
/// # Errors
/// `no-such-domain`, or what else dom0 answers.
pub fn run(arguments: Arguments, context: &mut Context<'_, '_>) -> Result<()> {
    let domain = arguments.domain;
    let request = Request::Reboot(Shutdown {
        domain: domain.clone(),
        wait: Wait::No,
    });
    act::run("reboot", "asked to reboot", &domain, request, context)
}
