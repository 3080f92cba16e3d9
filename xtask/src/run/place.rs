//! The private directory of a running machine: its sockets, and `latest` beside it, which names the last one started.

use std::fs::{self, DirBuilder};
use std::os::unix::fs::{DirBuilderExt, MetadataExt, PermissionsExt, symlink};
use std::path::{Path, PathBuf};
use std::sync::atomic::{AtomicU32, Ordering};

use anyhow::{Context, Result, bail};

use crate::child;

/// The longest path that a unix socket can have, without its closing zero.
const LONGEST: usize = 107;

/// Machines that this process has started so far; alone, so any order does.
static STARTED: AtomicU32 = AtomicU32::new(0);

/// Whether `dom0ctl` shall find this machine by itself.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Fame {
    /// `latest` names it.
    Latest,
    /// Only who knows its path finds it: machines of tests.
    Unknown,
}

/// A machine's directory; removed when this value is dropped.
#[derive(Debug)]
pub(crate) struct Place {
    path: PathBuf,
    base: PathBuf,
}

impl Place {
    /// Makes a directory that nobody else can enter.
    pub(crate) fn new(fame: Fame) -> Result<Self> {
        Self::below(base(), fame)
    }

    fn below(base: PathBuf, fame: Fame) -> Result<Self> {
        private_directory(&base)?;
        sweep(&base);
        let number = STARTED.fetch_add(1, Ordering::Relaxed);
        let name = match number {
            0 => format!("{}", std::process::id()),
            more => format!("{}-{more}", std::process::id()),
        };
        let path = base.join(&name);
        private_directory(&path)?;
        child::remove_on_interrupt(&path, remove);
        let place = Self { path, base };
        let length = place.control().as_os_str().len();
        if length > LONGEST {
            bail!(
                "{} has {length} bytes, a socket's path has at most {LONGEST}: set XDG_RUNTIME_DIR to something shorter",
                place.control().display()
            );
        }
        if fame == Fame::Latest {
            let link = place.base.join(format!(".latest.{name}"));
            symlink(&name, &link)
                .and_then(|()| fs::rename(&link, place.base.join("latest")))
                .context("cannot set the link to the latest machine")?;
        }
        Ok(place)
    }

    /// Where QEMU serves dom0's console.
    pub(crate) fn console(&self) -> PathBuf {
        self.path.join("console.sock")
    }

    /// Where clients connect.
    pub(crate) fn control(&self) -> PathBuf {
        self.path.join("control.sock")
    }

    /// A file of this machine.
    pub(crate) fn file(&self, name: &str) -> PathBuf {
        self.path.join(name)
    }
}

impl Drop for Place {
    fn drop(&mut self) {
        remove(&self.path);
        child::keep_on_interrupt(&self.path);
    }
}

/// Removes a machine's directory, and `latest` if it names this one. What cannot be removed is swept by the next machine.
fn remove(path: &Path) {
    fs::remove_dir_all(path).ok();
    let latest = path.with_file_name("latest");
    if fs::read_link(&latest).is_ok_and(|name| path.with_file_name(name) == path) {
        fs::remove_file(latest).ok();
    }
}

fn base() -> PathBuf {
    match std::env::var_os("XDG_RUNTIME_DIR").filter(|path| Path::new(path).is_absolute()) {
        Some(runtime) => PathBuf::from(runtime).join("paravane"),
        None => PathBuf::from(format!(
            "/tmp/paravane-{}",
            rustix::process::geteuid().as_raw()
        )),
    }
}

/// Makes a directory with mode 0700; one that is there already must be ours alone.
fn private_directory(path: &Path) -> Result<()> {
    let context = || format!("cannot create {}", path.display());
    match DirBuilder::new().mode(0o700).create(path) {
        Ok(()) => return Ok(()),
        Err(error) if error.kind() == std::io::ErrorKind::AlreadyExists => {}
        Err(error) => return Err(error).with_context(context),
    }
    let found = fs::symlink_metadata(path).with_context(context)?;
    let ours = found.uid() == rustix::process::geteuid().as_raw();
    if !found.is_dir() || !ours || found.permissions().mode() & 0o077 != 0 {
        bail!(
            "{} is not a directory that is yours alone: remove it",
            path.display()
        );
    }
    Ok(())
}

/// Removes directories of processes that have ended without doing so.
fn sweep(base: &Path) {
    let entries = fs::read_dir(base).into_iter().flatten().flatten();
    for entry in entries {
        let name = entry.file_name();
        let name = name.to_string_lossy();
        let process: Option<u32> = name.split('-').next().and_then(|id| id.parse().ok());
        if let Some(process) = process
            && !Path::new("/proc").join(process.to_string()).exists()
        {
            fs::remove_dir_all(entry.path()).ok();
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn home(name: &str) -> PathBuf {
        std::env::temp_dir().join(format!("place-{name}-{}", std::process::id()))
    }

    #[test]
    fn the_machine_started_last_is_the_one_that_latest_names_while_it_is_there() {
        let base = home("latest");
        let latest = || fs::read_link(base.join("latest")).ok();
        let place = |fame| Place::below(base.clone(), fame).unwrap();
        let first = place(Fame::Latest);
        let second = place(Fame::Latest);
        let hidden = place(Fame::Unknown);
        assert_eq!(latest().as_deref(), second.path.file_name().map(Path::new));
        for path in [&base, &first.path, &second.path, &hidden.path] {
            let mode = fs::metadata(path).unwrap().permissions().mode();
            assert_eq!(mode & 0o777, 0o700, "{}", path.display());
        }
        drop(first);
        assert!(latest().is_some() && second.path.exists());
        drop(second);
        assert_eq!(latest(), None);
        assert!(hidden.path.exists());
        drop(hidden);
        fs::remove_dir(base).expect("nothing is left in it");
    }

    #[test]
    fn a_directory_that_others_can_enter_is_refused() {
        let base = home("open");
        fs::create_dir(&base).unwrap();
        fs::set_permissions(&base, fs::Permissions::from_mode(0o755)).unwrap();
        let refused = Place::below(base.clone(), Fame::Unknown).unwrap_err();
        assert!(refused.to_string().contains("yours alone"), "{refused}");
        fs::remove_dir(base).unwrap();
    }
}
