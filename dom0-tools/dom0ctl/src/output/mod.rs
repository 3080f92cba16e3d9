//! Where results go: typed values as JSON or text on standard output, prose and progress on standard error.

pub mod json;
pub mod progress;
pub mod table;
pub mod units;

use std::io::Write;

/// The two streams that a command writes to, and whether people look at them.
pub struct Surface<'a> {
    /// Results.
    pub out: &'a mut dyn Write,
    /// Prose, progress and errors.
    pub err: &'a mut dyn Write,
    /// Whether results go to a terminal.
    pub out_is_terminal: bool,
    /// Whether prose goes to a terminal.
    pub err_is_terminal: bool,
}

impl<'a> Surface<'a> {
    /// Streams that are no terminals.
    pub fn plain(out: &'a mut dyn Write, err: &'a mut dyn Write) -> Self {
        Self {
            out,
            err,
            out_is_terminal: false,
            err_is_terminal: false,
        }
    }
}

impl std::fmt::Debug for Surface<'_> {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Surface")
            .field("out_is_terminal", &self.out_is_terminal)
            .field("err_is_terminal", &self.err_is_terminal)
            .finish_non_exhaustive()
    }
}

/// A command's result: serializes as its JSON, and reads as text.
pub trait Report: serde::Serialize {
    /// The result for people; `terminal` says whether it goes to one.
    fn text(&self, terminal: bool) -> String;
}
