//! Guest tests: every test kernel as the first domain, on Paravane and on Debian's Xen.
//!
//! The same binary, unchanged, runs on both: what Xen does is what the guest ABI says, so a kernel that succeeds there
//! and fails here has found our fault.

use std::ffi::OsString;
use std::fs::{self, File};
use std::io;
use std::path::{Path, PathBuf};
use std::time::Duration;

use anyhow::{Context, Result, bail};
use flate2::read::GzDecoder;

use crate::build::bare::Images;
use crate::run::qemu::Machine;
use crate::setup::peers;
use crate::test::suite::Suite;
use crate::test::trial::{self, Ending, Trial, Wanted};
use crate::workspace::Workspace;

/// The kernel that is no test: it waits for commands.
const DEMO: &str = "demo";

/// What the demo kernel says first.
const GREETING: &str = "paravane demo: ";

/// From start to verdict; Xen alone needs a second before the kernel's first instruction.
const LIMIT: Duration = Duration::from_secs(60);

/// The test kernels.
pub(crate) fn subjects(images: &Images) -> Vec<String> {
    images
        .kernels()
        .iter()
        .filter(|kernel| kernel.as_str() != DEMO)
        .cloned()
        .collect()
}

/// Every test kernel on Paravane.
pub(crate) fn guests(suite: &mut Suite<'_>) -> Result<()> {
    let images = suite.images()?;
    let mut trials: Vec<Trial> = subjects(&images)
        .into_iter()
        .map(|subject| Trial {
            machine: our_machine(&images, &subject),
            name: format!("guest {subject}"),
            limit: LIMIT,
            wanted: Wanted::Verdict,
            ending: Ending::PowerOff,
        })
        .collect();
    trials.push(Trial {
        machine: our_machine(&images, DEMO),
        name: "guest demo".to_owned(),
        limit: LIMIT,
        wanted: Wanted::Line(GREETING),
        ending: Ending::Whatever,
    });
    trial::run_all(suite, trials);
    Ok(())
}

/// Paravane with a kernel as its first domain.
fn our_machine(images: &Images, kernel: &str) -> Machine {
    Machine {
        append: "loglvl=debug dom0_mem=128MiB dom0_max_vcpus=4".to_owned(),
        initrd: Some(images.kernel(kernel).into_os_string()),
        ..Machine::new(images.hypervisor())
    }
}

/// Every test kernel on Debian's Xen.
pub(crate) fn oracle(suite: &mut Suite<'_>) -> Result<()> {
    let images = suite.images()?;
    let xen = xen(suite.workspace())?;
    let mut trials = subjects(&images)
        .into_iter()
        .map(|subject| {
            Ok(Trial {
                machine: oracle_machine(&xen, &images.kernel(&subject))?,
                name: format!("oracle {subject}"),
                limit: LIMIT,
                wanted: Wanted::Verdict,
                ending: Ending::Whatever,
            })
        })
        .collect::<Result<Vec<_>>>()?;
    trials.push(Trial {
        machine: oracle_machine(&xen, &images.kernel(DEMO))?,
        name: "oracle demo".to_owned(),
        limit: LIMIT,
        wanted: Wanted::Line(GREETING),
        ending: Ending::Whatever,
    });
    trial::run_all(suite, trials);
    Ok(())
}

/// Debian's Xen with a kernel as its first domain. `qemu64`, since QEMU 7.2's `iretq` faults under SMAP.
fn oracle_machine(xen: &Path, kernel: &Path) -> Result<Machine> {
    if kernel.to_string_lossy().contains([',', ' ']) {
        bail!(
            "{} has a comma or a space: QEMU cannot pass it as a module",
            kernel.display()
        );
    }
    let mut module = OsString::from(kernel);
    module.push(" oracle");
    Ok(Machine {
        kind: "pc".to_owned(),
        cpu: "qemu64".to_owned(),
        memory_mib: 1024,
        append: "com1=115200,8n1 console=com1 loglvl=all guest_loglvl=all dom0_mem=128M,max:128M dom0_max_vcpus=4"
            .to_owned(),
        initrd: Some(module),
        ..Machine::new(xen.to_path_buf())
    })
}

/// Xen as the ELF that QEMU takes, unpacked from its package.
fn xen(workspace: &Workspace) -> Result<PathBuf> {
    let package = peers::ensure(workspace, peers::XEN)?;
    let elf = workspace.output("oracle")?.join("xen.elf");
    if elf.is_file() {
        return Ok(elf);
    }
    let packed = package.join("boot/xen-4.17-amd64.gz");
    let scratch = elf.with_extension(format!("{}.new", std::process::id()));
    let context = || format!("cannot unpack {}", packed.display());
    let mut reader = GzDecoder::new(File::open(&packed).with_context(context)?);
    let mut writer = File::create(&scratch).with_context(context)?;
    io::copy(&mut reader, &mut writer).with_context(context)?;
    fs::rename(&scratch, &elf).with_context(context)?;
    Ok(elf)
}
