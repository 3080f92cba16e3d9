//! The real program against dom0's real control server: only hypervisor and guests are played.
#![expect(
    clippy::unwrap_used,
    clippy::needless_pass_by_value,
    reason = "a test fails by panicking, and is read more often than it runs"
)]

mod machine;
mod support;

use dom0_protocol::{ClientMessage, Decoder, ErrorCode, Hello, Request, ServerMessage, StreamId};
use machine::{CPUS, Machine, Manners, TOTAL_FRAMES};
use serde_json::Value;
use std::io::{Read, Write};
use std::process::Stdio;
use support::Ended;
use support::kernel::kernel;

fn machine() -> Machine {
    Machine::start(kernel(50_000))
}

fn free(machine: &Machine) -> u64 {
    let info = machine.run(&["info", "--json"]).json("info");
    info["free_memory_bytes"].as_u64().unwrap()
}

fn list(machine: &Machine) -> Vec<Value> {
    let list = machine.run(&["list", "--json"]).json("list");
    list.as_array().unwrap().clone()
}

/// A failed run: its exit code and the error's code.
#[track_caller]
fn refused(machine: &Machine, args: &[&str]) -> (i32, String) {
    let ended = machine.run(&[args, &["--json"][..]].concat());
    let error = ended.error();
    assert!(!error["message"].as_str().unwrap().is_empty());
    (ended.code, error["code"].as_str().unwrap().into())
}

#[track_caller]
fn done(machine: &Machine, args: &[&str]) -> Ended {
    let ended = machine.run(args);
    assert_eq!(ended.code, 0, "{args:?}: {ended:?}");
    ended
}

#[test]
fn a_domain_lives_grows_shrinks_and_leaves_nothing_behind() {
    let machine = machine();
    let before = free(&machine);
    assert_eq!(before, TOTAL_FRAMES * 4096);
    let create =
        "create --name a --memory 64MiB --max-memory 256MiB --vcpus 1 --max-vcpus 4 --json";
    let args: Vec<&str> = create.split(' ').collect();
    let created = machine.run(&args).json("create");
    assert_eq!(created["memory_bytes"], 64 << 20);

    let ballooned = machine
        .run(&["balloon", "a", "192MiB", "--json"])
        .json("balloon");
    assert_eq!(ballooned["memory_bytes"], 192 << 20);
    let online = machine.run(&["vcpus", "a", "4", "--json"]).json("vcpus");
    assert_eq!(online["vcpus_online"], 4);
    let lines = list(&machine);
    assert_eq!((lines[0]["name"].as_str(), lines.len()), (Some("dom0"), 2));
    assert_eq!(lines[1]["memory_bytes"], 192 << 20);
    assert_eq!(
        (&lines[1]["vcpus"], &lines[1]["vcpus_online"]),
        (&4.into(), &4.into())
    );
    done(&machine, &["vcpus", "a", "1"]);
    done(&machine, &["balloon", "a", "48MiB"]);

    let show = machine.run(&["show", "a", "--json"]).json("show");
    assert_eq!(show["memory_bytes"], 48 << 20);
    assert_eq!(show["balloon_driver"], "ready");
    assert_eq!(show["kernel"], "demo");
    let info = machine.run(&["info", "--json"]).json("info");
    assert_eq!(
        info["per_cpu"].as_array().unwrap().len(),
        usize::try_from(CPUS).unwrap()
    );
    let log = done(&machine, &["console", "a", "--log"]);
    assert_eq!(log.out, "hello from a guest\r\n");

    let gone = machine.run(&["destroy", "a", "--json"]).json("action");
    assert_eq!(gone["state"], Value::Null);
    assert_eq!(list(&machine).len(), 1);
    assert_eq!(free(&machine), before);
    machine.run(&["audit", "--json"]).json("audit");
    machine.run(&["version", "--json"]).json("version");
    assert_eq!(done(&machine, &["dmesg"]).out.lines().count(), 2);
}

