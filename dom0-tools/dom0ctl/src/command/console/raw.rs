//! The terminal in raw mode, and back, whatever ends the program.

use crate::exit::{Failure, Result};
use dom0_protocol::ErrorCode;
use rustix::termios::{OptionalActions, Termios, isatty, tcgetattr, tcsetattr};
use std::sync::{Mutex, PoisonError};

/// How the terminal was before; also what a signal handler restores.
static BEFORE: Mutex<Option<Termios>> = Mutex::new(None);

/// Gives the terminal its mode back, if it was changed. For handlers of signals, and for the end of a program.
pub fn restore_terminal() {
    let before = BEFORE.lock().unwrap_or_else(PoisonError::into_inner).take();
    if let Some(before) = before {
        // A terminal that is gone has no mode to restore.
        tcsetattr(std::io::stdin(), OptionalActions::Flush, &before).ok();
    }
}

/// While this lives, standard input passes every key on; nothing happens where it is no terminal.
#[derive(Debug)]
pub(super) struct RawTerminal(());

impl RawTerminal {
    pub(super) fn enter() -> Result<Self> {
        let stdin = std::io::stdin();
        if !isatty(&stdin) {
            return Ok(Self(()));
        }
        let failed = |error| {
            Failure::new(
                ErrorCode::LocalIo,
                format!("cannot set the terminal to raw mode: {error}"),
            )
        };
        let before = tcgetattr(&stdin).map_err(failed)?;
        let mut raw = before.clone();
        raw.make_raw();
        *BEFORE.lock().unwrap_or_else(PoisonError::into_inner) = Some(before);
        tcsetattr(&stdin, OptionalActions::Drain, &raw).map_err(failed)?;
        Ok(Self(()))
    }
}

impl Drop for RawTerminal {
    fn drop(&mut self) {
        restore_terminal();
    }
}
