//! Guests that comply, guests that do not, and what those hear who wait for them.

use crate::machine::Manners;
use crate::support::Ended;
use crate::{done, free, list, machine, refused};
use std::io::{Read, Write};
use std::process::Stdio;

#[test]
fn guests_that_do_not_comply_are_told_apart() {
    let machine = machine();
    for (manners, code) in [
        (Manners::Deaf, "no-driver"),
        (Manners::Stubborn, "guest-refuses"),
        (Manners::Half, "guest-under-pressure"),
    ] {
        let weight = manners.weight();
        done(
            &machine,
            &[
                "create",
                "--name",
                "g",
                "--weight",
                weight,
                "--max-memory",
                "128MiB",
                "--max-vcpus",
                "2",
            ],
        );
        let balloon = ["balloon", "g", "128MiB", "--timeout", "0.4"];
        assert_eq!(refused(&machine, &balloon), (5, code.into()));
        if manners != Manners::Half {
            let vcpus = ["vcpus", "g", "2", "--timeout", "0.1"];
            assert_eq!(refused(&machine, &vcpus), (5, code.into()));
            let shutdown = ["shutdown", "g", "--wait", "--timeout", "0.1"];
            assert_eq!(refused(&machine, &shutdown), (5, code.into()));
        }
        done(&machine, &["destroy", "g"]);
    }
}

#[test]
fn a_shortfall_is_kept_or_rolled_back() {
    let machine = machine();
    let half = Manners::Half.weight();
    done(
        &machine,
        &[
            "create",
            "--name",
            "h",
            "--weight",
            half,
            "--max-memory",
            "128MiB",
        ],
    );
    let target = || list(&machine)[1]["target_memory_bytes"].as_u64().unwrap() >> 20;
    let args = ["balloon", "h", "128MiB", "--timeout", "0.4", "--json"];
    let reached = machine.run(&args).error()["reached"].clone();
    assert_eq!(reached["previous"], 64 << 20);
    assert_eq!(reached["reached"].as_u64().unwrap() >> 20, target());
    let kept = target();
    assert!(kept > 64 && kept < 128);
    let args = ["balloon", "h", "128MiB", "--timeout", "0.4", "--rollback"];
    assert_eq!(machine.run(&args).code, 5);
    assert_eq!(target(), kept);
}

#[test]
fn shutdown_frees_everything_and_reboot_keeps_the_name() {
    let machine = machine();
    let before = free(&machine);
    done(&machine, &["create", "--name", "s"]);
    done(&machine, &["reboot", "s"]);
    let mut last = 0;
    while last < 2 {
        let lines = list(&machine);
        assert_eq!(lines[1]["name"], "s");
        last = lines[1]["id"].as_u64().unwrap();
    }
    done(&machine, &["shutdown", "s", "--wait"]);
    assert_eq!((free(&machine), list(&machine).len()), (before, 1));
}

#[test]
fn a_paused_domain_waits() {
    let machine = machine();
    done(&machine, &["create", "--name", "p", "--paused"]);
    assert_eq!(done(&machine, &["console", "p", "--log"]).out, "");
    done(&machine, &["unpause", "p"]);
    let paused = machine.run(&["pause", "p", "--json"]).json("action");
    assert_eq!(paused["state"], "paused");
    assert_eq!(list(&machine)[1]["state"], "paused");
    done(&machine, &["unpause", "p"]);
}

#[test]
fn a_console_carries_both_ways_until_the_domain_is_gone() {
    let machine = machine();
    done(&machine, &["create", "--name", "c"]);
    let mut command = machine.command(&["console", "c"]);
    command.stdin(Stdio::piped()).stdout(Stdio::piped());
    let mut child = command.stderr(Stdio::piped()).spawn().unwrap();
    child.stdin.take().unwrap().write_all(b"shout\r").unwrap();
    let mut out = child.stdout.take().unwrap();
    let mut seen = String::new();
    while !seen.contains("SHOUT") {
        let mut buffer = [0; 100];
        let length = out.read(&mut buffer).unwrap();
        seen += std::str::from_utf8(&buffer[..length]).unwrap();
    }
    assert!(seen.starts_with("hello from a guest\r\n"));
    done(&machine, &["destroy", "c"]);
    let ended = Ended::from(child.wait_with_output().unwrap());
    assert_eq!(ended.code, 0);
    assert!(ended.err.contains("c is gone"), "{}", ended.err);
}

#[test]
fn create_attaches_when_it_is_told_to() {
    let machine = machine();
    let mut command = machine.command(&["create", "--name", "t", "--console"]);
    command.stdin(Stdio::piped()).stdout(Stdio::piped());
    let mut child = command.stderr(Stdio::piped()).spawn().unwrap();
    child.stdin.take().unwrap().write_all(b"\x1d").unwrap();
    let ended = Ended::from(child.wait_with_output().unwrap());
    assert_eq!(ended.code, 0, "{ended:?}");
    assert!(
        ended.out.starts_with("t created with id 1, 64MiB"),
        "{ended:?}"
    );
    assert!(ended.err.contains("detached from t"), "{ended:?}");
    assert_eq!(list(&machine).len(), 2);
}

#[test]
fn who_waits_for_a_domain_that_is_destroyed_hears_so() {
    let machine = machine();
    let stubborn = Manners::Stubborn.weight();
    done(
        &machine,
        &[
            "create",
            "--name",
            "d",
            "--weight",
            stubborn,
            "--max-memory",
            "128MiB",
        ],
    );
    let mut command = machine.command(&["balloon", "d", "128MiB", "--json"]);
    let child = command
        .stdout(Stdio::piped())
        .stderr(Stdio::piped())
        .spawn()
        .unwrap();
    while list(&machine)[1]["target_memory_bytes"] != 128 << 20 {}
    done(&machine, &["destroy", "d"]);
    let ended = Ended::from(child.wait_with_output().unwrap());
    assert_eq!(
        (ended.code, ended.error()["code"].as_str()),
        (1, Some("superseded"))
    );
}
