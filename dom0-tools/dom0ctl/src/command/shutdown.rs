//! `dom0ctl shutdown`: asks a guest to end itself, and with `--wait` waits until it has.

use super::{Context, act};
use crate::args::seconds;
use crate::command::balloon::millis;
use crate::exit::Result;
use clap::Args;
use dom0_protocol::request::Shutdown;
use dom0_protocol::wait::{Otherwise, Wait};
use dom0_protocol::{DomainSelector, Request};
use std::time::Duration;

/// Arguments of `shutdown`.
#[derive(Args, Debug)]
pub struct Arguments {
    /// The domain, by name or number
    domain: DomainSelector,
    /// Wait until the guest has shut down
    #[arg(long)]
    wait: bool,
    /// How long to wait
    #[arg(long, value_name = "SECONDS", default_value = "60", value_parser = seconds, requires = "wait")]
    timeout: Duration,
}

/// Runs the command.
///
/// # Errors
/// `no-such-domain`, `no-driver` or `deadline` when the guest does not end, or what else dom0 answers.
pub fn run(arguments: Arguments, context: &mut Context<'_, '_>) -> Result<()> {
    let (wait, sentence) = if arguments.wait {
        let wait = Wait::UntilReached {
            timeout_ms: millis(arguments.timeout),
            otherwise: Otherwise::Keep,
        };
        (wait, "shut down")
    } else {
        (Wait::No, "asked to shut down")
    };
    let domain = arguments.domain;
    let request = Request::Shutdown(Shutdown {
        domain: domain.clone(),
        wait,
    });
    act::run("shutdown", sentence, &domain, request, context)
}
