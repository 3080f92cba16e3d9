//! Telling answers on the console, one line each; `README.md` has the format.

use core::fmt::Debug;
use core::sync::atomic::{AtomicBool, AtomicU32, Ordering};

use guest_kernel::hypercall::sched;
use guest_kernel::start::Boot;
use guest_kernel::{console, println, shutdown};

use crate::{asked, sabotage};

static FIRST_DOMAIN: AtomicBool = AtomicBool::new(false);
static CHECKS: AtomicU32 = AtomicU32::new(0);
static FAILED: AtomicU32 = AtomicU32::new(0);

/// Who this domain is to the hypervisor.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Role {
    /// The domain that the hypervisor itself started.
    First,
    /// A domain that another one created.
    Ordinary,
}

/// Who this domain is.
#[must_use]
pub fn role() -> Role {
    if FIRST_DOMAIN.load(Ordering::Relaxed) {
        Role::First
    } else {
        Role::Ordinary
    }
}

fn role_word() -> &'static str {
    match role() {
        Role::First => "first",
        Role::Ordinary => "ordinary",
    }
}

/// One answer for the first domain, another for all others.
pub fn unless_first<T>(first: T, ordinary: T) -> T {
    match role() {
        Role::First => first,
        Role::Ordinary => ordinary,
    }
}

/// Notes who this domain is, and how the suite is to be run.
pub fn start(boot: &Boot) {
    FIRST_DOMAIN.store(boot.is_first_domain(), Ordering::Relaxed);
    sabotage::init(boot.command_line());
}

#[expect(
    clippy::needless_pass_by_value,
    reason = "a rule is written where it is used, and nowhere else"
)]
/// Finds an answer and tells it, with the one that the rule demands.
pub fn check<A: PartialEq + Debug>(name: &str, rule: A, find: impl FnOnce() -> A) {
    if CHECKS.fetch_add(1, Ordering::Relaxed) < sabotage::first() {
        return;
    }
    asked::begin();
    let answer = find();
    let holds = answer == rule;
    if !holds {
        FAILED.fetch_add(1, Ordering::Relaxed);
    }
    println!(
        "check {name} role={} asks={} verdict={} answer={answer:?} rule={rule:?}",
        role_word(),
        asked::Asked,
        if holds { "pass" } else { "fail" },
    );
}

/// Tells why a check cannot be tried here.
pub fn skip(name: &str, reason: &str) {
    if CHECKS.fetch_add(1, Ordering::Relaxed) >= sabotage::first() {
        println!("skip {name} role={} reason={reason}", role_word());
    }
}

/// Ends the kernel with its verdict. The first domain powers the machine off; others wait to be destroyed, so that their
/// console can be read.
pub fn finish() -> ! {
    let failed = FAILED.load(Ordering::Relaxed);
    println!("{} checks, {failed} failed", CHECKS.load(Ordering::Relaxed));
    println!(
        "Test result: {}",
        if failed == 0 { "SUCCESS" } else { "FAILURE" }
    );
    // With its port masked the console would keep what its ring had no room for.
    console::flush();
    match role() {
        Role::First => shutdown::power_off(),
        Role::Ordinary => loop {
            sched::block();
        },
    }
}