#[test]
fn refusals_come_before_anything_changes() {
    let machine = machine();
    done(
        &machine,
        &[
            "create",
            "--name",
            "a",
            "--max-memory",
            "128MiB",
            "--max-vcpus",
            "2",
        ],
    );
    let before = (free(&machine), list(&machine).len());
    let cases: &[(&[&str], i32, &str)] = &[
        (&["show", "nobody"], 3, "no-such-domain"),
        (&["destroy", "77"], 3, "no-such-domain"),
        (&["create", "--name", "a"], 1, "name-taken"),
        (&["create", "--memory", "2GiB"], 4, "insufficient-memory"),
        (&["create", "--memory", "64KiB"], 4, "below-minimum"),
        (&["create", "--vcpus", "1000"], 4, "over-maximum"),
        (&["create", "--cpus", "63"], 4, "insufficient-cpu"),
        (&["balloon", "a", "129MiB"], 4, "over-maximum"),
        (&["balloon", "a", "4KiB"], 4, "below-minimum"),
        (&["vcpus", "a", "3"], 4, "over-maximum"),
        (&["destroy", "dom0"], 1, "protected"),
        (&["balloon", "0", "64MiB"], 1, "protected"),
    ];
    for (args, exit, code) in cases {
        assert_eq!(refused(&machine, args), (*exit, (*code).into()), "{args:?}");
        assert_eq!((free(&machine), list(&machine).len()), before, "{args:?}");
    }
    let error = machine
        .run(&["create", "--memory", "2GiB", "--json"])
        .error();
    assert!(error["amounts"]["needed"].as_u64() > error["amounts"]["available"].as_u64());
}

