//! The console: the machine's for a first domain, a ring to the console server for all others.
//!
//! Output goes through a bounded buffer, so that writers do not wait for the server as long as it keeps up; a writer
//! that finds the buffer full sleeps in the hypervisor until the server has read. Input is read by one task.

mod line;
mod logger;
mod output;

use alloc::collections::VecDeque;
use core::fmt::{self, Write as _};

use hypercall_abi::event::VIRQ_CONSOLE;
pub use line::{Edit, LineEditor};
use spin::Once;

use crate::event::{Port, Signal};
use crate::hypercall;
use crate::paging::Memory;
use crate::ring::{CONSOLE_INPUT, CONSOLE_OUTPUT, Reader, Writer};
use crate::smp::VcpuId;
use crate::start::Boot;
use crate::sync::Lock;
use crate::timer::{SECOND, now};
use output::Output;

/// Input that nobody has read; what comes beyond it is dropped.
const INPUT_LIMIT: usize = 4096;

static OUTPUT: Lock<Output> = Lock::new(Output::new());
static INPUT: Lock<VecDeque<u8>> = Lock::new(VecDeque::new());
static INPUT_CAME: Signal = Signal::new();
static PORT: Once<Port> = Once::new();

/// Connects to the console that this domain has.
pub(crate) fn init(boot: &Boot) {
    if let Some((frame, port)) = boot.console() {
        let memory = Memory::from_loader(frame);
        let port = PORT.call_once(|| Port::adopt(port));
        OUTPUT
            .lock()
            .connect(Writer::new(memory.clone(), CONSOLE_OUTPUT), port.number());
        let reader = Lock::new(Reader::new(memory, CONSOLE_INPUT));
        // A console without a working port still shows output.
        let _opened = port.set_handler(move || {
            OUTPUT.lock().flush();
            take_ring_input(&mut reader.lock());
        });
        port.notify();
    } else if let Ok(port) = Port::bind_virq(VIRQ_CONSOLE, VcpuId::BOOT) {
        let port = PORT.call_once(|| port);
        let _opened = port.set_handler(take_machine_input);
    }
    logger::init();
}

fn take_ring_input(reader: &mut Reader) {
    let mut buffer = [0; 128];
    // A ring with impossible indices is not read any more.
    while let Ok(count @ 1..) = reader.read(&mut buffer) {
        accept(&buffer[..count]);
        if let Some(port) = PORT.get() {
            port.notify();
        }
    }
}

fn take_machine_input() {
    let mut buffer = [0; 128];
    while let Ok(count @ 1..) = hypercall::console::read(&mut buffer) {
        accept(&buffer[..count]);
    }
}

fn accept(bytes: &[u8]) {
    {
        let mut input = INPUT.lock();
        let room = INPUT_LIMIT.saturating_sub(input.len());
        input.extend(bytes.iter().take(room));
    }
    INPUT_CAME.set();
}

/// Waits for the next byte of input.
pub async fn read() -> u8 {
    loop {
        let byte = INPUT.lock().pop_front();
        if let Some(byte) = byte {
            return byte;
        }
        INPUT_CAME.wait().await;
    }
}

/// Writes bytes as they are.
pub fn write(bytes: &[u8]) {
    OUTPUT.lock().write(bytes);
}

/// Writes text; lines end as the console wants them to.
pub fn print(arguments: fmt::Arguments<'_>) {
    let mut output = OUTPUT.lock();
    // Writing text into the buffer cannot fail; a value that fails to format has said what it could.
    let _written = output.write_fmt(arguments);
    output.flush();
}

/// Waits until the server has read all output.
pub fn flush() {
    OUTPUT.lock().drain();
}

/// Output on the way down: a server that reads nothing more is waited for a second, and the lock not at all.
pub fn emergency(arguments: fmt::Arguments<'_>) {
    match OUTPUT.try_lock() {
        Some(mut output) => {
            output.wait_until(now().saturating_add(SECOND));
            let _written = output.write_fmt(arguments);
            output.drain();
        }
        None => early(arguments),
    }
}

/// Output before there is a console: to the hypervisor's own, if it lets us.
pub(crate) fn early(arguments: fmt::Arguments<'_>) {
    let _written = output::Machine.write_fmt(arguments);
}

/// Prints to the console.
#[macro_export]
macro_rules! print {
    ($($argument:tt)*) => { $crate::console::print(format_args!($($argument)*)) };
}

/// Prints a line to the console.
#[macro_export]
macro_rules! println {
    () => { $crate::print!("\n") };
    ($($argument:tt)*) => { $crate::console::print(format_args!("{}\n", format_args!($($argument)*))) };
}
