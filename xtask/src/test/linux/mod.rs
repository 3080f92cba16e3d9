//! Debian's unmodified Linux as an ordinary domain: it boots, works, changes under way and ends, told by its own shell and
//! by the hypervisor's counts.

mod bad_input;
mod boot;
mod change;
mod guest;
mod life;
mod program_output;
pub(crate) mod soak;

use anyhow::Result;

use self::guest::Guest;
pub(crate) use self::program_output::programs as linux_programs;
use crate::linux::grub;
use crate::linux::initramfs::Initramfs;
use crate::linux::kernel::{self, Flavour};
use crate::linux::programs;
use crate::run::qemu::Machine;
use crate::test::e2e::bench::Bench;
use crate::test::suite::Suite;

/// The kernel for any machine, from its first line to its power-off, with a change of everything between.
pub(crate) fn linux(suite: &mut Suite<'_>) -> Result<()> {
    let workspace = suite.workspace();
    let first = kernel::ensure(workspace, Flavour::Usual)?;
    let ramdisk = Initramfs::with_busybox(workspace)?.write(workspace, "shell")?;
    let guest = Guest::new("deb", &first, &ramdisk);
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
    let grub = grub::image(bench.workspace(), &first, &ramdisk)?;
    let guest = Guest::new("second", &kernel, &ramdisk).with_all_inside(grub);
    bench.case(
        "a kernel that GRUB starts from inside the domain",
        |bench| {
            boot::to_a_shell(bench, &guest)?;
            boot::sees_what_it_has(bench, &guest)?;
            boot::ends_when_asked(bench, &guest, free)
        },
    );
    bench.finish()
}

/// What is no kernel, no RAM disk and no command line for a domain.
pub(crate) fn linux_input(suite: &mut Suite<'_>) -> Result<()> {
    let kernel = kernel::ensure(suite.workspace(), Flavour::Usual)?;
    let mut bench = Bench::boot(suite, "linux-input", |machine| machine)?;
    for spoiled in bad_input::SPOILED {
        bench.case(spoiled.name, |bench| spoiled.is_refused(bench, &kernel));
    }
    bench.case("a kernel without PV support", |bench| {
        bad_input::without_pv_support(bench, &kernel)
    });
    bench.case("a kernel larger than memory", |bench| {
        bad_input::kernel_too_large(bench, &kernel)
    });
    bench.case("a RAM disk larger than memory", |bench| {
        bad_input::ramdisk_too_large(bench, &kernel)
    });
    bench.case("a command line of 1024 bytes", |bench| {
        bad_input::command_line_too_long(bench, &kernel)
    });
    bench.finish()
}

/// Clocks, pauses, keys, restarts, panics: what a domain goes through, and what its neighbours notice of it.
pub(crate) fn linux_life(suite: &mut Suite<'_>) -> Result<()> {
    let workspace = suite.workspace();
    let kernel = kernel::ensure(workspace, Flavour::Usual)?;
    let mut disk = Initramfs::with_busybox(workspace)?;
    programs::add_clocks(workspace, &mut disk)?;
    let ramdisk = disk.write(workspace, "clocks")?;
    let guest = |name: &str| Guest::new(name, &kernel, &ramdisk).small();
    let one = guest("one");
    let mut bench = Bench::boot(suite, "linux-life", |machine| machine)?;
    let free = bench.free_memory()?;
    bench.case("it boots", |bench| boot::to_a_shell(bench, &one));
    bench.case("its clocks are right", |bench| life::clocks(bench, &one));
    bench.case("a pause keeps its clock sane", |bench| {
        life::pause(bench, &one)
    });
    bench.case("it hears sysrq", |bench| life::sysrq(bench, &one));
    bench.case("it reboots when asked", |bench| life::reboot(bench, &one));
    let others = [guest("two").restarted(), guest("three"), guest("four")];
    let [two, three, four] = &others;
    bench.case("four Linux and four demo domains", |bench| {
        life::crowd(bench, &others)
    });
    bench.case("memory moves from one to another", |bench| {
        life::moves(bench, &one, two)
    });
    bench.case("it counts the time that others took", |bench| {
        life::steal(bench, &one, &others)
    });
    bench.case("one panics and is reported", |bench| {
        life::panic(bench, &one)
    });
    bench.case("another panics and begins anew", |bench| {
        life::panic_and_restart(bench, two)
    });
    bench.case("the others do not notice", |bench| {
        life::others_go_on(bench, &[three, four])
    });
    bench.case("all of them go and leave nothing", |bench| {
        life::all_gone(bench, free)
    });
    bench.finish()
}

/// User space keeps its beat, on a machine whose time counts instructions.
pub(crate) fn linux_ticks(suite: &mut Suite<'_>) -> Result<()> {
    let workspace = suite.workspace();
    let kernel = kernel::ensure(workspace, Flavour::Usual)?;
    let mut disk = Initramfs::with_busybox(workspace)?;
    programs::add_clocks(workspace, &mut disk)?;
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
