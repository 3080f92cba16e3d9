//! Every command against a dom0 that complies: what is asked, what is printed, JSON by its schema.
#![expect(
    clippy::unwrap_used,
    clippy::needless_pass_by_value,
    clippy::wildcard_enum_match_arm,
    reason = "a test fails by panicking, and is read more often than it runs"
)]

mod support;

use dom0_protocol::domain::DomainState;
use dom0_protocol::progress::{Phase, Progress, Unit};
use dom0_protocol::reply::{LogEnd, Outcome, Reply, Stored};
use dom0_protocol::request::{Execution, KernelSource, Start};
use dom0_protocol::wait::{Otherwise, Wait};
use dom0_protocol::{DomainSelector, Request, ServerMessage};
use std::sync::mpsc;
use support::records::{
    acted, audit, ballooned, created, host, name, record, shown, uploaded, vcpus, versions,
};
use support::{Ended, Server, program, run, valid};

/// Runs a command and returns what was asked as well.
fn ask(args: &[&str], reply: Reply) -> (Ended, Request) {
    let (sender, receiver) = mpsc::channel();
    let server = Server::start(move |request, peer| {
        sender.send(request).unwrap();
        peer.done(reply.clone());
    });
    (server.run(args), receiver.recv().unwrap())
}

#[test]
fn list_prints_a_table_or_an_array() {
    let reply = Reply::Domains(vec![
        record(0, "dom0", DomainState::Running),
        record(3, "web", DomainState::Blocked),
    ]);
    let (ended, request) = ask(&["list"], reply.clone());
    assert_eq!(request, Request::List);
    let expected = "\
NAME  ID  STATE     VCPUS  MEMORY     MAX  CPU TIME     UP
dom0   0  running  1 of 2   64MiB  256MiB      1.5s  1m15s
web    3  blocked  1 of 2   64MiB  256MiB      1.5s  1m15s
";
    assert_eq!((ended.out.as_str(), ended.code), (expected, 0));
    let json = ask(&["list", "--json"], reply).0.json("list");
    assert_eq!(json[1]["name"], "web");
    assert_eq!(json[1]["state"], "blocked");
    for field in [
        "id",
        "vcpus",
        "vcpus_online",
        "memory_bytes",
        "max_memory_bytes",
        "cpu_time_ns",
        "uptime_ns",
    ] {
        assert!(json[1][field].is_u64(), "{field}");
    }
}

#[test]
fn info_has_memory_and_each_cpu() {
    let (ended, request) = ask(&["info"], Reply::Host(host()));
    assert_eq!(request, Request::HostInfo);
    assert!(
        ended.out.contains("2GiB in all, 1GiB free"),
        "{}",
        ended.out
    );
    assert!(
        ended.out.contains("2026-01-01 00:00:00 UTC"),
        "{}",
        ended.out
    );
    let json = ask(&["--json", "info"], Reply::Host(host())).0.json("info");
    assert_eq!(json["total_memory_bytes"], 2_u64 << 30);
    assert_eq!(json["cpus"], 1);
    assert_eq!(json["per_cpu"][0]["idle_ns"], 9_000_000_000_u64);
    assert_eq!(json["wakeups"], 17);
}

#[test]
fn show_has_all_of_list_and_more() {
    let reply = || Reply::Domain(Box::new(shown()));
    let (ended, request) = ask(&["show", "web"], reply());
    assert_eq!(request, Request::Show(DomainSelector::Name(name("web"))));
    assert!(
        ended
            .out
            .contains("no handler for a page fault at rip 0xffffffff80001000")
    );
    let (ended, request) = ask(&["show", "3", "--json"], reply());
    assert_eq!(request, Request::Show(DomainSelector::Id(3)));
    let json = ended.json("show");
    assert_eq!(json["kernel_sha256"], "07".repeat(32));
    assert_eq!(json["vcpu"][0]["state"], "down");
}

