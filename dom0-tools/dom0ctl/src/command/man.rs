//! `dom0ctl man`: writes `dom0ctl.1` and a page for every command into a directory.

use super::Context;
use crate::args::Cli;
use crate::exit::{Failure, Result};
use crate::output::Report;
use clap::{Args, CommandFactory};
use dom0_protocol::ErrorCode;
use schemars::JsonSchema;
use serde::Serialize;
use std::path::PathBuf;

/// Arguments of `man`.
#[derive(Args, Debug)]
pub struct Arguments {
    /// The directory; it is made if it does not exist
    directory: PathBuf,
}

/// The result. Schema `man.json`.
#[derive(Debug, Serialize, JsonSchema)]
pub struct Pages {
    /// Where the pages are.
    pub directory: PathBuf,
}

impl Report for Pages {
    fn text(&self, _: bool) -> String {
        let directory = self.directory.display();
        format!("man pages are in {directory}: read one by `man {directory}/dom0ctl.1`\n")
    }
}

/// Runs the command.
///
/// # Errors
/// `local-io` when the pages cannot be written.
pub fn run(arguments: &Arguments, context: &mut Context<'_, '_>) -> Result<()> {
    let directory = &arguments.directory;
    std::fs::create_dir_all(directory)
        .and_then(|()| clap_mangen::generate_to(Cli::command(), directory))
        .map_err(|error| {
            Failure::new(
                ErrorCode::LocalIo,
                format!(
                    "cannot write man pages into {}: {error}",
                    directory.display()
                ),
            )
            .hint("name a directory that you may write to")
        })?;
    context.print(&Pages {
        directory: directory.clone(),
    })
}
