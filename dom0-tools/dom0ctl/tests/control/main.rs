//! The real program against dom0's real control server: only hypervisor and guests are played.
#![expect(
    clippy::unwrap_used,
    clippy::needless_pass_by_value,
    reason = "a test fails by panicking, and is read more often than it runs"
)]

mod clients;
mod guests;
mod life;
mod machine;
mod settings;
#[path = "../support/mod.rs"]
mod support;

use machine::Machine;
use serde_json::Value;
use support::Ended;
use support::kernel::kernel;

pub(crate) fn machine() -> Machine {
    Machine::start(kernel(50_000))
}

pub(crate) fn free(machine: &Machine) -> u64 {
    let info = machine.run(&["info", "--json"]).json("info");
    info["free_memory_bytes"].as_u64().unwrap()
}

pub(crate) fn list(machine: &Machine) -> Vec<Value> {
    let list = machine.run(&["list", "--json"]).json("list");
    list.as_array().unwrap().clone()
}

/// A failed run: its exit code and the error's code.
#[track_caller]
pub(crate) fn refused(machine: &Machine, args: &[&str]) -> (i32, String) {
    let ended = machine.run(&[args, &["--json"][..]].concat());
    let error = ended.error();
    assert!(!error["message"].as_str().unwrap().is_empty());
    (ended.code, error["code"].as_str().unwrap().into())
}

#[track_caller]
pub(crate) fn done(machine: &Machine, args: &[&str]) -> Ended {
    let ended = machine.run(args);
    assert_eq!(ended.code, 0, "{args:?}: {ended:?}");
    ended
}
