//! What a command runs with: the connection to make, the streams, the form of output.

use crate::connect::{Address, from_environment};
use crate::exit::{Failure, Result};
use crate::output::progress::Meter;
use crate::output::{Report, Surface, json};
use crate::session::{Event, Session};
use dom0_protocol::{ErrorCode, Reply, Request};
use std::fmt::Display;
use std::time::Duration;

/// What a command runs with.
#[derive(Debug)]
pub struct Context<'a, 'b> {
    /// Whether results are printed as JSON.
    pub json: bool,
    /// How long dom0 may take for an answer that waits for nobody.
    pub patience: Duration,
    /// The connection that was named, if one was.
    pub address: Option<&'a Address>,
    /// Where results and prose go.
    pub surface: &'a mut Surface<'b>,
}

impl Context<'_, '_> {
    /// Connects.
    ///
    /// # Errors
    /// `cannot-connect`, `version-mismatch`.
    pub fn connect(&self) -> Result<Session> {
        let mut session = match self.address {
            Some(address) => address.connect()?,
            None => from_environment()?.connect()?,
        };
        session.set_patience(self.patience);
        Ok(session)
    }

    /// Makes one call, with a progress bar named `name` where people look.
    ///
    /// # Errors
    /// What the server answers, or `connection-lost`.
    pub fn follow(&self, session: &mut Session, request: Request, name: &str) -> Result<Reply> {
        let meter = self.meter(name);
        let mut call = session.call(request)?;
        loop {
            match call.next_event()? {
                Event::Progress(progress) => meter.show(&progress),
                Event::Done(reply) => return Ok(reply),
                Event::Data(_) | Event::Window => {}
            }
        }
    }

    /// A progress bar, seen only where people look.
    #[must_use]
    pub fn meter(&self, name: &str) -> Meter {
        Meter::new(name, self.surface.err_is_terminal && !self.json)
    }

    /// Prints a result.
    ///
    /// # Errors
    /// `local-io` when standard output does not take it.
    pub fn print(&mut self, report: &impl Report) -> Result<()> {
        if self.json {
            return json::write(self.surface.out, report);
        }
        let text = report.text(self.surface.out_is_terminal);
        self.write(text.as_bytes())
    }

    /// Writes raw bytes to standard output.
    ///
    /// # Errors
    /// `local-io` when standard output does not take them.
    pub fn write(&mut self, bytes: &[u8]) -> Result<()> {
        self.surface
            .out
            .write_all(bytes)
            .and_then(|()| self.surface.out.flush())
            .map_err(|error| Failure::output(&error))
    }

    /// Says something on standard error, unless only JSON is wanted.
    ///
    /// # Errors
    /// `local-io` when standard error does not take it.
    pub fn say(&mut self, text: impl Display) -> Result<()> {
        if self.json {
            return Ok(());
        }
        writeln!(self.surface.err, "{text}").map_err(|error| Failure::output(&error))
    }
}

/// The failure when dom0's answer belongs to another question.
pub(super) fn unexpected(reply: &Reply) -> Failure {
    Failure::new(
        ErrorCode::Malformed,
        format!("dom0 answered something else than was asked: {reply:?}"),
    )
    .hint("client and dom0 are of different versions: compare `dom0ctl version`")
}
