//! `dom0ctl wait`: ends when a domain is in a state.

use super::balloon::millis;
use super::{Context, act};
use crate::args::seconds;
use crate::exit::Result;
use clap::Args;
use clap::builder::PossibleValuesParser;
use clap::builder::TypedValueParser as _;
use dom0_protocol::ending::Awaited;
use dom0_protocol::request::Await;
use dom0_protocol::{DomainSelector, Request};
use std::time::Duration;

/// Arguments of `wait`.
#[derive(Args, Debug)]
#[command(after_help = "\
running   its guest has begun to run, and nothing holds it (it may wait for an event)
blocked   all of its vCPUs wait for an event
paused    somebody has paused it
shutdown  its guest has powered off or asked for a reboot, whatever became of it then
crashed   it has crashed, whatever became of it then
gone      there is no such domain any more")]
pub struct Arguments {
    /// The domain, by name or number
    domain: DomainSelector,
    /// What to wait for
    #[arg(long = "for", value_name = "STATE", value_parser = states())]
    state: Awaited,
    /// How long to wait [default: for ever]
    #[arg(long, value_name = "SECONDS", value_parser = seconds)]
    timeout: Option<Duration>,
}

/// One word for each state.
fn states() -> impl clap::builder::TypedValueParser<Value = Awaited> {
    PossibleValuesParser::new(Awaited::ALL.map(Awaited::as_str)).try_map(|word| {
        Awaited::ALL
            .into_iter()
            .find(|state| state.as_str() == word)
            .ok_or("no such state")
    })
}

const fn sentence(state: Awaited) -> &'static str {
    match state {
        Awaited::Running => "runs",
        Awaited::Blocked => "is blocked",
        Awaited::Paused => "is paused",
        Awaited::Shutdown => "has shut down",
        Awaited::Crashed => "has crashed",
        Awaited::Gone => "is gone",
    }
}

/// Runs the command.
///
/// # Errors
/// `no-such-domain`, `deadline`, `guest-gone` when the state cannot come any more, or what else dom0 answers.
pub fn run(arguments: Arguments, context: &mut Context<'_, '_>) -> Result<()> {
    let (domain, state) = (arguments.domain, arguments.state);
    let request = Request::Wait(Await {
        domain: domain.clone(),
        state,
        timeout_ms: arguments.timeout.map(millis),
    });
    act::run("wait", sentence(state), &domain, request, context)
}
