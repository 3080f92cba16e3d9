//! How a command fails: what is printed, and the exit code.
//!
//! A failure is the protocol's [`ErrorReply`], whether dom0 sent it or this side made it, so both look alike to people and to
//! programs.

use crate::output::Surface;
use dom0_protocol::ErrorCode;
use dom0_protocol::error::ErrorReply;
use serde::Serialize;
use std::fmt::Display;

/// The exit code of a usage error.
pub const USAGE: u8 = 2;

/// A failed command.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Failure {
    error: Box<ErrorReply>,
    /// The reader of standard output has gone: nobody wants to hear of it.
    quiet: bool,
}

/// What a command returns.
pub type Result<T> = core::result::Result<T, Failure>;

/// A failure as `--json` prints it, on standard error.
#[derive(Debug, Serialize, schemars::JsonSchema)]
pub struct ErrorDocument<'a> {
    /// What went wrong.
    pub error: &'a ErrorReply,
    /// The program's exit code.
    pub exit_code: u8,
}

impl From<ErrorReply> for Failure {
    fn from(error: ErrorReply) -> Self {
        Self {
            error: Box::new(error),
            quiet: false,
        }
    }
}

impl Failure {
    /// A failure with a message.
    pub fn new(code: ErrorCode, message: impl Display) -> Self {
        ErrorReply::new(code, message.to_string()).into()
    }

    /// A wrong argument or configuration.
    pub fn usage(message: impl Display, hint: impl Display) -> Self {
        Self::new(ErrorCode::InvalidArgument, message).hint(hint)
    }

    /// Standard output does not take what there is to say.
    #[must_use]
    pub fn output(error: &std::io::Error) -> Self {
        let mut failure = Self::new(
            ErrorCode::LocalIo,
            format!("cannot write the output: {error}"),
        );
        failure.quiet = error.kind() == std::io::ErrorKind::BrokenPipe;
        failure
    }

    /// Adds what to do next.
    #[must_use]
    pub fn hint(mut self, hint: impl Display) -> Self {
        self.error.hint = hint.to_string();
        self
    }

    /// What went wrong.
    #[must_use]
    pub fn error(&self) -> &ErrorReply {
        &self.error
    }

    /// Says it on standard error and returns the exit code.
    pub fn report(&self, json: bool, surface: &mut Surface<'_>) -> u8 {
        let code = self.error.code.exit_code();
        if self.quiet {
            return code;
        }
        let text = if json {
            let document = ErrorDocument {
                error: &self.error,
                exit_code: code,
            };
            serde_json::to_string_pretty(&document).unwrap_or_else(|error| error.to_string())
        } else if self.error.hint.is_empty() {
            format!("dom0ctl: {}", self.error.message)
        } else {
            format!(
                "dom0ctl: {}\n  hint: {}",
                self.error.message, self.error.hint
            )
        };
        // Where standard error is closed too, the exit code alone has to do.
        if writeln!(surface.err, "{text}").is_err() {
            return code;
        }
        code
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_failure_says_what_and_what_next_and_has_the_codes_exit_code() {
        let (mut out, mut err) = (Vec::new(), Vec::new());
        let mut surface = Surface::plain(&mut out, &mut err);
        let failure = Failure::new(ErrorCode::NoSuchDomain, "no domain `x`").hint("see list");
        assert_eq!(failure.report(false, &mut surface), 3);
        assert_eq!(failure.report(true, &mut surface), 3);
        assert!(out.is_empty());
        let err = String::from_utf8(err).unwrap();
        let (prose, json) = err.split_at(err.find('{').unwrap());
        assert_eq!(prose, "dom0ctl: no domain `x`\n  hint: see list\n");
        let json: serde_json::Value = serde_json::from_str(json).unwrap();
        assert_eq!(json["error"]["code"], "no-such-domain");
        assert_eq!(json["exit_code"], 3);
    }
}
