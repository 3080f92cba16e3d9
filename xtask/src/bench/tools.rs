//! `cargo xtask bench --tools`: what the commands of management cost, by executed instructions of the whole machine, here
//! and with Xen's own tools, while so many domains are present.
//!
//! One CPU whose time counts instructions. Here dom0 tells how long a change took by its clock, from the request's arrival
//! to the reply; a listing tells no time, so the CPU's busy time before and behind it is compared, less what asking for that
//! costs. On Xen the first domain's clock is read before and behind the command. Xen's tools return before a change is
//! reached: there the state is looked at until it is, and the cost of looking is taken off again. How long it takes from a
//! domain's first vCPU to its first instructions, a guest reads from the runstates that the hypervisor counts for it.

use std::thread;
use std::time::Duration;

use anyhow::{Context, Result, bail};

use crate::bench::figures::{FIRST_CALL, Figures, INSTRUCTIONS};
use crate::build::bare::Images;
use crate::peer::xen_linux::XenLinux;
use crate::peer::xen_linux::guest::Guest;
use crate::peer::xen_linux::session::Session;
use crate::run::client::Client;
use crate::run::place::Fame;
use crate::run::qemu::{End, Machine};
use crate::run::serial::Echo;
use crate::run::stack::Stack;
use crate::workspace::Workspace;

/// Domains that are present.
const CROWDS: [u32; 3] = [1, 8, MOST];
const MOST: u32 = 64;
/// The kernel of all of them: it follows what it is told, and sleeps otherwise.
const KERNEL: &str = "demo";
/// The kernel that tells how long it took until it began.
const NEWBORN: &str = "hello";
/// What it says behind the number.
const BORN: &str = " ns after its vCPU was made";
/// Memory of each, and what the measured one goes down to, in MiB.
const MEMORY_MIB: u64 = 32;
const LESS_MIB: u64 = 24;
const MEMORY_KIB: f64 = 32.0 * 1024.0;
/// Listings that are measured here.
const LISTINGS: usize = 9;
/// Time for guests to start, and for the idle CPU to scrub frames for those who come next: Xen scrubs all memory at boot.
const REST: Duration = Duration::from_secs(3);
/// How long all of it may take on a busy host.
const LIMIT: Duration = Duration::from_secs(3000);

/// Name of a row.
fn name(operation: &str, present: u32) -> String {
    format!("{operation}, {present} domains present")
}

/// The rows on our side.
pub(crate) fn paravane(workspace: &Workspace, images: &Images) -> Result<Figures> {
    let log = workspace.log("bench-tools-paravane")?;
    let machine = Machine {
        kind: "pc".to_owned(),
        cpus: 1,
        memory_mib: 3072,
        icount: true,
        ..Machine::new(images.hypervisor())
    };
    let mut stack = Stack::boot(workspace, images, machine, Fame::Unknown, &log, Echo::Quiet)?;
    let client = Client::new(stack.control());
    let mut figures = Figures::default();
    let mut present = 0;
    for crowd in CROWDS {
        let (before, newcomers) = (free(&client)?, crowd - 1 - present);
        while present + 1 < crowd {
            create(&client, &format!("idle{present}"))?;
            present += 1;
        }
        if crowd == MOST {
            let each = (before - free(&client)?) / f64::from(newcomers);
            figures.add_each(each / 1024.0 - MEMORY_KIB);
        }
        let mut add = |operation: &str, count: f64| {
            figures.add(&name(operation, crowd), INSTRUCTIONS, count);
        };
        thread::sleep(REST);
        add("create", create(&client, "probe")?);
        add("list", list(&client)?);
        let less = format!("{LESS_MIB}MiB");
        add(
            "balloon until reached",
            elapsed(&client, &["balloon", "probe", &less])?,
        );
        add(
            "vcpus until reached",
            elapsed(&client, &["vcpus", "probe", "2"])?,
        );
        client.json(&["destroy", "probe"])?;
    }
    figures.add(FIRST_CALL, INSTRUCTIONS, newborn(&client, images)?);
    client.json(&["poweroff"])?;
    if stack.machine().wait(Duration::from_secs(60))? == End::No {
        bail!("the machine does not power off");
    }
    Ok(figures)
}

fn create(client: &Client, name: &str) -> Result<f64> {
    let memory = format!("{MEMORY_MIB}MiB");
    let words = [
        "create",
        "--name",
        name,
        "--memory",
        &memory,
        "--max-vcpus",
        "2",
    ];
    elapsed(client, &words)
}

/// What a domain says of its own beginning.
fn newborn(client: &Client, images: &Images) -> Result<f64> {
    let (kernel, memory) = (images.kernel(NEWBORN), format!("{MEMORY_MIB}MiB"));
    let words = [
        "create",
        "--name",
        NEWBORN,
        "--kernel",
        &kernel.to_string_lossy(),
        "--memory",
        &memory,
        "--on-poweroff",
        "preserve",
    ];
    client.json(&words)?;
    client.json(&["wait", NEWBORN, "--for", "shutdown"])?;
    let said = client.say(&["console", NEWBORN, "--log"]);
    let lines: Vec<String> = said.out.lines().map(str::to_owned).collect();
    client.json(&["destroy", NEWBORN])?;
    began(&lines)
}

