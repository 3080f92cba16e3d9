//! Single requests: results, errors and their order.

use super::{Kind, Message, Path, ask, dom, server, take};
use crate::DomId;
use alloc::{format, string::String};

fn err(name: &str) -> Result<String, String> {
    Err(String::from(name))
}

#[test]
fn a_written_value_reads_back_and_parents_appear() {
    let mut server = server();
    assert_eq!(
        ask(&mut server, 1, Kind::Write, "data/a/b\0value"),
        Ok("OK\0".into())
    );
    assert_eq!(
        ask(&mut server, 1, Kind::Read, "/local/domain/1/data/a/b\0"),
        Ok("value".into())
    );
    assert_eq!(
        ask(&mut server, 1, Kind::Read, "data/a\0"),
        Ok(String::new())
    );
    assert_eq!(
        ask(&mut server, 1, Kind::Directory, "data\0"),
        Ok("a\0".into())
    );
    assert_eq!(
        ask(&mut server, 1, Kind::GetPermissions, "data/a\0"),
        Ok("n1\0".into())
    );
}

#[test]
fn checks_come_in_the_order_of_the_protocol() {
    let mut server = server();
    for kind in [15, 16, 20, 23, 26, 27, u32::MAX] {
        let mut request = Message::request(Kind::Read, b"");
        request.kind = kind;
        request.transaction = 77;
        server.handle(dom(1), &request);
        let reply = take(&mut server, 1).expect("a reply");
        assert_eq!(reply.payload, b"ENOSYS\0", "kind {kind}");
    }
    let privileged = [
        Kind::Control,
        Kind::Introduce,
        Kind::Release,
        Kind::IsDomainIntroduced,
        Kind::Resume,
        Kind::SetTarget,
    ];
    for kind in privileged {
        assert_eq!(
            super::ask_in(&mut server, 1, 77, kind, ""),
            err("EACCES"),
            "{kind:?}"
        );
    }
    assert_eq!(
        super::ask_in(&mut server, 1, 77, Kind::Read, ""),
        err("ENOENT")
    );
    assert_eq!(
        super::ask_in(&mut server, 1, 77, Kind::Watch, "data\0t\0"),
        Ok("OK\0".into())
    );
}

#[test]
fn a_domain_cannot_reach_what_it_was_not_given() {
    let mut server = server();
    assert_eq!(
        ask(&mut server, 1, Kind::Read, "/local/domain/2/data\0"),
        err("EACCES")
    );
    assert_eq!(ask(&mut server, 1, Kind::Write, "name\0x"), err("EACCES"));
    assert_eq!(
        ask(&mut server, 1, Kind::Remove, "data/missing\0"),
        Ok("OK\0".into())
    );
    assert_eq!(ask(&mut server, 1, Kind::Remove, "/\0"), err("EINVAL"));
    assert_eq!(
        ask(&mut server, 1, Kind::Remove, "data/missing/deeper\0"),
        err("ENOENT")
    );
    assert_eq!(
        ask(&mut server, 1, Kind::Read, "/secret/thing\0"),
        err("EACCES"),
        "not even that it is missing"
    );
    assert_eq!(
        ask(&mut server, 1, Kind::Read, "missing\0"),
        err("ENOENT"),
        "its home is readable"
    );
}

#[test]
fn only_the_owner_sets_permissions_and_only_dom0_the_owner() {
    let mut server = server();
    assert_eq!(
        ask(&mut server, 1, Kind::SetPermissions, "data\0n1\0r2\0"),
        Ok("OK\0".into())
    );
    assert_eq!(
        ask(&mut server, 2, Kind::Read, "/local/domain/1/data\0"),
        Ok(String::new())
    );
    assert_eq!(
        ask(
            &mut server,
            2,
            Kind::SetPermissions,
            "/local/domain/1/data\0n2\0"
        ),
        err("EACCES")
    );
    assert_eq!(
        ask(&mut server, 1, Kind::SetPermissions, "data\0n2\0"),
        err("EPERM")
    );
    assert_eq!(
        ask(
            &mut server,
            1,
            Kind::SetPermissions,
            "data\0n1\0r2\0r3\0r4\0r5\0r6\0"
        ),
        err("ENOSPC")
    );
    assert_eq!(
        ask(&mut server, 1, Kind::SetPermissions, "data\0"),
        err("EINVAL")
    );
    assert_eq!(
        ask(
            &mut server,
            0,
            Kind::SetPermissions,
            "/local/domain/1/data\0n2\0"
        ),
        Ok("OK\0".into())
    );
}

#[test]
fn special_nodes_have_permissions_but_no_value() {
    let mut server = server();
    assert_eq!(
        ask(&mut server, 0, Kind::GetPermissions, "@releaseDomain\0"),
        Ok("n0\0".into())
    );
    assert_eq!(
        ask(&mut server, 1, Kind::GetPermissions, "@releaseDomain\0"),
        err("EACCES")
    );
    assert_eq!(
        ask(&mut server, 0, Kind::Read, "@releaseDomain\0"),
        err("EINVAL")
    );
    assert_eq!(
        ask(&mut server, 0, Kind::SetPermissions, "@releaseDomain\0r0\0"),
        Ok("OK\0".into())
    );
    assert_eq!(
        ask(&mut server, 1, Kind::GetPermissions, "@releaseDomain\0"),
        Ok("r0\0".into())
    );
}

