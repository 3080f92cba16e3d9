//! `cargo xtask`: the one entry to this workspace. `run` boots the machine and shows the tour, `test` runs every check,
//! `doctor` tells what the two will find here and what is missing.
//!
//! Each command sets up what it needs by itself ([`setup`]), builds ([`build`]) and then runs QEMU ([`run`]). Every
//! child process is started through [`child`], so that none outlives us.

#![forbid(unsafe_code)]

mod bench;
mod build;
mod child;
mod conformance;
mod doctor;
mod iso;
mod linux;
mod peer;
mod run;
mod setup;
mod test;
mod workspace;

use std::process::ExitCode;

use anyhow::Result;
use clap::{Parser, Subcommand};

use crate::setup::packages::Missing;
use crate::workspace::Workspace;

/// Exit code: the user must install something first; the message has the line to run.
const MISSING: u8 = 3;

/// Builds, runs and tests Paravane.
#[derive(Parser)]
#[command(name = "cargo xtask", bin_name = "cargo xtask")]
struct Arguments {
    #[command(subcommand)]
    command: Command,
}

#[derive(Subcommand)]
enum Command {
    /// Boot the hypervisor and dom0 in QEMU, show the tour, then take `dom0ctl`'s commands until `poweroff`.
    Run(run::options::Options),
    /// Run every check: formatting, lints, host tests, guests under QEMU, the tour, the docs.
    Test(test::Options),
    /// Fetch Debian's kernel, make a RAM disk for it, and print the line that starts them as a domain.
    Linux,
    /// Count what each operation costs in instructions, here and on Debian's Xen.
    Bench(bench::Options),
    /// Write an image that GRUB boots: hypervisor, dom0 and its RAM disk.
    Iso(iso::Options),
    /// Boot Debian's kernel as an ordinary domain here and on Debian's Xen, and compare time and kernel log.
    CompareBoot(linux::compare::Options),
    /// Keep a Linux domain busy for a while and change its memory and vCPUs under it.
    Soak(test::linux::soak::Options),
    /// Run the conformance suite here and on Debian's Xen, and compare the answers.
    Conformance(conformance::Options),
    /// Tell what was found on this machine and what is missing.
    Doctor,
}

fn main() -> ExitCode {
    match execute(Arguments::parse()) {
        Ok(code) => code,
        Err(error) => {
            eprintln!("error: {error:#}");
            if error.is::<Missing>() {
                return ExitCode::from(MISSING);
            }
            ExitCode::FAILURE
        }
    }
}

fn execute(arguments: Arguments) -> Result<ExitCode> {
    // A console in the prompt has the terminal in raw mode, which would outlive this process.
    child::end_all_on_interrupt(dom0ctl::command::console::restore_terminal)?;
    let workspace = Workspace::locate()?;
    match arguments.command {
        Command::Run(options) => run::run(&workspace, &options),
        Command::Test(options) => test::run(&workspace, &options),
        Command::Linux => linux::run(&workspace),
        Command::Bench(options) => bench::run(&workspace, &options),
        Command::Iso(options) => iso::run(&workspace, &options),
        Command::CompareBoot(options) => linux::compare::run(&workspace, options),
        Command::Soak(options) => test::linux::soak::run(&workspace, options),
        Command::Conformance(options) => conformance::run(&workspace, &options),
        Command::Doctor => doctor::run(&workspace),
    }
}
