//! Many clients, and clients that follow no rule.

use crate::machine::Machine;
use crate::{done, free, list, machine};
use dom0_protocol::{ClientMessage, Decoder, ErrorCode, Hello, Request, ServerMessage, StreamId};
use std::io::{Read, Write};
use std::time::{Duration, Instant};

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
    use dom0_protocol::request::{Create, File, FilePurpose, KernelSource, Upload};
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
            kernel: KernelSource::Uploaded(File {
                sha256,
                label: "k".into(),
            }),
            ..Create::default()
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
        // The store has 64 MiB: each is taken only after the end of the one before has been noticed and its room is free.
        let deadline = Instant::now() + Duration::from_secs(20);
        let mut rude = loop {
            let mut rude = Rude::greet(&machine);
            let upload = Upload {
                sha256: dom0ctl::upload::digest(b"never sent"),
                length: 40 << 20,
                purpose: FilePurpose::Ramdisk,
            };
            rude.send(&ClientMessage::Open(Request::Upload(upload)), 1);
            if matches!(rude.hear(), ServerMessage::Window(_)) {
                break rude;
            }
            assert!(Instant::now() < deadline, "a cut upload keeps its room");
        };
        rude.send(&ClientMessage::Data(vec![1; 60_000]), 1);
    }
}
