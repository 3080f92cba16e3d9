//! `console_io`: the machine's console, for the domain that owns it.

use hypercall_abi::console::{CONSOLEIO_READ, CONSOLEIO_WRITE};
use hypercall_abi::number::CONSOLE_IO;

use super::{Errno, hypercall, word};

/// Writes bytes.
///
/// # Errors
/// `EPERM` where the console is not this domain's.
pub fn write(bytes: &[u8]) -> Result<(), Errno> {
    let (count, buffer) = (bytes.len() as u64, bytes.as_ptr().addr() as u64);
    // SAFETY: reads `bytes` only.
    unsafe {
        hypercall(
            u64::from(CONSOLE_IO),
            [u64::from(CONSOLEIO_WRITE), count, buffer, 0, 0],
        )
    }
    .map(|_| ())
}

/// Reads what is there; returns how many bytes of `buffer` were filled.
///
/// # Errors
/// `EPERM` where the console is not this domain's.
pub fn read(buffer: &mut [u8]) -> Result<usize, Errno> {
    let (count, address) = (buffer.len() as u64, buffer.as_mut_ptr().addr() as u64);
    // SAFETY: writes at most `count` bytes into `buffer`.
    unsafe {
        hypercall(
            u64::from(CONSOLE_IO),
            [u64::from(CONSOLEIO_READ), count, address, 0, 0],
        )
    }
    .map(word)
}
