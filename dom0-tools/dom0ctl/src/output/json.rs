//! Results as JSON.

use crate::exit::{Failure, Result};
use serde::Serialize;
use std::io::Write;

/// Writes a value and a line feed, indented.
///
/// # Errors
/// `local-io` when the stream does not take it.
pub fn write(out: &mut dyn Write, value: &(impl Serialize + ?Sized)) -> Result<()> {
    emit(out, serde_json::to_string_pretty(value))
}

/// Writes a value on one line: for streams of values that a reader takes apart by lines.
///
/// # Errors
/// `local-io` when the stream does not take it.
pub fn write_line(out: &mut dyn Write, value: &(impl Serialize + ?Sized)) -> Result<()> {
    emit(out, serde_json::to_string(value))
}

fn emit(out: &mut dyn Write, text: serde_json::Result<String>) -> Result<()> {
    let text = text.map_err(|error| Failure::output(&error.into()))?;
    writeln!(out, "{text}")
        .and_then(|()| out.flush())
        .map_err(|error| Failure::output(&error))
}