#[test]
fn a_dry_run_changes_nothing() {
    let machine = machine();
    let before = free(&machine);
    let could = machine
        .run(&["create", "--dry-run", "--json"])
        .json("create");
    assert_eq!(could["id"], Value::Null);
    assert_eq!(
        refused(&machine, &["create", "--dry-run", "--memory", "8GiB"]).0,
        4
    );
    assert_eq!((free(&machine), list(&machine).len()), (before, 1));
}

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
fn files_are_kept_once_and_serve_again() {
    let machine = machine();
    let directory = tempfile::TempDir::new().unwrap();
    let path = |name: &str| directory.path().join(name).to_str().unwrap().to_owned();
    std::fs::write(path("k"), kernel(3_000_000)).unwrap();
    std::fs::write(path("r"), vec![5; 5_000_000]).unwrap();
    let config = format!(
        "name = 'f'\nkernel = 'k'\nramdisk = '{}'\ncmdline = 'x y'\n",
        path("r")
    );
    std::fs::write(path("f.toml"), config).unwrap();
    let file = path("f.toml");
    for name in ["one", "two"] {
        done(&machine, &["create", "-f", &file, "--name", name]);
        let show = machine.run(&["show", name, "--json"]).json("show");
        assert_eq!(
            (&show["kernel"], &show["ramdisk"]),
            (&"k".into(), &"r".into())
        );
        assert_eq!(show["cmdline"], "x y");
    }
    let small = ["create", "-f", &file, "--memory", "4MiB"];
    assert_eq!(refused(&machine, &small), (4, "below-minimum".into()));
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

#[test]
fn sixteen_clients_at_once_are_all_served() {
    let machine = machine();
    let before = free(&machine);
    let names: Vec<String> = (0..16).map(|number| format!("n{number}")).collect();
    std::thread::scope(|scope| {
        for name in &names {
            let machine = &machine;
            scope.spawn(move || {
                done(
                    machine,
                    &[
                        "create",
                        "--name",
                        name,
                        "--memory",
                        "16MiB",
                        "--max-memory",
                        "32MiB",
                    ],
                );
                done(machine, &["balloon", name, "32MiB"]);
                done(machine, &["console", name, "--log"]);
                done(machine, &["destroy", name]);
            });
        }
    });
    assert_eq!((free(&machine), list(&machine).len()), (before, 1));
}

/// A client that has shaken hands and follows no rule from there on.
struct Rude {
    socket: std::os::unix::net::UnixStream,
    decoder: Decoder,
}

impl Rude {
    fn greet(machine: &Machine) -> Self {
        let mut rude = Self {
            socket: machine.connect(),
            decoder: Decoder::new(),
        };
        rude.send(&ClientMessage::Hello(Hello::new(7, "rude")), 0);
        assert!(matches!(rude.hear(), ServerMessage::Hello(_)));
        rude
    }

    fn send(&mut self, message: &ClientMessage, local: u16) {
        let frame = message.encode(StreamId::new(0, local)).unwrap();
        self.socket.write_all(&frame.to_bytes()).unwrap();
    }

    fn hear(&mut self) -> ServerMessage {
        loop {
            if let Some(frame) = self.decoder.next_frame() {
                return ServerMessage::decode(frame).unwrap();
            }
            let mut buffer = [0; 4096];
            let length = self.socket.read(&mut buffer).unwrap();
            assert!(length > 0, "hung up");
            self.decoder.push(&buffer[..length]);
        }
    }

    #[track_caller]
    fn hears_error(&mut self) -> ErrorCode {
        loop {
            if let ServerMessage::Error(error) = self.hear() {
                return error.code;
            }
        }
    }
}

#[test]
fn a_kernel_that_passed_no_client_is_judged_by_dom0_too() {
    use dom0_protocol::request::{
        Create, Execution, File, FilePurpose, KernelSource, Start, Upload,
    };
    let machine = machine();
    let before = free(&machine);
    for bytes in [&b""[..], b"\x7fELF", b"no kernel at all"] {
        let mut rude = Rude::greet(&machine);
        let sha256 = dom0ctl::upload::digest(bytes);
        let upload = Upload {
            sha256,
            length: u64::try_from(bytes.len()).unwrap(),
            purpose: FilePurpose::Kernel,
        };
        rude.send(&ClientMessage::Open(Request::Upload(upload)), 1);
        rude.send(&ClientMessage::Data(bytes.to_vec()), 1);
        let create = Create {
            name: None,
            kernel: KernelSource::Uploaded(File {
                sha256,
                label: "k".into(),
            }),
            ramdisk: None,
            cmdline: String::new(),
            memory_bytes: 64 << 20,
            max_memory_bytes: 64 << 20,
            vcpus: 1,
            max_vcpus: 1,
            weight: 256,
            cap_percent: 0,
            affinity: 0,
            start: Start::Running,
            execution: Execution::Real,
        };
        rude.send(&ClientMessage::Open(Request::Create(Box::new(create))), 2);
        let code = rude.hears_error();
        assert!(
            matches!(
                code,
                ErrorCode::BadImage
                    | ErrorCode::BadUpload
                    | ErrorCode::InvalidArgument
                    | ErrorCode::Malformed
            ),
            "{code:?}"
        );
    }
    assert_eq!((free(&machine), list(&machine).len()), (before, 1));
}

#[test]
fn rude_clients_lose_their_stream_and_nobody_elses() {
    let machine = machine();
    let mut rude = Rude::greet(&machine);
    rude.send(&ClientMessage::Data(vec![1]), 5);
    rude.send(&ClientMessage::Open(Request::List), 0);
    assert_eq!(rude.hears_error(), ErrorCode::Malformed);
    let garbage: Vec<u8> = (0..200_000_u32)
        .flat_map(|n| n.wrapping_mul(2_654_435_761).to_le_bytes())
        .collect();
    rude.socket.write_all(&garbage).unwrap();
    rude.socket.write_all(&[0; 70_000]).unwrap();
    for local in 1..40 {
        let dmesg = dom0_protocol::request::Dmesg {
            cursor: 0,
            follow: true,
        };
        rude.send(&ClientMessage::Open(Request::Dmesg(dmesg)), local);
    }
    assert_eq!(rude.hears_error(), ErrorCode::TooManyStreams);
    done(&machine, &["list"]);
    drop(rude);
    let mut unmannered = machine.connect();
    let open = ClientMessage::Open(Request::List)
        .encode(StreamId::new(0, 1))
        .unwrap();
    unmannered.write_all(&open.to_bytes()).unwrap();
    done(&machine, &["list"]);
}

#[test]
fn an_upload_cut_in_the_middle_leaves_no_trace() {
    use dom0_protocol::request::{FilePurpose, Upload};
    let machine = machine();
    for _ in 0..5 {
        let mut rude = Rude::greet(&machine);
        let upload = Upload {
            sha256: dom0ctl::upload::digest(b"never sent"),
            length: 40 << 20,
            purpose: FilePurpose::Ramdisk,
        };
        rude.send(&ClientMessage::Open(Request::Upload(upload)), 1);
        assert!(matches!(rude.hear(), ServerMessage::Window(_)));
        rude.send(&ClientMessage::Data(vec![1; 60_000]), 1);
    }
    // The store has 64 MiB: had one of them stayed, this would not fit.
    let file = tempfile::NamedTempFile::new().unwrap();
    std::fs::write(file.path(), vec![9; 40 << 20]).unwrap();
    done(
        &machine,
        &[
            "create",
            "--memory",
            "128MiB",
            "--ramdisk",
            file.path().to_str().unwrap(),
        ],
    );
}

#[test]
fn poweroff_ends_the_machine_after_its_answer() {
    let machine = machine();
    assert_eq!(
        done(&machine, &["poweroff"]).out,
        "the machine powers off\n"
    );
}
