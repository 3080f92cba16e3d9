//! Frames in any order: every one is answered or ignored, and harms nobody.

use super::{Bench, CONNECTION};
use dom0_protocol::{
    ClientMessage, ErrorCode, Frame, Hello, Kind, MAX_STREAMS_PER_CONNECTION, Reply, Request,
    ServerMessage, StreamId, request::Dmesg,
};

const FOLLOW: Request = Request::Dmesg(Dmesg {
    cursor: 0,
    follow: true,
});

fn error_of(message: Option<&(StreamId, ServerMessage)>) -> Option<ErrorCode> {
    match message {
        Some((_, ServerMessage::Error(error))) => Some(error.code),
        _ => None,
    }
}

#[test]
fn a_connection_begins_with_hello() {
    let mut bench = Bench::new();
    let id = StreamId::new(9, 1);
    bench.say(id, &ClientMessage::Open(Request::List));
    assert_eq!(error_of(bench.answers().last()), Some(ErrorCode::Malformed));
    let mut old = Hello::new(1, "old");
    (old.oldest, old.newest) = (0, 0);
    bench.say(StreamId::of_connection(9), &ClientMessage::Hello(old));
    assert_eq!(
        error_of(bench.answers().last()),
        Some(ErrorCode::VersionMismatch)
    );
}

#[test]
fn streams_of_a_connection_are_bounded_and_numbers_not_used_twice() {
    let mut bench = Bench::new();
    for _ in 0..MAX_STREAMS_PER_CONNECTION {
        bench.open(FOLLOW);
    }
    bench.answers();
    bench.open(Request::List);
    assert_eq!(
        error_of(bench.answers().last()),
        Some(ErrorCode::TooManyStreams)
    );
    bench.say(
        StreamId::new(CONNECTION, 1),
        &ClientMessage::Open(Request::List),
    );
    assert_eq!(error_of(bench.answers().last()), Some(ErrorCode::Malformed));
    bench.say(StreamId::of_connection(CONNECTION), &ClientMessage::Close);
    assert!(bench.manager.streams.is_empty());
    assert!(matches!(
        bench.answers().last(),
        Some((_, ServerMessage::Close))
    ));
}

#[test]
fn a_reset_forgets_every_connection() {
    let mut bench = Bench::new();
    bench.open(FOLLOW);
    bench.say(StreamId::of_connection(0), &ClientMessage::Reset(7));
    assert_eq!(
        bench.answers(),
        [(StreamId::of_connection(0), ServerMessage::Reset(7))]
    );
    assert!(bench.manager.streams.is_empty());
    assert!(bench.manager.connections.is_empty());
}

#[test]
fn data_without_room_breaks_the_stream_only() {
    let mut bench = Bench::new();
    let id = bench.open(FOLLOW);
    bench.answers();
    bench.say(id, &ClientMessage::Data(b"x".to_vec()));
    assert_eq!(error_of(bench.answers().last()), Some(ErrorCode::Malformed));
    bench.say(id, &ClientMessage::Data(b"late".to_vec()));
    assert!(bench.answers().is_empty(), "ignored");
    assert_eq!(bench.list().len(), 1);
}

#[test]
fn random_frames_and_bytes_are_survived() {
    let mut seed = 0x1234_5678_9abc_def1_u64;
    let mut next = || {
        seed ^= seed << 13;
        seed ^= seed >> 7;
        seed ^= seed << 17;
        seed
    };
    let mut bench = Bench::new();
    for _ in 0..3000 {
        let kind = Kind::from_number(u8::try_from(next() % 12).expect("small"));
        let local = u16::try_from(next() % 4).expect("small");
        let connection = if next() % 8 == 0 { 9 } else { CONNECTION };
        let payload: alloc::vec::Vec<u8> = (0..next() % 40)
            .map(|_| u8::try_from(next() % 256).expect("a byte"))
            .collect();
        let frame = Frame::new(kind, StreamId::new(connection, local), payload).expect("short");
        let mut bytes = frame.to_bytes();
        if next() % 4 == 0 {
            let at = usize::try_from(next()).unwrap_or(0) % bytes.len();
            bytes[at] ^= 0x10;
        }
        bench.manager.receive(&bytes);
        bench.settle();
        bench.answers();
    }
    bench
        .manager
        .receive(&dom0_protocol::decoder::flush_padding());
    bench.greet(CONNECTION);
    assert!(bench.list().iter().any(|record| record.id == 0));
}

#[test]
fn the_machine_ends_when_the_answer_has_been_read() {
    let mut bench = Bench::new();
    bench.ask(Request::Poweroff).expect("always");
    assert!(!bench.manager.is_power_off_due());
    bench.say(StreamId::of_connection(CONNECTION), &ClientMessage::Close);
    assert!(bench.manager.is_power_off_due());
}

#[test]
fn a_recount_goes_on_in_steps_and_to_its_end() {
    let mut bench = Bench::new();
    let first = bench.open(Request::Audit);
    bench.settle();
    assert!(bench.end_of(first).is_none(), "others have a turn");
    assert!(bench.ask(Request::List).is_ok());
    let second = bench.open(Request::Audit);
    assert_eq!(
        bench.end_of(first).map(super::code),
        Some(ErrorCode::Superseded)
    );
    for _ in 0..3 {
        bench.pass(10_000_000);
    }
    match bench.end_of(second) {
        Some(Ok(Reply::Audit(report))) => assert_eq!(report.steps, 3),
        other => panic!("{other:?}"),
    }
    let gone = bench.open(Request::Audit);
    bench.settle();
    bench.say(gone, &ClientMessage::Close);
    for _ in 0..3 {
        bench.pass(10_000_000);
    }
    assert!(bench.manager.recount.is_none(), "it has come to its end");
}
