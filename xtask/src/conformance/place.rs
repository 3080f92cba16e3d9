//! Where a kernel runs: on which hypervisor, and as what.

use std::collections::VecDeque;
use std::path::Path;
use std::sync::{Mutex, PoisonError};
use std::thread;
use std::time::{Duration, Instant};

use anyhow::{Context, Result, bail};

use super::answer::{Answers, END};
use crate::build::bare::Images;
use crate::build::bundle::Bundle;
use crate::peer::xen;
use crate::peer::xen_linux::XenLinux;
use crate::peer::xen_linux::guest::Guest;
use crate::peer::xen_linux::session::Session;
use crate::run::client::Client;
use crate::run::place::Fame;
use crate::run::qemu::{End, Input, Machine};
use crate::run::serial::Echo;
use crate::run::stack::Stack;
use crate::workspace::Workspace;

/// How long a kernel may take to its last line.
const LIMIT: Duration = Duration::from_secs(180);

/// Between two looks at a console.
const LOOK: Duration = Duration::from_millis(100);

/// Machines that run side by side.
const ABREAST: usize = 2;

/// How many vCPUs a kernel may have; checks of the second one need it to be there.
const VCPUS: u32 = 4;

/// The kernel that asks others of its kind, which serve it: they have the numbers before its own.
const WITH_PEERS: &str = "check-peers";

/// How many they are, the farthest being the first.
const PEERS: u32 = 2;

/// A hypervisor and a role.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Place {
    /// Paravane's first domain.
    ParavaneFirst,
    /// A domain that our dom0 creates.
    ParavaneOrdinary,
    /// Xen's first domain.
    XenFirst,
    /// A domain that Xen's tools create.
    XenOrdinary,
}

impl Place {
    /// All of them, the quick ones first.
    pub(crate) const ALL: [Self; 4] = [
        Self::ParavaneFirst,
        Self::ParavaneOrdinary,
        Self::XenFirst,
        Self::XenOrdinary,
    ];

    /// Its name for people.
    pub(crate) fn name(self) -> &'static str {
        match self {
            Self::ParavaneFirst => "Paravane as first domain",
            Self::ParavaneOrdinary => "Paravane as ordinary domain",
            Self::XenFirst => "Xen as first domain",
            Self::XenOrdinary => "Xen as ordinary domain",
        }
    }

    /// Whether it is on Xen.
    pub(crate) fn is_xen(self) -> bool {
        matches!(self, Self::XenFirst | Self::XenOrdinary)
    }

    /// The role, as kernels tell it.
    pub(crate) fn role(self) -> &'static str {
        match self {
            Self::ParavaneFirst | Self::XenFirst => "first",
            Self::ParavaneOrdinary | Self::XenOrdinary => "ordinary",
        }
    }

    /// Runs kernels there and collects their answers.
    pub(crate) fn run(
        self,
        workspace: &Workspace,
        images: &Images,
        kernels: &[String],
    ) -> Result<Answers> {
        let consoles = match self {
            Self::ParavaneFirst => abreast(kernels, |kernel| {
                alone(
                    workspace,
                    images,
                    &images.hypervisor(),
                    kernel,
                    "conformance",
                )
            })?,
            Self::XenFirst => {
                let xen = xen::hypervisor(workspace)?;
                abreast(kernels, |kernel| {
                    let machine = xen::machine(&xen, &images.kernel(kernel))?;
                    let log = workspace.log(&format!("conformance-xen-{kernel}"))?;
                    listen(&machine, &log)
                })?
            }
            Self::ParavaneOrdinary => on_paravane(workspace, images, kernels)?,
            Self::XenOrdinary => on_xen(workspace, images, kernels)?,
        };
        let mut answers = Answers::default();
        for (kernel, lines) in kernels.iter().zip(consoles) {
            answers.take(kernel, self.role(), &lines)?;
        }
        Ok(answers)
    }
}

