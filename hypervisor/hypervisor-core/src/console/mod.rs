//! The machine's console: what guests print through `console_io`, and the ring of the hypervisor's log.

mod line;
mod log;
pub(crate) mod op;

pub use line::{ConsoleLine, LINES_PER_SECOND};
pub(crate) use log::writes;
pub use log::{LOG, LOG_BYTES, LogRing};
