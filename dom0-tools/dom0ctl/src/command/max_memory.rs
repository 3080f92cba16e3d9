//! `dom0ctl max-memory`: sets how much memory a domain may ever have. Schema `max-memory.json`.

use super::Context;
use super::context::unexpected;
use crate::exit::{Failure, Result};
use crate::output::Report;
use crate::size::{Size, human};
use clap::Args;
use dom0_protocol::reply::{MaxMemorySet, Usable};
use dom0_protocol::request::MaxMemory;
use dom0_protocol::{DomainSelector, Reply, Request};

/// Arguments of `max-memory`.
#[derive(Args, Debug)]
pub struct Arguments {
    /// The domain, by name or number
    domain: DomainSelector,
    /// The memory that it may have at most, as 512MiB
    size: Size,
}

impl Report for MaxMemorySet {
    fn text(&self, _: bool) -> String {
        let (most, previous) = (human(self.max_memory_bytes), human(self.previous_bytes));
        let name = &self.name;
        let when = match self.usable {
            Usable::Now => String::new(),
            Usable::AfterRestart => {
                format!("; its guest can use it after `dom0ctl reboot {name}`")
            }
        };
        format!("{name} may have {most} at most (was {previous}){when}\n")
    }
}

/// Runs the command.
///
/// # Errors
/// `no-such-domain`, `below-minimum`, `insufficient-memory`, or what else dom0 answers.
pub fn run(arguments: Arguments, context: &mut Context<'_, '_>) -> Result<()> {
    if arguments.size.bytes() == 0 {
        return Err(Failure::usage(
            "a domain cannot have 0 bytes of memory",
            "`dom0ctl destroy` takes all of it",
        ));
    }
    let request = Request::MaxMemory(MaxMemory {
        domain: arguments.domain,
        max_memory_bytes: arguments.size.bytes(),
    });
    let reply = context.connect()?.ask(request)?;
    let Reply::MaxMemory(set) = reply else {
        return Err(unexpected(&reply));
    };
    context.print(&set)
}
