//! `dom0ctl unpause`: lets a domain go on that was paused or suspended itself, or start that was created paused.

use super::{Context, act};
use crate::exit::Result;
use clap::Args;
use dom0_protocol::{DomainSelector, Request};

/// Arguments of `unpause`.
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
    let request = Request::Unpause(domain.clone());
    act::run("unpause", "goes on", &domain, request, context)
}
