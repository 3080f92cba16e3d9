//! `dom0ctl create`: makes a domain, from options, a configuration file, or both; options win.
//!
//! Kernels are unpacked and looked at here, so dom0 only ever reads ELF. Files are sent once per content.

use super::context::unexpected;
use super::{Context, console};
use crate::config::{Config, EXAMPLE};
use crate::cpus::CpuList;
use crate::exit::{Failure, Result};
use crate::image;
use crate::output::Report;
use crate::output::units::span;
use crate::session::Session;
use crate::size::{Size, human};
use crate::upload::upload;
use clap::Args;
use dom0_protocol::ending::{EndAction, OnEnd};
use dom0_protocol::reply::Created;
use dom0_protocol::request::{Create, Execution, File, FilePurpose, KernelSource, Start};
use dom0_protocol::{DomainName, DomainSelector, Reply, Request};
use std::path::{Path, PathBuf};

const DEFAULT_MEMORY: Size = Size::mib(64);
const DEFAULT_WEIGHT: u32 = 256;

/// Arguments of `create`.
#[derive(Args, Debug, Default)]
#[command(after_help = format!("A configuration file, with every key that there is:\n\n{EXAMPLE}"))]
pub struct Arguments {
    /// A configuration file in TOML; options on the command line win over it
    #[arg(short, long, value_name = "FILE.toml")]
    file: Option<PathBuf>,
    /// The domain's name [default: one that dom0 finds]
    #[arg(long, value_name = "NAME")]
    name: Option<DomainName>,
    /// The kernel: an ELF file or a bzImage [default: the demo kernel]
    #[arg(long, value_name = "FILE")]
    kernel: Option<PathBuf>,
    /// The ramdisk
    #[arg(long, value_name = "FILE")]
    ramdisk: Option<PathBuf>,
    /// The kernel's command line
    #[arg(long, value_name = "TEXT", allow_hyphen_values = true)]
    cmdline: Option<String>,
    /// Memory to begin with [default: 64MiB]
    #[arg(long, value_name = "SIZE")]
    memory: Option<Size>,
    /// Memory that it may ever have [default: that of --memory]
    #[arg(long, value_name = "SIZE")]
    max_memory: Option<Size>,
    /// vCPUs to begin with [default: 1]
    #[arg(long, value_name = "N")]
    vcpus: Option<u32>,
    /// vCPUs that it may ever have [default: that of --vcpus]
    #[arg(long, value_name = "N")]
    max_vcpus: Option<u32>,
    /// Share of CPU time when CPUs are short, relative to others [default: 256]
    #[arg(long, value_name = "N")]
    weight: Option<u32>,
    /// Most CPU time that it may use, in percent of one CPU; 0 is no bound [default: 0]
    #[arg(long, value_name = "PERCENT")]
    cap: Option<u32>,
    /// CPUs that it may run on, as 0-3,5 [default: all]
    #[arg(long, value_name = "LIST")]
    cpus: Option<CpuList>,
    /// What becomes of it when it crashes: destroy, restart or preserve [default: preserve]
    #[arg(long, value_name = "ACTION")]
    on_crash: Option<EndAction>,
    /// What becomes of it when its guest reboots [default: restart]
    #[arg(long, value_name = "ACTION")]
    on_reboot: Option<EndAction>,
    /// What becomes of it when its guest powers off [default: destroy]
    #[arg(long, value_name = "ACTION")]
    on_poweroff: Option<EndAction>,
    /// Create it paused: `dom0ctl unpause` starts it
    #[arg(long)]
    paused: bool,
    /// Attach to its console at once
    #[arg(long, conflicts_with = "dry_run")]
    console: bool,
    /// Only say whether it could be created
    #[arg(long)]
    dry_run: bool,
}

/// All that is decided before dom0 is asked.
#[derive(Debug)]
struct Plan {
    name: Option<DomainName>,
    kernel: Option<PathBuf>,
    ramdisk: Option<PathBuf>,
    cmdline: String,
    memory: Size,
    max_memory: Size,
    vcpus: u32,
    max_vcpus: u32,
    weight: u32,
    cap: u32,
    affinity: u64,
    start: Start,
    on_end: OnEnd,
    execution: Execution,
}

