//! Servers that break off, speak nonsense or another version. The client ends, with a word and the right code.
#![expect(
    clippy::unwrap_used,
    clippy::needless_pass_by_value,
    reason = "a test fails by panicking, and is read more often than it runs"
)]

mod support;

use dom0_protocol::frame::{Frame, Kind};
use dom0_protocol::reply::Reply;
use dom0_protocol::{
    ClientMessage, ErrorCode, ErrorReply, Hello, Request, ServerMessage, StreamId, VERSION,
};
use support::records::{ballooned, host, versions};
use support::{Peer, Server};

fn shake(peer: &mut Peer) {
    match peer.receive() {
        Some(ClientMessage::Hello(hello)) => {
            peer.send(ServerMessage::Hello(Hello::new(hello.nonce, "a test")));
        }
        other => panic!("{other:?}"),
    }
}

#[test]
fn a_server_that_hangs_up_before_hello_is_no_connection() {
    let server = Server::raw(|_| {});
    assert_eq!(server.run(&["list"]).code, 7);
}

#[test]
fn a_connection_cut_at_any_byte_of_the_answer_is_lost() {
    let whole = ServerMessage::Done(Reply::Host(host()))
        .encode(StreamId::new(0, 1))
        .unwrap()
        .to_bytes();
    for keep in [0, 1, 23, 24, 30, whole.len() - 1] {
        let part = whole[..keep].to_vec();
        let server = Server::raw(move |peer| {
            shake(peer);
            peer.receive();
            peer.raw(&part);
        });
        let ended = server.run(&["info", "--json"]);
        assert_eq!(ended.code, 1);
        assert_eq!(ended.error()["code"], "connection-lost", "cut at {keep}");
    }
}

#[test]
fn an_upload_cut_in_the_middle_is_lost() {
    let file = tempfile::NamedTempFile::new().unwrap();
    std::fs::write(file.path(), vec![7; 3 << 20]).unwrap();
    let server = Server::raw(|peer| {
        shake(peer);
        peer.receive();
        peer.send(ServerMessage::Window(1 << 20));
        peer.receive();
    });
    let path = file.path().to_str().unwrap();
    let ended = server.run(&["create", "--ramdisk", path, "--json"]);
    assert_eq!(ended.error()["code"], "connection-lost");
}

#[test]
fn garbage_between_frames_is_passed_over() {
    let server = Server::start(|_, peer| {
        let stale = ServerMessage::Done(Reply::PoweringOff);
        let stale = stale.encode(StreamId::new(0, 999)).unwrap().to_bytes();
        peer.raw(&[0x50; 1000]);
        peer.raw(&stale);
        peer.raw(&stale[..20]);
        peer.raw(&vec![0; 70_000]);
        peer.raw(
            &Frame::new(Kind::Unknown(200), peer.stream, vec![1])
                .unwrap()
                .to_bytes(),
        );
        peer.done(Reply::Version(versions()));
    });
    server.run(&["version", "--json"]).json("version");
}

#[test]
fn random_bytes_end_in_an_error_and_not_in_a_hang() {
    let server = Server::raw(|peer| {
        let mut state = 0x9e37_79b9_7f4a_7c15_u64;
        for _ in 0..20_000 {
            state ^= state << 13;
            state ^= state >> 7;
            state ^= state << 17;
            peer.raw(&state.to_le_bytes());
        }
    });
    assert_eq!(server.run(&["list"]).code, 7);
}

#[test]
fn another_version_is_told_as_such() {
    let server = Server::raw(|peer| {
        if let Some(ClientMessage::Hello(mut hello)) = peer.receive() {
            hello.oldest = VERSION + 1;
            hello.newest = VERSION + 3;
            peer.send(ServerMessage::Hello(hello));
        }
        peer.receive();
    });
    let ended = server.run(&["list", "--json"]);
    assert_eq!(ended.error()["code"], "version-mismatch");
    let server = Server::raw(|peer| {
        peer.receive();
        let error = ErrorReply::new(ErrorCode::VersionMismatch, "versions 2 to 3 only");
        peer.send(ServerMessage::Error(error));
        peer.receive();
    });
    let ended = server.run(&["list"]);
    assert_eq!(ended.code, 1);
    assert!(ended.err.contains("versions 2 to 3 only"));
}

#[test]
fn an_answer_to_somebody_else_is_not_taken() {
    let server = Server::raw(|peer| {
        let Some(ClientMessage::Hello(hello)) = peer.receive() else {
            return;
        };
        let mut stale = Hello::new(hello.nonce ^ 1, "an earlier machine");
        stale.oldest = 9;
        stale.newest = 9;
        peer.send(ServerMessage::Hello(stale));
        peer.send(ServerMessage::Hello(Hello::new(hello.nonce, "a test")));
        peer.receive();
        peer.done(Reply::Version(versions()));
        peer.receive();
    });
    server.run(&["version", "--json"]).json("version");
}

#[test]
fn an_answer_to_another_question_is_an_error() {
    let server = Server::answering(Reply::Ballooned(ballooned(
        dom0_protocol::reply::Outcome::Reached,
    )));
    for args in [
        &["list"][..],
        &["info"],
        &["vcpus", "web", "2"],
        &["create"],
        &["dmesg"],
        &["pause", "web"],
    ] {
        let ended = server.run(args);
        assert_eq!(ended.code, 1);
        assert!(
            ended.err.contains("something else than was asked"),
            "{}",
            ended.err
        );
    }
}

#[test]
fn a_server_that_knows_no_such_request_says_so() {
    let server = Server::start(|_, peer| {
        let unknown = vec![99, 1, 2];
        let open = Frame::new(Kind::Open, peer.stream, unknown).unwrap();
        let error = ClientMessage::decode(open).unwrap_err();
        peer.refuse(error.into());
    });
    let ended = server.run(&["audit", "--json"]);
    assert_eq!(ended.error()["code"], "unknown-request");
}

#[test]
fn more_data_than_there_was_room_for_breaks_the_call() {
    let server = Server::start(|request, peer| {
        assert!(matches!(request, Request::Dmesg(_)));
        // All in one write: the client cannot make room in between.
        let frame = ServerMessage::Data(vec![b'x'; 65_536])
            .encode(peer.stream)
            .unwrap();
        peer.raw(&frame.to_bytes());
        let frame = ServerMessage::Window(u32::MAX).encode(peer.stream).unwrap();
        peer.raw(&frame.to_bytes());
    });
    let ended = server.run(&["dmesg"]);
    assert_eq!(ended.code, 1);
    assert!(ended.err.contains("window"), "{}", ended.err);
}

#[test]
fn a_server_that_says_nothing_is_not_waited_for_for_ever() {
    let server = Server::start(|_, _| {});
    for (args, seconds) in [
        (&["list", "--patience", "0.2"][..], "0.2"),
        (
            &["--patience", "0.1", "vcpus", "web", "2", "--timeout", "0.1"],
            "0.2",
        ),
        (&["pause", "web", "--patience", "0.1"], "0.1"),
    ] {
        let ended = server.run(args);
        assert_eq!(ended.code, 6, "{ended:?}");
        let text = format!("nothing for {seconds} s");
        assert!(ended.err.contains(&text), "{}", ended.err);
    }
}
