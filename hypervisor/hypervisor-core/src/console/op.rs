//! `console_io` (pv-abi 8.5): every domain may write, for kernels in trouble print through it and ignore errors.

use core::fmt::{self, Write};

use hypercall_abi::console::CONSOLEIO_WRITE;
use hypercall_abi::{Errno, GuestPtr, RegisterArgument};

use super::LOG;
use crate::caller::Caller;
use crate::dispatch::Arguments;
use crate::machine::Machine;
use crate::operations::operations;
use crate::outcome::Outcome;

hypercall_abi::for_each_console_operation!(operations);

/// Bytes that are copied at once. A guest may ask for gigabytes.
const CHUNK: usize = 128;

/// Runs the call; a long text goes on where it stopped.
pub(crate) fn console_io<M: Machine>(
    caller: &mut Caller<'_, M>,
    arguments: &mut Arguments,
) -> Outcome {
    let outcome = operation(caller, arguments);
    let [command, count, buffer, ..] = arguments;
    match (u32::from_register(*command), outcome) {
        (CONSOLEIO_WRITE, Outcome::Done(written)) => {
            let left = u64::from(u32::from_register(*count)).saturating_sub(written);
            if left == 0 {
                return Outcome::OK;
            }
            (*count, *buffer) = (left, buffer.saturating_add(written));
            Outcome::Again
        }
        (_, outcome) => outcome,
    }
}

/// Writes until all is written or something else waits for the CPU; how much that was.
fn write<M: Machine>(
    caller: &mut Caller<'_, M>,
    count: u32,
    from: GuestPtr<u8>,
) -> Result<u64, Errno> {
    let size = usize::try_from(count).map_err(|_| Errno::EFAULT)?;
    caller.check_range(from.address(), size)?;
    let (mut written, count) = (0_u64, u64::from(count));
    let mut chunk = [0; CHUNK];
    while written < count && (written == 0 || !caller.machine().preempt_due()) {
        let left = usize::try_from(count.saturating_sub(written)).unwrap_or(CHUNK);
        let Some(bytes) = chunk.get_mut(..left.min(CHUNK)) else {
            return Err(Errno::EFAULT);
        };
        caller.copy_in_bytes(from.address().saturating_add(written), bytes)?;
        let done = u64::try_from(bytes.len()).unwrap_or(0);
        show(caller, bytes);
        written = written.saturating_add(done);
    }
    Ok(written)
}

fn read<M: Machine>(caller: &mut Caller<'_, M>, count: u32, _: GuestPtr<u8>) -> Result<u64, Errno> {
    caller.control_right()?;
    if i32::try_from(count).is_err() {
        return Err(Errno::E2BIG);
    }
    // The console has no input.
    Ok(0)
}

fn show<M: Machine>(caller: &Caller<'_, M>, bytes: &[u8]) {
    let machine = caller.machine();
    if caller.domain.is_first() {
        // Why it did what to which domain is asked of one log.
        LOG.lock_leaf().write(bytes);
        return machine.console_write(bytes);
    }
    let (id, now) = (caller.domain.id().get(), caller.now());
    caller
        .domain
        .console
        .lock_leaf()
        .write(bytes, now, |line, dropped| {
            let mut out = Text { machine };
            let written = if dropped == 0 {
                write!(out, "(d{id}) ")
            } else {
                write!(out, "(d{id}) [{dropped} lines dropped] ")
            };
            debug_assert!(written.is_ok(), "the console takes everything");
            machine.console_write(line);
            machine.console_write(b"\n");
        });
}

/// The console as a target of formatting.
struct Text<'a, M> {
    machine: &'a M,
}

impl<M: Machine> Write for Text<'_, M> {
    fn write_str(&mut self, text: &str) -> fmt::Result {
        self.machine.console_write(text.as_bytes());
        Ok(())
    }
}