#[test]
fn version_and_audit_and_poweroff_print_their_results() {
    let (ended, request) = ask(&["version", "--json"], Reply::Version(versions()));
    assert_eq!(request, Request::Version);
    assert_eq!(ended.json("version")["control_abi"], 1);
    let (ended, request) = ask(&["audit", "--json"], Reply::Audit(audit(None)));
    assert_eq!(request, Request::Audit);
    assert_eq!(ended.json("audit")["breaches"], 0);
    let (ended, request) = ask(&["poweroff", "--json"], Reply::PoweringOff);
    assert_eq!(request, Request::Poweroff);
    assert_eq!(ended.json("poweroff")["action"], "poweroff");
}

#[test]
fn an_audit_that_finds_something_fails() {
    let (ended, _) = ask(&["audit"], Reply::Audit(audit(Some("I-07 frame 0x1a2f"))));
    assert_eq!(ended.code, 1);
    assert!(ended.out.contains("I-07 frame 0x1a2f"));
}

#[test]
fn balloon_waits_for_sixty_seconds_unless_told_otherwise() {
    let reply = || Reply::Ballooned(ballooned(Outcome::Reached));
    let wait = |request| match request {
        Request::Balloon(balloon) => (balloon.target_bytes >> 20, balloon.wait),
        other => panic!("{other:?}"),
    };
    let until = |timeout_ms, otherwise| Wait::UntilReached {
        timeout_ms,
        otherwise,
    };
    let (ended, request) = ask(&["balloon", "web", "192MiB"], reply());
    assert_eq!(wait(request), (192, until(60_000, Otherwise::Keep)));
    assert_eq!(ended.out, "web has 192MiB (was 64MiB), 250ms\n");
    let args = [
        "balloon",
        "web",
        "48MiB",
        "--timeout",
        "2.5",
        "--rollback",
        "--json",
    ];
    let (ended, request) = ask(&args, reply());
    assert_eq!(wait(request), (48, until(2500, Otherwise::RollBack)));
    assert_eq!(ended.json("balloon")["outcome"], "reached");
    let started = Reply::Ballooned(ballooned(Outcome::Started));
    let (ended, request) = ask(&["balloon", "web", "1GiB", "--no-wait"], started);
    assert_eq!(wait(request), (1024, Wait::No));
    assert!(ended.out.contains("target set"));
}

#[test]
fn vcpus_says_how_many_are_online() {
    let (ended, request) = ask(&["vcpus", "3", "4"], Reply::Vcpus(vcpus(Outcome::Reached)));
    let Request::Vcpus(request) = request else {
        panic!("{request:?}");
    };
    assert_eq!((request.domain, request.target), (DomainSelector::Id(3), 4));
    assert_eq!(ended.out, "web has 4 vCPUs online (was 1), 250ms\n");
    let args = ["vcpus", "web", "4", "--no-wait", "--json"];
    let (ended, _) = ask(&args, Reply::Vcpus(vcpus(Outcome::Started)));
    assert_eq!(ended.json("vcpus")["vcpus_online"], 4);
}

#[test]
fn commands_that_name_a_domain_say_what_became_of_it() {
    let domain = || DomainSelector::Name(name("web"));
    let cases: [(&str, Request); 3] = [
        ("pause", Request::Pause(domain())),
        ("unpause", Request::Unpause(domain())),
        ("destroy", Request::Destroy(domain())),
    ];
    for (command, expected) in cases {
        let reply = || Reply::Acted(acted(Some(DomainState::Paused)));
        let (ended, request) = ask(&[command, "web"], reply());
        assert_eq!(request, expected);
        assert!(ended.out.starts_with("web (id 3) "), "{}", ended.out);
        let json = ask(&[command, "web", "--json"], reply()).0.json("action");
        assert_eq!(json["action"], command);
        assert_eq!(json["state"], "paused");
    }
    let (ended, _) = ask(&["reboot", "web"], Reply::Acted(acted(None)));
    assert_eq!(ended.out, "web (id 3) asked to reboot, 500ms\n");
}