/// The number in the line that tells it.
fn began(lines: &[String]) -> Result<f64> {
    let number = lines.iter().find_map(|line| {
        let (said, _) = line.split_once(BORN)?;
        said.rsplit(' ').next()?.parse().ok()
    });
    number.with_context(|| format!("{NEWBORN} did not say when it began:\n{}", lines.join("\n")))
}

fn elapsed(client: &Client, words: &[&str]) -> Result<f64> {
    let reply = client.json(words)?;
    reply["elapsed_ns"]
        .as_f64()
        .with_context(|| format!("`{}` tells no time: {reply}", words.join(" ")))
}

/// Memory that belongs to nobody, in bytes.
fn free(client: &Client) -> Result<f64> {
    let info = client.json(&["info"])?;
    let free = info["free_memory_bytes"].as_f64();
    free.with_context(|| format!("`info` tells of no free memory: {info}"))
}

/// Busy time of the one CPU, in nanoseconds.
fn busy(client: &Client) -> Result<f64> {
    let info = client.json(&["info"])?;
    info["per_cpu"][0]["busy_ns"]
        .as_f64()
        .with_context(|| format!("`info` tells no busy time: {info}"))
}

/// The middle of several listings: a guest that still starts adds to some of them.
fn list(client: &Client) -> Result<f64> {
    let mut costs = Vec::new();
    for _ in 0..LISTINGS {
        let (before, between) = (busy(client)?, busy(client)?);
        client.json(&["list"])?;
        costs.push(busy(client)? - between - (between - before));
    }
    costs.sort_by(f64::total_cmp);
    costs
        .get(LISTINGS / 2)
        .copied()
        .context("nothing was listed")
}

/// Functions of the script on Xen: times are read in microseconds, which are thousands of instructions.
const FUNCTIONS: &str = r#"
row() { echo "row $(($1 * 1000)) 1 1/1 $2"; }
free() { xl info | awk '$1 == "free_memory" { print $3 * 1024 }'; }
column() { xl list "$1" | awk -v column="$2" 'NR == 2 { print $column }'; }
timed() { local from=${EPOCHREALTIME/./}; "$@" >/dev/null; spent=$((${EPOCHREALTIME/./} - from)); }
# until GUEST COLUMN VALUE COMMAND...: carries it out and looks until the column has the value.
until_reached() {
    local guest=$1 column=$2 value=$3 looks=1 from; shift 3
    local before=${EPOCHREALTIME/./}; column "$guest" "$column" >/dev/null
    local look=$((${EPOCHREALTIME/./} - before))
    from=${EPOCHREALTIME/./}
    "$@" >/dev/null
    while [ "$(column "$guest" "$column")" != "$value" ]; do
        looks=$((looks + 1)); [ "$looks" -lt 200 ] || return 1
    done
    spent=$((${EPOCHREALTIME/./} - from - looks * look))
}
"#;

/// The rows with Xen's tools.
pub(crate) fn xen(workspace: &Workspace, images: &Images) -> Result<Figures> {
    let peer = XenLinux::ensure(workspace)?;
    let guest = |name: String| Guest {
        memory_mib: MEMORY_MIB,
        max_memory_mib: MEMORY_MIB,
        max_vcpus: 2,
        ..Guest::new(name, images.kernel(KERNEL))
    };
    let mut guests: Vec<Guest> = (0..MOST - 1).map(|n| guest(format!("idle{n}"))).collect();
    guests.push(guest("probe".to_owned()));
    guests.push(Guest {
        memory_mib: MEMORY_MIB,
        max_memory_mib: MEMORY_MIB,
        ..Guest::new(NEWBORN, images.kernel(NEWBORN))
    });
    let mut script = FUNCTIONS.to_owned();
    let mut present = 0;
    for crowd in CROWDS {
        let newcomers = crowd - 1 - present;
        // The frames of who was destroyed last are free by then.
        script += "sleep 1\nbefore=$(free)\n";
        while present + 1 < crowd {
            script += &format!("create idle{present} || exit 1\n");
            present += 1;
        }
        if crowd == MOST {
            script +=
                &format!("echo each $(((before - $(free)) / {newcomers} - {MEMORY_MIB} * 1024))\n");
        }
        let row = |operation: &str| format!("row $spent '{}'\n", name(operation, crowd));
        script += "timed create probe || exit 1\n";
        script += &row("create");
        script += "await probe 'demo>' 60\ntimed xl list\n";
        script += &row("list");
        script +=
            &format!("until_reached probe 3 {LESS_MIB} xl mem-set probe {LESS_MIB}m || exit 2\n");
        script += &row("balloon until reached");
        script += "until_reached probe 4 2 xl vcpu-set -i probe 2 || exit 3\n";
        script += &row("vcpus until reached");
        script += "xl destroy probe\n";
    }
    script += &format!("create {NEWBORN} || exit 4\nawait {NEWBORN} 'Test result: ' 60\n");
    let session = Session {
        memory_mib: 3584,
        cpus: 1,
        icount: true,
        limit: LIMIT,
        ..Session::new("bench-tools-xen", guests, script)
    };
    let outcome = session.run(workspace, &peer)?;
    if outcome.status != 0 {
        bail!(
            "the script ended with {}:\n{}",
            outcome.status,
            outcome.script().join("\n")
        );
    }
    let mut figures = Figures::read(outcome.script())?;
    figures.add(FIRST_CALL, INSTRUCTIONS, began(outcome.console(NEWBORN))?);
    Ok(figures)
}
