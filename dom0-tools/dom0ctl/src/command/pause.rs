//! `dom0ctl pause`: stops a domain's vCPUs. Pausing twice is pausing once.

use super::{Context, act};
use crate::exit::Result;
use clap::Args;
use dom0_protocol::{DomainSelector, Request};

/// Arguments of `pause`.
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
    let request = Request::Pause(domain.clone());
    act::run("pause", "paused", &domain, request, context)
}
