//! The multiplexer against a server of the test's own, over real sockets.

use super::*;
use dom0_protocol::{Kind, MAX_PAYLOAD};

const LIMIT: Duration = Duration::from_secs(20);

/// A directory that goes away with the test.
struct Place(PathBuf);

impl Place {
    fn new(name: &str) -> Self {
        let path = std::env::temp_dir().join(format!("mux-{name}-{}", std::process::id()));
        fs::create_dir_all(&path).unwrap();
        Self(path)
    }
}

impl Drop for Place {
    fn drop(&mut self) {
        fs::remove_dir_all(&self.0).unwrap();
    }
}

struct Peer {
    socket: UnixStream,
    decoder: Decoder,
}

impl Peer {
    fn new(socket: UnixStream) -> Self {
        socket.set_read_timeout(Some(LIMIT)).unwrap();
        Self {
            socket,
            decoder: Decoder::new(),
        }
    }

    fn client(place: &Place) -> Self {
        Self::new(UnixStream::connect(place.0.join("control.sock")).unwrap())
    }

    fn say(&mut self, kind: Kind, connection: u16, local: u16, payload: &[u8]) {
        let stream = StreamId::new(connection, local);
        let frame = Frame::new(kind, stream, payload.to_vec()).unwrap();
        self.socket.write_all(&frame.to_bytes()).unwrap();
    }

    fn hear(&mut self) -> Option<Frame> {
        let mut buffer = [0; 4096];
        loop {
            if let Some(frame) = self.decoder.next_frame() {
                return Some(frame);
            }
            match self.socket.read(&mut buffer).unwrap() {
                0 => return None,
                length => self.decoder.push(&buffer[..length]),
            }
        }
    }
}

/// Starts a multiplexer and plays dom0's part of the beginning.
fn start(place: &Place) -> (Multiplexer, Peer) {
    let console = place.0.join("console.sock");
    let listener = UnixListener::bind(&console).unwrap();
    let server = thread::spawn(move || {
        let mut server = Peer::new(listener.accept().unwrap().0);
        let reset = server.hear().unwrap();
        assert_eq!(reset.kind(), Kind::Reset);
        server.say(Kind::Data, 3, 1, b"for somebody who has gone");
        server.say(Kind::Reset, 0, 0, reset.payload());
        server
    });
    let mux = Multiplexer::start(&console, &place.0.join("control.sock"), LIMIT, || false).unwrap();
    (mux, server.join().unwrap())
}

#[test]
fn two_clients_share_the_channel_and_a_parting_one_is_announced() {
    let place = Place::new("share");
    let (_mux, mut server) = start(&place);
    let (mut a, mut b) = (Peer::client(&place), Peer::client(&place));
    a.say(Kind::Open, 0, 5, b"from a");
    let from_a = server.hear().unwrap();
    b.say(Kind::Open, 0, 5, b"from b");
    let from_b = server.hear().unwrap();
    assert_eq!(
        (from_a.payload(), from_b.payload()),
        (&b"from a"[..], &b"from b"[..])
    );
    let (to_a, to_b) = (from_a.stream().connection(), from_b.stream().connection());
    assert_ne!(to_a, to_b);
    server.say(Kind::Done, to_b, 5, b"to b");
    server.say(Kind::Done, to_a, 5, b"to a");
    let (at_a, at_b) = (a.hear().unwrap(), b.hear().unwrap());
    assert_eq!(
        (at_a.payload(), at_a.stream()),
        (&b"to a"[..], StreamId::new(0, 5))
    );
    assert_eq!(
        (at_b.payload(), at_b.stream()),
        (&b"to b"[..], StreamId::new(0, 5))
    );
    drop(a);
    let farewell = server.hear().unwrap();
    assert_eq!(
        (farewell.kind(), farewell.stream()),
        (Kind::Close, StreamId::new(to_a, 0))
    );
}

#[test]
fn a_client_that_does_not_read_delays_nobody() {
    let place = Place::new("slow");
    let (_mux, mut server) = start(&place);
    let (mut slow, mut quick) = (Peer::client(&place), Peer::client(&place));
    slow.say(Kind::Open, 0, 1, b"");
    let to_slow = server.hear().unwrap().stream().connection();
    quick.say(Kind::Open, 0, 1, b"");
    let to_quick = server.hear().unwrap().stream().connection();
    for _ in 0..128 {
        server.say(Kind::Data, to_slow, 1, &[0; MAX_PAYLOAD]);
    }
    server.say(Kind::Done, to_quick, 1, b"here");
    assert_eq!(quick.hear().unwrap().payload(), b"here");
}

#[test]
fn the_seventeenth_client_is_told_why() {
    let place = Place::new("full");
    let (_mux, mut server) = start(&place);
    let mut clients: Vec<Peer> = (0..switch::MOST).map(|_| Peer::client(&place)).collect();
    for client in &mut clients {
        client.say(Kind::Open, 0, 1, b"");
        server.hear().unwrap();
    }
    let mut late = Peer::client(&place);
    thread::sleep(Duration::from_millis(100));
    late.say(Kind::Hello, 0, 0, b"");
    assert_eq!(late.hear().unwrap().kind(), Kind::Error);
}

#[test]
fn clients_end_when_the_machine_does() {
    let place = Place::new("end");
    let (_mux, mut server) = start(&place);
    let mut client = Peer::client(&place);
    client.say(Kind::Open, 0, 1, b"");
    server.hear().unwrap();
    drop(server);
    assert!(client.hear().is_none());
}
