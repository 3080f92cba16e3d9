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

/// All that is decided before dom0 is asked. The files are not in the wish yet.
#[derive(Debug)]
struct Plan {
    kernel: Option<PathBuf>,
    ramdisk: Option<PathBuf>,
    wish: Create,
}

impl Plan {
    fn new(arguments: Arguments, file: Config) -> Result<Self> {
        let usual = Create::default();
        let bytes = |size: Option<Size>, usual: u64| size.map_or(usual, Size::bytes);
        let memory_bytes = bytes(arguments.memory.or(file.memory), usual.memory_bytes);
        let vcpus = arguments.vcpus.or(file.vcpus).unwrap_or(usual.vcpus);
        let wish = Create {
            name: arguments.name.or(file.name),
            cmdline: arguments.cmdline.or(file.cmdline).unwrap_or_default(),
            memory_bytes,
            max_memory_bytes: bytes(arguments.max_memory.or(file.max_memory), memory_bytes),
            vcpus,
            max_vcpus: arguments.max_vcpus.or(file.max_vcpus).unwrap_or(vcpus),
            weight: arguments.weight.or(file.weight).unwrap_or(usual.weight),
            cap_percent: arguments.cap.or(file.cap).unwrap_or(usual.cap_percent),
            affinity: arguments
                .cpus
                .or(file.cpus)
                .map_or(usual.affinity, CpuList::mask),
            start: if arguments.paused || file.paused.unwrap_or(false) {
                Start::Paused
            } else {
                Start::Running
            },
            on_end: OnEnd {
                crash: arguments
                    .on_crash
                    .or(file.on_crash)
                    .unwrap_or(usual.on_end.crash),
                reboot: arguments
                    .on_reboot
                    .or(file.on_reboot)
                    .unwrap_or(usual.on_end.reboot),
                poweroff: arguments
                    .on_poweroff
                    .or(file.on_poweroff)
                    .unwrap_or(usual.on_end.poweroff),
            },
            execution: if arguments.dry_run {
                Execution::DryRun
            } else {
                Execution::Real
            },
            ..usual
        };
        check(&wish)?;
        Ok(Self {
            kernel: arguments.kernel.or(file.kernel),
            ramdisk: arguments.ramdisk.or(file.ramdisk),
            wish,
        })
    }
}

/// What is wrong whatever the machine has. All else is dom0's to judge.
fn check(wish: &Create) -> Result<()> {
    let zero = |what| Failure::usage(format!("{what} is 0"), format!("give {what} of 1 or more"));
    if wish.memory_bytes == 0 {
        return Err(Failure::usage(
            "--memory is 0",
            "every kernel needs some: the demo kernel runs in 12MiB",
        ));
    }
    if wish.vcpus == 0 {
        return Err(zero("--vcpus"));
    }
    if wish.weight == 0 {
        return Err(zero("--weight"));
    }
    if wish.max_memory_bytes < wish.memory_bytes {
        let [most, memory] = [wish.max_memory_bytes, wish.memory_bytes].map(human);
        return Err(Failure::usage(
            format!("--max-memory {most} is below --memory {memory}"),
            format!("give --max-memory {memory} or more"),
        ));
    }
    if wish.max_vcpus < wish.vcpus {
        let (most, vcpus) = (wish.max_vcpus, wish.vcpus);
        return Err(Failure::usage(
            format!("--max-vcpus {most} is below --vcpus {vcpus}"),
            format!("give --max-vcpus {vcpus} or more"),
        ));
    }
    Ok(())
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
    let mut wish = plan.wish;
    let mut send =
        |path: &Path, bytes: &[u8], purpose| send(path, bytes, purpose, &mut session, context);
    if let Some((path, bytes)) = plan.kernel.zip(kernel) {
        wish.kernel = KernelSource::Uploaded(send(&path, &bytes, FilePurpose::Kernel)?);
    }
    if let Some((path, bytes)) = plan.ramdisk.zip(ramdisk) {
        wish.ramdisk = Some(send(&path, &bytes, FilePurpose::Ramdisk)?);
    }
    let name = wish
        .name
        .as_ref()
        .map_or("domain".into(), DomainName::to_string);
    let request = Request::Create(Box::new(wish));
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
        assert_eq!(
            (plan.wish.max_memory_bytes, plan.wish.max_vcpus),
            (128 << 20, 3)
        );
        assert_eq!((plan.wish.weight, plan.wish.affinity), (256, 0));
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
        assert_eq!((plan.wish.memory_bytes, plan.wish.vcpus), (48 << 20, 2));
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
