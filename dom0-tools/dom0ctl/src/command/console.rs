//! `dom0ctl console`: a domain's console, scroll-back first, then live.
//!
//! At a terminal the line goes raw, so that the guest sees every key. `Ctrl-]` anywhere, or `~.` at the beginning of a
//! line, detaches, from a terminal and from a pipe alike. The end of the input does not end the command: what the guest says is still
//! wanted. With `--json` output comes as one object per piece; schema `console-output.json`.

mod escape;
mod raw;

pub use raw::restore_terminal;

use super::Context;
use super::context::unexpected;
use crate::exit::{Failure, Result};
use crate::output::json;
use crate::session::{Call, Event, Session};
use clap::Args;
use dom0_protocol::reply::{ConsoleEnd, Reply};
use dom0_protocol::request::{Console, ConsoleMode};
use dom0_protocol::{DomainSelector, ErrorCode, Request};
use escape::{Escape, Heard};
use raw::RawTerminal;
use rustix::event::{PollFd, PollFlags, poll};
use rustix::io::Errno;
use schemars::JsonSchema;
use serde::Serialize;
use std::borrow::Cow;
use std::os::fd::AsFd;

/// Arguments of `console`.
#[derive(Args, Debug)]
pub struct Arguments {
    /// The domain, by name or number
    domain: DomainSelector,
    /// Print the scroll-back and end
    #[arg(long)]
    log: bool,
}

/// A piece of output.
#[derive(Debug, Serialize, JsonSchema)]
pub struct Output<'a> {
    /// What the guest wrote; bytes that are no UTF-8 are replaced.
    pub output: Cow<'a, str>,
}

/// Input that the guest has no room for yet; more is not read from the terminal until it has.
const MAX_PENDING: usize = 4096;

/// Runs the command.
///
/// # Errors
/// `no-such-domain`, or what else dom0 answers.
pub fn run(arguments: Arguments, context: &mut Context<'_, '_>) -> Result<()> {
    let mut session = context.connect()?;
    if !arguments.log {
        return attach(&mut session, arguments.domain, context);
    }
    let mut call = session.call(Request::Console(Console {
        domain: arguments.domain,
        mode: ConsoleMode::Log,
    }))?;
    loop {
        if let Step::End(_) = output(call.next_event()?, context)? {
            return Ok(());
        }
    }
}

/// Attaches until the user detaches or the domain is gone.
///
/// # Errors
/// `no-such-domain`, or what else dom0 answers; `connection-lost`.
pub fn attach(
    session: &mut Session,
    domain: DomainSelector,
    context: &mut Context<'_, '_>,
) -> Result<()> {
    let name = domain.to_string();
    let mut call = session.call(Request::Console(Console {
        domain,
        mode: ConsoleMode::Attach,
    }))?;
    // The first event tells whether there is such a domain: nothing is said and no terminal touched before.
    let first = call.next_event()?;
    context.say(format_args!(
        "attached to {name}: Ctrl-] detaches, or ~. at the beginning of a line"
    ))?;
    let terminal = RawTerminal::enter()?;
    let step = output(first, context).and_then(|step| match step {
        Step::GoOn => talk(&mut call, context),
        Step::End(end) => Ok(Some(end)),
    });
    drop(terminal);
    match step? {
        Some(_) => context.say(format_args!("\n{name} is gone")),
        None => context.say(format_args!("\ndetached from {name}")),
    }
}

enum Step {
    GoOn,
    End(ConsoleEnd),
}

/// What is typed and not yet sent, and what its characters mean.
struct Input {
    escape: Escape,
    pending: Vec<u8>,
    open: bool,
}

/// Carries bytes both ways. Ends with a reason of dom0's, or `None` when the user detaches.
fn talk(call: &mut Call<'_>, context: &mut Context<'_, '_>) -> Result<Option<ConsoleEnd>> {
    let stdin = std::io::stdin();
    let mut input = Input {
        escape: Escape::new(),
        pending: Vec::new(),
        open: true,
    };
    loop {
        while let Some(event) = call.try_next()? {
            if let Step::End(end) = output(event, context)? {
                return Ok(Some(end));
            }
        }
        let sent = call.send(&input.pending)?;
        input.pending.drain(..sent);
        let listen = input.open && input.pending.len() < MAX_PENDING;
        let (from_dom0, from_user) = wait(call, listen.then_some(&stdin))?;
        if from_user && listen && type_in(&mut input)? {
            return Ok(None);
        }
        if from_dom0 {
            call.fill()?;
        }
    }
}

/// Waits until dom0 or the user says something.
fn wait(call: &Call<'_>, stdin: Option<&std::io::Stdin>) -> Result<(bool, bool)> {
    let mut waiting = vec![PollFd::from_borrowed_fd(call.as_fd(), PollFlags::IN)];
    waiting.extend(stdin.map(|stdin| PollFd::from_borrowed_fd(stdin.as_fd(), PollFlags::IN)));
    match poll(&mut waiting, None) {
        Ok(_) => {}
        Err(Errno::INTR) => return Ok((false, false)),
        Err(error) => return Err(local("wait for input", error)),
    }
    let ready = |at: usize| waiting.get(at).is_some_and(|fd| !fd.revents().is_empty());
    Ok((ready(0), ready(1)))
}

/// Reads what the user typed; true when that was to detach.
fn type_in(input: &mut Input) -> Result<bool> {
    let mut buffer = [0; 1024];
    // Not through `Stdin`: its buffer would hide bytes from poll.
    let length = match rustix::io::read(std::io::stdin(), &mut buffer) {
        Ok(length) => length,
        Err(Errno::INTR | Errno::AGAIN) => return Ok(false),
        // A terminal that was hung up.
        Err(Errno::IO) => 0,
        Err(error) => return Err(local("read the input", error)),
    };
    if length == 0 {
        input.open = false;
        return Ok(false);
    }
    let typed = buffer.get(..length).unwrap_or(&[]);
    Ok(input.escape.hear(typed, &mut input.pending) == Heard::Detach)
}

/// Prints an event.
fn output(event: Event, context: &mut Context<'_, '_>) -> Result<Step> {
    match event {
        Event::Data(bytes) if context.json => {
            let output = String::from_utf8_lossy(&bytes);
            json::write_line(context.surface.out, &Output { output })?;
            Ok(Step::GoOn)
        }
        Event::Data(bytes) => context.write(&bytes).map(|()| Step::GoOn),
        Event::Done(Reply::ConsoleEnded(end)) => Ok(Step::End(end)),
        Event::Done(other) => Err(unexpected(&other)),
        Event::Progress(_) | Event::Window => Ok(Step::GoOn),
    }
}

fn local(what: &str, error: Errno) -> Failure {
    Failure::new(ErrorCode::LocalIo, format!("cannot {what}: {error}"))
}
