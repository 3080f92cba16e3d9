//! Random requests of several domains against a slow, obvious reference, with a recount of all costs after each.

use super::{Kind, ask, ask_in, dom, server};
use crate::{
    DomId,
    xenstore::{Access, Caller, Path, Server},
};
use alloc::{collections::BTreeMap, format, string::String, vec::Vec};

/// A small generator; the seed is in every failure's text.
struct Random(u64);

impl Random {
    fn next(&mut self, below: u64) -> u64 {
        self.0 ^= self.0 << 13;
        self.0 ^= self.0 >> 7;
        self.0 ^= self.0 << 17;
        self.0 % below
    }

    fn pick<'a>(&mut self, from: &[&'a str]) -> &'a str {
        let count = u64::try_from(from.len()).expect("short");
        from[usize::try_from(self.next(count)).expect("short")]
    }
}

/// All values below `data` of all domains, by full path.
type Reference = BTreeMap<String, String>;

fn values(server: &Server) -> Reference {
    let mut values = Reference::new();
    for (path, node) in server.store.tree().walk() {
        if path.as_str().contains("/data") {
            let value = String::from_utf8(node.value.to_vec()).expect("text");
            values.insert(path.as_str().into(), value);
        }
    }
    values
}

fn write(reference: &mut Reference, path: &str, value: Option<&str>) {
    let data = path.find("/data").expect("below data");
    let mut end = data + 5;
    while let Some(next) = path[end..].find('/').map(|at| at + end) {
        reference.entry(path[..next].into()).or_default();
        end = next + 1;
    }
    match value {
        Some(value) => {
            reference.insert(path.into(), value.into());
        }
        None => {
            reference.entry(path.into()).or_default();
        }
    }
}

fn remove(reference: &mut Reference, path: &str) {
    let below = format!("{path}/");
    reference.retain(|key, _| key != path && !key.starts_with(&below));
}

#[test]
fn random_requests_match_the_reference_and_the_recount() {
    for seed in 1..=40 {
        let mut random = Random(seed * 0x9e37_79b9);
        let mut server = server();
        let mut reference = values(&server);
        let mut open: Vec<(u16, u32, Reference, bool)> = Vec::new();
        for step in 0..200 {
            one_step(&mut random, &mut server, &mut reference, &mut open);
            assert_eq!(values(&server), reference, "seed {seed} step {step}");
            assert_eq!(
                server.store.recounted(),
                server.store.counted(),
                "seed {seed} step {step}"
            );
        }
    }
}

fn one_step(
    random: &mut Random,
    server: &mut Server,
    reference: &mut Reference,
    open: &mut Vec<(u16, u32, Reference, bool)>,
) {
    let who = u16::try_from(1 + random.next(3)).expect("small");
    let name = random.pick(&["a", "a/b", "a/b/c", "d", "d/e"]);
    let relative = format!("data/{name}");
    let full = format!("/local/domain/{who}/{relative}");
    match random.next(8) {
        0 if open.len() < 4 => {
            let id = super::start(server, who);
            open.push((who, id, reference.clone(), false));
        }
        1 if !open.is_empty() => {
            let count = u64::try_from(open.len()).expect("short");
            let (owner, id, own, changed) =
                open.remove(usize::try_from(random.next(count)).expect("short"));
            let result = ask_in(server, owner, id, Kind::TransactionEnd, "T\0");
            if result.is_ok() && changed {
                // A commit without conflict gives the owner's part as the transaction saw it last.
                let home = format!("/local/domain/{owner}/");
                reference.retain(|key, _| !key.starts_with(&home));
                reference.extend(own.into_iter().filter(|(key, _)| key.starts_with(&home)));
            } else if let Err(error) = result {
                assert_eq!(error, "EAGAIN");
            }
        }
        kind => {
            let inside = open.iter_mut().find(|(owner, ..)| *owner == who);
            let (id, target) = match inside {
                Some((_, id, own, changed)) if random.next(2) == 0 => {
                    *changed = true;
                    // Read everything, so that any change from outside is a conflict and the reference stays simple.
                    for path in own
                        .keys()
                        .filter(|key| key.starts_with(&format!("/local/domain/{who}/")))
                    {
                        ask_in(server, who, *id, Kind::Read, &format!("{path}\0"))
                            .expect("it saw it");
                    }
                    (*id, own)
                }
                _ => (0, &mut *reference),
            };
            match kind {
                2 | 3 => {
                    let value = format!("{}", random.next(100));
                    ask_in(
                        server,
                        who,
                        id,
                        Kind::Write,
                        &format!("{relative}\0{value}"),
                    )
                    .expect("its own");
                    write(target, &full, Some(&value));
                }
                4 => {
                    ask_in(
                        server,
                        who,
                        id,
                        Kind::MakeDirectory,
                        &format!("{relative}\0"),
                    )
                    .expect("its own");
                    write(target, &full, None);
                }
                5 | 6 => {
                    if ask_in(server, who, id, Kind::Remove, &format!("{relative}\0")).is_ok() {
                        remove(target, &full);
                    }
                }
                _ => {
                    let expected = target.get(&full).cloned().ok_or(String::from("ENOENT"));
                    assert_eq!(
                        ask_in(server, who, id, Kind::Read, &format!("{relative}\0")),
                        expected
                    );
                }
            }
        }
    }
}

#[test]
fn a_stranger_never_gets_anything() {
    let mut random = Random(7);
    let mut server = server();
    ask(&mut server, 1, Kind::Write, "data/secret\0hidden").expect("own");
    for _ in 0..500 {
        let kind = Kind::from_number(u32::try_from(random.next(23)).expect("small"));
        let path = random.pick(&[
            "/local/domain/1/data/secret",
            "/local/domain/1/data",
            "/local/domain/1",
            "/",
            "/vm",
        ]);
        let rest = random.pick(&["\0", "\0x", "\0n2\0", "\0b2\0", "\0\0"]);
        if let Some(kind) = kind
            && let Ok(reply) = ask(&mut server, 2, kind, &format!("{path}{rest}"))
        {
            assert!(
                !reply.contains("hidden") && !reply.contains("secret"),
                "{kind:?} {path:?} {rest:?}"
            );
        }
        let stranger = Caller {
            domain: dom(2),
            target: None,
        };
        let home = Path::home(DomId::DOM0).below("x");
        assert!(server.store.get(stranger, &home, Access::Read).is_err());
    }
    assert_eq!(
        ask(&mut server, 1, Kind::Read, "data/secret\0"),
        Ok("hidden".into())
    );
}
