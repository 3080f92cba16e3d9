//! What the test kernels share: a line for each check, one verdict at the end.
#![no_std]
#![forbid(unsafe_code)]

pub mod random;

use core::fmt;
use core::sync::atomic::{AtomicU32, Ordering};

use guest_kernel::{hypercall, println, shutdown};

static CHECKS: AtomicU32 = AtomicU32::new(0);
static FAILURES: AtomicU32 = AtomicU32::new(0);

/// Notes one check and prints its line.
pub fn check(holds: bool, what: fmt::Arguments<'_>) {
    CHECKS.fetch_add(1, Ordering::Relaxed);
    if !holds {
        FAILURES.fetch_add(1, Ordering::Relaxed);
    }
    println!("{} {what}", if holds { "ok  " } else { "FAIL" });
}

/// Notes one check: a condition, and a sentence of what it means.
#[macro_export]
macro_rules! check {
    ($holds:expr, $($what:tt)+) => { $crate::check($holds, format_args!($($what)+)) };
}

/// Where the hypervisor can recount all references, none may be wrong, after what the test did or beside what it does.
pub fn audit() {
    // Only Paravane has the call, and only its first domain may ask.
    if let Ok(audit) = hypercall::manage::audit() {
        let first = audit
            .first
            .split(|&byte| byte == 0)
            .next()
            .unwrap_or_default();
        check!(
            audit.breaches == 0,
            "the hypervisor's recount of {} frames in {} steps agrees {}",
            audit.frames_checked,
            audit.steps,
            str::from_utf8(first).unwrap_or_default()
        );
    }
}

/// Ends the test with the verdict that its checks add up to.
pub fn finish() -> ! {
    audit();
    let (checks, failures) = (
        CHECKS.load(Ordering::Relaxed),
        FAILURES.load(Ordering::Relaxed),
    );
    println!("{checks} checks, {failures} failed");
    verdict(match (checks, failures) {
        (0, _) => "ERROR",
        (_, 0) => "SUCCESS",
        _ => "FAILURE",
    })
}

/// Ends the test because what it is about is not there.
pub fn skip(why: fmt::Arguments<'_>) -> ! {
    println!("skipped: {why}");
    verdict("SKIP")
}

/// Ends the test because it could not be carried out.
pub fn error(why: fmt::Arguments<'_>) -> ! {
    println!("error: {why}");
    verdict("ERROR")
}

fn verdict(word: &str) -> ! {
    println!("Test result: {word}");
    shutdown::power_off()
}
