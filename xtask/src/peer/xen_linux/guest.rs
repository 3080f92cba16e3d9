//! An ordinary domain: what `xl create` is told, and what `dom0ctl create`.

use std::path::PathBuf;

/// An ordinary domain.
#[derive(Debug, Clone)]
pub(crate) struct Guest {
    /// Its name: letters, digits and `-`.
    pub(crate) name: String,
    /// Its kernel: an ELF or a bzImage.
    pub(crate) kernel: PathBuf,
    /// Its RAM disk.
    pub(crate) ramdisk: Option<PathBuf>,
    /// Its command line.
    pub(crate) cmdline: String,
    /// Its memory, in MiB.
    pub(crate) memory_mib: u64,
    /// How much memory it may have, in MiB.
    pub(crate) max_memory_mib: u64,
    /// How many vCPUs are online.
    pub(crate) vcpus: u32,
    /// How many vCPUs it may have.
    pub(crate) max_vcpus: u32,
}

impl Guest {
    /// A domain with 64 MiB and one vCPU.
    pub(crate) fn new(name: impl Into<String>, kernel: PathBuf) -> Self {
        Self {
            name: name.into(),
            kernel,
            ramdisk: None,
            cmdline: String::new(),
            memory_mib: 64,
            max_memory_mib: 64,
            vcpus: 1,
            max_vcpus: 1,
        }
    }

    /// Where its kernel lies in the first domain.
    pub(super) fn kernel_path(&self) -> String {
        format!("guests/{}.kernel", self.name)
    }

    /// Where its RAM disk lies in the first domain.
    pub(super) fn ramdisk_path(&self) -> String {
        format!("guests/{}.ramdisk", self.name)
    }

    /// Where its configuration lies in the first domain.
    pub(super) fn config_path(&self) -> String {
        format!("guests/{}.cfg", self.name)
    }

    /// Its configuration. A domain that ends stays, for its state to be seen, until the script destroys it.
    pub(super) fn config(&self) -> String {
        let mut lines = vec![
            format!("name=\"{}\"", self.name),
            "type=\"pv\"".to_owned(),
            format!("kernel=\"/{}\"", self.kernel_path()),
            format!("extra=\"{}\"", self.cmdline.replace('"', "'")),
            format!("memory={}", self.memory_mib),
            format!("maxmem={}", self.max_memory_mib.max(self.memory_mib)),
            format!("vcpus={}", self.vcpus),
            format!("maxvcpus={}", self.max_vcpus.max(self.vcpus)),
        ];
        if self.ramdisk.is_some() {
            lines.push(format!("ramdisk=\"/{}\"", self.ramdisk_path()));
        }
        for event in ["on_poweroff", "on_reboot", "on_crash"] {
            lines.push(format!("{event}=\"preserve\""));
        }
        lines.join("\n") + "\n"
    }

    /// The words that create it here, paused.
    pub(crate) fn words(&self) -> Vec<String> {
        let mut words = vec!["create".to_owned(), "--paused".to_owned()];
        let mut add = |option: &str, value: String| words.extend([option.to_owned(), value]);
        add("--name", self.name.clone());
        add("--kernel", self.kernel.to_string_lossy().into_owned());
        if let Some(ramdisk) = &self.ramdisk {
            add("--ramdisk", ramdisk.to_string_lossy().into_owned());
        }
        add("--cmdline", self.cmdline.clone());
        add("--memory", format!("{}MiB", self.memory_mib));
        add("--max-memory", format!("{}MiB", self.max_memory_mib));
        add("--vcpus", self.vcpus.to_string());
        add("--max-vcpus", self.max_vcpus.to_string());
        words
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_maximum_is_never_below_what_the_domain_starts_with() {
        let mut guest = Guest::new("a", PathBuf::from("/k"));
        guest.memory_mib = 128;
        guest.vcpus = 2;
        let config = guest.config();
        assert!(config.contains("maxmem=128\n"));
        assert!(config.contains("maxvcpus=2\n"));
        assert!(!config.contains("ramdisk"));
    }
}
