//! Debian's unmodified Linux as an ordinary domain: it boots, works, changes under way and ends, told by its own shell and
//! by the hypervisor's counts.

mod boot;
mod change;
mod guest;
mod program_output;

use anyhow::Result;

use self::guest::Guest;
pub(crate) use self::program_output::programs as linux_programs;
use crate::linux::initramfs::Initramfs;
use crate::linux::kernel::{self, Flavour};
use crate::linux::programs;
use crate::run::qemu::Machine;
use crate::test::e2e::bench::Bench;
use crate::test::suite::Suite;

/// The kernel for any machine, from its first line to its power-off, with a change of everything between.
pub(crate) fn linux(suite: &mut Suite<'_>) -> Result<()> {
    let workspace = suite.workspace();
    let kernel = kernel::ensure(workspace, Flavour::Usual)?;
    let ramdisk = Initramfs::with_busybox(workspace)?.write(workspace, "shell")?;
    let guest = Guest::new("deb", &kernel, &ramdisk);
    let mut bench = Bench::boot(suite, "linux", |machine| machine)?;
    let free = bench.free_memory()?;
    bench.case("it boots to a shell", |bench| {
        boot::to_a_shell(bench, &guest)
    });
    bench.case("it sees its vCPUs and its memory", |bench| {
        boot::sees_what_it_has(bench, &guest)
    });
    bench.case("memory: 128MiB, 512MiB and back", |bench| {
        change::memory(bench, &guest)
    });
    bench.case("vCPUs: 4, 1, 2", |bench| change::vcpus(bench, &guest));
    bench.case("its log has no complaint", |bench| {
        boot::log_has_no_complaint(bench, &guest)
    });
    bench.case("it powers off when asked and leaves nothing", |bench| {
        boot::ends_when_asked(bench, &guest, free)
    });
    let kernel = kernel::ensure(bench.workspace(), Flavour::Cloud)?;
    let guest = Guest::new("cloud", &kernel, &ramdisk);
    bench.case("the cloud flavour does too", |bench| {
        boot::to_a_shell(bench, &guest)?;
        boot::sees_what_it_has(bench, &guest)?;
        boot::ends_when_asked(bench, &guest, free)
    });
    bench.finish()
}

/// User space keeps its beat, on a machine whose time counts instructions.
pub(crate) fn linux_ticks(suite: &mut Suite<'_>) -> Result<()> {
    let workspace = suite.workspace();
    let kernel = kernel::ensure(workspace, Flavour::Usual)?;
    let mut disk = Initramfs::with_busybox(workspace)?;
    programs::add_ticks(workspace, &mut disk)?;
    let guest = Guest::new("ticks", &kernel, &disk.write(workspace, "ticks")?);
    let mut bench = Bench::boot(suite, "linux-icount", |machine| Machine {
        cpus: 1,
        icount: true,
        ..machine
    })?;
    bench.case("it boots by counted instructions", |bench| {
        boot::to_a_shell(bench, &guest)
    });
    bench.case("a program's tick misses three beats at most", |bench| {
        change::no_tick_is_missed(bench, &guest)
    });
    bench.finish()
}
