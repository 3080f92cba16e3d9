//! Rule tested: a user program runs in its own address space, reaches nothing of the kernel or of another program, calls
//! the kernel and not the hypervisor, and cannot keep the kernel from running.
#![no_std]
#![no_main]
#![deny(unsafe_code)]

use guest_kernel::start::Boot;
use guest_kernel::task::block_on;
use guest_kernel::timer::{MILLISECOND, now, sleep};
use guest_kernel::user::{Echo, Exit, Program, Thread, UserError, echo_program};
use guest_kernel::{heap, task};
use guest_kernels::{check, error, finish};

guest_kernel::entry!(main);

/// `mov rax, [rdi]; mov eax, 7; syscall`
const READ: &[u8] = &[0x48, 0x8b, 0x07, 0xb8, 7, 0, 0, 0, 0x0f, 0x05];
/// `mov [rdi], rax; mov eax, 7; syscall`
const WRITE: &[u8] = &[0x48, 0x89, 0x07, 0xb8, 7, 0, 0, 0, 0x0f, 0x05];
/// `mov eax, 17; xor edi, edi; syscall`: what would be `xen_version` in kernel mode.
const HYPERCALL: &[u8] = &[0xb8, 17, 0, 0, 0, 0x31, 0xff, 0x0f, 0x05];
/// `hlt`
const HALT: &[u8] = &[0xf4];
/// `ud2`
const UNDEFINED: &[u8] = &[0x0f, 0x0b];
/// `int3`
const BREAKPOINT: &[u8] = &[0xcc];
/// `inc rax; jmp` back
const SPIN: &[u8] = &[0x48, 0xff, 0xc0, 0xeb, 0xfb];

/// For how many milliseconds something sleeps while a program spins.
const SLEEPERS: u64 = 200;

/// The page-fault bits present, write, user.
const PRESENT: u64 = 1;
const WRITING: u64 = 2;
const USER: u64 = 4;

fn main(_: &'static Boot) {
    block_on(echoes());
    faults();
    memory();
    check!(
        matches!(
            run(HYPERCALL, 0),
            Some(Exit::SystemCall {
                number: 17,
                argument: 0
            })
        ),
        "SYSCALL of user mode reaches the kernel, never the hypervisor"
    );
    block_on(endless());
    finish()
}

fn thread(code: &[u8]) -> Option<Thread> {
    Program::load(code).ok()?.thread().ok()
}

/// Runs a fresh program until it stops for a reason of its own.
fn run(code: &[u8], argument: u64) -> Option<Exit> {
    let mut thread = thread(code)?;
    thread.frame_mut().rdi = argument;
    loop {
        match thread.run() {
            Exit::Event => {}
            exit @ (Exit::SystemCall { .. } | Exit::Fault(_)) => return Some(exit),
        }
    }
}

async fn echoes() {
    let Ok(mut program) = echo_program() else {
        error(format_args!("no memory"))
    };
    let (Ok(mut first), Ok(mut second)) = (Echo::new(&mut program), Echo::new(&mut program)) else {
        error(format_args!("no memory"));
    };
    let mut failed: Option<UserError> = None;
    for value in 0..2000 {
        let result = if value % 2 == 0 {
            first.echo(value).await
        } else {
            second.echo(!value).await
        };
        failed = failed.or(result.err());
    }
    check!(
        failed.is_none(),
        "2000 values go through two threads of user mode: {failed:?}"
    );
}

/// Whether the exit is this exception, in user mode.
fn is_fault(exit: Option<Exit>, vector: u64, error_code: u64) -> bool {
    matches!(exit, Some(Exit::Fault(fault)) if fault.vector == vector && fault.error_code == error_code)
}

fn faults() {
    check!(is_fault(run(UNDEFINED, 0), 6, 0), "UD2 of user mode is #UD");
    check!(is_fault(run(HALT, 0), 13, 0), "HLT is #GP(0)");
    check!(is_fault(run(BREAKPOINT, 0), 3, 0), "INT3 is #BP");
}

fn memory() {
    let kernel = (main as *const ()).addr() as u64;
    let Some(page) = heap::Page::zeroed() else {
        error(format_args!("no memory"))
    };
    for (address, what) in [
        (kernel, "the kernel's image"),
        (page.address() as u64, "the kernel's heap"),
    ] {
        check!(
            is_fault(run(READ, address), 14, USER),
            "{what} is not mapped for user mode"
        );
        check!(
            is_fault(run(WRITE, address), 14, USER | WRITING),
            "nor can it be written"
        );
    }
    let hypervisor = run(READ, 0xffff_8300_0000_0000);
    check!(
        matches!(hypervisor, Some(Exit::Fault(fault)) if fault.vector == 14 && fault.error_code & USER != 0),
        "the hypervisor's memory is closed"
    );
    let Some(mut thread) = thread(WRITE) else {
        error(format_args!("no memory"))
    };
    let code = thread.frame().rip;
    thread.frame_mut().rdi = code;
    let exit = thread.run();
    check!(
        is_fault(Some(exit), 14, USER | WRITING | PRESENT),
        "a program cannot change its code"
    );
    let own = thread.frame().rbx;
    check!(
        matches!(run(WRITE, own), Some(Exit::SystemCall { number: 7, .. })),
        "its own page it can write"
    );
}

/// A program that never calls the kernel.
async fn endless() {
    let Some(mut thread) = thread(SPIN) else {
        error(format_args!("no memory"))
    };
    let start = now();
    // Many sleepers from the start: the timer's handler arms it for the next one, whoever is interrupted. One that slept
    // again and again would have to run for that, and never would once an event has come before user mode is entered.
    for milliseconds in 1..=SLEEPERS {
        task::spawn(sleep(milliseconds * MILLISECOND));
        task::yield_now().await;
    }
    let mut events = 0;
    // On a busy host the first ones come before the program's first instruction.
    while events < 5 || thread.frame().rax == 0 {
        match thread.run() {
            Exit::Event => events += 1,
            Exit::SystemCall { .. } | Exit::Fault(_) => break,
        }
        task::yield_now().await;
    }
    check!(events >= 5, "events come through while a program spins");
    check!(
        thread.frame().rax > 0,
        "which has been spinning ({} rounds in {} us)",
        thread.frame().rax,
        (now() - start) / 1000
    );
}
