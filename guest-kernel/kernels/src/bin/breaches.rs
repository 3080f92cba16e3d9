//! Rule tested: whatever invariant of its own the hypervisor breaks, its recount finds it, says which, where, what it expected
//! and what it found, and finds nothing any more once it is mended.
//!
//! With `panic` on the command line it has the hypervisor panic instead: who started it looks at what that prints.
//!
//! Only a hypervisor built for this test breaks anything; any other makes this kernel skip.
#![no_std]
#![no_main]

extern crate alloc;

use alloc::format;

use guest_kernel::hypercall::manage::{audit, audit_breach};
use guest_kernel::start::Boot;
use guest_kernels::{check, finish, skip};
use hypercall_abi::control::audit::{BREACH_INVARIANTS, BREACH_MEND, BREACH_PANIC, BREACH_PLANT};

guest_kernel::entry!(main);

fn main(boot: &'static Boot) {
    if boot.command_line() == "panic" {
        let survived = audit_breach(0, BREACH_PANIC, 0);
        check!(false, "the hypervisor panics: {survived:?}");
        finish()
    }
    for invariant in 1..=BREACH_INVARIANTS {
        let Ok(place) = audit_breach(invariant, BREACH_PLANT, 0) else {
            if invariant == 1 {
                skip(format_args!("this hypervisor breaks nothing"))
            }
            check!(false, "I-{invariant:02} can be broken");
            continue;
        };
        let (id, named) = (format!("I-{invariant:02} "), named(invariant, place));
        match audit() {
            Ok(found) => {
                let first = found.first.split(|&byte| byte == 0).next();
                let first = str::from_utf8(first.unwrap_or_default()).unwrap_or_default();
                let told = first.starts_with(&id)
                    && first.contains(&named)
                    && first.contains("expected")
                    && first.contains("found");
                check!(found.breaches > 0 && told, "`{first}` is {id}at `{named}`");
            }
            Err(error) => check!(false, "the recount ends: {error:?}"),
        }
        check!(
            audit_breach(invariant, BREACH_MEND, place).is_ok(),
            "it is mended"
        );
        check!(
            audit().is_ok_and(|audit| audit.breaches == 0),
            "and the recount finds nothing"
        );
    }
    finish()
}

/// How the first breach names the place.
fn named(invariant: u32, place: u64) -> alloc::string::String {
    match invariant {
        9 => "d0:".into(),
        10 => "frames".into(),
        12 => format!("port {place}:"),
        13 => format!("grant {place}:"),
        _ => format!("frame {place:#x}"),
    }
}
