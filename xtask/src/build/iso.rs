//! A bootable CD image: GRUB, the hypervisor, and the first domain's kernel and ramdisk as modules of their own.

use std::fs;
use std::path::{Path, PathBuf};

use anyhow::{Context, Result};

use crate::build::bundle::Bundle;
use crate::child::Call;
use crate::workspace::Workspace;

/// What GRUB boots.
#[derive(Debug, Clone)]
pub(crate) struct Iso {
    /// The hypervisor.
    pub(crate) hypervisor: PathBuf,
    /// Its command line.
    pub(crate) append: String,
    /// The first domain.
    pub(crate) bundle: Bundle,
}

impl Iso {
    /// Makes the image at `path`; it appears whole or not at all.
    pub(crate) fn write(&self, workspace: &Workspace, path: &Path) -> Result<()> {
        let tree = workspace
            .output("iso")?
            .join(std::process::id().to_string());
        let done = self.fill(&tree).and_then(|()| {
            let scratch = path.with_extension(format!("{}.new", std::process::id()));
            Call::new("grub-mkrescue")
                .arg("-o")
                .arg(&scratch)
                .arg(&tree)
                .logged(&workspace.log("build-iso")?)?;
            fs::rename(&scratch, path)
                .with_context(|| format!("cannot move the image to {}", path.display()))
        });
        fs::remove_dir_all(&tree).with_context(|| format!("cannot remove {}", tree.display()))?;
        done
    }

    /// The tree of files in the image.
    fn fill(&self, tree: &Path) -> Result<()> {
        let grub = tree.join("boot/grub");
        fs::create_dir_all(&grub).with_context(|| format!("cannot create {}", grub.display()))?;
        let copy = |from: &Path, name: &str| {
            fs::copy(from, tree.join("boot").join(name))
                .with_context(|| format!("cannot copy {}", from.display()))
        };
        copy(&self.hypervisor, "paravane")?;
        copy(&self.bundle.kernel, "kernel")?;
        if let Some(ramdisk) = &self.bundle.ramdisk {
            copy(ramdisk, "ramdisk")?;
        }
        let config = grub.join("grub.cfg");
        fs::write(&config, self.config())
            .with_context(|| format!("cannot write {}", config.display()))
    }

    fn config(&self) -> String {
        let line = self.bundle.cmdline.as_deref().unwrap_or("");
        let mut text = format!(
            "set timeout=0\nmenuentry Paravane {{\n  multiboot2 /boot/paravane {}\n  module2 /boot/kernel {line}\n",
            self.append
        );
        if self.bundle.ramdisk.is_some() {
            text.push_str("  module2 /boot/ramdisk\n");
        }
        text.push_str("}\n");
        text
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn each_module_has_a_line_of_its_own() {
        let iso = Iso {
            hypervisor: "h".into(),
            append: "loglvl=debug".to_owned(),
            bundle: Bundle {
                kernel: "k".into(),
                ramdisk: Some("r".into()),
                cmdline: Some("console=hvc0".to_owned()),
            },
        };
        let config = iso.config();
        assert!(config.contains("multiboot2 /boot/paravane loglvl=debug\n"));
        assert!(config.contains("module2 /boot/kernel console=hvc0\n"));
        assert!(config.contains("module2 /boot/ramdisk\n"));
    }
}
