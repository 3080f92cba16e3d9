//! The two hypervisors, as machines that boot the benchmark kernel.

use std::ffi::OsString;
use std::fs;
use std::path::{Path, PathBuf};
use std::time::Duration;

use anyhow::{Context, Result, bail};
use elf::ElfBytes;
use elf::abi::PT_LOAD;
use elf::endian::AnyEndian;

use crate::bench::figures::Figures;
use crate::build::bare::Images;
use crate::peer::xen;
use crate::run::qemu::{Input, Machine};
use crate::run::serial::Echo;
use crate::test::trial;
use crate::workspace::Workspace;

/// The benchmark kernel.
const KERNEL: &str = "bench";

/// CPU model: Debian's QEMU has faults that hit Xen on the larger ones.
pub(crate) const CPU: &str = "qemu64";

/// From start to the last row.
const LIMIT: Duration = Duration::from_secs(120);

/// Whether a hypervisor defends against speculation.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Mitigations {
    /// All that can be switched off is.
    Off,
    /// As it decides on this CPU model.
    Defaults,
}

impl Mitigations {
    /// In a word.
    pub(crate) fn word(self) -> &'static str {
        match self {
            Self::Off => "off",
            Self::Defaults => "at their defaults",
        }
    }
}

/// One hypervisor.
#[derive(Debug)]
pub(crate) struct Side {
    name: &'static str,
    image: PathBuf,
    module: OsString,
    command_line: &'static str,
    mitigations_off: &'static str,
}

impl Side {
    /// Ours.
    pub(crate) fn paravane(images: &Images) -> Self {
        Self {
            name: "paravane",
            image: images.hypervisor(),
            module: images.kernel(KERNEL).into_os_string(),
            command_line: "dom0_mem=128MiB dom0_max_vcpus=2",
            mitigations_off: "spec-ctrl=off",
        }
    }

    /// Debian's Xen.
    pub(crate) fn xen(workspace: &Workspace, images: &Images) -> Result<Self> {
        Ok(Self {
            name: "xen",
            image: xen::hypervisor(workspace)?,
            module: xen::module(&images.kernel(KERNEL), KERNEL)?,
            command_line: "com1=115200,8n1 console=com1 loglvl=warning guest_loglvl=warning \
                dom0_mem=128M,max:128M dom0_max_vcpus=2",
            mitigations_off: "spec-ctrl=no xpti=no pv-l1tf=no tsx=yes",
        })
    }

    /// Its name in rows.
    pub(crate) fn name(&self) -> &'static str {
        self.name
    }

    /// Boots the kernel and reads what it says.
    pub(crate) fn measure(
        &self,
        workspace: &Workspace,
        mitigations: Mitigations,
    ) -> Result<Figures> {
        let switches = match mitigations {
            Mitigations::Off => self.mitigations_off,
            Mitigations::Defaults => "",
        };
        let machine = Machine {
            kind: "pc".to_owned(),
            cpu: CPU.to_owned(),
            cpus: 1,
            memory_mib: 1024,
            append: format!("{} {switches}", self.command_line),
            initrd: Some(self.module.clone()),
            icount: true,
            ..Machine::new(self.image.clone())
        };
        let word = mitigations.word().replace(' ', "-");
        let log = workspace.log(&format!("bench-{}-{word}", self.name))?;
        let mut running = machine.start(&log, Echo::Quiet, Input::None)?;
        let line = running.line().to_owned();
        running
            .serial()
            .wait_for(LIMIT, |line| line.contains(trial::MARK));
        let lines = running.serial().lines();
        if trial::verdict(&lines) != Some(trial::Verdict::Success) {
            running.wait(Duration::from_millis(500))?;
            bail!(trial::explain(
                "the benchmark did not end well",
                &log,
                &line
            ));
        }
        let mut figures = Figures::read(&lines)?;
        let (in_file, in_memory) = image_size(&self.image)?;
        figures.add_image(in_file, in_memory);
        Ok(figures)
    }
}

/// Bytes of the loadable parts of an image: in the file, in memory.
fn image_size(image: &Path) -> Result<(u32, u32)> {
    let bytes = fs::read(image).with_context(|| format!("cannot read {}", image.display()))?;
    let elf = ElfBytes::<AnyEndian>::minimal_parse(&bytes)?;
    let segments = elf.segments().context("the image has no segments")?;
    let loads = || segments.iter().filter(|segment| segment.p_type == PT_LOAD);
    let in_file = loads().map(|segment| segment.p_filesz).sum::<u64>();
    let in_memory = loads().map(|segment| segment.p_memsz).sum::<u64>();
    Ok((u32::try_from(in_file)?, u32::try_from(in_memory)?))
}