/// Does something for each kernel, a few at a time, and gives the results in the kernels' order.
pub(crate) fn abreast<T: Send + Default>(
    kernels: &[String],
    run: impl Fn(&str) -> Result<T> + Sync,
) -> Result<Vec<T>> {
    let waiting: Mutex<VecDeque<(usize, &String)>> =
        Mutex::new(kernels.iter().enumerate().collect());
    let results: Mutex<Vec<(usize, Result<T>)>> = Mutex::new(Vec::new());
    thread::scope(|scope| {
        for _ in 0..ABREAST {
            scope.spawn(|| {
                loop {
                    let next = waiting
                        .lock()
                        .unwrap_or_else(PoisonError::into_inner)
                        .pop_front();
                    let Some((number, kernel)) = next else { return };
                    let result = run(kernel).with_context(|| format!("on {kernel}"));
                    let mut results = results.lock().unwrap_or_else(PoisonError::into_inner);
                    results.push((number, result));
                }
            });
        }
    });
    let mut results = results.into_inner().unwrap_or_else(PoisonError::into_inner);
    results.sort_by_key(|(number, _)| *number);
    results.into_iter().map(|(_, result)| result).collect()
}

/// A kernel as the first domain of a hypervisor of ours, with a command line: what it said.
pub(crate) fn alone(
    workspace: &Workspace,
    images: &Images,
    hypervisor: &Path,
    kernel: &str,
    cmdline: &str,
) -> Result<Vec<String>> {
    let module = workspace
        .output("conformance")?
        .join(format!("{kernel}-{}.cpio", std::process::id()));
    let bundle = Bundle {
        kernel: images.kernel(kernel),
        ramdisk: None,
        cmdline: Some(cmdline.to_owned()),
    };
    bundle.write(&module)?;
    let machine = Machine {
        memory_mib: 512,
        append: format!("loglvl=warn dom0_mem=128MiB dom0_max_vcpus={VCPUS}"),
        initrd: Some(module.clone().into_os_string()),
        // A device with message interrupts, for checks of them.
        devices: &["virtio-serial-pci,disable-legacy=on"],
        ..Machine::new(hypervisor.to_owned())
    };
    let log = workspace.log(&format!("conformance-paravane-{kernel}"))?;
    let lines = listen(&machine, &log);
    std::fs::remove_file(&module).with_context(|| format!("cannot remove {}", module.display()))?;
    lines
}

/// A machine's serial line, up to its kernel's last word or the machine's end.
fn listen(machine: &Machine, log: &Path) -> Result<Vec<String>> {
    let mut running = machine.start(log, Echo::Quiet, Input::None)?;
    let ended = running.serial().wait_for(LIMIT, |line| line.contains(END));
    if ended.is_none() && running.wait(Duration::ZERO)? == End::No {
        // What it said so far is judged: the kernel hangs.
        return Ok(running.serial().lines());
    }
    Ok(running.serial().lines())
}

/// The domains that serve a kernel, which are to be there before it, by the distances of their numbers to its own.
fn peers(kernel: &str) -> impl Iterator<Item = u32> {
    (1..=if kernel == WITH_PEERS { PEERS } else { 0 }).rev()
}

/// What a peer is called.
fn peer_name(distance: u32) -> String {
    format!("peer-{distance}")
}

/// What a peer is told.
fn peer_words(distance: u32) -> String {
    format!("serve={distance}")
}

/// What a kernel says when it wants a peer to be destroyed.
fn peer_end(distance: u32) -> String {
    format!("end peer {distance}")
}

/// Kernels as domains of our dom0, one after the other.
fn on_paravane(
    workspace: &Workspace,
    images: &Images,
    kernels: &[String],
) -> Result<Vec<Vec<String>>> {
    let stack = beside_dom0(workspace, images, &images.hypervisor(), "ordinary")?;
    kernels
        .iter()
        .map(|kernel| one_domain(&stack, images, kernel, "conformance"))
        .collect()
}

/// A machine on which our dom0 runs kernels as ordinary domains; its log has this in its name.
pub(crate) fn beside_dom0(
    workspace: &Workspace,
    images: &Images,
    hypervisor: &Path,
    name: &str,
) -> Result<Stack> {
    // One at a time: what they boot is put together in files of fixed names.
    static BOOTING: Mutex<()> = Mutex::new(());
    let _alone = BOOTING.lock().unwrap_or_else(PoisonError::into_inner);
    let log = workspace.log(&format!("conformance-paravane-{name}"))?;
    let machine = Machine {
        memory_mib: 1024,
        ..Machine::new(hypervisor.to_owned())
    };
    Stack::boot(workspace, images, machine, Fame::Unknown, &log, Echo::Quiet)
}

