//! Messages of the `log` crate, as lines on the console.

use log::{Level, LevelFilter, Log, Metadata, Record};

struct ConsoleLogger;

impl Log for ConsoleLogger {
    fn enabled(&self, _: &Metadata<'_>) -> bool {
        true
    }

    fn log(&self, record: &Record<'_>) {
        let level = match record.level() {
            Level::Error => "error",
            Level::Warn => "warn",
            Level::Info => "info",
            Level::Debug => "debug",
            Level::Trace => "trace",
        };
        super::print(format_args!("{level}: {}\n", record.args()));
    }

    fn flush(&self) {}
}

/// Sends messages of level `info` and above to the console.
pub(super) fn init() {
    if log::set_logger(&ConsoleLogger).is_ok() {
        log::set_max_level(LevelFilter::Info);
    }
}