#[test]
fn shutdown_waits_only_when_asked_to() {
    let wait = |args: &[&str]| match ask(args, Reply::Acted(acted(None))).1 {
        Request::Shutdown(shutdown) => shutdown.wait,
        other => panic!("{other:?}"),
    };
    assert_eq!(wait(&["shutdown", "web"]), Wait::No);
    let timeout_ms = 60_000;
    let otherwise = Otherwise::Keep;
    assert_eq!(
        wait(&["shutdown", "web", "--wait"]),
        Wait::UntilReached {
            timeout_ms,
            otherwise
        }
    );
}

fn configuration(args: &[&str]) -> dom0_protocol::request::Create {
    match ask(args, Reply::Created(created(Some(3)))).1 {
        Request::Create(create) => *create,
        other => panic!("{other:?}"),
    }
}

#[test]
fn create_has_the_documented_defaults() {
    let create = configuration(&["create"]);
    assert_eq!((create.name, create.kernel), (None, KernelSource::Demo));
    assert_eq!(
        (create.memory_bytes, create.max_memory_bytes),
        (64 << 20, 64 << 20)
    );
    assert_eq!((create.vcpus, create.max_vcpus), (1, 1));
    assert_eq!(
        (create.weight, create.cap_percent, create.affinity),
        (256, 0, 0)
    );
    assert_eq!(
        (create.start, create.execution),
        (Start::Running, Execution::Real)
    );
}

#[test]
fn create_takes_every_option() {
    let create = configuration(&[
        "create",
        "--name",
        "web",
        "--cmdline",
        "--a=b c",
        "--memory",
        "64MiB",
        "--max-memory",
        "256MiB",
        "--vcpus",
        "1",
        "--max-vcpus",
        "4",
        "--weight",
        "512",
        "--cap",
        "150",
        "--cpus",
        "0-1,3",
        "--paused",
    ]);
    assert_eq!(create.name, Some(name("web")));
    assert_eq!(create.cmdline, "--a=b c");
    assert_eq!((create.max_memory_bytes, create.max_vcpus), (256 << 20, 4));
    assert_eq!(
        (create.weight, create.cap_percent, create.affinity),
        (512, 150, 0b1011)
    );
    assert_eq!(create.start, Start::Paused);
}

#[test]
fn create_says_what_came_of_it() {
    let (ended, _) = ask(&["create"], Reply::Created(created(Some(3))));
    assert_eq!(ended.out, "web created with id 3, 64MiB, in 250ms\n");
    let (ended, _) = ask(&["create", "--json"], Reply::Created(created(Some(3))));
    assert_eq!(ended.json("create")["id"], 3);
    let (ended, request) = ask(&["create", "--dry-run"], Reply::Created(created(None)));
    assert!(matches!(request, Request::Create(c) if c.execution == Execution::DryRun));
    assert!(ended.out.contains("could be created"));
}

#[test]
fn a_ramdisk_is_sent_in_windows_and_not_sent_when_it_is_there() {
    let file = tempfile::NamedTempFile::new().unwrap();
    let content: Vec<u8> = (0..100_000_u32).flat_map(u32::to_le_bytes).collect();
    std::fs::write(file.path(), &content).unwrap();
    let path = file.path().to_str().unwrap();
    for stored in [Stored::New, Stored::Present] {
        let (sender, receiver) = mpsc::channel();
        let server = Server::start(move |request, peer| match request {
            Request::Upload(upload) => {
                if stored == Stored::New {
                    sender.send(peer.take(upload.length)).unwrap();
                }
                peer.done(Reply::Uploaded(uploaded(upload.sha256, stored)));
            }
            Request::Create(create) => {
                let label = create.ramdisk.map(|file| file.label);
                sender.send(label.unwrap().into_bytes()).unwrap();
                peer.done(Reply::Created(created(Some(1))));
            }
            other => panic!("{other:?}"),
        });
        let ended = server.run(&["create", "--ramdisk", path]);
        assert_eq!(ended.code, 0, "{ended:?}");
        if stored == Stored::New {
            assert_eq!(receiver.recv().unwrap(), content);
        }
        let label = file.path().file_name().unwrap().to_str().unwrap();
        assert_eq!(receiver.recv().unwrap(), label.as_bytes());
    }
}

