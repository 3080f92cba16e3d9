//! Who hears what, when and in which form.

use super::{Kind, ask, dom, events, server};
use alloc::format;

#[test]
fn a_watch_fires_at_once_even_for_a_missing_node() {
    let mut server = server();
    ask(&mut server, 1, Kind::Watch, "data/missing\0tok\0").expect("room");
    assert_eq!(events(&mut server, 1), ["data/missing tok"]);
    assert_eq!(
        ask(&mut server, 1, Kind::Watch, "data/missing\0tok\0"),
        Err("EEXIST".into())
    );
    assert_eq!(
        ask(&mut server, 1, Kind::Watch, "data\0tok\x003\0"),
        Err("EINVAL".into()),
        "no depth"
    );
}

#[test]
fn events_name_the_changed_node_in_the_watchs_form() {
    let mut server = server();
    ask(&mut server, 1, Kind::Watch, "data\0rel\0").expect("room");
    ask(&mut server, 1, Kind::Watch, "/local/domain/1/data\0abs\0").expect("room");
    events(&mut server, 1);
    ask(&mut server, 1, Kind::Write, "data/a\0x").expect("own");
    assert_eq!(
        events(&mut server, 1),
        ["/local/domain/1/data/a abs", "data/a rel"]
    );
    ask(&mut server, 1, Kind::Write, "data/a\0x").expect("own");
    assert_eq!(
        events(&mut server, 1).len(),
        2,
        "the same value again is a change too"
    );
    ask(&mut server, 1, Kind::Unwatch, "data\0rel\0").expect("there");
    assert_eq!(
        ask(&mut server, 1, Kind::Unwatch, "data\0rel\0"),
        Err("ENOENT".into())
    );
    ask(&mut server, 1, Kind::SetPermissions, "data/a\0n1\0r2\0").expect("own");
    assert_eq!(events(&mut server, 1), ["/local/domain/1/data/a abs"]);
}

#[test]
fn removing_a_subtree_tells_the_top_and_watches_inside() {
    let mut server = server();
    for name in ["a/b/c", "a/d"] {
        ask(&mut server, 1, Kind::Write, &format!("data/{name}\0x")).expect("own");
    }
    for watch in [
        "data\0above\0",
        "data/a/b/c\0inside\0",
        "data/a/none\0missing\0",
    ] {
        ask(&mut server, 1, Kind::Watch, watch).expect("room");
    }
    events(&mut server, 1);
    ask(&mut server, 1, Kind::Remove, "data/a\0").expect("own");
    assert_eq!(
        events(&mut server, 1),
        ["data/a above", "data/a/b/c inside"]
    );
}

#[test]
fn nobody_hears_of_what_it_may_not_read() {
    let mut server = server();
    ask(&mut server, 2, Kind::Watch, "/local/domain/1/data\0spy\0").expect("room");
    assert_eq!(events(&mut server, 2).len(), 1);
    ask(&mut server, 1, Kind::Write, "data/a\0x").expect("own");
    assert!(events(&mut server, 2).is_empty());
    ask(&mut server, 1, Kind::SetPermissions, "data/a\0r1\0").expect("own");
    assert_eq!(events(&mut server, 2), ["/local/domain/1/data/a spy"]);
    ask(&mut server, 1, Kind::SetPermissions, "data/a\0n1\0").expect("own");
    assert_eq!(
        events(&mut server, 2),
        ["/local/domain/1/data/a spy"],
        "the old list counts as well"
    );
    ask(&mut server, 1, Kind::Write, "data/a\0y").expect("own");
    assert!(events(&mut server, 2).is_empty());
}

#[test]
fn special_events_are_dom0s_unless_given_away() {
    let mut server = server();
    for who in [0, 1] {
        ask(&mut server, who, Kind::Watch, "@releaseDomain\0t\0").expect("room");
        assert_eq!(events(&mut server, who), ["@releaseDomain t"]);
    }
    server.note_shutdown(dom(2));
    server.note_shutdown(dom(2));
    assert_eq!(
        events(&mut server, 0),
        ["@releaseDomain t"],
        "once per shutdown"
    );
    assert!(events(&mut server, 1).is_empty());
    ask(
        &mut server,
        0,
        Kind::SetPermissions,
        "@releaseDomain\0n0\0r1\0",
    )
    .expect("dom0");
    server.release(dom(2));
    assert_eq!(events(&mut server, 1), ["@releaseDomain t"]);
}

#[test]
fn watches_have_a_quota_and_end_with_the_connection() {
    let mut server = server();
    for number in 0..128 {
        ask(&mut server, 1, Kind::Watch, &format!("data\0{number}\0")).expect("room");
    }
    assert_eq!(
        ask(&mut server, 1, Kind::Watch, "data\0one-more\0"),
        Err("ENOSPC".into())
    );
    events(&mut server, 1);
    assert_eq!(
        ask(&mut server, 1, Kind::ResetWatches, "\0"),
        Ok("OK\0".into())
    );
    ask(&mut server, 1, Kind::Write, "data\0x").expect("own");
    assert!(events(&mut server, 1).is_empty());
    assert_eq!(server.watches.count(dom(1)), 0);
}

#[test]
fn names_of_watches_have_a_quota_and_a_path_takes_it_once() {
    let mut server = server();
    let deep = |first: &str, token: &str| format!("{first}/{}\0{token}\0", "a/".repeat(900) + "a");
    for (first, token) in [("x", "one"), ("x", "two"), ("y", "one")] {
        ask(&mut server, 1, Kind::Watch, &deep(first, token)).expect("room");
    }
    let more = deep("z", "one");
    assert_eq!(
        ask(&mut server, 1, Kind::Watch, &more),
        Err("ENOSPC".into())
    );
    ask(&mut server, 1, Kind::Unwatch, &deep("x", "one")).expect("there");
    assert_eq!(
        ask(&mut server, 1, Kind::Watch, &more),
        Err("ENOSPC".into()),
        "the path is watched by another token"
    );
    ask(&mut server, 1, Kind::Unwatch, &deep("x", "two")).expect("there");
    ask(&mut server, 1, Kind::Watch, &more).expect("room");
}

#[test]
fn a_deep_watch_that_ends_leaves_nothing_and_those_on_its_way_stay() {
    let mut server = server();
    let deep = format!("data/{}\0deep\0", "a/".repeat(900) + "a");
    let (near, beside) = ("data/a\0near\0", "data/a/b\0beside\0");
    for watch in [&*deep, near, beside] {
        ask(&mut server, 1, Kind::Watch, watch).expect("room");
    }
    ask(&mut server, 1, Kind::Unwatch, &deep).expect("there");
    events(&mut server, 1);
    ask(&mut server, 1, Kind::Write, "data/a/b\0x").expect("own");
    assert_eq!(events(&mut server, 1), ["data/a/b beside", "data/a/b near"]);
    for watch in [near, beside] {
        ask(&mut server, 1, Kind::Unwatch, watch).expect("there");
    }
    assert!(server.watches.is_bare());
}
