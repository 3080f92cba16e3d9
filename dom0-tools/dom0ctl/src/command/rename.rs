//! `dom0ctl rename`: gives a domain another name. Schema `rename.json`.

use super::Context;
use super::context::unexpected;
use crate::exit::Result;
use crate::output::Report;
use clap::Args;
use dom0_protocol::reply::Renamed;
use dom0_protocol::request::Rename;
use dom0_protocol::{DomainName, DomainSelector, Reply, Request};

/// Arguments of `rename`.
#[derive(Args, Debug)]
pub struct Arguments {
    /// The domain, by name or number
    domain: DomainSelector,
    /// Its new name
    name: DomainName,
}

impl Report for Renamed {
    fn text(&self, _: bool) -> String {
        format!(
            "{} (id {}) is called {} now\n",
            self.previous, self.id, self.name
        )
    }
}

/// Runs the command.
///
/// # Errors
/// `no-such-domain`, `name-taken`, or what else dom0 answers.
pub fn run(arguments: Arguments, context: &mut Context<'_, '_>) -> Result<()> {
    let request = Request::Rename(Rename {
        domain: arguments.domain,
        name: arguments.name,
    });
    let reply = context.connect()?.ask(request)?;
    let Reply::Renamed(renamed) = reply else {
        return Err(unexpected(&reply));
    };
    context.print(&renamed)
}
