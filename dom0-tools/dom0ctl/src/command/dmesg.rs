//! `dom0ctl dmesg`: the hypervisor's log. With `--json` one object per line of it; schema `log-line.json`.

use super::Context;
use super::context::unexpected;
use crate::exit::Result;
use crate::output::json;
use crate::session::Event;
use clap::Args;
use dom0_protocol::Request;
use dom0_protocol::reply::Reply;
use dom0_protocol::request::Dmesg;
use schemars::JsonSchema;
use serde::Serialize;

/// Arguments of `dmesg`.
#[derive(Args, Debug)]
pub struct Arguments {
    /// Go on with what is logged from now on
    #[arg(short, long)]
    follow: bool,
}

/// One line of the log.
#[derive(Debug, Serialize, JsonSchema)]
pub struct LogLine<'a> {
    /// Its text.
    pub line: &'a str,
}

/// Runs the command.
///
/// # Errors
/// What dom0 answers.
pub fn run(arguments: &Arguments, context: &mut Context<'_, '_>) -> Result<()> {
    let mut session = context.connect()?;
    let mut call = session.call(Request::Dmesg(Dmesg {
        cursor: 0,
        follow: arguments.follow,
    }))?;
    let mut lines = Lines::default();
    loop {
        match call.next_event()? {
            Event::Data(bytes) if context.json => {
                lines.push(&bytes);
                while let Some(line) = lines.next_line() {
                    json::write_line(context.surface.out, &LogLine { line: &line })?;
                }
            }
            Event::Data(bytes) => context.write(&bytes)?,
            Event::Done(Reply::Log(_)) => break,
            Event::Done(other) => return Err(unexpected(&other)),
            Event::Window | Event::Progress(_) => {}
        }
    }
    match lines.rest() {
        Some(line) => json::write_line(context.surface.out, &LogLine { line: &line }),
        None => Ok(()),
    }
}

/// Lines out of bytes that come in pieces.
#[derive(Debug, Default)]
struct Lines(Vec<u8>);

impl Lines {
    fn push(&mut self, bytes: &[u8]) {
        self.0.extend_from_slice(bytes);
    }

    fn next_line(&mut self) -> Option<String> {
        let end = self.0.iter().position(|byte| *byte == b'\n')?;
        let line: Vec<u8> = self.0.drain(..=end).collect();
        Some(text(&line))
    }

    /// What is left without a line feed.
    fn rest(self) -> Option<String> {
        (!self.0.is_empty()).then(|| text(&self.0))
    }
}

fn text(line: &[u8]) -> String {
    let text = String::from_utf8_lossy(line);
    text.trim_end_matches(['\r', '\n']).into()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn lines_come_whole_whatever_the_pieces() {
        let mut lines = Lines::default();
        lines.push(b"one\r\ntw");
        assert_eq!(lines.next_line().as_deref(), Some("one"));
        assert_eq!(lines.next_line(), None);
        lines.push(b"o\n\nthree");
        assert_eq!(lines.next_line().as_deref(), Some("two"));
        assert_eq!(lines.next_line().as_deref(), Some(""));
        assert_eq!(lines.rest().as_deref(), Some("three"));
    }
}