#[test]
fn a_long_directory_comes_in_parts() {
    let mut server = server();
    for number in 0..400 {
        ask(
            &mut server,
            0,
            Kind::MakeDirectory,
            &format!("/vm/a-rather-long-name-{number:04}\0"),
        )
        .expect("dom0 may");
    }
    assert_eq!(ask(&mut server, 0, Kind::Directory, "/vm\0"), err("E2BIG"));
    let mut names = String::new();
    loop {
        let request = format!("/vm\0{}\0", names.len());
        let part = ask(&mut server, 0, Kind::DirectoryPart, &request).expect("a part");
        let (_generation, rest) = part.split_once('\0').expect("generation first");
        names.push_str(rest);
        if rest.is_empty() || rest.ends_with("\0\0") || rest == "\0" {
            break;
        }
    }
    assert_eq!(
        names
            .split_terminator('\0')
            .filter(|name| !name.is_empty())
            .count(),
        400
    );
    assert_eq!(
        ask(&mut server, 0, Kind::DirectoryPart, "/vm\x00999999\0"),
        err("EINVAL")
    );
}

#[test]
fn quotas_hold_and_are_given_back() {
    let mut server = server();
    let mut made = 0;
    while ask(
        &mut server,
        1,
        Kind::MakeDirectory,
        &format!("data/{made}\0"),
    )
    .is_ok()
    {
        made += 1;
    }
    assert_eq!(
        ask(&mut server, 1, Kind::MakeDirectory, "data/one-more\0"),
        err("ENOSPC")
    );
    assert!(made > 300, "a home of its size fits: {made}");
    assert_eq!(
        ask(&mut server, 2, Kind::MakeDirectory, "data/x\0"),
        Ok("OK\0".into()),
        "another's quota"
    );
    assert_eq!(
        ask(&mut server, 1, Kind::Remove, "data/0\0"),
        Ok("OK\0".into())
    );
    assert_eq!(
        ask(&mut server, 1, Kind::MakeDirectory, "data/y\0"),
        Ok("OK\0".into())
    );
    let long = format!("data/y\0{}", "x".repeat(2048));
    assert_eq!(ask(&mut server, 1, Kind::Write, &long), err("ENOSPC"));
    assert_eq!(server.store.recounted(), server.store.counted());
}

#[test]
fn the_node_quota_counts_chains_too() {
    let mut server = server();
    for chain in 0..3 {
        let deep = "/a".repeat(300);
        ask(
            &mut server,
            1,
            Kind::MakeDirectory,
            &format!("data/{chain}{deep}\0"),
        )
        .expect("within the quota");
    }
    let deep = "/a".repeat(300);
    assert_eq!(
        ask(
            &mut server,
            1,
            Kind::MakeDirectory,
            &format!("data/3{deep}\0")
        ),
        err("ENOSPC")
    );
    assert_eq!(server.store.recounted(), server.store.counted());
    ask(&mut server, 1, Kind::Remove, "data/0\0").expect("its own");
    assert_eq!(server.store.recounted(), server.store.counted());
}

#[test]
fn rights_of_a_dead_domain_do_not_pass_to_its_successor() {
    let mut server = server();
    ask(&mut server, 1, Kind::SetPermissions, "data\0n1\0b2\0").expect("owner");
    ask(
        &mut server,
        2,
        Kind::Write,
        "/local/domain/1/data/of-two\0x",
    )
    .expect("granted");
    server.release(dom(2));
    assert_eq!(
        ask(&mut server, 1, Kind::Directory, "data\0"),
        Ok(String::new()),
        "what it owned is gone"
    );
    assert_eq!(
        ask(&mut server, 1, Kind::GetPermissions, "data\0"),
        Ok("n1\0".into())
    );
    server.admit(dom(2));
    server.introduce(dom(2));
    assert_eq!(
        ask(&mut server, 2, Kind::Read, "/local/domain/1/data\0"),
        err("EACCES")
    );
    assert_eq!(server.store.recounted(), server.store.counted());
}

#[test]
fn dom0_asks_about_domains() {
    let mut server = server();
    assert_eq!(
        ask(&mut server, 0, Kind::IsDomainIntroduced, "1\0"),
        Ok("T\0".into())
    );
    assert_eq!(
        ask(&mut server, 0, Kind::IsDomainIntroduced, "9\0"),
        Ok("F\0".into())
    );
    assert_eq!(
        ask(&mut server, 1, Kind::GetDomainPath, "9\0"),
        Ok("/local/domain/9\0".into())
    );
    assert_eq!(ask(&mut server, 0, Kind::Release, "0\0"), err("EINVAL"));
    assert_eq!(ask(&mut server, 0, Kind::Release, "9\0"), err("ENOENT"));
    assert_eq!(
        ask(&mut server, 0, Kind::Introduce, "9\x000\x000\0"),
        err("EINVAL")
    );
    assert_eq!(
        ask(&mut server, 0, Kind::SetTarget, "1\x002\0"),
        Ok("OK\0".into())
    );
    assert_eq!(
        ask(&mut server, 1, Kind::Read, "/local/domain/2/data\0"),
        Ok(String::new())
    );
    assert_eq!(Path::home(DomId::DOM0).as_str(), "/local/domain/0");
}
