//! The console: scroll-back, live output, input, and the ways to leave.
#![expect(
    clippy::unwrap_used,
    clippy::needless_pass_by_value,
    reason = "a test fails by panicking, and is read more often than it runs"
)]

mod support;

use dom0_protocol::progress::{Phase, Progress, Unit};
use dom0_protocol::reply::{ConsoleEnd, Reply};
use dom0_protocol::request::ConsoleMode;
use dom0_protocol::{ClientMessage, ErrorCode, ErrorReply, Request, ServerMessage};
use rustix::termios::{LocalModes, tcgetattr};
use std::io::{Read, Write};
use std::os::fd::OwnedFd;
use std::process::{Child, Stdio};
use std::sync::mpsc;
use std::time::Duration;
use support::{Ended, Peer, Server, valid};

/// A guest that greets, echoes in capitals, and goes when it is told `exit`.
fn shouting_guest() -> (Server, mpsc::Receiver<&'static str>) {
    let (sender, receiver) = mpsc::channel();
    let server = Server::start(move |request, peer| {
        let Request::Console(console) = request else {
            panic!("{request:?}");
        };
        peer.data(b"scroll-back\r\n");
        if console.mode == ConsoleMode::Log {
            peer.done(Reply::ConsoleEnded(ConsoleEnd::LogComplete));
            return;
        }
        live(peer);
        let how = talk(peer);
        sender.send(how).unwrap();
    });
    (server, receiver)
}

fn live(peer: &mut Peer) {
    peer.send(ServerMessage::Progress(Progress {
        phase: Phase::Live,
        unit: Unit::Bytes,
        from: 0,
        now: 0,
        target: 0,
        note: String::new(),
    }));
    peer.send(ServerMessage::Window(1000));
}

fn talk(peer: &mut Peer) -> &'static str {
    let mut heard = Vec::new();
    loop {
        match peer.receive() {
            Some(ClientMessage::Data(bytes)) => {
                heard.extend(&bytes);
                peer.data(&bytes.to_ascii_uppercase());
            }
            Some(ClientMessage::Close) => {
                peer.send(ServerMessage::Close);
                return "closed";
            }
            Some(_) => {}
            None => return "gone",
        }
        if heard.ends_with(b"exit\n") || heard.ends_with(b"exit\r") {
            peer.done(Reply::ConsoleEnded(ConsoleEnd::DomainGone));
            return "ended";
        }
    }
}

/// A time that no test should ever need; it only keeps a broken one from hanging.
const LONG: Duration = Duration::from_secs(60);

fn spawn(server: &Server, args: &[&str]) -> Child {
    let mut command = server.command(args);
    command.stdin(Stdio::piped()).stdout(Stdio::piped());
    command.stderr(Stdio::piped()).spawn().unwrap()
}

#[test]
fn log_prints_the_scroll_back_and_ends() {
    let (server, _) = shouting_guest();
    let ended = server.run(&["console", "web", "--log"]);
    assert_eq!(
        (ended.out.as_str(), ended.err.as_str(), ended.code),
        ("scroll-back\r\n", "", 0)
    );
    let ended = server.run(&["console", "web", "--log", "--json"]);
    let json = valid(&ended.out, "console-output");
    assert_eq!(json["output"], "scroll-back\r\n");
}

#[test]
fn both_escapes_detach_and_close_the_stream() {
    for escape in ["\x1d", "\n~."] {
        let (server, receiver) = shouting_guest();
        let mut child = spawn(&server, &["console", "web"]);
        let mut stdin = child.stdin.take().unwrap();
        stdin.write_all(b"hello").unwrap();
        stdin.write_all(escape.as_bytes()).unwrap();
        let ended = Ended::from(child.wait_with_output().unwrap());
        assert_eq!(ended.code, 0);
        assert!(
            ended.err.contains("Ctrl-]") && ended.err.contains("~."),
            "{}",
            ended.err
        );
        assert!(ended.err.contains("detached from web"));
        assert!(ended.out.starts_with("scroll-back\r\n"));
        assert_eq!(receiver.recv_timeout(LONG), Ok("closed"));
    }
}

