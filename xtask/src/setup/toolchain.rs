//! The toolchain for the bare target: three ways to have one, each tried by compiling and linking a tiny program.
//!
//! Looking for files would tell less: a target directory can lack its linker, and a compiler its library's sources.

use std::fs;

use anyhow::{Context, Result, anyhow, bail};

use crate::child::Call;
use crate::setup::packages;
use crate::workspace::Workspace;

/// The target of everything that runs without an operating system.
pub(crate) const TARGET: &str = "x86_64-unknown-none";

const DEBIAN_PACKAGES: [&str; 3] = ["rustc-web", "cargo-web", "rust-web-src"];

const BUILD_STD: [&str; 2] = [
    "-Zbuild-std=core,alloc,compiler_builtins",
    "-Zbuild-std-features=compiler-builtins-mem",
];

const PROBE_SOURCE: &str = "#![no_std]\n#![no_main]\nextern crate alloc;\n#[panic_handler]\n\
    fn panic(_: &core::panic::PanicInfo<'_>) -> ! {\n    loop {}\n}\n\
    struct Nowhere;\nunsafe impl core::alloc::GlobalAlloc for Nowhere {\n    \
    unsafe fn alloc(&self, _: core::alloc::Layout) -> *mut u8 {\n        core::ptr::null_mut()\n    }\n    \
    unsafe fn dealloc(&self, _: *mut u8, _: core::alloc::Layout) {}\n}\n\
    #[global_allocator]\nstatic HEAP: Nowhere = Nowhere;\n\
    #[unsafe(no_mangle)]\nextern \"C\" fn _start() -> ! {\n    loop {}\n}\n";

/// A way to build for [`TARGET`], in the order of preference.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Toolchain {
    /// The active toolchain has the target installed.
    Installed,
    /// The active toolchain has its library's sources, from which the target's library is built.
    Sources,
    /// Debian's packages of a current compiler with sources.
    Debian,
}

const ORDER: [Toolchain; 3] = [Toolchain::Installed, Toolchain::Sources, Toolchain::Debian];

impl Toolchain {
    /// In words, for people.
    pub(crate) fn describe(self) -> &'static str {
        match self {
            Self::Installed => "the active toolchain with its x86_64-unknown-none library",
            Self::Sources => "the active toolchain, building the bare library from rust-src",
            Self::Debian => "Debian's rustc-web, building the bare library from rust-web-src",
        }
    }

    fn name(self) -> &'static str {
        match self {
            Self::Installed => "installed",
            Self::Sources => "sources",
            Self::Debian => "debian",
        }
    }

    /// A call of cargo that builds for [`TARGET`]; the caller adds packages and profile.
    pub(crate) fn cargo(self, workspace: &Workspace, subcommand: &str) -> Result<Call> {
        let call = match self {
            Self::Installed => Call::new("cargo"),
            Self::Sources => Call::new("cargo").env("RUSTC_BOOTSTRAP", "1"),
            Self::Debian => {
                // Debian's cargo takes the `rustc` that is first in PATH; linking is by GNU ld, as there is no lld.
                let mut flags = bare_flags(workspace)?;
                flags.extend(["-Clinker=ld".to_owned(), "-Clinker-flavor=ld".to_owned()]);
                Call::new("/usr/bin/cargo")
                    .without_env("RUSTUP_TOOLCHAIN")
                    .without_env("RUSTC")
                    .without_env("RUSTDOC")
                    .env("PATH", "/usr/bin:/bin")
                    .env("RUSTC_BOOTSTRAP", "1")
                    .env("CARGO_ENCODED_RUSTFLAGS", flags.join("\u{1f}"))
            }
        };
        let call = call
            .directory(workspace.root())
            .args([subcommand, "--target", TARGET]);
        Ok(match self {
            Self::Installed => call,
            Self::Sources => call.args(BUILD_STD),
            // By the environment, as the probe names a directory of its own.
            Self::Debian => call
                .args(BUILD_STD)
                .env("CARGO_TARGET_DIR", self.target_directory(workspace)),
        })
    }

    /// Where this toolchain's outputs are: one directory each, or every change of toolchain rebuilds everything.
    pub(crate) fn target_directory(self, workspace: &Workspace) -> std::path::PathBuf {
        match self {
            Self::Installed | Self::Sources => workspace.target().to_path_buf(),
            Self::Debian => workspace.target().join("debian"),
        }
    }

    /// Compiles and links a tiny program for the target.
    fn probe(self, workspace: &Workspace) -> Result<()> {
        let directory = workspace.output(&format!("setup/probe-{}", self.name()))?;
        fs::create_dir_all(directory.join("src")).context("cannot create the probe")?;
        let minimum = minimum_rust(workspace)?;
        let manifest = format!(
            "[package]\nname = \"probe\"\nversion = \"0.0.0\"\nedition = \"2024\"\nrust-version = \"{minimum}\"\n\
             [workspace]\n[profile.dev]\npanic = \"abort\"\n"
        );
        write_if_changed(&directory.join("Cargo.toml"), &manifest)?;
        // Written anew each time, so that cargo compiles it: what was found once may have been removed since.
        let source = directory.join("src/main.rs");
        fs::write(&source, PROBE_SOURCE)
            .with_context(|| format!("cannot write {}", source.display()))?;
        self.cargo(workspace, "build")?
            .arg("--manifest-path")
            .arg(directory.join("Cargo.toml"))
            .arg("--target-dir")
            .arg(directory.join("target"))
            .logged(&workspace.log(&format!("setup-toolchain-{}", self.name()))?)
    }
}

