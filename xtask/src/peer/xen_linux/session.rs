//! One boot of Xen, Linux and guests, with a script in between.
//!
//! The script is bash, run in the first domain with Xen's tools in its `PATH` and the functions of `init.sh`: `create GUEST`,
//! `await GUEST WORDS SECONDS`, `is_down GUEST`, `finish GUEST`, `console GUEST`, `patiently SECONDS COMMAND`. Its output, and the consoles of
//! all guests, come back line by line.

use std::collections::BTreeMap;
use std::fs;
use std::path::{Path, PathBuf};
use std::time::Duration;

use anyhow::{Context, Result, bail};

use super::XenLinux;
use super::guest::Guest;
use super::tree;
use crate::build::archive::Archive;
use crate::build::file;
use crate::child;
use crate::peer::xen;
use crate::run::qemu::{Input, Machine};
use crate::run::serial::Echo;
use crate::test::trial;
use crate::workspace::Workspace;

/// Under this name the script's own output comes back.
pub(crate) const SCRIPT: &str = "script";

/// What the first domain says last.
const ENDED: &str = "@@ended ";

/// How long the machine may take to be gone after that.
const GRACE: Duration = Duration::from_secs(15);

/// Options of Xen that every session has: its own words are few, and the first domain has what it needs.
const XEN_OPTIONS: &str =
    "com1=115200,8n1 console=com1 loglvl=warning guest_loglvl=none dom0_max_vcpus=1";

/// What shall be run.
#[derive(Debug, Clone)]
pub(crate) struct Session {
    /// Its name, and its log's.
    pub(crate) name: String,
    /// The guests that the script may create.
    pub(crate) guests: Vec<Guest>,
    /// More files for the first domain: path there, path here.
    pub(crate) files: Vec<(String, PathBuf)>,
    /// The script.
    pub(crate) script: String,
    /// The host's memory, in MiB.
    pub(crate) memory_mib: u64,
    /// The first domain's memory, in MiB.
    pub(crate) first_domain_mib: u64,
    /// How many CPUs.
    pub(crate) cpus: u32,
    /// QEMU's CPU model. RDRAND, since a first domain without entropy waits seconds for it.
    pub(crate) cpu: String,
    /// Deterministic time: the clock counts instructions.
    pub(crate) icount: bool,
    /// More options for Xen.
    pub(crate) xen_options: &'static str,
    /// How long all of it may take.
    pub(crate) limit: Duration,
}

/// What came back.
#[derive(Debug, Clone)]
pub(crate) struct Outcome {
    /// The script's exit status.
    pub(crate) status: i32,
    logs: BTreeMap<String, Vec<String>>,
}

impl Session {
    /// A session of the usual kind.
    pub(crate) fn new(name: impl Into<String>, guests: Vec<Guest>, script: String) -> Self {
        Self {
            name: name.into(),
            guests,
            files: Vec::new(),
            script,
            memory_mib: 1536,
            first_domain_mib: 512,
            cpus: 2,
            cpu: "qemu64,+rdrand".to_owned(),
            icount: false,
            xen_options: "",
            limit: Duration::from_secs(300),
        }
    }

    /// Each guest alone, until its console has said `words` or its time is over.
    pub(crate) fn one_after_another(
        name: impl Into<String>,
        guests: Vec<Guest>,
        words: &str,
        each: Duration,
    ) -> Self {
        let script = guests
            .iter()
            .map(|guest| {
                let name = &guest.name;
                format!(
                    "create {name} && await {name} '{words}' {}; xl list; finish {name}\n",
                    each.as_secs()
                )
            })
            .collect();
        Self {
            xen_options: xen::NONE_FORGOTTEN,
            ..Self::new(name, guests, script)
        }
    }

    /// Boots the machine, runs the script, and waits for its end.
    pub(crate) fn run(&self, workspace: &Workspace, peer: &XenLinux) -> Result<Outcome> {
        let ramdisk =
            peer.scratch
                .join(format!("session-{}-{}.cpio", self.name, std::process::id()));
        child::remove_on_interrupt(&ramdisk, |path| {
            // This program ends here; the file is found below `target/` if it stays.
            fs::remove_file(path).ok();
        });
        let outcome = self
            .write_ramdisk(&ramdisk, peer)
            .and_then(|()| self.boot(workspace, peer, &ramdisk));
        child::keep_on_interrupt(&ramdisk);
        fs::remove_file(&ramdisk)
            .with_context(|| format!("cannot remove {}", ramdisk.display()))?;
        outcome
    }

