//! The `log` crate's end: one line per record on COM1.

use crate::{tsc, uart};
use core::fmt::Write;
use log::{LevelFilter, Log, Metadata, Record};

struct SerialLogger;

impl Log for SerialLogger {
    fn enabled(&self, metadata: &Metadata<'_>) -> bool {
        metadata.level() <= log::max_level()
    }

    fn log(&self, record: &Record<'_>) {
        if !self.enabled(record.metadata()) {
            return;
        }
        let micros = tsc::nanos() / 1000;
        let written = writeln!(
            uart::lock(),
            "(PV) [{:>6}.{:06}] {:<5} {}\r",
            micros / 1_000_000,
            micros % 1_000_000,
            record.level(),
            record.args()
        );
        debug_assert!(written.is_ok(), "the port takes everything");
    }

    fn flush(&self) {}
}

/// Sends records up to `level` to the console.
pub(crate) fn start(level: LevelFilter) {
    static LOGGER: SerialLogger = SerialLogger;
    if log::set_logger(&LOGGER).is_ok() {
        log::set_max_level(level);
    }
}