/// A kernel as ordinary domain, with a command line and its peers: what it said.
pub(crate) fn one_domain(
    stack: &Stack,
    images: &Images,
    kernel: &str,
    cmdline: &str,
) -> Result<Vec<String>> {
    let client = Client::new(stack.control());
    let path = images.kernel(kernel);
    let path = path.to_str().context("the kernel's path is not UTF-8")?;
    let vcpus = VCPUS.to_string();
    let create = |name: &str, cmdline: &str| {
        let words = [
            "create",
            "--name",
            name,
            "--kernel",
            path,
            "--memory",
            "64MiB",
            "--cmdline",
            cmdline,
            "--max-vcpus",
            &vcpus,
            "--on-poweroff",
            "preserve",
        ];
        client.json(&words)
    };
    let mut served: Vec<u32> = peers(kernel).collect();
    for &distance in &served {
        create(&peer_name(distance), &peer_words(distance))?;
    }
    create(kernel, cmdline)?;
    let deadline = Instant::now() + LIMIT;
    let lines = loop {
        let said = client.say(&["console", kernel, "--log"]);
        let lines: Vec<String> = said
            .out
            .lines()
            .map(|line| line.trim_end_matches('\r').to_owned())
            .collect();
        let crashed = is(&client, kernel, "crashed");
        if lines.iter().any(|line| line.contains(END)) || crashed || Instant::now() > deadline {
            break lines;
        }
        if said.code != 0 {
            bail!("`{}`: {}", said.command, said.err.trim());
        }
        served.retain(|&distance| {
            let asked = lines.iter().any(|line| *line == peer_end(distance));
            !(asked && end_peer(&client, &peer_name(distance)))
        });
        thread::sleep(LOOK);
    };
    client.json(&["destroy", kernel])?;
    for distance in served {
        client.json(&["destroy", &peer_name(distance)])?;
    }
    Ok(lines)
}

/// Whether a domain is in a state.
fn is(client: &Client, name: &str, state: &str) -> bool {
    client
        .json(&["show", name])
        .is_ok_and(|shown| shown["state"] == state)
}

/// Destroys a peer that has shut itself down, and says whether it is gone. While others have its pages it stays.
fn end_peer(client: &Client, name: &str) -> bool {
    let ended = is(client, name, "shutdown") || is(client, name, "dying");
    ended && client.say(&["destroy", name]).code == 0
}

/// Kernels as domains of Xen, one after the other, beside a Linux first domain.
fn on_xen(workspace: &Workspace, images: &Images, kernels: &[String]) -> Result<Vec<Vec<String>>> {
    let peer = XenLinux::ensure(workspace)?;
    let guest = |name: &str, kernel: &str, cmdline: &str| Guest {
        cmdline: cmdline.to_owned(),
        max_vcpus: VCPUS,
        ..Guest::new(name, images.kernel(kernel))
    };
    let limit = LIMIT.as_secs();
    let (mut guests, mut script) = (Vec::new(), String::new());
    for kernel in kernels {
        let mut watches = String::new();
        for distance in peers(kernel) {
            let name = peer_name(distance);
            guests.push(guest(&name, kernel, &peer_words(distance)));
            script += &format!("create {name}\n");
            let end = peer_end(distance);
            watches += &format!(
                "(await {kernel} '{end}' {limit}; patiently 20 is_down {name} && finish {name}) &\n"
            );
        }
        guests.push(guest(kernel, kernel, "conformance"));
        script += &format!("create {kernel}\n{watches}await {kernel} '{END}' {limit}\nxl list\n");
        for distance in peers(kernel) {
            script += &format!("finish {}\n", peer_name(distance));
        }
        script += &format!("finish {kernel}; kill $(jobs -p)\n");
    }
    script += "true\n";
    let session = Session {
        xen_options: xen::NONE_FORGOTTEN,
        ..Session::new("conformance-xen-ordinary", guests, script)
    };
    let outcome = session.run(workspace, &peer)?;
    Ok(kernels
        .iter()
        .map(|kernel| outcome.console(kernel).to_vec())
        .collect())
}
