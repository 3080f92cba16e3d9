//! Child processes: started from argument vectors, always waited for, and ended when this program is interrupted.
//!
//! Each child leads its own process group, so that a Ctrl-C in the terminal reaches only this program, which then ends
//! every group that it started, by id, and removes the directories that it had promised to remove.

use std::collections::{BTreeMap, BTreeSet};
use std::ffi::{OsStr, OsString};
use std::fs::{self, File};
use std::io::Read;
use std::os::unix::process::CommandExt;
use std::path::{Path, PathBuf};
use std::process::{Child, Command, ExitStatus, Stdio};
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Mutex, MutexGuard, PoisonError};
use std::thread;
use std::time::{Duration, Instant};

use anyhow::{Context, Result, anyhow, bail};
use rustix::process::{Pid, Signal, kill_process_group};

/// What cargo and rustup put into our environment, and what would silently replace the flags in `.cargo/config.toml`.
const UNINHERITED: [&str; 4] = [
    "RUSTFLAGS",
    "CARGO_ENCODED_RUSTFLAGS",
    "CARGO",
    "CARGO_BUILD_TARGET",
];

/// How often a child with a deadline is looked at.
const LOOK: Duration = Duration::from_millis(10);

/// Process groups that are alive, and directories that an interrupt shall remove, each with the way to do so.
static LIVE: Mutex<Live> = Mutex::new(Live {
    groups: BTreeSet::new(),
    unbroken: BTreeSet::new(),
    directories: BTreeMap::new(),
});

struct Live {
    groups: BTreeSet<u32>,
    /// Those that must come to their end by themselves.
    unbroken: BTreeSet<u32>,
    directories: BTreeMap<PathBuf, fn(&Path)>,
}

/// Whether the program is about to end: nothing more is started.
static INTERRUPTED: AtomicBool = AtomicBool::new(false);

fn live() -> MutexGuard<'static, Live> {
    LIVE.lock().unwrap_or_else(PoisonError::into_inner)
}

/// Makes SIGINT, SIGTERM and SIGHUP end every child before this program ends; `last` is done before all that.
pub(crate) fn end_all_on_interrupt(last: fn()) -> Result<()> {
    ctrlc::set_handler(move || {
        last();
        let mut live = live();
        if !live.unbroken.is_empty() {
            eprintln!("\ninterrupted: a package is being installed, which must not be cut in two; waiting for that");
        }
        INTERRUPTED.store(true, Ordering::Release);
        while !live.unbroken.is_empty() {
            drop(live);
            thread::sleep(LOOK);
            live = self::live();
        }
        for &group in &live.groups {
            end_group(group);
        }
        for (directory, remove) in &live.directories {
            remove(directory);
        }
        eprintln!("\ninterrupted");
        std::process::exit(130);
    })
    .context("cannot install the interrupt handler")
}

/// Registers a directory that an interrupt shall remove, and how.
pub(crate) fn remove_on_interrupt(directory: &Path, remove: fn(&Path)) {
    live().directories.insert(directory.to_path_buf(), remove);
}

/// Takes a directory back out of [`remove_on_interrupt`].
pub(crate) fn keep_on_interrupt(directory: &Path) {
    live().directories.remove(directory);
}

fn forget(group: u32) {
    let mut live = live();
    live.groups.remove(&group);
    live.unbroken.remove(&group);
}

fn end_group(group: u32) {
    if let Some(pid) = i32::try_from(group).ok().and_then(Pid::from_raw) {
        // The group may have ended by itself a moment ago: then there is nothing to do.
        kill_process_group(pid, Signal::KILL).ok();
    }
}

/// A child that is ended when this value is dropped.
#[derive(Debug)]
pub(crate) struct Guarded {
    child: Child,
}

impl Guarded {
    /// The process itself, for its pipes and its id.
    pub(crate) fn child(&mut self) -> &mut Child {
        &mut self.child
    }

    /// Waits for the end, at most until `deadline`; `None` when it is still running then.
    pub(crate) fn wait_until(&mut self, deadline: Instant) -> Result<Option<ExitStatus>> {
        loop {
            if let Some(status) = self.child.try_wait().context("cannot wait for a child")? {
                forget(self.child.id());
                return Ok(Some(status));
            }
            if Instant::now() >= deadline {
                return Ok(None);
            }
            thread::sleep(LOOK);
        }
    }

