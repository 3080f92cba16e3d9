//! `console_io` (pv-abi 8.5): every domain may write, for kernels in trouble print through it and ignore errors.

use core::fmt::{self, Write};

use hypercall_abi::{Errno, GuestPtr};

use crate::caller::Caller;
use crate::machine::Machine;
use crate::operations::operations;

hypercall_abi::for_each_console_operation!(operations);

/// Bytes that are copied at once. A guest may ask for gigabytes.
const CHUNK: usize = 128;
/// Bytes that one call writes at most; the rest of a longer text is dropped. No console is that fast, and a guest must not
/// hold a CPU for longer.
const MOST: u64 = 64 * 1024;

fn write<M: Machine>(
    caller: &mut Caller<'_, M>,
    count: u32,
    from: GuestPtr<u8>,
) -> Result<(), Errno> {
    let size = usize::try_from(count).map_err(|_| Errno::EFAULT)?;
    caller.check_range(from.address(), size)?;
    let mut left = u64::from(count).min(MOST);
    let mut at = from.address();
    let mut chunk = [0; CHUNK];
    while left != 0 {
        let wanted = usize::try_from(left).unwrap_or(CHUNK).min(CHUNK);
        let Some(bytes) = chunk.get_mut(..wanted) else {
            return Err(Errno::EFAULT);
        };
        caller.copy_in_bytes(at, bytes)?;
        show(caller, bytes);
        let done = u64::try_from(wanted).unwrap_or(left);
        at = at.saturating_add(done);
        left = left.saturating_sub(done);
    }
    Ok(())
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