/// The first toolchain that works here, without changing anything; why not, for each, when there is none.
pub(crate) fn find(workspace: &Workspace) -> Result<Toolchain, Vec<String>> {
    let mut complaints = Vec::new();
    for candidate in ORDER {
        if candidate == Toolchain::Debian && !Call::new("/usr/bin/cargo").arg("-V").succeeds() {
            complaints.push(format!("{}: not installed", candidate.describe()));
            continue;
        }
        match candidate.probe(workspace) {
            Ok(()) => return Ok(candidate),
            Err(error) => {
                // The first line with a reason says enough here; the log has all.
                let text = format!("{error:#}");
                let reason = text.lines().find_map(|line| line.split_once("error"));
                let reason = reason.map_or(text.as_str(), |(_, reason)| reason);
                let reason = reason.trim_start_matches(|c: char| c != ' ').trim();
                complaints.push(format!("{}: {reason}", candidate.describe()));
            }
        }
    }
    Err(complaints)
}

/// The first toolchain that works here, installed if it must be.
pub(crate) fn ensure(workspace: &Workspace) -> Result<Toolchain> {
    if let Ok(found) = find(workspace) {
        return Ok(found);
    }
    println!("setup: no toolchain can build for {TARGET} yet");
    if has_rustup() {
        println!("setup: {ADD_TARGET}");
        let added = Call::new("rustup").args(["target", "add", TARGET]).run();
        if added.is_ok() && Toolchain::Installed.probe(workspace).is_ok() {
            return Ok(Toolchain::Installed);
        }
        println!("setup: that did not help; Debian's packages will do");
    }
    packages::install(workspace, &DEBIAN_PACKAGES)?;
    find(workspace).map_err(|complaints| {
        anyhow!(
            "no toolchain can build for {TARGET}:\n{}",
            complaints.join("\n")
        )
    })
}

/// What makes the active toolchain serve, where rustup has it.
pub(crate) const ADD_TARGET: &str = "rustup target add x86_64-unknown-none";

/// A program that comes beside the compiler.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Component {
    /// Cargo's word for it.
    program: &'static str,
    /// Rustup's component.
    pub(crate) name: &'static str,
    /// Debian's package, where cargo is Debian's too.
    package: &'static str,
}

/// What the tests use.
pub(crate) const COMPONENTS: [Component; 2] = [
    Component {
        program: "fmt",
        name: "rustfmt",
        package: "rustfmt-web",
    },
    Component {
        program: "clippy",
        name: "clippy",
        package: "rust-web-clippy",
    },
];

impl Component {
    /// Whether it is there.
    pub(crate) fn is_there(self) -> bool {
        Call::new("cargo")
            .args([self.program, "--version"])
            .succeeds()
    }

    /// What a user would run to have it.
    pub(crate) fn advice(self) -> String {
        if has_rustup() {
            format!("rustup component add {}", self.name)
        } else {
            format!("apt-get install {}", self.package)
        }
    }

    /// Installs it if it is missing.
    pub(crate) fn ensure(self, workspace: &Workspace) -> Result<()> {
        if self.is_there() {
            return Ok(());
        }
        if !has_rustup() {
            packages::install(workspace, &[self.package])?;
        } else {
            println!("setup: {}", self.advice());
            Call::new("rustup")
                .args(["component", "add", self.name])
                .run()?;
        }
        if !self.is_there() {
            bail!("`cargo {}` still does not work", self.program);
        }
        Ok(())
    }
}

fn has_rustup() -> bool {
    Call::new("rustup").arg("--version").succeeds()
}

/// The flags that `.cargo/config.toml` gives for the bare target.
fn bare_flags(workspace: &Workspace) -> Result<Vec<String>> {
    let path = workspace.root().join(".cargo/config.toml");
    let config = read_toml(&path)?;
    let flags = config
        .get("target")
        .and_then(|targets| targets.get(TARGET)?.get("rustflags")?.as_array())
        .with_context(|| format!("{} has no rustflags for {TARGET}", path.display()))?;
    Ok(flags
        .iter()
        .filter_map(|flag| flag.as_str().map(str::to_owned))
        .collect())
}

fn minimum_rust(workspace: &Workspace) -> Result<String> {
    let path = workspace.root().join("Cargo.toml");
    let manifest = read_toml(&path)?;
    manifest
        .get("workspace")
        .and_then(|table| table.get("package")?.get("rust-version")?.as_str())
        .map(str::to_owned)
        .with_context(|| format!("{} has no rust-version", path.display()))
}

fn read_toml(path: &std::path::Path) -> Result<toml::Table> {
    fs::read_to_string(path)
        .with_context(|| format!("cannot read {}", path.display()))?
        .parse()
        .with_context(|| format!("{} is not TOML", path.display()))
}

/// Keeps the time stamp when nothing changes, so that cargo sees no reason to build again.
fn write_if_changed(path: &std::path::Path, text: &str) -> Result<()> {
    if fs::read_to_string(path).is_ok_and(|old| old == text) {
        return Ok(());
    }
    fs::write(path, text).with_context(|| format!("cannot write {}", path.display()))
}
