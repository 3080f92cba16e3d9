//! What goes wrong: exit codes, words, hints, and errors as JSON.
#![expect(
    clippy::unwrap_used,
    clippy::needless_pass_by_value,
    reason = "a test fails by panicking, and is read more often than it runs"
)]

mod support;

use dom0_protocol::error::Reached;
use dom0_protocol::progress::Unit;
use dom0_protocol::{ErrorCode, ErrorReply};
use std::io::Write;
use support::{Server, program, run};

#[test]
fn every_code_of_dom0_becomes_its_exit_code() {
    for code in ErrorCode::ALL {
        let server = Server::refusing(ErrorReply::new(code, "no").hint("do that"));
        let ended = server.run(&["balloon", "web", "64MiB", "--json"]);
        assert_eq!(ended.code, i32::from(code.exit_code()), "{code:?}");
        let error = ended.error();
        assert_eq!(error["code"], serde_json::to_value(code).unwrap());
        assert_eq!(error["hint"], "do that");
    }
}

#[test]
fn the_protocol_document_lists_every_code_with_its_exit_code() {
    let path = concat!(
        env!("CARGO_MANIFEST_DIR"),
        "/../../docs/control-protocol.md"
    );
    let document = std::fs::read_to_string(path).unwrap();
    for code in ErrorCode::ALL {
        let name = serde_json::to_value(code).unwrap();
        let name = format!("`{}`", name.as_str().unwrap());
        let row = format!("| {} | ", code.exit_code());
        let listed = document
            .lines()
            .any(|line| line.starts_with(&row) && line.contains(&name));
        assert!(listed, "{name} {row}");
    }
}

#[test]
fn a_refusal_names_what_was_needed_and_what_there_is() {
    let refusal = ErrorReply::new(
        ErrorCode::InsufficientMemory,
        "`web` needs 2GiB, 1GiB is free",
    )
    .hint("give --memory 1GiB or less")
    .amounts(Unit::Bytes, 2 << 30, 1 << 30);
    let server = Server::refusing(refusal);
    let ended = server.run(&["create", "--memory", "2GiB"]);
    assert_eq!(ended.code, 4);
    assert_eq!(
        ended.err,
        "dom0ctl: `web` needs 2GiB, 1GiB is free\n  hint: give --memory 1GiB or less\n"
    );
    let error = server
        .run(&["create", "--memory", "2GiB", "--json"])
        .error();
    assert_eq!(error["amounts"]["needed"], 2_u64 << 30);
    assert_eq!(error["amounts"]["available"], 1_u64 << 30);
}

#[test]
fn a_shortfall_says_how_far_it_got() {
    let server = Server::refusing(
        ErrorReply::new(ErrorCode::Deadline, "late").reached(Reached {
            unit: Unit::Vcpus,
            previous: 1,
            wanted: 4,
            reached: 2,
            target: 2,
        }),
    );
    let ended = server.run(&["vcpus", "web", "4", "--json"]);
    assert_eq!(ended.code, 6);
    assert_eq!(ended.error()["reached"]["reached"], 2);
}

#[test]
fn nobody_to_connect_to_is_7() {
    let ended = run(&mut program(&["list", "--connect", "unix:/nonexistent/s"]));
    assert_eq!(ended.code, 7);
    assert!(ended.err.contains("/nonexistent/s") && ended.err.contains("cargo xtask run"));
    let ended = run(program(&["list", "--json"]).env("DOM0CTL_CONNECT", "unix:/nonexistent/s"));
    assert_eq!(ended.code, 7);
    assert_eq!(ended.error()["code"], "cannot-connect");
}

#[test]
fn an_address_in_the_environment_is_looked_at_too() {
    let ended = run(program(&["list"]).env("DOM0CTL_CONNECT", "/run/s"));
    assert_eq!(ended.code, 2);
    assert!(ended.err.contains("DOM0CTL_CONNECT") && ended.err.contains("unix:PATH"));
}

#[test]
fn a_machine_of_ones_own_is_found_below_the_runtime_directory() {
    let directory = tempfile::TempDir::new().unwrap();
    std::fs::create_dir_all(directory.path().join("paravane/latest")).unwrap();
    let ended = run(program(&["list"]).env("XDG_RUNTIME_DIR", directory.path()));
    assert_eq!(ended.code, 7);
    let socket = directory.path().join("paravane/latest/control.sock");
    assert!(
        ended.err.contains(socket.to_str().unwrap()),
        "{}",
        ended.err
    );
}

