//! The ring with a guest at the other end that is slow, odd or hostile.

use super::{Kind, Message, dom, server};
use crate::{
    shared_page::{ByteRing, SharedPage, fake::FakePage},
    xenstore::{Link, RingError, Server, wire},
};
use alloc::{format, vec::Vec};

const REQUESTS: ByteRing = ByteRing::new(0, 1024);
const REPLIES: ByteRing = ByteRing::new(1024, 1024);

/// A guest that does everything by the book, byte by byte if need be.
struct Guest {
    page: FakePage,
    link: Link,
    server: Server,
}

impl Guest {
    fn new() -> Self {
        let page = FakePage::new();
        let link = Link::new(dom(1), &page);
        Self {
            page,
            link,
            server: server(),
        }
    }

    fn put(&self, bytes: &[u8]) {
        let produced = self.page.load(2052);
        REQUESTS.copy_in(&self.page, produced, bytes);
        let count = u32::try_from(bytes.len()).expect("short");
        self.page.store(2052, produced.wrapping_add(count));
    }

    fn get(&self, most: usize) -> Vec<u8> {
        let (consumed, produced) = (self.page.load(2056), self.page.load(2060));
        let filled = REPLIES
            .filled(consumed, produced)
            .expect("the server is honest");
        let count = filled.min(u32::try_from(most).expect("short"));
        let mut bytes = alloc::vec![0; usize::try_from(count).expect("short")];
        REPLIES.copy_out(&self.page, consumed, &mut bytes);
        self.page.store(2056, consumed.wrapping_add(count));
        bytes
    }

    fn serve(&mut self) -> crate::xenstore::Progress {
        let mut last = self.link.serve(&self.page, &mut self.server);
        while last.again {
            last = self.link.serve(&self.page, &mut self.server);
        }
        last
    }
}

#[test]
fn a_request_split_at_every_byte_is_answered() {
    let mut guest = Guest::new();
    let mut reply = Vec::new();
    for byte in Message::request(Kind::Read, b"data\0").to_bytes() {
        guest.put(&[byte]);
        assert!(
            guest.serve().notify,
            "a writer that found the ring full waits for this"
        );
        reply.extend(guest.get(1));
    }
    reply.extend(guest.get(4096));
    assert_eq!(wire::message(&reply).expect("whole").payload, b"");
}

#[test]
fn a_reply_longer_than_the_ring_comes_in_pieces() {
    let mut guest = Guest::new();
    let value = "v".repeat(1900);
    let mut request =
        Message::request(Kind::Write, format!("data/long\0{value}").as_bytes()).to_bytes();
    while !request.is_empty() {
        let piece: Vec<u8> = request.drain(..request.len().min(700)).collect();
        guest.put(&piece);
        guest.serve();
    }
    assert_eq!(guest.get(4096).len(), 19);
    guest.put(&Message::request(Kind::Read, b"data/long\0").to_bytes());
    let mut reply = Vec::new();
    guest.serve();
    loop {
        let piece = guest.get(1);
        if piece.is_empty() {
            break;
        }
        reply.extend(piece);
        guest.serve();
    }
    assert_eq!(
        wire::message(&reply).expect("whole").payload,
        value.as_bytes()
    );
}

#[test]
fn indices_that_cannot_be_end_the_service_and_not_the_server() {
    for (offset, value) in [
        (2052, 1025),
        (2052, u32::MAX),
        (2056, 1),
        (2056, 0x8000_0000),
    ] {
        let mut guest = Guest::new();
        guest.put(&Message::request(Kind::Read, b"data\0").to_bytes());
        guest.page.store(offset, value);
        let progress = guest.serve();
        assert_eq!(
            progress.broken,
            Some(RingError::Indices),
            "{offset} {value:#x}"
        );
        assert_eq!(guest.page.load(2072), 2);
        assert!(guest.serve().broken.is_none(), "told once");
    }
}

#[test]
fn a_payload_beyond_the_limit_ends_the_service() {
    let mut guest = Guest::new();
    let mut request = Message::request(Kind::Read, b"").to_bytes();
    request[12..16].copy_from_slice(&4097_u32.to_le_bytes());
    guest.put(&request);
    assert_eq!(guest.serve().broken, Some(RingError::TooLong));
    assert_eq!(guest.page.load(2072), 3);
}

#[test]
fn a_reconnect_begins_anew() {
    let mut guest = Guest::new();
    guest.put(b"half a header");
    guest.page.store(2052, 4000);
    assert!(guest.serve().broken.is_some());
    guest.page.store(2068, 1);
    assert!(guest.serve().notify);
    assert_eq!(
        [2048, 2052, 2056, 2060, 2068, 2072].map(|word| guest.page.load(word)),
        [0; 6]
    );
    guest.put(&Message::request(Kind::Read, b"data\0").to_bytes());
    guest.serve();
    assert_eq!(guest.get(4096).len(), 16);
}

#[test]
fn a_guest_that_takes_no_replies_is_not_read_any_more() {
    let mut guest = Guest::new();
    let request = Message::request(Kind::Read, b"none\0").to_bytes();
    let mut rounds = 0;
    while guest.page.load(2052).wrapping_sub(guest.page.load(2048)) < 900 {
        guest.put(&request);
        guest.serve();
        rounds += 1;
        assert!(rounds < 10_000, "its requests are still read");
    }
    let mut replies = 0;
    loop {
        let bytes = guest.get(4096);
        if bytes.is_empty() {
            break;
        }
        replies += bytes.len();
        guest.serve();
    }
    assert_eq!(replies % 23, 0, "all whole");
    assert_eq!(replies / 23, rounds);
}

#[test]
fn events_for_a_guest_that_never_reads_end_its_connection() {
    let mut guest = Guest::new();
    guest.put(&Message::request(Kind::Watch, b"data\0t\0").to_bytes());
    guest.serve();
    let mut broken = None;
    for number in 0..20_000_u32 {
        let payload = format!("/local/domain/1/data/a-name-that-takes-some-room-{number}\0x");
        guest.server.handle(
            crate::DomId::DOM0,
            &Message::request(Kind::Write, payload.as_bytes()),
        );
        guest.server.take_message();
        broken = broken.or(guest.serve().broken);
        if broken.is_some() {
            break;
        }
    }
    assert_eq!(broken, Some(RingError::Stuck));
    assert_eq!(guest.server.watches.count(dom(1)), 0);
}

#[test]
fn random_bytes_in_the_page_are_survived() {
    let mut seed = 0x9e37_79b9_7f4a_7c15_u64;
    let mut next = || {
        seed ^= seed << 13;
        seed ^= seed >> 7;
        seed ^= seed << 17;
        seed
    };
    for _ in 0..300 {
        let mut guest = Guest::new();
        for _ in 0..50 {
            let offset = usize::try_from(next() % 2080).expect("small");
            guest.page.write(offset, &next().to_le_bytes());
            guest.serve();
            if next().is_multiple_of(4) {
                guest.page.store(2068, 1);
            }
        }
        assert_eq!(guest.server.store.recounted(), guest.server.store.counted());
    }
}
