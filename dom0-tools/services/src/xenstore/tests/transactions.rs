//! Isolation, conflicts and their limits.

use super::{Kind, ask, ask_in, dom, events, server, start};
use alloc::{format, string::String};

fn end(server: &mut crate::xenstore::Server, who: u16, id: u32) -> Result<String, String> {
    ask_in(server, who, id, Kind::TransactionEnd, "T\0")
}

#[test]
fn nobody_sees_a_transaction_before_its_commit() {
    let mut server = server();
    let id = start(&mut server, 1);
    ask_in(&mut server, 1, id, Kind::Write, "data/a\0new").expect("own");
    assert_eq!(
        ask_in(&mut server, 1, id, Kind::Read, "data/a\0"),
        Ok("new".into())
    );
    assert_eq!(
        ask(&mut server, 1, Kind::Read, "data/a\0"),
        Err("ENOENT".into())
    );
    assert_eq!(end(&mut server, 1, id), Ok("OK\0".into()));
    assert_eq!(
        ask(&mut server, 1, Kind::Read, "data/a\0"),
        Ok("new".into())
    );
    assert_eq!(end(&mut server, 1, id), Err("ENOENT".into()), "gone");
    assert_eq!(server.store.recounted(), server.store.counted());
}

#[test]
fn a_discarded_transaction_leaves_nothing() {
    let mut server = server();
    let id = start(&mut server, 1);
    ask_in(&mut server, 1, id, Kind::Write, "data/a\0new").expect("own");
    assert_eq!(
        ask_in(&mut server, 1, id, Kind::TransactionEnd, "F\0"),
        Ok("OK\0".into())
    );
    assert_eq!(
        ask(&mut server, 1, Kind::Read, "data/a\0"),
        Err("ENOENT".into())
    );
}

#[test]
fn a_change_of_what_was_read_is_a_conflict() {
    let mut server = server();
    ask(&mut server, 1, Kind::Write, "data/a\0one").expect("own");
    let id = start(&mut server, 1);
    ask_in(&mut server, 1, id, Kind::Read, "data/a\0").expect("own");
    ask_in(&mut server, 1, id, Kind::Write, "data/b\0x").expect("own");
    ask(&mut server, 0, Kind::Write, "/local/domain/1/data/a\0two").expect("dom0");
    assert_eq!(end(&mut server, 1, id), Err("EAGAIN".into()));
    assert_eq!(
        ask(&mut server, 1, Kind::Read, "data/b\0"),
        Err("ENOENT".into()),
        "nothing applied"
    );
}

#[test]
fn what_was_missing_must_be_missing_still() {
    let mut server = server();
    let id = start(&mut server, 1);
    assert_eq!(
        ask_in(&mut server, 1, id, Kind::Read, "data/a\0"),
        Err("ENOENT".into())
    );
    ask(&mut server, 1, Kind::Write, "data/a\0x").expect("own");
    assert_eq!(end(&mut server, 1, id), Err("EAGAIN".into()));
}

#[test]
fn writes_to_different_nodes_do_not_conflict_but_new_siblings_do() {
    let mut server = server();
    for name in ["a", "b"] {
        ask(&mut server, 1, Kind::Write, &format!("data/{name}\0old")).expect("own");
    }
    let (one, two) = (start(&mut server, 1), start(&mut server, 1));
    ask_in(&mut server, 1, one, Kind::Write, "data/a\0new").expect("own");
    ask_in(&mut server, 1, two, Kind::Write, "data/b\0new").expect("own");
    assert!(end(&mut server, 1, one).is_ok());
    assert!(end(&mut server, 1, two).is_ok());
    let (one, two) = (start(&mut server, 1), start(&mut server, 1));
    ask_in(&mut server, 1, one, Kind::Write, "data/c\0new").expect("own");
    ask_in(&mut server, 1, two, Kind::Write, "data/d\0new").expect("own");
    assert!(end(&mut server, 1, one).is_ok());
    assert_eq!(end(&mut server, 1, two), Err("EAGAIN".into()));
}

#[test]
fn a_subtree_replaced_in_one_transaction_commits() {
    let mut server = server();
    ask(&mut server, 1, Kind::Write, "data/a/b\0old").expect("own");
    let id = start(&mut server, 1);
    ask_in(&mut server, 1, id, Kind::Remove, "data/a\0").expect("own");
    ask_in(&mut server, 1, id, Kind::Write, "data/a/b\0new").expect("own");
    assert_eq!(end(&mut server, 1, id), Ok("OK\0".into()));
    assert_eq!(
        ask(&mut server, 1, Kind::Read, "data/a/b\0"),
        Ok("new".into())
    );
    assert_eq!(server.store.recounted(), server.store.counted());
}

#[test]
fn events_fire_at_the_commit_only() {
    let mut server = server();
    ask(&mut server, 1, Kind::Watch, "data\0t\0").expect("room");
    events(&mut server, 1);
    let id = start(&mut server, 1);
    ask_in(&mut server, 1, id, Kind::Write, "data/a\0x").expect("own");
    assert!(events(&mut server, 1).is_empty());
    end(&mut server, 1, id).expect("no conflict");
    assert_eq!(events(&mut server, 1), ["data/a t"]);
}

#[test]
fn limits_of_transactions_hold() {
    let mut server = server();
    let id = start(&mut server, 1);
    assert_eq!(
        ask_in(&mut server, 1, id, Kind::TransactionStart, "\0"),
        Err("EBUSY".into())
    );
    for _ in 1..10 {
        start(&mut server, 1);
    }
    assert_eq!(
        ask(&mut server, 1, Kind::TransactionStart, "\0"),
        Err("ENOSPC".into())
    );
    for number in 0..1024 {
        let request = format!("data/{number}\0");
        if ask_in(&mut server, 1, id, Kind::Read, &request) == Err("ENOSPC".into()) {
            assert_eq!(number, 1024);
        }
    }
    assert_eq!(
        ask_in(&mut server, 1, id, Kind::Read, "data/one-more\0"),
        Err("ENOSPC".into())
    );
    assert_eq!(end(&mut server, 1, id), Err("ENOMEM".into()), "spoiled");
    assert_eq!(
        ask_in(&mut server, 1, 0, Kind::TransactionEnd, "maybe\0"),
        Err("EINVAL".into())
    );
}

#[test]
fn bytes_in_open_transactions_are_bounded() {
    let mut server = server();
    let id = start(&mut server, 1);
    let value = "x".repeat(2000);
    let refused = (0..1000).find(|_| {
        let request = format!("data/a\0{value}");
        ask_in(&mut server, 1, id, Kind::Write, &request) == Err("ENOSPC".into())
    });
    assert!(refused.is_some_and(|count| count < 140));
}

#[test]
fn after_a_conflict_others_wait_for_the_loser() {
    let mut server = server();
    let id = start(&mut server, 1);
    ask_in(&mut server, 1, id, Kind::Read, "data\0").expect("own");
    ask(&mut server, 0, Kind::Write, "/local/domain/1/data\0x").expect("dom0");
    assert_eq!(end(&mut server, 1, id), Err("EAGAIN".into()));
    assert!(server.wait(dom(2)).is_some());
    assert!(server.wait(dom(1)).is_none());
    let id = start(&mut server, 1);
    ask_in(&mut server, 1, id, Kind::Write, "data\0y").expect("own");
    assert!(end(&mut server, 1, id).is_ok());
    assert!(server.wait(dom(2)).is_none());
}