impl Plan {
    fn new(arguments: Arguments, file: Config) -> Result<Self> {
        let memory = arguments.memory.or(file.memory).unwrap_or(DEFAULT_MEMORY);
        let vcpus = arguments.vcpus.or(file.vcpus).unwrap_or(1);
        let paused = arguments.paused || file.paused.unwrap_or(false);
        let default = OnEnd::default();
        let on_end = OnEnd {
            crash: arguments
                .on_crash
                .or(file.on_crash)
                .unwrap_or(default.crash),
            reboot: arguments
                .on_reboot
                .or(file.on_reboot)
                .unwrap_or(default.reboot),
            poweroff: arguments
                .on_poweroff
                .or(file.on_poweroff)
                .unwrap_or(default.poweroff),
        };
        let plan = Self {
            on_end,
            name: arguments.name.or(file.name),
            kernel: arguments.kernel.or(file.kernel),
            ramdisk: arguments.ramdisk.or(file.ramdisk),
            cmdline: arguments.cmdline.or(file.cmdline).unwrap_or_default(),
            memory,
            max_memory: arguments.max_memory.or(file.max_memory).unwrap_or(memory),
            vcpus,
            max_vcpus: arguments.max_vcpus.or(file.max_vcpus).unwrap_or(vcpus),
            weight: arguments.weight.or(file.weight).unwrap_or(DEFAULT_WEIGHT),
            cap: arguments.cap.or(file.cap).unwrap_or(0),
            affinity: arguments.cpus.or(file.cpus).map_or(0, CpuList::mask),
            start: if paused {
                Start::Paused
            } else {
                Start::Running
            },
            execution: if arguments.dry_run {
                Execution::DryRun
            } else {
                Execution::Real
            },
        };
        plan.check()?;
        Ok(plan)
    }

    /// What is wrong whatever the machine has. All else is dom0's to judge.
    fn check(&self) -> Result<()> {
        let zero =
            |what| Failure::usage(format!("{what} is 0"), format!("give {what} of 1 or more"));
        if self.memory.bytes() == 0 {
            return Err(Failure::usage(
                "--memory is 0",
                "every kernel needs some: the demo kernel runs in 12MiB",
            ));
        }
        if self.vcpus == 0 {
            return Err(zero("--vcpus"));
        }
        if self.weight == 0 {
            return Err(zero("--weight"));
        }
        if self.max_memory < self.memory {
            let (most, memory) = (self.max_memory, self.memory);
            return Err(Failure::usage(
                format!("--max-memory {most} is below --memory {memory}"),
                format!("give --max-memory {memory} or more"),
            ));
        }
        if self.max_vcpus < self.vcpus {
            let (most, vcpus) = (self.max_vcpus, self.vcpus);
            return Err(Failure::usage(
                format!("--max-vcpus {most} is below --vcpus {vcpus}"),
                format!("give --max-vcpus {vcpus} or more"),
            ));
        }
        Ok(())
    }
}

/// The result. Schema `create.json`.
impl Report for Created {
    fn text(&self, _: bool) -> String {
        let memory = human(self.memory_bytes);
        match self.id {
            Some(id) => format!(
                "{} created with id {id}, {memory}, in {}\n",
                self.name,
                span(self.elapsed_ns)
            ),
            None => format!(
                "{} could be created with {memory} (its kernel needs {} at least)\n",
                self.name,
                human(self.minimum_memory_bytes)
            ),
        }
    }
}

/// What a file is called in `show`.
fn label(path: &Path) -> String {
    path.file_name()
        .map(|name| name.to_string_lossy().into_owned())
        .unwrap_or_default()
}

