//! `console_io`: the machine's console.

constants! {
    /// Writes bytes.
    CONSOLEIO_WRITE: u32 = 0 => "CONSOLEIO_write";
    /// Reads the bytes that are there.
    CONSOLEIO_READ: u32 = 1 => "CONSOLEIO_read";
}