    fn boot(&self, workspace: &Workspace, peer: &XenLinux, ramdisk: &Path) -> Result<Outcome> {
        let machine = self.machine(peer, ramdisk)?;
        let log = workspace.log(&self.name)?;
        let mut running = machine.start(&log, Echo::Quiet, Input::None)?;
        let last = running
            .serial()
            .wait_for(self.limit, |line| line.starts_with(ENDED));
        let lines = running.serial().lines();
        let Some(last) = last else {
            let what = format!("the script was not over within {} s", self.limit.as_secs());
            bail!(trial::explain(&what, &log, running.line()));
        };
        running.wait(GRACE)?;
        let status = last.trim_start_matches(ENDED).trim();
        Ok(Outcome {
            status: status
                .parse()
                .with_context(|| format!("the script's exit status is `{status}`"))?,
            logs: sorted(&lines),
        })
    }

    fn machine(&self, peer: &XenLinux, ramdisk: &Path) -> Result<Machine> {
        let mut modules = xen::module(
            &peer.kernel,
            "console=hvc0 rdinit=/init quiet loglevel=3 panic=-1",
        )?;
        modules.push(",");
        modules.push(xen::module(ramdisk, "ramdisk")?);
        let memory = self.first_domain_mib;
        Ok(Machine {
            kind: "pc".to_owned(),
            cpu: self.cpu.clone(),
            cpus: self.cpus,
            memory_mib: self.memory_mib,
            append: format!(
                "{XEN_OPTIONS} dom0_mem={memory}M,max:{memory}M {}",
                self.xen_options
            ),
            initrd: Some(modules),
            icount: self.icount,
            ..Machine::new(peer.xen.clone())
        })
    }

    /// The first domain's file system: what every session has, then what this one adds.
    fn write_ramdisk(&self, path: &Path, peer: &XenLinux) -> Result<()> {
        let mut archive = Archive::default();
        tree::write(&mut archive, &peer.tools, &peer.linux)?;
        archive.file("session/script", self.script.as_bytes())?;
        for guest in &self.guests {
            archive.file(&guest.config_path(), guest.config().as_bytes())?;
            archive.file(&guest.kernel_path(), &file::read(&guest.kernel)?)?;
            if let Some(ramdisk) = &guest.ramdisk {
                archive.file(&guest.ramdisk_path(), &file::read(ramdisk)?)?;
            }
        }
        for (there, here) in &self.files {
            archive.file(there, &file::read(here)?)?;
        }
        file::write_whole(path, &archive.finish()?)
    }
}

impl Outcome {
    /// What a guest said on its console.
    pub(crate) fn console(&self, guest: &str) -> &[String] {
        self.log(&format!("guest-{guest}"))
    }

    /// What the script wrote.
    pub(crate) fn script(&self) -> &[String] {
        self.log(SCRIPT)
    }

    /// A file's lines.
    fn log(&self, name: &str) -> &[String] {
        self.logs.get(name).map_or(&[], Vec::as_slice)
    }
}

/// The lines that are meant for us, by the file that they are from.
fn sorted(lines: &[String]) -> BTreeMap<String, Vec<String>> {
    let mut logs: BTreeMap<String, Vec<String>> = BTreeMap::new();
    for line in lines {
        let parts = line
            .strip_prefix('@')
            .and_then(|rest| rest.split_once('@'))
            .filter(|(name, _)| !name.is_empty());
        if let Some((name, text)) = parts {
            let text = text.trim_end_matches('\r').to_owned();
            logs.entry(name.to_owned()).or_default().push(text);
        }
    }
    logs
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn lines_go_to_the_file_that_they_are_from() {
        let lines = [
            "noise",
            "@guest-a@one\r",
            "@script@two",
            "@guest-a@",
            "@@ended 0",
        ];
        let logs = sorted(&lines.map(str::to_owned));
        assert_eq!(logs["guest-a"], ["one", ""]);
        assert_eq!(logs["script"], ["two"]);
        assert_eq!(logs.len(), 2);
    }
}
