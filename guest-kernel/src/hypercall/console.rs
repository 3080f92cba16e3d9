//! `console_io`: the machine's console, for the domain that owns it.

use hypercall_abi::console::{CONSOLEIO_READ, CONSOLEIO_WRITE};
use hypercall_abi::number::CONSOLE_IO;

use super::{Errno, RegisterWord, hypercall, word};

/// Writes bytes.
///
/// # Errors
/// `EPERM` where the console is not this domain's.
pub fn write(bytes: &[u8]) -> Result<(), Errno> {
    let (count, buffer) = (
        bytes.len().to_register_word(),
        bytes.as_ptr().addr().to_register_word(),
    );
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
    let (count, address) = (
        buffer.len().to_register_word(),
        buffer.as_mut_ptr().addr().to_register_word(),
    );
    // SAFETY: writes at most `count` bytes into `buffer`.
    unsafe {
        hypercall(
            u64::from(CONSOLE_IO),
            [u64::from(CONSOLEIO_READ), count, address, 0, 0],
        )
    }
    .map(word)
}
