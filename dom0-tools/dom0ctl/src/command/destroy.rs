//! `dom0ctl destroy`: ends a domain at once; when it returns, name and memory are free.

use super::{Context, act};
use crate::exit::Result;
use clap::Args;
use dom0_protocol::{DomainSelector, Request};

/// Arguments of `destroy`.
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
    let request = Request::Destroy(domain.clone());
    act::run("destroy", "destroyed", &domain, request, context)
}
