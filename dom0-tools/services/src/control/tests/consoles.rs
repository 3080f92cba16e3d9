//! Attached consoles: replay, live output, input, readers that do not read.

use super::{Bench, named};
use crate::{
    control::host::Ring,
    shared_page::{ByteRing, SharedPage},
};
use alloc::{rc::Rc, string::String, vec::Vec};
use dom0_protocol::{
    ClientMessage, Reply, Request, ServerMessage, StreamId,
    progress::Phase,
    reply::ConsoleEnd,
    request::{Console, ConsoleMode, Dmesg},
};

const OUTPUT: ByteRing = ByteRing::new(1024, 2048);
const INPUT: ByteRing = ByteRing::new(0, 1024);

fn print(bench: &mut Bench, id: u16, text: &[u8]) {
    for part in text.chunks(2000) {
        let page = Rc::clone(&bench.host().domain(id).rings[&Ring::Console]);
        let produced = page.load(3084);
        OUTPUT.copy_in(&page, produced, part);
        page.store(
            3084,
            produced.wrapping_add(u32::try_from(part.len()).expect("short")),
        );
        let ports: Vec<_> = bench.host().attached.iter().copied().collect();
        for port in ports {
            bench.manager.port_event(port);
        }
        bench.settle();
    }
}

fn console(mode: ConsoleMode) -> Request {
    Request::Console(Console {
        domain: named("a"),
        mode,
    })
}

/// Data of a stream, and what else came on it.
fn read(bench: &mut Bench, id: StreamId) -> (Vec<u8>, Vec<ServerMessage>) {
    bench.settle();
    let (mut data, mut rest) = (Vec::new(), Vec::new());
    for (from, message) in bench.answers() {
        if from != id {
            continue;
        }
        if let ServerMessage::Data(bytes) = message {
            data.extend(bytes);
        } else {
            rest.push(message);
        }
    }
    (data, rest)
}

#[test]
fn an_attached_console_replays_and_then_goes_on_live() {
    let mut bench = Bench::new();
    let domain = bench.create("a");
    print(&mut bench, domain, b"before\r\n");
    let id = bench.open(console(ConsoleMode::Attach));
    let (data, rest) = read(&mut bench, id);
    assert_eq!(data, b"before\r\n");
    assert!(rest.iter().any(
        |message| matches!(message, ServerMessage::Progress(news) if news.phase == Phase::Live)
    ));
    print(&mut bench, domain, b"after\r\n");
    assert_eq!(read(&mut bench, id).0, b"after\r\n");
    bench.say(id, &ClientMessage::Data(b"help\n".to_vec()));
    bench.settle();
    let page = Rc::clone(&bench.host().domain(domain).rings[&Ring::Console]);
    assert_eq!(page.load(3076), 5);
    let mut typed = [0; 5];
    INPUT.copy_out(&page, 0, &mut typed);
    assert_eq!(&typed, b"help\n");
    bench.ask(Request::Destroy(named("a"))).expect("there");
}

#[test]
fn what_was_typed_just_before_the_client_went_arrives() {
    let mut bench = Bench::new();
    let domain = bench.create("a");
    let id = bench.open(console(ConsoleMode::Attach));
    bench.settle();
    bench.say(id, &ClientMessage::Data(b"exit\n".to_vec()));
    bench.say(id, &ClientMessage::Close);
    bench.settle();
    let page = Rc::clone(&bench.host().domain(domain).rings[&Ring::Console]);
    assert_eq!(page.load(3076), 5);
}

#[test]
fn the_log_ends_and_survives_a_crash() {
    let mut bench = Bench::new();
    let domain = bench.create("a");
    let text = "line of text\r\n".repeat(5000);
    print(&mut bench, domain, text.as_bytes());
    let id = bench.open(console(ConsoleMode::Log));
    let mut all = Vec::new();
    let mut ended = false;
    for _ in 0..100 {
        let (data, rest) = read(&mut bench, id);
        bench.say(
            id,
            &ClientMessage::Window(u32::try_from(data.len()).expect("short")),
        );
        all.extend(data);
        ended |= rest.contains(&ServerMessage::Done(Reply::ConsoleEnded(
            ConsoleEnd::LogComplete,
        )));
        if ended {
            break;
        }
    }
    assert!(ended);
    assert_eq!(all.len(), text.len());
}

