//! Debian's Xen as a machine whose first domain is a kernel of ours.

use std::ffi::OsString;
use std::fs::File;
use std::io::Read;
use std::path::{Path, PathBuf};

use anyhow::{Context, Result, bail};
use flate2::read::GzDecoder;

use crate::build::file;
use crate::run::qemu::Machine;
use crate::setup::peers;
use crate::workspace::Workspace;

/// What keeps Xen's scheduler from forgetting a vCPU. Credit2 gives a CPU no vCPU of another CPU whose credit is less than
/// this much (500 us) above that of the CPU's own, and idling counts as just below the least credit. A vCPU at the least
/// credit, as after 20 ms in a host that was busy elsewhere, so stays in the queue beside idle CPUs when it wakes: the CPU
/// that was asked to take it does not, and its own has left it to that one and is not asked again. Seen in Xen 4.17, and
/// not changed in the sources of August 2026. With one CPU the option has no effect.
pub(crate) const NONE_FORGOTTEN: &str = "sched_credit2_migrate_resist=0";

/// Debian's Xen with a kernel as its first domain. `qemu64`, since QEMU 7.2's `iretq` faults under SMAP.
pub(crate) fn machine(xen: &Path, kernel: &Path) -> Result<Machine> {
    Ok(Machine {
        kind: "pc".to_owned(),
        cpu: "qemu64".to_owned(),
        memory_mib: 1024,
        append: format!(
            "com1=115200,8n1 console=com1 loglvl=all guest_loglvl=all dom0_mem=128M,max:128M dom0_max_vcpus=4 \
            {NONE_FORGOTTEN}"
        ),
        initrd: Some(module(kernel, "oracle")?),
        ..Machine::new(xen.to_path_buf())
    })
}

/// A boot module in QEMU's form: a file and its command line.
pub(crate) fn module(file: &Path, cmdline: &str) -> Result<OsString> {
    if file.to_string_lossy().contains([',', ' ']) {
        bail!(
            "{} has a comma or a space: QEMU cannot pass it as a module",
            file.display()
        );
    }
    let mut module = OsString::from(file);
    module.push(" ");
    module.push(cmdline);
    Ok(module)
}

/// Xen as the ELF that QEMU takes, unpacked from its package.
pub(crate) fn hypervisor(workspace: &Workspace) -> Result<PathBuf> {
    let package = peers::ensure(workspace, peers::XEN)?;
    let elf = workspace.output("oracle")?.join("xen.elf");
    if elf.is_file() {
        return Ok(elf);
    }
    let packed = package.join("boot/xen-4.17-amd64.gz");
    let context = || format!("cannot unpack {}", packed.display());
    let mut reader = GzDecoder::new(File::open(&packed).with_context(context)?);
    let mut unpacked = Vec::new();
    reader.read_to_end(&mut unpacked).with_context(context)?;
    file::write_whole(&elf, &unpacked)?;
    Ok(elf)
}
