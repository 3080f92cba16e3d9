//! Where things are: the tree, and the places under `target/` that this program writes to.

use std::fs::{self, File, TryLockError};
use std::io::ErrorKind;
use std::path::{Path, PathBuf};

use anyhow::{Context, Result, bail};

/// The workspace's directories.
#[derive(Debug, Clone)]
pub(crate) struct Workspace {
    root: PathBuf,
    target: PathBuf,
}

impl Workspace {
    /// Finds the workspace that this program was built from.
    pub(crate) fn locate() -> Result<Self> {
        let own = std::env::var_os("CARGO_MANIFEST_DIR")
            .map_or_else(|| PathBuf::from(env!("CARGO_MANIFEST_DIR")), PathBuf::from);
        let root = own
            .parent()
            .with_context(|| format!("{} has no parent directory", own.display()))?
            .to_path_buf();
        if !root.join("Cargo.toml").is_file() {
            bail!(
                "{} is not the workspace: run this by `cargo xtask`",
                root.display()
            );
        }
        let target = std::env::var_os("CARGO_TARGET_DIR")
            .map_or_else(|| root.join("target"), |given| root.join(given));
        fs::create_dir_all(&target)
            .with_context(|| format!("cannot create {}", target.display()))?;
        Ok(Self { root, target })
    }

    /// The top of the tree.
    pub(crate) fn root(&self) -> &Path {
        &self.root
    }

    /// Cargo's target directory, the only place that is written to.
    pub(crate) fn target(&self) -> &Path {
        &self.target
    }

    /// A directory under `target/`, created when it is not there.
    pub(crate) fn output(&self, name: &str) -> Result<PathBuf> {
        let path = self.target.join(name);
        fs::create_dir_all(&path).with_context(|| format!("cannot create {}", path.display()))?;
        Ok(path)
    }

    /// A log file's path under `target/logs`, whose directory is there.
    pub(crate) fn log(&self, name: &str) -> Result<PathBuf> {
        Ok(self.output("logs")?.join(format!("{name}.log")))
    }

    /// Waits until no other process does this: tests, benchmarks and comparisons write to the same places under `target/`. The
    /// turn lasts as long as the file that is returned is open, so it ends with the process however that ends.
    pub(crate) fn turn(&self) -> Result<File> {
        let path = self.target.join("turn.lock");
        let cannot = || format!("cannot lock {}", path.display());
        let file = File::create(&path).with_context(cannot)?;
        match file.try_lock() {
            Ok(()) => {}
            Err(TryLockError::WouldBlock) => {
                eprintln!(
                    "waiting for another `cargo xtask` that tests or measures in this tree ({})",
                    path.display()
                );
                file.lock().with_context(cannot)?;
            }
            // A file system without locks: whoever runs two at once there must know what they do.
            Err(TryLockError::Error(error)) if error.kind() == ErrorKind::Unsupported => {}
            Err(TryLockError::Error(error)) => return Err(error).with_context(cannot),
        }
        Ok(file)
    }

    /// Every file of the tree that git knows or would take in: no build outputs, nothing ignored.
    pub(crate) fn files(&self) -> Result<Vec<PathBuf>> {
        let listing = crate::child::Call::new("git")
            .args(["ls-files", "--cached", "--others", "--exclude-standard"])
            .directory(&self.root)
            .output()?;
        Ok(listing
            .lines()
            .map(PathBuf::from)
            .filter(|file| self.root.join(file).is_file())
            .collect())
    }
}
