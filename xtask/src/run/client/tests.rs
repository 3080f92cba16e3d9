//! The client against a server of the test's own.

use std::io::{Read, Write};
use std::os::unix::net::{UnixListener, UnixStream};
use std::thread::{self, JoinHandle};

use super::*;
use dom0_protocol::credit::SERVER_START;
use dom0_protocol::progress::{Progress, Unit};
use dom0_protocol::{ClientMessage, Decoder, Hello, ServerMessage, StreamId};

const LIMIT: Duration = Duration::from_secs(20);

struct Server {
    socket: UnixStream,
    decoder: Decoder,
}

impl Server {
    fn hear(&mut self) -> (StreamId, ClientMessage) {
        let mut buffer = [0; 4096];
        loop {
            if let Some(frame) = self.decoder.next_frame() {
                return (frame.stream(), ClientMessage::decode(frame).unwrap());
            }
            let length = self.socket.read(&mut buffer).unwrap();
            assert_ne!(length, 0, "the client has gone");
            self.decoder.push(&buffer[..length]);
        }
    }

    fn say(&mut self, stream: StreamId, message: &ServerMessage) {
        let frame = message.encode(stream).unwrap();
        self.socket.write_all(&frame.to_bytes()).unwrap();
    }

    fn greet(&mut self) {
        let (stream, hello) = self.hear();
        let ClientMessage::Hello(hello) = hello else {
            panic!("the first frame is {hello:?}");
        };
        self.say(
            stream,
            &ServerMessage::Hello(Hello::new(hello.nonce, "test")),
        );
    }
}

/// Serves one connection by `script`, and returns a client of it.
fn serve(
    name: &str,
    script: impl FnOnce(&mut Server) + Send + 'static,
) -> (Client, JoinHandle<()>) {
    let path = std::env::temp_dir().join(format!("client-{name}-{}", std::process::id()));
    let listener = UnixListener::bind(&path).unwrap();
    let client = Client::new(path.clone());
    let server = thread::spawn(move || {
        let mut server = Server {
            socket: listener.accept().unwrap().0,
            decoder: Decoder::new(),
        };
        std::fs::remove_file(path).unwrap();
        server.greet();
        script(&mut server);
    });
    (client, server)
}

#[test]
fn a_console_passes_over_scroll_back_and_answers_what_is_said() {
    let (client, server) = serve("console", |server| {
        let (stream, _) = server.hear();
        server.say(
            stream,
            &ServerMessage::Data(b"memory: 1 KiB of old\ndemo> ".to_vec()),
        );
        let live = Progress {
            phase: Phase::Live,
            unit: Unit::Bytes,
            from: 0,
            now: 0,
            target: 0,
            note: String::new(),
        };
        server.say(stream, &ServerMessage::Progress(live));
        server.say(stream, &ServerMessage::Window(SERVER_START));
        let (_, typed) = server.hear();
        assert_eq!(typed, ClientMessage::Data(b"mem\n".to_vec()));
        server.say(
            stream,
            &ServerMessage::Data(b"mem\r\nmemory: 65536 KiB of at".to_vec()),
        );
        server.say(
            stream,
            &ServerMessage::Data(b" most 131072 KiB\r\ndemo> ".to_vec()),
        );
        assert_eq!(server.hear().1, ClientMessage::Close);
    });
    let seen = client.console("one", |console| console.memory()).unwrap();
    assert_eq!(seen, 64 << 20);
    server.join().unwrap();
}

#[test]
fn a_refusal_keeps_its_code_and_words() {
    use dom0_protocol::{ErrorCode, ErrorReply};
    let (client, server) = serve("refusal", |server| {
        let (stream, _) = server.hear();
        let error = ErrorReply::new(ErrorCode::NoSuchDomain, "no domain `x`");
        server.say(stream, &ServerMessage::Error(error));
    });
    let said = client.say(&["show", "x"]);
    assert_eq!(said.code, 3);
    assert!(said.err.contains("no domain `x`"), "{}", said.err);
    server.join().unwrap();
}

#[test]
fn a_silent_guest_is_told_from_a_talking_one() {
    let (client, server) = serve("silent", |server| {
        let (stream, _) = server.hear();
        server.say(stream, &ServerMessage::Data(b"old\n".to_vec()));
        thread::sleep(Duration::from_millis(300));
    });
    let failed = client.console("one", |console| {
        console.hear("anything", LIMIT, |_| None::<()>)
    });
    assert!(failed.is_err());
    server.join().unwrap();
}
