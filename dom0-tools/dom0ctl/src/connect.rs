//! Where dom0 is: from `--connect`, from `DOM0CTL_CONNECT`, or the machine that was started last.

use crate::exit::{Failure, Result};
use crate::session::Session;
use dom0_protocol::ErrorCode;
use std::fmt::{Display, Formatter};
use std::os::unix::fs::MetadataExt;
use std::os::unix::net::UnixStream;
use std::path::{Path, PathBuf};
use std::str::FromStr;

/// A way to reach dom0.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Address {
    /// A unix socket.
    Unix(PathBuf),
}

/// A text that is no address.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error("`{0}` is no address: write unix:PATH, the path of a control.sock")]
pub struct BadAddress(String);

impl FromStr for Address {
    type Err = BadAddress;

    fn from_str(text: &str) -> core::result::Result<Self, BadAddress> {
        match text.strip_prefix("unix:") {
            Some(path) if !path.is_empty() => Ok(Self::Unix(path.into())),
            _ => Err(BadAddress(text.into())),
        }
    }
}

impl Display for Address {
    fn fmt(&self, f: &mut Formatter<'_>) -> std::fmt::Result {
        match self {
            Self::Unix(path) => write!(f, "unix:{}", path.display()),
        }
    }
}

impl Address {
    /// Connects and settles the version.
    ///
    /// # Errors
    /// `cannot-connect` when nobody answers there, `version-mismatch` when they speak another version.
    pub fn connect(&self) -> Result<Session> {
        let Self::Unix(path) = self;
        let stream = UnixStream::connect(path).map_err(|error| {
            Failure::new(
                ErrorCode::CannotConnect,
                format!("cannot connect to {self}: {error}"),
            )
            .hint(HINT)
        })?;
        Session::start(stream)
    }
}

const VARIABLE: &str = "DOM0CTL_CONNECT";

const HINT: &str = "start a machine with `cargo xtask run`, or name its socket by --connect unix:PATH or DOM0CTL_CONNECT";

/// What `DOM0CTL_CONNECT` names, else the socket of the machine that was started last.
///
/// # Errors
/// `invalid-argument` when the variable is no address; `cannot-connect` when there is no machine, or its directory belongs to
/// somebody else.
pub fn from_environment() -> Result<Address> {
    match std::env::var(VARIABLE) {
        Ok(text) => text
            .parse()
            .map_err(|error| Failure::usage(format!("{VARIABLE}: {error}"), HINT)),
        Err(std::env::VarError::NotPresent) => last_started(),
        Err(error) => Err(Failure::usage(format!("{VARIABLE}: {error}"), HINT)),
    }
}

fn last_started() -> Result<Address> {
    let mine = rustix::process::getuid().as_raw();
    let shared = PathBuf::from(format!("/tmp/paravane-{mine}"));
    let runtime =
        std::env::var_os("XDG_RUNTIME_DIR").map(|dir| PathBuf::from(dir).join("paravane"));
    for base in runtime.into_iter().chain([shared.clone()]) {
        let socket = base.join("latest/control.sock");
        if std::fs::symlink_metadata(base.join("latest")).is_err() {
            continue;
        }
        // /tmp is everybody's: a directory of that name may be somebody else's trap.
        return match owner(&base) {
            Ok(owner) if owner == mine => Ok(Address::Unix(socket)),
            Ok(owner) => Err(Failure::new(
                ErrorCode::CannotConnect,
                format!("{} belongs to user {owner}, not to you", base.display()),
            )
            .hint("name the machine's socket by --connect unix:PATH")),
            Err(error) => Err(Failure::new(
                ErrorCode::CannotConnect,
                format!("cannot look at {}: {error}", base.display()),
            )
            .hint(HINT)),
        };
    }
    Err(Failure::new(
        ErrorCode::CannotConnect,
        format!(
            "no machine is running: {} does not exist",
            shared.join("latest").display()
        ),
    )
    .hint(HINT))
}

fn owner(path: &Path) -> std::io::Result<u32> {
    std::fs::symlink_metadata(path).map(|data| data.uid())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn addresses_name_their_kind() {
        let address: Address = "unix:/run/x".parse().unwrap();
        assert_eq!(address, Address::Unix("/run/x".into()));
        assert_eq!(address.to_string(), "unix:/run/x");
        for bad in ["/run/x", "unix:", "tcp:1", ""] {
            assert!(bad.parse::<Address>().is_err(), "{bad}");
        }
    }

    #[test]
    fn nobody_there_is_exit_code_7() {
        let error = Address::Unix("/nonexistent/s".into())
            .connect()
            .unwrap_err();
        assert_eq!(error.error().code.exit_code(), 7);
        assert!(error.error().message.contains("/nonexistent/s"));
    }
}