#[test]
fn wrong_arguments_are_2_and_never_reach_dom0() {
    let server = Server::raw(|_| panic!("connected"));
    let cases: &[(&[&str], &str)] = &[
        (&[], "Usage"),
        (&["fly"], "fly"),
        (&["list", "--wings"], "--wings"),
        (&["balloon", "web"], "SIZE"),
        (&["balloon", "web", "64"], "64MiB"),
        (&["balloon", "web", "64MB"], "64MiB"),
        (&["balloon", "web", "0MiB"], "0 bytes"),
        (&["balloon", "web", "lots"], "lots"),
        (&["balloon", "-x", "64MiB"], "-x"),
        (&["balloon", "web/1", "64MiB"], "web/1"),
        (&["balloon", "web", "64MiB", "--timeout", "soon"], "soon"),
        (
            &["balloon", "web", "64MiB", "--no-wait", "--rollback"],
            "--rollback",
        ),
        (&["vcpus", "web", "0"], "0 vCPUs"),
        (&["vcpus", "web", "-1"], "-1"),
        (&["vcpus", "web", "many"], "many"),
        (&["shutdown", "web", "--timeout", "3"], "--wait"),
        (&["create", "--memory", "0MiB"], "--memory is 0"),
        (&["create", "--memory", "64"], "64MiB"),
        (&["create", "--vcpus", "0"], "--vcpus is 0"),
        (&["create", "--name", "1st"], "1st"),
        (&["create", "--cpus", "3-1"], "3-1"),
        (
            &["create", "--memory", "64MiB", "--max-memory", "32MiB"],
            "below --memory 64MiB",
        ),
        (
            &["create", "--vcpus", "4", "--max-vcpus", "2"],
            "below --vcpus 4",
        ),
        (&["list", "--connect", "/run/s"], "unix:PATH"),
        (&["completions", "tcsh"], "tcsh"),
    ];
    for (args, word) in cases {
        let ended = server.run(args);
        assert_eq!(ended.code, 2, "{args:?}: {ended:?}");
        assert!(ended.err.contains(word), "{args:?}: {}", ended.err);
        let json = server.run(&[args, &["--json"][..]].concat());
        assert_eq!(json.error()["code"], "invalid-argument", "{args:?}");
    }
}

#[test]
fn help_and_version_are_no_errors() {
    for args in [&["--help"][..], &["balloon", "--help"], &["--version"]] {
        let ended = run(&mut program(args));
        assert_eq!((ended.code, ended.err.as_str()), (0, ""));
        assert!(!ended.out.is_empty());
    }
}

#[test]
fn a_bad_configuration_file_is_2_with_its_line() {
    let server = Server::raw(|_| panic!("connected"));
    for (text, word) in [
        ("name = 'a'\nmemroy = '64MiB'\n", "memroy"),
        ("vcpus = 'two'\n", "line 1"),
        ("vcpus = 1\nvcpus = 2\n", "duplicate"),
        ("memory = 64\n", "64MiB"),
        ("name = \n", "line 1"),
        ("\u{0}", "line 1"),
    ] {
        let mut file = tempfile::NamedTempFile::new().unwrap();
        file.write_all(text.as_bytes()).unwrap();
        let ended = server.run(&["create", "-f", file.path().to_str().unwrap()]);
        assert_eq!(ended.code, 2, "{text}");
        assert!(ended.err.contains(word), "{text}: {}", ended.err);
    }
    let ended = server.run(&["create", "-f", "/nonexistent.toml"]);
    assert_eq!(ended.code, 1);
    assert!(ended.err.contains("/nonexistent.toml"));
}

#[test]
fn a_bad_kernel_is_refused_before_anything_is_sent() {
    let server = Server::raw(|_| panic!("connected"));
    let mut narrow = vec![0; 64];
    narrow[..6].copy_from_slice(b"\x7fELF\x01\x01");
    for (content, word) in [
        (&b""[..], "empty"),
        (b"\x7fELF", "truncated"),
        (b"#!/bin/sh", "neither"),
        (&narrow, "32-bit"),
    ] {
        let file = tempfile::NamedTempFile::new().unwrap();
        std::fs::write(file.path(), content).unwrap();
        let path = file.path().to_str().unwrap();
        let ended = server.run(&["create", "--kernel", path, "--json"]);
        let error = ended.error();
        assert_eq!((error["code"].as_str(), ended.code), (Some("bad-image"), 1));
        let message = error["message"].as_str().unwrap();
        assert!(
            message.contains(word) && message.contains(path),
            "{message}"
        );
    }
}
