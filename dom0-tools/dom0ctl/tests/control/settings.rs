//! Settings that need no guest, states that are waited for, and what becomes of a domain that ends.

use crate::{done, list, machine, refused};

#[test]
fn a_share_is_shown_changed_and_refused() {
    let machine = machine();
    done(&machine, &["create", "--name", "s"]);
    let shown = machine.run(&["sched", "s", "--json"]).json("sched");
    assert_eq!(
        (&shown["weight"], &shown["cap_percent"]),
        (&256.into(), &0.into())
    );
    let args = [
        "sched", "s", "--weight", "1000", "--cap", "50", "--cpus", "1", "--json",
    ];
    let changed = machine.run(&args).json("sched");
    assert_eq!(changed["weight"], 1000);
    assert_eq!(changed["cap_percent"], 50);
    assert_eq!(changed["cpus"], serde_json::json!([1]));
    let text = done(&machine, &["sched", "s", "--cpus", "all"]).out;
    assert!(
        text.contains("all") && text.contains("50% of a CPU"),
        "{text}"
    );
    for (args, code) in [
        (&["sched", "s", "--weight", "0"][..], 2),
        (&["sched", "s", "--cpus", "9"], 4),
        (&["sched", "nobody"], 3),
    ] {
        assert_eq!(refused(&machine, args).0, code, "{args:?}");
    }
}

#[test]
fn what_a_domain_asks_for_is_shown_when_it_is_wanted() {
    let machine = machine();
    done(&machine, &["create", "--name", "c"]);
    let plain = machine.run(&["show", "c", "--json"]).json("show");
    assert!(plain["counters"].is_null());
    let counted = machine
        .run(&["show", "c", "--counters", "--json"])
        .json("show");
    let most = &counted["counters"][0];
    assert_eq!(
        (&most["kind"], &most["count"]),
        (&"exception:PF".into(), &9.into())
    );
    let text = done(&machine, &["show", "c", "--counters"]).out;
    assert!(text.contains("hypercall:mmu_update"), "{text}");
}

#[test]
fn a_name_and_a_maximum_change() {
    let machine = machine();
    done(&machine, &["create", "--name", "old"]);
    let renamed = machine
        .run(&["rename", "old", "new", "--json"])
        .json("rename");
    assert_eq!(
        (&renamed["previous"], &renamed["name"]),
        (&"old".into(), &"new".into())
    );
    assert_eq!(list(&machine)[1]["name"], "new");
    assert_eq!(
        refused(&machine, &["rename", "new", "dom0"]),
        (1, "name-taken".into())
    );
    let set = machine
        .run(&["max-memory", "new", "128MiB", "--json"])
        .json("max-memory");
    assert_eq!(set["max_memory_bytes"], 128 << 20);
    assert_eq!(list(&machine)[1]["max_memory_bytes"], 128 << 20);
    assert_eq!(refused(&machine, &["max-memory", "new", "32MiB"]).0, 4);
    assert_eq!(refused(&machine, &["max-memory", "new", "0MiB"]).0, 2);
    assert_eq!(refused(&machine, &["max-memory", "new", "1TiB"]).0, 4);
}

#[test]
fn states_are_waited_for() {
    let machine = machine();
    done(&machine, &["create", "--name", "w", "--paused"]);
    let paused = machine
        .run(&["wait", "w", "--for", "paused", "--json"])
        .json("action");
    assert_eq!(
        (&paused["action"], &paused["state"]),
        (&"wait".into(), &"paused".into())
    );
    let args = ["wait", "w", "--for", "running", "--timeout", "0.1"];
    assert_eq!(refused(&machine, &args), (6, "deadline".into()));
    done(&machine, &["unpause", "w"]);
    done(
        &machine,
        &["wait", "w", "--for", "running", "--timeout", "20"],
    );
    let mut gone = machine.command(&["wait", "w", "--for", "gone"]);
    let mut gone = gone.stdout(std::process::Stdio::null()).spawn().unwrap();
    done(&machine, &["destroy", "w"]);
    // Whether the wait began before or after the end.
    assert!(matches!(gone.wait().unwrap().code(), Some(0 | 3)));
    assert_eq!(refused(&machine, &["wait", "w", "--for", "gone"]).0, 3);
    assert_eq!(machine.run(&["wait", "w", "--for", "dead"]).code, 2);
}

#[test]
fn a_poweroff_restarts_or_is_kept() {
    let machine = machine();
    done(
        &machine,
        &["create", "--name", "k", "--on-poweroff", "preserve"],
    );
    let ended = machine
        .run(&["shutdown", "k", "--wait", "--json"])
        .json("action");
    assert_eq!(ended["state"], "shutdown");
    let shown = machine.run(&["show", "k", "--json"]).json("show");
    assert_eq!(shown["on_end"]["poweroff"], "preserve");
    done(&machine, &["destroy", "k"]);
    done(
        &machine,
        &["create", "--name", "r", "--on-poweroff", "restart"],
    );
    let before = list(&machine)[1]["id"].clone();
    done(&machine, &["shutdown", "r", "--wait"]);
    assert_ne!(list(&machine)[1]["id"], before);
}

#[test]
fn a_key_without_a_guest_that_hears_it_is_told_of() {
    let machine = machine();
    done(&machine, &["create", "--name", "d"]);
    let args = ["sysrq", "d", "h", "--timeout", "0.2"];
    assert_eq!(refused(&machine, &args), (5, "no-driver".into()));
    assert_eq!(machine.run(&["sysrq", "d", "help"]).code, 2);
    assert_eq!(refused(&machine, &["sysrq", "d", " "]).0, 2);
}
