//! A domain's configuration file: the options of `create`, as TOML.
//!
//! Unknown keys are refused, since a misspelt one would otherwise silently be a default. Errors name line, column and key, as the
//! TOML reader says them. Paths in the file are relative to the file.

use crate::cpus::CpuList;
use crate::exit::{Failure, Result};
use crate::size::Size;
use dom0_protocol::ending::EndAction;
use dom0_protocol::{DomainName, ErrorCode};
use serde::Deserialize;
use std::path::{Path, PathBuf};

/// A configuration file's content.
#[derive(Debug, Default, Deserialize, PartialEq, Eq)]
#[serde(deny_unknown_fields)]
pub struct Config {
    /// The domain's name.
    pub name: Option<DomainName>,
    /// The kernel's file.
    pub kernel: Option<PathBuf>,
    /// The ramdisk's file.
    pub ramdisk: Option<PathBuf>,
    /// The kernel's command line.
    pub cmdline: Option<String>,
    /// Memory to begin with.
    pub memory: Option<Size>,
    /// Memory that it may ever have.
    pub max_memory: Option<Size>,
    /// vCPUs to begin with.
    pub vcpus: Option<u32>,
    /// vCPUs that it may ever have.
    pub max_vcpus: Option<u32>,
    /// Share of CPU time.
    pub weight: Option<u32>,
    /// Bound of CPU time.
    pub cap: Option<u32>,
    /// CPUs to run on.
    pub cpus: Option<CpuList>,
    /// Whether to wait for an unpause.
    pub paused: Option<bool>,
    /// What becomes of it when it crashes.
    pub on_crash: Option<EndAction>,
    /// What becomes of it when its guest reboots.
    pub on_reboot: Option<EndAction>,
    /// What becomes of it when its guest powers off.
    pub on_poweroff: Option<EndAction>,
}

/// A file with every key, for the help text.
pub const EXAMPLE: &str = include_str!("example.toml");

const HINT: &str =
    "keys are the options of `dom0ctl create`, with _ for -; sizes and lists of CPUs are in quotes";

impl Config {
    /// Reads a file.
    ///
    /// # Errors
    /// `local-io` when it cannot be read, `invalid-argument` when it is no configuration.
    pub fn read(path: &Path) -> Result<Self> {
        let text = std::fs::read_to_string(path).map_err(|error| {
            Failure::new(
                ErrorCode::LocalIo,
                format!("cannot read {}: {error}", path.display()),
            )
            .hint("name a configuration file that exists and that you may read")
        })?;
        let mut config: Self = toml::from_str(&text).map_err(|error| {
            let error = error.to_string();
            Failure::usage(format!("{}: {}", path.display(), error.trim_end()), HINT)
        })?;
        let base = path.parent().unwrap_or(Path::new(""));
        for file in [&mut config.kernel, &mut config.ramdisk]
            .into_iter()
            .flatten()
        {
            *file = base.join(&*file);
        }
        Ok(config)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;
    use std::io::Write;

    fn read(text: &str) -> core::result::Result<Config, String> {
        let mut file = tempfile::NamedTempFile::new().unwrap();
        file.write_all(text.as_bytes()).unwrap();
        Config::read(file.path()).map_err(|failure| {
            assert_eq!(failure.error().code.exit_code(), 2);
            failure.error().message.clone()
        })
    }

    #[test]
    fn the_example_of_the_help_text_is_read_whole() {
        let config = read(EXAMPLE).unwrap();
        assert_eq!(config.name.unwrap().as_str(), "web");
        assert_eq!(config.memory, Some(Size::mib(256)));
        assert_eq!(config.max_memory, Some(Size::mib(1024)));
        assert_eq!((config.vcpus, config.max_vcpus), (Some(1), Some(4)));
        assert_eq!((config.weight, config.cap), (Some(512), Some(150)));
        assert_eq!(config.cpus.map(CpuList::mask), Some(0b10_1111));
        assert_eq!(config.paused, Some(false));
        assert_eq!(config.on_crash, Some(EndAction::Preserve));
        assert_eq!(config.on_reboot, Some(EndAction::Restart));
        assert_eq!(config.on_poweroff, Some(EndAction::Destroy));
        assert!(config.kernel.unwrap().is_absolute());
        assert_eq!(config.ramdisk.unwrap().file_name().unwrap(), "initrd.img");
        assert_eq!(config.cmdline.unwrap(), "console=hvc0");
        assert_eq!(read("").unwrap(), Config::default());
    }

    #[test]
    fn an_unknown_key_is_named_with_its_line() {
        let error = read("name = 'a'\nmemroy = '64MiB'\n").unwrap_err();
        assert!(
            error.contains("memroy") && error.contains("line 2"),
            "{error}"
        );
    }

    #[test]
    fn a_wrong_type_is_named_with_its_line() {
        let error = read("vcpus = 'two'\n").unwrap_err();
        assert!(
            error.contains("line 1") && error.contains("vcpus"),
            "{error}"
        );
        let error = read("on_crash = 'reboot'\n").unwrap_err();
        assert!(error.contains("preserve"), "{error}");
        let error = read("vcpus = -1\n").unwrap_err();
        assert!(error.contains("-1"), "{error}");
    }

    #[test]
    fn a_duplicate_key_is_refused() {
        let error = read("vcpus = 1\nvcpus = 2\n").unwrap_err();
        assert!(
            error.contains("duplicate") && error.contains("line 2"),
            "{error}"
        );
    }

    #[test]
    fn a_size_without_unit_is_refused_with_the_way_to_write_it() {
        let error = read("memory = 64\n").unwrap_err();
        assert!(error.contains("\"64MiB\""), "{error}");
        let error = read("memory = '64'\n").unwrap_err();
        assert!(error.contains("64MiB"), "{error}");
    }

    proptest! {
        #[test]
        fn random_text_never_panics(text in "(name|vcpus|memory|cpus|=|'|\\[|\\]|\\{|\n| |[0-9]|MiB|.){0,60}") {
            drop(toml::from_str::<Config>(&text));
            drop(text.parse::<Size>());
            drop(text.parse::<CpuList>());
        }
    }

    #[test]
    fn a_bad_name_is_refused() {
        assert!(read("name = '1 2'\n").unwrap_err().contains("letter"));
    }
}
