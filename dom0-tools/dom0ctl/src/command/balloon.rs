//! `dom0ctl balloon`: changes a running domain's memory, with the help of the balloon driver in its guest.

use super::Context;
use super::context::unexpected;
use crate::args::seconds;
use crate::exit::{Failure, Result};
use crate::output::Report;
use crate::output::units::span;
use crate::size::{Size, human};
use clap::Args;
use dom0_protocol::reply::{Ballooned, Outcome};
use dom0_protocol::request::Balloon;
use dom0_protocol::wait::{Otherwise, Wait};
use dom0_protocol::{DomainSelector, Reply, Request};
use std::time::Duration;

/// Arguments of `balloon`.
#[derive(Args, Debug)]
pub struct Arguments {
    /// The domain, by name or number
    domain: DomainSelector,
    /// The memory that it is to have, as 192MiB
    size: Size,
    /// How long to wait for the guest
    #[arg(long, value_name = "SECONDS", default_value = "60", value_parser = seconds)]
    timeout: Duration,
    /// Set the target and return at once
    #[arg(long, conflicts_with_all = ["timeout", "rollback"])]
    no_wait: bool,
    /// If the time runs out, go back to the memory it had
    #[arg(long)]
    rollback: bool,
}

/// Milliseconds for the protocol; [`seconds`] keeps spans within its range.
pub(super) fn millis(span: Duration) -> u32 {
    u32::try_from(span.as_millis()).unwrap_or(u32::MAX)
}

/// The wait that the options of `balloon` and `vcpus` ask for.
pub(super) fn wait(no_wait: bool, timeout: Duration, otherwise: Otherwise) -> Wait {
    if no_wait {
        return Wait::No;
    }
    Wait::UntilReached {
        timeout_ms: millis(timeout),
        otherwise,
    }
}

impl Report for Ballooned {
    fn text(&self, _: bool) -> String {
        let (now, target) = (human(self.memory_bytes), human(self.target_bytes));
        let (name, previous) = (&self.name, human(self.previous_bytes));
        match self.outcome {
            Outcome::Reached => {
                format!(
                    "{name} has {now} (was {previous}), {}\n",
                    span(self.elapsed_ns)
                )
            }
            Outcome::Started => format!("{name} has {now}, target set to {target}\n"),
        }
    }
}

/// Runs the command.
///
/// # Errors
/// The refusals and shortfalls that the exit codes tell apart.
pub fn run(arguments: Arguments, context: &mut Context<'_, '_>) -> Result<()> {
    if arguments.size.bytes() == 0 {
        return Err(Failure::usage(
            "a domain cannot have 0 bytes of memory",
            "`dom0ctl destroy` takes all of it",
        ));
    }
    let otherwise = if arguments.rollback {
        Otherwise::RollBack
    } else {
        Otherwise::Keep
    };
    let name = arguments.domain.to_string();
    let request = Request::Balloon(Balloon {
        domain: arguments.domain,
        target_bytes: arguments.size.bytes(),
        wait: wait(arguments.no_wait, arguments.timeout, otherwise),
    });
    let mut session = context.connect()?;
    let reply = context.follow(&mut session, request, &name)?;
    let Reply::Ballooned(result) = reply else {
        return Err(unexpected(&reply));
    };
    context.print(&result)
}