#[test]
fn the_end_of_the_input_ends_nothing() {
    let (sender, receiver) = mpsc::channel::<()>();
    let receiver = std::sync::Mutex::new(receiver);
    let server = Server::start(move |_, peer| {
        live(peer);
        assert!(matches!(peer.receive(), Some(ClientMessage::Data(_))));
        // The test has closed the input long since when this is sent.
        receiver.lock().unwrap().recv_timeout(LONG).unwrap();
        peer.data(b"still here\r\n");
        peer.done(Reply::ConsoleEnded(ConsoleEnd::DomainGone));
    });
    let mut child = spawn(&server, &["console", "web"]);
    child.stdin.take().unwrap().write_all(b"x").unwrap();
    sender.send(()).unwrap();
    let ended = Ended::from(child.wait_with_output().unwrap());
    assert_eq!(ended.code, 0);
    assert_eq!(ended.out, "still here\r\n");
    assert!(ended.err.contains("web is gone"));
}

#[test]
fn input_waits_for_room_and_none_is_lost() {
    let (sender, receiver) = mpsc::channel();
    let server = Server::start(move |_, peer| {
        peer.data(b".");
        let heard = peer.take(50_000);
        sender.send(heard).unwrap();
        peer.done(Reply::ConsoleEnded(ConsoleEnd::DomainGone));
    });
    let mut child = spawn(&server, &["console", "web"]);
    let typed: Vec<u8> = (0..50_000_u32)
        .map(|at| b'a' + u8::try_from(at % 26).unwrap())
        .collect();
    child.stdin.take().unwrap().write_all(&typed).unwrap();
    assert_eq!(child.wait_with_output().unwrap().status.code(), Some(0));
    assert_eq!(receiver.recv_timeout(LONG).unwrap(), typed);
}

#[test]
fn a_domain_that_is_not_there_is_3_and_nothing_is_said_of_attaching() {
    let server = Server::refusing(ErrorReply::new(ErrorCode::NoSuchDomain, "no domain `x`"));
    let ended = server.run(&["console", "x"]);
    assert_eq!(ended.code, 3);
    assert_eq!(ended.err, "dom0ctl: no domain `x`\n");
}

/// Both ends of a new terminal.
fn terminal() -> (std::fs::File, OwnedFd) {
    use rustix::pty::{OpenptFlags, grantpt, openpt, ptsname, unlockpt};
    let near = openpt(OpenptFlags::RDWR | OpenptFlags::NOCTTY).unwrap();
    grantpt(&near).unwrap();
    unlockpt(&near).unwrap();
    let path = ptsname(&near, Vec::new()).unwrap();
    let far = std::fs::OpenOptions::new()
        .read(true)
        .write(true)
        .open(path.to_str().unwrap())
        .unwrap();
    (near.into(), far.into())
}

fn read_until(near: &mut std::fs::File, word: &str) -> String {
    let mut seen = String::new();
    while !seen.contains(word) {
        let mut buffer = [0; 1024];
        let length = near.read(&mut buffer).unwrap();
        seen += &String::from_utf8_lossy(&buffer[..length]);
    }
    seen
}

#[test]
fn a_terminal_is_raw_while_attached_and_as_before_afterwards() {
    let (server, receiver) = shouting_guest();
    let (mut near, far) = terminal();
    let cooked = |fd: &OwnedFd| {
        tcgetattr(fd)
            .unwrap()
            .local_modes
            .contains(LocalModes::ICANON)
    };
    assert!(cooked(&far));
    let mut command = server.command(&["console", "web"]);
    command.stdin(far.try_clone().unwrap());
    command.stdout(far.try_clone().unwrap());
    command.stderr(far.try_clone().unwrap());
    let mut child = command.spawn().unwrap();
    read_until(&mut near, "scroll-back");
    // Ctrl-C is a key like any other, and single keys arrive.
    near.write_all(b"k\x03").unwrap();
    read_until(&mut near, "K\x03");
    assert!(!cooked(&far));
    near.write_all(b"\x1d").unwrap();
    read_until(&mut near, "detached");
    assert_eq!(child.wait().unwrap().code(), Some(0));
    assert!(cooked(&far));
    assert_eq!(receiver.recv_timeout(LONG), Ok("closed"));
}

#[test]
fn a_signal_leaves_the_terminal_as_it_was() {
    let (server, _receiver) = shouting_guest();
    let (mut near, far) = terminal();
    let mut command = server.command(&["console", "web"]);
    command.stdin(far.try_clone().unwrap());
    command.stdout(far.try_clone().unwrap());
    command.stderr(far.try_clone().unwrap());
    let mut child = command.spawn().unwrap();
    near.write_all(b"k").unwrap();
    read_until(&mut near, "K");
    let pid = rustix::process::Pid::from_child(&child);
    rustix::process::kill_process(pid, rustix::process::Signal::TERM).unwrap();
    assert!(child.wait().unwrap().code().is_some());
    assert!(
        tcgetattr(&far)
            .unwrap()
            .local_modes
            .contains(LocalModes::ICANON)
    );
}
