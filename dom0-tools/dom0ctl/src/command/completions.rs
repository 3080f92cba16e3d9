//! `dom0ctl completions`: a completion script, to be sourced or put where the shell looks.

use super::Context;
use crate::args::Cli;
use crate::exit::Result;
use clap::{Args, CommandFactory};
use clap_complete::Shell;

/// Arguments of `completions`.
#[derive(Args, Debug)]
pub struct Arguments {
    /// The shell
    shell: Shell,
}

/// Runs the command.
///
/// # Errors
/// `local-io` when standard output does not take the script.
pub fn run(arguments: &Arguments, context: &mut Context<'_, '_>) -> Result<()> {
    let mut script = Vec::new();
    clap_complete::generate(arguments.shell, &mut Cli::command(), "dom0ctl", &mut script);
    context.write(&script)
}
