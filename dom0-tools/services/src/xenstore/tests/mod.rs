//! The server as its clients see it.

mod model;
mod operations;
mod rings;
mod transactions;
mod watches;

use super::{Access, Kind, Message, Operation, Path, Permissions, Quota, Server, wire};
use crate::DomId;
use alloc::{string::String, vec::Vec};

pub(super) fn dom(number: u16) -> DomId {
    DomId::new(number).expect("a domain")
}

/// A server with domains 1 to 3 introduced, each with a readable home and a writable `data` below it.
pub(super) fn server() -> Server {
    let mut server = Server::new(Quota::ORDINARY);
    for domain in [1, 2, 3].map(dom) {
        server.admit(domain);
        let home = Path::home(domain);
        let readable = Permissions::new(DomId::DOM0, Access::None).with(Access::Read, domain);
        let own = Permissions::new(domain, Access::None);
        let data = home.below("data");
        server
            .apply(&[
                Operation::MakeDirectory { path: home.clone() },
                Operation::SetPermissions {
                    path: home,
                    list: readable,
                },
                Operation::MakeDirectory { path: data.clone() },
                Operation::SetPermissions {
                    path: data,
                    list: own,
                },
            ])
            .expect("dom0 may");
        server.introduce(domain);
    }
    server
}

/// Asks outside any transaction; the reply's payload as text, or the error's name.
pub(super) fn ask(
    server: &mut Server,
    who: u16,
    kind: Kind,
    payload: &str,
) -> Result<String, String> {
    ask_in(server, who, 0, kind, payload)
}

pub(super) fn ask_in(
    server: &mut Server,
    who: u16,
    transaction: u32,
    kind: Kind,
    payload: &str,
) -> Result<String, String> {
    let mut request = Message::request(kind, payload.as_bytes());
    request.transaction = transaction;
    request.request_id = 0xdead_beef;
    server.handle(dom(who), &request);
    let mut result = None;
    let mut kept = Vec::new();
    while let Some(message) = take(server, who) {
        if message.kind == Kind::WatchEvent.number() {
            kept.push(message);
        } else {
            assert_eq!(message.request_id, 0xdead_beef, "echoed");
            assert_eq!(message.transaction, transaction, "echoed");
            let text = String::from_utf8(message.payload).expect("text");
            result = Some(if message.kind == Kind::Error.number() {
                Err(String::from(text.trim_end_matches('\0')))
            } else {
                Ok(text)
            });
        }
    }
    for event in kept {
        let connection = server.connections.get_mut(&dom(who)).expect("there");
        connection.queue.push(&event);
    }
    result.expect("a reply")
}

pub(super) fn take(server: &mut Server, who: u16) -> Option<Message> {
    let front = server.outgoing(dom(who)).to_vec();
    server.sent(dom(who), front.len());
    wire::message(&front)
}

/// Takes all waiting events as `path token`.
pub(super) fn events(server: &mut Server, who: u16) -> Vec<String> {
    let mut events = Vec::new();
    while let Some(message) = take(server, who) {
        assert_eq!(message.kind, Kind::WatchEvent.number());
        let text = String::from_utf8(message.payload).expect("text");
        events.push(text.trim_end_matches('\0').replace('\0', " "));
    }
    events
}

pub(super) fn start(server: &mut Server, who: u16) -> u32 {
    let id = ask(server, who, Kind::TransactionStart, "\0").expect("room for one");
    id.trim_end_matches('\0').parse().expect("decimal")
}
