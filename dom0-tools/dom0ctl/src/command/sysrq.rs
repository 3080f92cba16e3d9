//! `dom0ctl sysrq`: sends a key to a guest's kernel, as the Magic SysRq key of a keyboard does.

use super::balloon::millis;
use super::{Context, act};
use crate::args::seconds;
use crate::exit::Result;
use clap::Args;
use dom0_protocol::request::Sysrq;
use dom0_protocol::{DomainSelector, Request};
use std::time::Duration;

/// Arguments of `sysrq`.
#[derive(Args, Debug)]
pub struct Arguments {
    /// The domain, by name or number
    domain: DomainSelector,
    /// The key: most kernels answer h with a list on their console, and crash at c
    key: char,
    /// How long to wait until the guest has heard it
    #[arg(long, value_name = "SECONDS", default_value = "10", value_parser = seconds)]
    timeout: Duration,
}

/// Runs the command.
///
/// # Errors
/// `no-such-domain`, `no-driver` and `guest-refuses` when the guest does not hear it, or what else dom0 answers.
pub fn run(arguments: Arguments, context: &mut Context<'_, '_>) -> Result<()> {
    let domain = arguments.domain;
    let request = Request::Sysrq(Sysrq {
        domain: domain.clone(),
        key: arguments.key,
        timeout_ms: millis(arguments.timeout),
    });
    act::run("sysrq", "has heard the key", &domain, request, context)
}
