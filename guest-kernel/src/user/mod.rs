//! User mode: programs in address spaces of their own, in which nothing of the kernel is mapped.
//!
//! A [`Thread`] is run like a guest of this kernel: [`Thread::run`] returns when it makes a system call, faults, or an
//! event comes for the kernel; the caller then decides whether and how it goes on. So a program that never makes a
//! system call cannot keep the kernel's tasks from running.

mod program;
mod thread;

pub use program::Program;
pub use thread::{Exit, Thread};

use crate::paging::PagingError;
use crate::trap::Fault;
use crate::{task, timer};
use thiserror::Error;

/// The program that echoes: it stores the value of RAX in its own page, reads it back, adds one, and makes system call
/// [`ECHO`] with the sum in RDI; then from the start. RBX holds the address of its page.
///
/// `mov [rbx], rax; mov rdi, [rbx]; inc rdi; mov eax, ECHO; syscall; jmp` to the start.
const ECHO_PROGRAM: &[u8] = &[
    0x48, 0x89, 0x03, 0x48, 0x8b, 0x3b, 0x48, 0xff, 0xc7, 0xb8, 0x01, 0x00, 0x00, 0x00, 0x0f, 0x05,
    0xeb, 0xee,
];

/// Number of the system call by which the echo program answers.
pub const ECHO: u64 = 1;

/// Why the user program did not answer.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Error)]
pub enum UserError {
    /// It faulted.
    #[error("user program faulted: {0}")]
    Fault(Fault),
    /// It made another call, or answered something else than was asked.
    #[error("user program made call {0} with {1:#x}")]
    Answer(u64, u64),
    /// Its memory could not be made.
    #[error(transparent)]
    Memory(#[from] PagingError),
}

/// A thread of the echo program.
#[derive(Debug)]
pub struct Echo(Thread);

/// The echo program, for any number of threads.
///
/// # Errors
/// Out of memory.
pub fn echo_program() -> Result<Program, UserError> {
    Ok(Program::load(ECHO_PROGRAM)?)
}

impl Echo {
    /// A thread of `program`, which [`echo_program`] gave.
    ///
    /// # Errors
    /// Out of memory.
    pub fn new(program: &mut Program) -> Result<Self, UserError> {
        Ok(Self(program.thread()?))
    }

    /// Sends a value through user mode; the other tasks of this vCPU run meanwhile if an event comes.
    ///
    /// # Errors
    /// The program faulted or answered wrongly.
    pub async fn echo(&mut self, value: u64) -> Result<(), UserError> {
        self.0.frame_mut().rax = value;
        loop {
            match self.0.run() {
                Exit::Event => task::yield_now().await,
                Exit::Fault(fault) => return Err(UserError::Fault(fault)),
                Exit::SystemCall {
                    number: ECHO,
                    argument,
                } if argument == value.wrapping_add(1) => return Ok(()),
                Exit::SystemCall { number, argument } => {
                    return Err(UserError::Answer(number, argument));
                }
            }
        }
    }

    /// Sends the time through user mode, as a heartbeat does.
    ///
    /// # Errors
    /// As [`Self::echo`].
    pub async fn beat(&mut self) -> Result<(), UserError> {
        self.echo(timer::now()).await
    }
}
