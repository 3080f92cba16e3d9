//! The command line. Each command's own arguments are in its file under [`command`](crate::command).

use crate::command::Context;
use crate::command::{
    audit, balloon, completions, console, create, destroy, dmesg, info, list, man, max_memory,
    r#move, pause, poweroff, reboot, rename, sched, show, shutdown, sysrq, unpause, vcpus, version,
    wait,
};
use crate::connect::Address;
use crate::exit::Result;
use clap::{Args, Parser, Subcommand};
use std::time::Duration;

const EXIT_CODES: &str = "\
Exit codes:
  0  done
  1  anything not below
  2  usage
  3  no such domain
  4  refused for capacity, before anything changed
  5  the guest does not comply
  6  deadline
  7  cannot connect";

/// Controls the domains of a Paravane machine.
#[derive(Debug, Parser)]
#[command(
    name = "dom0ctl",
    version,
    propagate_version = true,
    max_term_width = 100
)]
#[command(after_help = EXIT_CODES)]
pub struct Cli {
    /// What all commands share.
    #[command(flatten)]
    pub global: Global,
    /// The command.
    #[command(subcommand)]
    pub command: Command,
}

/// What all commands share.
#[derive(Args, Debug)]
pub struct Global {
    /// Where dom0 is [env: DOM0CTL_CONNECT] [default: the machine that was started last]
    // Not clap's `env`: a caller of the library has its say between the option and the environment.
    #[arg(long, global = true, value_name = "unix:PATH", display_order = 900)]
    pub connect: Option<Address>,
    /// How long dom0 may take for an answer that waits for no guest
    #[arg(long, global = true, value_name = "SECONDS", default_value = "30", value_parser = seconds, display_order = 902)]
    pub patience: Duration,
    /// Print results, and errors, as JSON
    #[arg(long, global = true, display_order = 901)]
    pub json: bool,
}

/// The commands.
#[derive(Debug, Subcommand)]
pub enum Command {
    /// Create a domain
    Create(create::Arguments),
    /// List all domains
    List,
    /// Show all there is to say about a domain
    Show(show::Arguments),
    /// Show the machine's memory and CPUs
    Info,
    /// Print the hypervisor's log
    Dmesg(dmesg::Arguments),
    /// Show versions of everything
    Version,
    /// Give a running domain more memory or less
    Balloon(balloon::Arguments),
    /// Give a running domain more vCPUs or fewer
    Vcpus(vcpus::Arguments),
    /// Move memory from one running domain to another
    Move(r#move::Arguments),
    /// Set how much memory a domain may ever have
    MaxMemory(max_memory::Arguments),
    /// Show or change a domain's share of CPU time
    Sched(sched::Arguments),
    /// Give a domain another name
    Rename(rename::Arguments),
    /// Stop a domain's vCPUs
    Pause(pause::Arguments),
    /// Let a paused domain go on
    Unpause(unpause::Arguments),
    /// Ask a guest to shut down
    Shutdown(shutdown::Arguments),
    /// Ask a guest to reboot
    Reboot(reboot::Arguments),
    /// End a domain at once and free its name and memory
    Destroy(destroy::Arguments),
    /// Wait until a domain is in a state
    Wait(wait::Arguments),
    /// Send a key to a guest's kernel
    Sysrq(sysrq::Arguments),
    /// Attach to a domain's console
    Console(console::Arguments),
    /// Recount every frame of the machine and say what does not add up
    Audit,
    /// Power the machine off, with all its domains
    Poweroff,
    /// Print a completion script for a shell
    Completions(completions::Arguments),
    /// Write man pages into a directory
    Man(man::Arguments),
}

impl Command {
    /// Runs the command.
    ///
    /// # Errors
    /// Whatever the command says.
    pub fn run(self, context: &mut Context<'_, '_>) -> Result<()> {
        match self {
            Self::Create(arguments) => create::run(arguments, context),
            Self::List => list::run(context),
            Self::Show(arguments) => show::run(arguments, context),
            Self::Info => info::run(context),
            Self::Dmesg(arguments) => dmesg::run(&arguments, context),
            Self::Version => version::run(context),
            Self::Balloon(arguments) => balloon::run(arguments, context),
            Self::Vcpus(arguments) => vcpus::run(arguments, context),
            Self::Move(arguments) => r#move::run(arguments, context),
            Self::MaxMemory(arguments) => max_memory::run(arguments, context),
            Self::Sched(arguments) => sched::run(arguments, context),
            Self::Rename(arguments) => rename::run(arguments, context),
            Self::Wait(arguments) => wait::run(arguments, context),
            Self::Sysrq(arguments) => sysrq::run(arguments, context),
            Self::Pause(arguments) => pause::run(arguments, context),
            Self::Unpause(arguments) => unpause::run(arguments, context),
            Self::Shutdown(arguments) => shutdown::run(arguments, context),
            Self::Reboot(arguments) => reboot::run(arguments, context),
            Self::Destroy(arguments) => destroy::run(arguments, context),
            Self::Console(arguments) => console::run(arguments, context),
            Self::Audit => audit::run(context),
            Self::Poweroff => poweroff::run(context),
            Self::Completions(arguments) => completions::run(&arguments, context),
            Self::Man(arguments) => man::run(&arguments, context),
        }
    }
}

/// A number of seconds, with a fraction if wanted.
///
/// # Errors
/// A sentence for the usage error.
pub fn seconds(text: &str) -> core::result::Result<Duration, String> {
    let seconds: f64 = text
        .strip_suffix('s')
        .unwrap_or(text)
        .parse()
        .map_err(|_| format!("`{text}` is no number of seconds"))?;
    let longest = Duration::from_millis(u32::MAX.into());
    match Duration::try_from_secs_f64(seconds) {
        Ok(span) if span <= longest => Ok(span),
        _ => Err(format!(
            "`{text}` is not between 0 and {} seconds",
            longest.as_secs()
        )),
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use clap::CommandFactory;

    #[test]
    fn the_command_line_is_consistent() {
        Cli::command().debug_assert();
    }

    #[test]
    fn seconds_may_have_fractions_and_must_be_a_span() {
        assert_eq!(seconds("60"), Ok(Duration::from_secs(60)));
        assert_eq!(seconds("0.25"), Ok(Duration::from_millis(250)));
        assert_eq!(seconds("5s"), Ok(Duration::from_secs(5)));
        for bad in ["-1", "x", "", "nan", "inf", "1e30"] {
            assert!(seconds(bad).is_err(), "{bad}");
        }
    }
}
