//! The `log` crate's end: one line per record, on COM1 and in the ring that dom0 reads.

use crate::{tsc, uart};
use core::fmt::{self, Write};
use hypervisor_core::console;
use log::{LevelFilter, Log, Metadata, Record};

struct Logger;

impl Log for Logger {
    fn enabled(&self, metadata: &Metadata<'_>) -> bool {
        metadata.level() <= log::max_level()
    }

    fn log(&self, record: &Record<'_>) {
        if self.enabled(record.metadata()) {
            let written = write_line(record);
            debug_assert!(written.is_ok(), "both ends take everything");
        }
    }

    fn flush(&self) {}
}

fn write_line(record: &Record<'_>) -> fmt::Result {
    let micros = tsc::nanos() / 1000;
    let (seconds, micros) = (micros / 1_000_000, micros % 1_000_000);
    let mut ends = Ends(uart::lock());
    let level = record.level();
    write!(ends, "(PV) [{seconds:>6}.{micros:06}] {level:<5} ")?;
    write!(ends, "{}\r\n", record.args())
}

/// Both ends, the port held for the whole line.
struct Ends(uart::Line);

impl Write for Ends {
    fn write_str(&mut self, text: &str) -> fmt::Result {
        console::LOG.lock_leaf().write(text.as_bytes());
        self.0.write_str(text)
    }
}

/// Sends records up to `level` to both ends.
pub(crate) fn start(level: LevelFilter) {
    static LOGGER: Logger = Logger;
    if log::set_logger(&LOGGER).is_ok() {
        log::set_max_level(level);
    }
}
