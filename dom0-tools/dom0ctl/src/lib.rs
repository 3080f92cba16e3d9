//! `dom0ctl` as a library, so that other programs run the same commands with the same words and exit codes.
//!
//! [`run`] is the whole program; [`run_on`] is the same with streams and a default connection of the caller's.
//! [`session`] is the client alone, for who wants typed answers.
//!
//! One file per command under [`command`]; each has its arguments, one typed result, and what it looks like as text. JSON and
//! its schema come from the same type.
#![forbid(unsafe_code)]

pub mod args;
pub mod command;
pub mod config;
pub mod connect;
pub mod cpus;
pub mod exit;
pub mod image;
pub mod output;
pub mod patience;
pub mod schema;
pub mod session;
pub mod size;
pub mod upload;

use crate::args::Cli;
use crate::connect::Address;
use crate::exit::Failure;
use crate::output::Surface;
use clap::Parser;
use std::ffi::OsString;
use std::io::IsTerminal;

/// Runs one command line (the program's name first) on the standard streams and returns the exit code.
pub fn run(args: impl IntoIterator<Item = OsString>) -> u8 {
    let mut out = std::io::stdout();
    let mut err = std::io::stderr();
    let mut surface = Surface {
        out_is_terminal: out.is_terminal(),
        err_is_terminal: err.is_terminal(),
        out: &mut out,
        err: &mut err,
    };
    run_on(args, None, &mut surface)
}

/// Runs one command line on these streams. What it speaks to is what its `--connect` names, else `address`, else what the
/// environment names, else the machine that was started last.
pub fn run_on(
    args: impl IntoIterator<Item = OsString>,
    address: Option<&Address>,
    surface: &mut Surface<'_>,
) -> u8 {
    let args: Vec<OsString> = args.into_iter().collect();
    let cli = match Cli::try_parse_from(&args) {
        Ok(cli) => cli,
        Err(error) => return usage(&error, args.iter().any(|arg| arg == "--json"), surface),
    };
    let json = cli.global.json;
    let mut context = command::Context {
        json,
        patience: cli.global.patience,
        address: cli.global.connect.as_ref().or(address),
        surface,
    };
    match cli.command.run(&mut context) {
        Ok(()) => 0,
        Err(failure) => failure.report(json, surface),
    }
}

/// What clap has to say: help and versions on standard output, errors on standard error with exit code 2.
fn usage(error: &clap::Error, json: bool, surface: &mut Surface<'_>) -> u8 {
    if !error.use_stderr() {
        let text = if surface.out_is_terminal {
            error.render().ansi().to_string()
        } else {
            error.render().to_string()
        };
        return match surface.out.write_all(text.as_bytes()) {
            Ok(()) => 0,
            Err(error) => Failure::output(&error).report(json, surface),
        };
    }
    if json {
        let text = error.render().to_string();
        let text = text.strip_prefix("error: ").unwrap_or(&text);
        let (first, rest) = text.split_once("\n\n").unwrap_or((text, ""));
        return Failure::usage(first.trim(), rest.trim()).report(json, surface);
    }
    let text = if surface.err_is_terminal {
        error.render().ansi().to_string()
    } else {
        error.render().to_string()
    };
    // Nothing is left to say where standard error is closed; the exit code says it.
    if surface.err.write_all(text.as_bytes()).is_err() {
        return exit::USAGE;
    }
    exit::USAGE
}
