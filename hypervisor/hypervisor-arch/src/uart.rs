//! COM1: where the log and the first domain's console go.
//!
//! One lock around the port, so that lines of different CPUs do not mix. A panic takes it by force: the CPUs that
//! might hold it have been stopped.

use spin::{Mutex, MutexGuard};
use uart_16550::backend::PioBackend;
use uart_16550::{Config, Uart16550};

const COM1: u16 = 0x3f8;

/// Nothing is sent before `start`, or ever, with `console=none`.
static PORT: Mutex<Option<Uart16550<PioBackend>>> = Mutex::new(None);

/// Sets the port up. Without a UART there the console stays silent.
pub(crate) fn start() {
    // SAFETY: COM1 is the hypervisor's alone: no guest is given its ports.
    let Ok(mut port) = (unsafe { Uart16550::new_port(COM1) }) else {
        return;
    };
    if port.init(Config::default()).is_ok() {
        *PORT.lock() = Some(port);
    }
}

/// Silences the port for good.
pub(crate) fn stop() {
    *PORT.lock() = None;
}

/// Sends bytes as they are and waits until the port has taken them.
pub(crate) fn write(bytes: &[u8]) {
    if let Some(port) = PORT.lock().as_mut() {
        port.send_bytes_exact(bytes);
    }
}

/// Takes the port for several writes in one piece.
pub(crate) fn lock() -> Line {
    Line(PORT.lock())
}

/// Breaks the lock open.
///
/// # Safety
/// Every other CPU must have been stopped for good.
pub(crate) unsafe fn force_unlock() {
    // SAFETY: who held the lock will never run again.
    unsafe { PORT.force_unlock() };
}

/// The port, held.
pub(crate) struct Line(MutexGuard<'static, Option<Uart16550<PioBackend>>>);

impl core::fmt::Write for Line {
    fn write_str(&mut self, text: &str) -> core::fmt::Result {
        if let Some(port) = self.0.as_mut() {
            port.send_bytes_exact(text.as_bytes());
        }
        Ok(())
    }
}