    /// Waits for the end, however long it takes.
    pub(crate) fn wait(&mut self) -> Result<ExitStatus> {
        let status = self.child.wait().context("cannot wait for a child")?;
        forget(self.child.id());
        Ok(status)
    }
}

impl Drop for Guarded {
    fn drop(&mut self) {
        if let Ok(None) = self.child.try_wait() {
            end_group(self.child.id());
            // It was sent SIGKILL: the wait ends, and there is no caller left for an error.
            self.child.wait().ok();
        }
        forget(self.child.id());
    }
}

/// One command to run: program, arguments, environment, directory.
#[derive(Debug, Clone)]
pub(crate) struct Call {
    program: OsString,
    args: Vec<OsString>,
    set: Vec<(OsString, OsString)>,
    unset: Vec<OsString>,
    directory: Option<PathBuf>,
    limit: Option<Duration>,
    unbroken: bool,
}

impl Call {
    pub(crate) fn new(program: impl AsRef<OsStr>) -> Self {
        Self {
            program: program.as_ref().to_owned(),
            args: Vec::new(),
            set: Vec::new(),
            unset: UNINHERITED.iter().map(OsString::from).collect(),
            directory: None,
            limit: None,
            unbroken: false,
        }
    }

    pub(crate) fn arg(mut self, arg: impl AsRef<OsStr>) -> Self {
        self.args.push(arg.as_ref().to_owned());
        self
    }

    pub(crate) fn args<S: AsRef<OsStr>>(mut self, args: impl IntoIterator<Item = S>) -> Self {
        self.args
            .extend(args.into_iter().map(|arg| arg.as_ref().to_owned()));
        self
    }

    pub(crate) fn env(mut self, name: &str, value: impl AsRef<OsStr>) -> Self {
        self.set.push((name.into(), value.as_ref().to_owned()));
        self
    }

    pub(crate) fn without_env(mut self, name: &str) -> Self {
        self.unset.push(name.into());
        self
    }

    pub(crate) fn directory(mut self, directory: &Path) -> Self {
        self.directory = Some(directory.to_path_buf());
        self
    }

    /// Ends the child when it takes longer than this.
    pub(crate) fn limit(mut self, limit: Duration) -> Self {
        self.limit = Some(limit);
        self
    }

    /// Lets the child come to its end when this program is interrupted, which then ends after it.
    pub(crate) fn unbroken(mut self) -> Self {
        self.unbroken = true;
        self
    }

    /// The command as a line that a shell would take.
    pub(crate) fn line(&self) -> String {
        let directory = self
            .directory
            .iter()
            .map(|path| format!("cd {} &&", quoted(path.as_os_str())));
        let set = self
            .set
            .iter()
            .map(|(name, value)| format!("{}={}", name.to_string_lossy(), quoted(value)));
        let words = std::iter::once(&self.program).chain(&self.args);
        directory
            .chain(set)
            .chain(words.map(|word| quoted(word)))
            .collect::<Vec<_>>()
            .join(" ")
    }

    fn command(&self) -> Command {
        let mut command = Command::new(&self.program);
        command
            .args(&self.args)
            .stdin(Stdio::null())
            .process_group(0);
        for name in &self.unset {
            command.env_remove(name);
        }
        command.envs(self.set.iter().map(|(name, value)| (name, value)));
        if let Some(directory) = &self.directory {
            command.current_dir(directory);
        }
        command
    }

    /// Starts the command with the pipes that `prepare` asks for.
    pub(crate) fn spawn(&self, prepare: impl FnOnce(&mut Command)) -> Result<Guarded> {
        let mut command = self.command();
        prepare(&mut command);
        // Held across the start: an interrupt between start and registration must not miss the child.
        let mut live = live();
        if INTERRUPTED.load(Ordering::Acquire) {
            drop(live);
            loop {
                // The handler ends the program.
                thread::park();
            }
        }
        let child = command
            .spawn()
            .with_context(|| format!("cannot start `{}`", self.line()))?;
        if self.unbroken {
            live.unbroken.insert(child.id());
        } else {
            live.groups.insert(child.id());
        }
        Ok(Guarded { child })
    }

    fn finish(&self, mut child: Guarded) -> Result<ExitStatus> {
        let Some(limit) = self.limit else {
            return child.wait();
        };
        child
            .wait_until(Instant::now() + limit)?
            .ok_or_else(|| anyhow!("`{}` took longer than {limit:?} and was ended", self.line()))
    }

