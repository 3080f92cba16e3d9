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

/// Debian's Xen with a kernel as its first domain. `qemu64`, since QEMU 7.2's `iretq` faults under SMAP.
pub(crate) fn machine(xen: &Path, kernel: &Path) -> Result<Machine> {
    Ok(Machine {
        kind: "pc".to_owned(),
        cpu: "qemu64".to_owned(),
        memory_mib: 1024,
        append: "com1=115200,8n1 console=com1 loglvl=all guest_loglvl=all dom0_mem=128M,max:128M dom0_max_vcpus=4"
            .to_owned(),
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
