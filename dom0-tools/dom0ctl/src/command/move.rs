//! `dom0ctl move`: memory from one running domain to another, all of it or none. Schema `move.json`.

use super::Context;
use super::balloon::millis;
use super::context::unexpected;
use crate::args::seconds;
use crate::exit::{Failure, Result};
use crate::output::Report;
use crate::output::units::span;
use crate::size::{Size, human};
use clap::Args;
use dom0_protocol::reply::Moved;
use dom0_protocol::request::Move;
use dom0_protocol::{DomainSelector, Reply, Request};
use std::time::Duration;

/// Arguments of `move`.
#[derive(Args, Debug)]
pub struct Arguments {
    /// The domain that gives, by name or number
    from: DomainSelector,
    /// The domain that takes, by name or number
    to: DomainSelector,
    /// How much, as 64MiB
    size: Size,
    /// How long each of the two guests may take; then all is turned back
    #[arg(long, value_name = "SECONDS", default_value = "60", value_parser = seconds)]
    timeout: Duration,
}

impl Report for Moved {
    fn text(&self, _: bool) -> String {
        let Self { from, to, .. } = self;
        format!(
            "{} moved from {from} to {to}: {from} has {}, {to} has {}, {}\n",
            human(self.moved_bytes),
            human(self.from_memory_bytes),
            human(self.to_memory_bytes),
            span(self.elapsed_ns)
        )
    }
}

/// Runs the command.
///
/// # Errors
/// `below-minimum` and `over-maximum` before anything has changed; what the exit codes tell apart when it was turned back.
pub fn run(arguments: Arguments, context: &mut Context<'_, '_>) -> Result<()> {
    if arguments.size.bytes() == 0 {
        return Err(Failure::usage(
            "there is nothing to move",
            "give an amount such as 64MiB",
        ));
    }
    let name = format!("{} to {}", arguments.from, arguments.to);
    let request = Request::Move(Move {
        from: arguments.from,
        to: arguments.to,
        bytes: arguments.size.bytes(),
        timeout_ms: millis(arguments.timeout),
    });
    let mut session = context.connect()?;
    let reply = context.follow(&mut session, request, &name)?;
    let Reply::Moved(moved) = reply else {
        return Err(unexpected(&reply));
    };
    context.print(&moved)
}