fn send(
    path: &Path,
    bytes: &[u8],
    purpose: FilePurpose,
    session: &mut Session,
    context: &Context<'_, '_>,
) -> Result<File> {
    let label = label(path);
    let meter = context.meter(&label);
    let sha256 = upload(session, bytes, purpose, &meter)?.sha256;
    Ok(File { sha256, label })
}

/// Runs the command.
///
/// # Errors
/// `invalid-argument`, `bad-image`, the refusals of admission, or what else dom0 answers.
pub fn run(arguments: Arguments, context: &mut Context<'_, '_>) -> Result<()> {
    let file = match &arguments.file {
        Some(path) => Config::read(path)?,
        None => Config::default(),
    };
    let attach = arguments.console;
    let plan = Plan::new(arguments, file)?;
    // Files first: what is wrong with them should not depend on a machine that runs.
    let kernel = plan.kernel.as_deref().map(image::read_kernel).transpose()?;
    let ramdisk = plan.ramdisk.as_deref().map(image::read_file).transpose()?;

    let mut session = context.connect()?;
    let kernel = match plan.kernel.as_deref().zip(kernel) {
        Some((path, bytes)) => KernelSource::Uploaded(send(
            path,
            &bytes,
            FilePurpose::Kernel,
            &mut session,
            context,
        )?),
        None => KernelSource::Demo,
    };
    let ramdisk = match plan.ramdisk.as_deref().zip(ramdisk) {
        Some((path, bytes)) => Some(send(
            path,
            &bytes,
            FilePurpose::Ramdisk,
            &mut session,
            context,
        )?),
        None => None,
    };
    let name = plan
        .name
        .as_ref()
        .map_or("domain".into(), DomainName::to_string);
    let request = Request::Create(Box::new(Create {
        name: plan.name,
        kernel,
        ramdisk,
        cmdline: plan.cmdline,
        memory_bytes: plan.memory.bytes(),
        max_memory_bytes: plan.max_memory.bytes(),
        vcpus: plan.vcpus,
        max_vcpus: plan.max_vcpus,
        weight: plan.weight,
        cap_percent: plan.cap,
        affinity: plan.affinity,
        start: plan.start,
        on_end: plan.on_end,
        execution: plan.execution,
    }));
    let reply = context.follow(&mut session, request, &name)?;
    let Reply::Created(created) = reply else {
        return Err(unexpected(&reply));
    };
    context.print(&created)?;
    if attach && created.id.is_some() {
        console::attach(&mut session, DomainSelector::Name(created.name), context)?;
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;

    fn plan(arguments: Arguments) -> core::result::Result<Plan, String> {
        Plan::new(arguments, Config::default()).map_err(|failure| failure.error().message.clone())
    }

    #[test]
    fn maxima_default_to_what_it_begins_with() {
        let plan = plan(Arguments {
            memory: Some(Size::mib(128)),
            vcpus: Some(3),
            ..Arguments::default()
        })
        .unwrap();
        assert_eq!((plan.max_memory, plan.max_vcpus), (Size::mib(128), 3));
        assert_eq!((plan.weight, plan.cap, plan.affinity), (256, 0, 0));
    }

    #[test]
    fn options_win_over_the_file() {
        let file = Config {
            memory: Some(Size::mib(32)),
            vcpus: Some(2),
            ..Config::default()
        };
        let arguments = Arguments {
            memory: Some(Size::mib(48)),
            ..Arguments::default()
        };
        let plan = Plan::new(arguments, file).unwrap();
        assert_eq!((plan.memory, plan.vcpus), (Size::mib(48), 2));
    }

    #[test]
    fn what_can_never_be_is_refused_here() {
        let refused = [
            Arguments {
                memory: Some(Size::mib(0)),
                ..Arguments::default()
            },
            Arguments {
                vcpus: Some(0),
                ..Arguments::default()
            },
            Arguments {
                max_memory: Some(Size::mib(1)),
                ..Arguments::default()
            },
            Arguments {
                vcpus: Some(4),
                max_vcpus: Some(2),
                ..Arguments::default()
            },
        ];
        for arguments in refused {
            assert!(plan(arguments).is_err());
        }
    }
}