    /// Runs to the end; true when it succeeded. All output is thrown away.
    pub(crate) fn succeeds(&self) -> bool {
        self.spawn(|command| {
            command.stdout(Stdio::null()).stderr(Stdio::null());
        })
        .and_then(|child| self.finish(child))
        .is_ok_and(|status| status.success())
    }

    /// Runs to the end with the terminal as output.
    pub(crate) fn run(&self) -> Result<()> {
        let child = self.spawn(|_| {})?;
        let status = self.finish(child)?;
        if !status.success() {
            bail!("`{}` ended with {status}", self.line());
        }
        Ok(())
    }

    /// Runs to the end and returns what it wrote to its standard output.
    pub(crate) fn output(&self) -> Result<String> {
        let mut child = self.spawn(|command| {
            command.stdout(Stdio::piped()).stderr(Stdio::piped());
        })?;
        let mut errors = child.child().stderr.take();
        let reader = thread::spawn(move || {
            let mut text = Vec::new();
            if let Some(pipe) = errors.as_mut() {
                // What could be read is shown; a broken pipe shows less.
                pipe.read_to_end(&mut text).ok();
            }
            text
        });
        let mut bytes = Vec::new();
        if let Some(mut pipe) = child.child().stdout.take() {
            pipe.read_to_end(&mut bytes)
                .with_context(|| format!("cannot read the output of `{}`", self.line()))?;
        }
        let status = self.finish(child)?;
        let errors = reader.join().unwrap_or_default();
        if !status.success() {
            bail!(
                "`{}` ended with {status}\n{}",
                self.line(),
                String::from_utf8_lossy(&errors).trim_end()
            );
        }
        String::from_utf8(bytes)
            .with_context(|| format!("`{}` wrote something other than UTF-8", self.line()))
    }

    /// Runs to the end with all output in `log`; a failure names the command and the log and shows the log's end.
    pub(crate) fn logged(&self, log: &Path) -> Result<()> {
        let file = File::create(log).with_context(|| format!("cannot create {}", log.display()))?;
        let errors = file
            .try_clone()
            .context("cannot duplicate a log's handle")?;
        let child = self.spawn(|command| {
            command.stdout(file).stderr(errors);
        })?;
        let outcome = self.finish(child);
        let complaint = match outcome {
            Ok(status) if status.success() => return Ok(()),
            Ok(status) => format!("ended with {status}"),
            Err(error) => error.to_string(),
        };
        bail!(
            "{complaint}\n{}\n  command: {}\n  log:     {}",
            tail(log, 40),
            self.line(),
            log.display()
        )
    }
}

/// The last `lines` lines of a file, indented; empty when it cannot be read.
pub(crate) fn tail(file: &Path, lines: usize) -> String {
    let text = fs::read(file).unwrap_or_default();
    let text = String::from_utf8_lossy(&text);
    let all: Vec<&str> = text.lines().collect();
    let start = all.len().saturating_sub(lines);
    all.iter()
        .skip(start)
        .map(|line| format!("    | {line}"))
        .collect::<Vec<_>>()
        .join("\n")
}

fn quoted(word: &OsStr) -> String {
    let word = word.to_string_lossy();
    let plain = |c: char| c.is_ascii_alphanumeric() || "-_./=,:+@%".contains(c);
    if !word.is_empty() && word.chars().all(plain) {
        word.into_owned()
    } else {
        format!("'{}'", word.replace('\'', r"'\''"))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_command_line_can_be_pasted_into_a_shell() {
        let call = Call::new("echo")
            .args(["a b", "it's", "plain", ""])
            .env("X", "1 2");
        assert_eq!(call.line(), r"X='1 2' echo 'a b' 'it'\''s' plain ''");
    }

    #[test]
    fn a_child_that_outlasts_its_limit_is_ended() {
        let started = Instant::now();
        let call = Call::new("sleep")
            .arg("60")
            .limit(Duration::from_millis(50));
        assert!(!call.succeeds());
        assert!(started.elapsed() < Duration::from_secs(30));
    }

    #[test]
    fn output_is_returned_and_failure_carries_stderr() {
        assert_eq!(Call::new("echo").arg("hello").output().unwrap(), "hello\n");
        let failure = Call::new("ls").arg("/no/such/place").output().unwrap_err();
        assert!(failure.to_string().contains("/no/such/place"));
    }
}