#[test]
fn progress_stays_out_of_pipes() {
    let server = Server::start(|_, peer| {
        for now in 0..50 {
            peer.send(ServerMessage::Progress(Progress {
                phase: Phase::Changing,
                unit: Unit::Bytes,
                from: 0,
                now,
                target: 50,
                note: "half way".into(),
            }));
        }
        peer.done(Reply::Ballooned(ballooned(Outcome::Reached)));
    });
    let ended = server.run(&["balloon", "web", "192MiB"]);
    assert_eq!((ended.code, ended.err.as_str()), (0, ""));
}

#[test]
fn dmesg_prints_the_log_as_it_is_or_line_by_line() {
    let server = Server::start(|_, peer| {
        peer.data(b"(PV) [    0.000001] INFO on");
        peer.data(b"e\n(PV) [    0.000002] INFO two\n");
        peer.done(Reply::Log(LogEnd { next: 60 }));
    });
    let ended = server.run(&["dmesg"]);
    let log = "(PV) [    0.000001] INFO one\n(PV) [    0.000002] INFO two\n";
    assert_eq!((ended.out.as_str(), ended.code), (log, 0));
    let ended = server.run(&["dmesg", "--json"]);
    let lines: Vec<_> = ended
        .out
        .lines()
        .map(|line| valid(line, "log-line"))
        .collect();
    assert_eq!(lines.len(), 2);
    assert_eq!(lines[0]["line"], "(PV) [    0.000001] INFO one");
}

#[test]
fn a_long_log_comes_whole_however_small_the_windows() {
    let server = Server::start(|_, peer| {
        let line = [b'x'; 999];
        let mut room = 64 * 1024_usize;
        for _ in 0..1000 {
            while room < 1000 {
                if let Some(dom0_protocol::ClientMessage::Window(more)) = peer.receive() {
                    room += usize::try_from(more).unwrap();
                }
            }
            room -= 1000;
            peer.data(&[&line[..], b"\n"].concat());
        }
        peer.done(Reply::Log(LogEnd { next: 0 }));
    });
    assert_eq!(server.run(&["dmesg"]).out.len(), 1_000_000);
}

#[test]
fn completions_and_man_pages_need_no_machine() {
    for shell in ["bash", "zsh", "fish"] {
        let ended = run(&mut program(&["completions", shell]));
        assert_eq!(ended.code, 0);
        assert!(ended.out.contains("dom0ctl") && ended.out.contains("balloon"));
    }
    let directory = tempfile::TempDir::new().unwrap();
    let path = directory.path().join("man");
    let ended = run(&mut program(&["man", path.to_str().unwrap(), "--json"]));
    ended.json("man");
    assert!(path.join("dom0ctl.1").is_file());
    assert!(path.join("dom0ctl-balloon.1").is_file());
}

#[test]
fn a_reader_that_goes_away_is_no_error_worth_a_word() {
    let server = Server::start(|_, peer| {
        peer.data(&[b'x'; 60_000]);
        peer.data(b"last\n");
        peer.done(Reply::Log(LogEnd { next: 0 }));
    });
    let (reader, writer) = std::io::pipe().unwrap();
    drop(reader);
    let mut command = server.command(&["dmesg"]);
    let ended = Ended::from(
        command
            .stdout(writer)
            .stderr(std::process::Stdio::piped())
            .spawn()
            .unwrap()
            .wait_with_output()
            .unwrap(),
    );
    assert_eq!((ended.err.as_str(), ended.code), ("", 1));
}