#[test]
fn a_reader_that_does_not_read_holds_up_nobody() {
    let mut bench = Bench::new();
    let domain = bench.create("a");
    let lazy = bench.open(console(ConsoleMode::Attach));
    let busy = bench.open(console(ConsoleMode::Attach));
    let mut seen = 0;
    for _ in 0..400 {
        print(&mut bench, domain, &[b'x'; 2000]);
        let (data, _) = read(&mut bench, busy);
        bench.say(
            busy,
            &ClientMessage::Window(u32::try_from(data.len()).expect("short")),
        );
        seen += data.len();
    }
    assert_eq!(seen, 800_000);
    assert!(
        bench.manager.outbox.backlog(lazy) <= 64 << 10,
        "what waits for it is bounded"
    );
    bench.say(lazy, &ClientMessage::Window(1 << 20));
    let (mut data, _) = read(&mut bench, lazy);
    data.extend(read(&mut bench, lazy).0);
    let text = String::from_utf8(data).expect("text");
    assert!(text.contains("bytes were dropped]"), "it is told");
}

#[test]
fn the_end_of_a_domain_ends_its_consoles_with_all_that_is_left() {
    let mut bench = Bench::new();
    let domain = bench.create("a");
    let id = bench.open(console(ConsoleMode::Attach));
    read(&mut bench, id);
    let page = Rc::clone(&bench.host().domain(domain).rings[&Ring::Console]);
    OUTPUT.copy_in(&page, 0, b"last words");
    page.store(3084, 10);
    bench.open(Request::Destroy(named("a")));
    let (data, rest) = read(&mut bench, id);
    assert_eq!(data, b"last words");
    assert_eq!(
        rest.last(),
        Some(&ServerMessage::Done(Reply::ConsoleEnded(
            ConsoleEnd::DomainGone
        )))
    );
}

#[test]
fn the_hypervisors_log_is_followed_until_the_client_has_enough() {
    let mut bench = Bench::new();
    let id = bench.open(Request::Dmesg(Dmesg {
        cursor: 0,
        follow: true,
    }));
    assert_eq!(read(&mut bench, id).0, b"(PV) hello\n");
    bench.host().log.push_str("(PV) more\n");
    assert_eq!(read(&mut bench, id).0, b"(PV) more\n");
    bench.say(id, &ClientMessage::Close);
    assert_eq!(read(&mut bench, id).1, [ServerMessage::Close]);
    let id = bench.open(Request::Dmesg(Dmesg {
        cursor: 5,
        follow: false,
    }));
    let (data, rest) = read(&mut bench, id);
    assert_eq!(data, b"hello\n(PV) more\n");
    assert!(matches!(
        rest.as_slice(),
        [ServerMessage::Done(Reply::Log(_))]
    ));
}

#[test]
fn a_kernel_that_ends_at_once_leaves_its_words() {
    let mut bench = Bench::new();
    for number in 0..10_u8 {
        let domain = bench.create("a");
        print(&mut bench, domain, &[b'0' + number]);
        super::lives::ends(
            &mut bench,
            domain,
            hypercall_abi::control::domain::DOMAIN_STATE_SHUTDOWN,
            hypercall_abi::sched::SHUTDOWN_POWEROFF,
        );
    }
    bench.assert_empty();
    for (mode, expected) in [
        (ConsoleMode::Log, ConsoleEnd::LogComplete),
        (ConsoleMode::Attach, ConsoleEnd::DomainGone),
    ] {
        let id = bench.open(console(mode));
        let (data, rest) = read(&mut bench, id);
        assert_eq!(data, b"9", "the last one's");
        assert_eq!(rest, [ServerMessage::Done(Reply::ConsoleEnded(expected))]);
    }
    let by_number = |number| {
        Request::Console(Console {
            domain: dom0_protocol::DomainSelector::Id(number),
            mode: ConsoleMode::Log,
        })
    };
    assert!(bench.ask(by_number(3)).is_ok());
    assert!(bench.ask(by_number(2)).is_err(), "eight are remembered");
    bench.create("a");
    let id = bench.open(console(ConsoleMode::Log));
    assert_eq!(read(&mut bench, id).0, b"", "who lives comes first");
}
