//! The end of the machine when the hypervisor's own invariants are broken.

use crate::{power, uart};
use core::fmt::Write;
use core::panic::PanicInfo;

#[panic_handler]
fn panic(info: &PanicInfo<'_>) -> ! {
    let mut line = uart::lock();
    let written = writeln!(line, "(PV) PANIC {info}\r");
    drop(line);
    debug_assert!(written.is_ok(), "the port takes everything");
    power::end(power::Ending::HypervisorPanic)
}
