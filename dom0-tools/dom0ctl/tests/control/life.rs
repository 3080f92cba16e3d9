//! A domain's life as its owner sees it: made, changed, refused, ended.

use crate::machine::{CPUS, TOTAL_FRAMES};
use crate::support::kernel::kernel;
use crate::{done, free, list, machine, refused};
use serde_json::Value;

#[test]
fn a_domain_lives_grows_shrinks_and_leaves_nothing_behind() {
    let machine = machine();
    let before = free(&machine);
    assert_eq!(before, TOTAL_FRAMES * 4096);
    let create =
        "create --name a --memory 64MiB --max-memory 256MiB --vcpus 1 --max-vcpus 4 --json";
    let args: Vec<&str> = create.split(' ').collect();
    let created = machine.run(&args).json("create");
    assert_eq!(created["memory_bytes"], 64 << 20);

    let ballooned = machine
        .run(&["balloon", "a", "192MiB", "--json"])
        .json("balloon");
    assert_eq!(ballooned["memory_bytes"], 192 << 20);
    let online = machine.run(&["vcpus", "a", "4", "--json"]).json("vcpus");
    assert_eq!(online["vcpus_online"], 4);
    let lines = list(&machine);
    assert_eq!((lines[0]["name"].as_str(), lines.len()), (Some("dom0"), 2));
    assert_eq!(lines[1]["memory_bytes"], 192 << 20);
    assert_eq!(
        (&lines[1]["vcpus"], &lines[1]["vcpus_online"]),
        (&4.into(), &4.into())
    );
    done(&machine, &["vcpus", "a", "1"]);
    done(&machine, &["balloon", "a", "48MiB"]);

    let show = machine.run(&["show", "a", "--json"]).json("show");
    assert_eq!(show["memory_bytes"], 48 << 20);
    assert_eq!(show["balloon_driver"], "ready");
    assert_eq!(show["kernel"], "demo");
    let info = machine.run(&["info", "--json"]).json("info");
    assert_eq!(
        info["per_cpu"].as_array().unwrap().len(),
        usize::try_from(CPUS).unwrap()
    );
    let log = done(&machine, &["console", "a", "--log"]);
    assert_eq!(log.out, "hello from a guest\r\n");

    let gone = machine.run(&["destroy", "a", "--json"]).json("action");
    assert_eq!(gone["state"], Value::Null);
    assert_eq!(list(&machine).len(), 1);
    assert_eq!(free(&machine), before);
    machine.run(&["audit", "--json"]).json("audit");
    machine.run(&["version", "--json"]).json("version");
    assert_eq!(done(&machine, &["dmesg"]).out.lines().count(), 2);
}

#[test]
fn refusals_come_before_anything_changes() {
    let machine = machine();
    done(
        &machine,
        &[
            "create",
            "--name",
            "a",
            "--max-memory",
            "128MiB",
            "--max-vcpus",
            "2",
        ],
    );
    let before = (free(&machine), list(&machine).len());
    let cases: &[(&[&str], i32, &str)] = &[
        (&["show", "nobody"], 3, "no-such-domain"),
        (&["destroy", "77"], 3, "no-such-domain"),
        (&["create", "--name", "a"], 1, "name-taken"),
        (&["create", "--memory", "2GiB"], 4, "insufficient-memory"),
        (&["create", "--memory", "64KiB"], 4, "below-minimum"),
        (&["create", "--vcpus", "1000"], 4, "over-maximum"),
        (&["create", "--cpus", "63"], 4, "insufficient-cpu"),
        (&["balloon", "a", "129MiB"], 4, "over-maximum"),
        (&["balloon", "a", "4KiB"], 4, "below-minimum"),
        (&["vcpus", "a", "3"], 4, "over-maximum"),
        (&["destroy", "dom0"], 1, "protected"),
        (&["balloon", "0", "64MiB"], 1, "protected"),
    ];
    for (args, exit, code) in cases {
        assert_eq!(refused(&machine, args), (*exit, (*code).into()), "{args:?}");
        assert_eq!((free(&machine), list(&machine).len()), before, "{args:?}");
    }
    let error = machine
        .run(&["create", "--memory", "2GiB", "--json"])
        .error();
    assert!(error["amounts"]["needed"].as_u64() > error["amounts"]["available"].as_u64());
}

#[test]
fn a_dry_run_changes_nothing() {
    let machine = machine();
    let before = free(&machine);
    let could = machine
        .run(&["create", "--dry-run", "--json"])
        .json("create");
    assert_eq!(could["id"], Value::Null);
    assert_eq!(
        refused(&machine, &["create", "--dry-run", "--memory", "8GiB"]).0,
        4
    );
    assert_eq!((free(&machine), list(&machine).len()), (before, 1));
}

#[test]
fn files_are_kept_once_and_serve_again() {
    let machine = machine();
    let directory = tempfile::TempDir::new().unwrap();
    let path = |name: &str| directory.path().join(name).to_str().unwrap().to_owned();
    std::fs::write(path("k"), kernel(3_000_000)).unwrap();
    std::fs::write(path("r"), vec![5; 5_000_000]).unwrap();
    let config = format!(
        "name = 'f'\nkernel = 'k'\nramdisk = '{}'\ncmdline = 'x y'\n",
        path("r")
    );
    std::fs::write(path("f.toml"), config).unwrap();
    let file = path("f.toml");
    for name in ["one", "two"] {
        done(&machine, &["create", "-f", &file, "--name", name]);
        let show = machine.run(&["show", name, "--json"]).json("show");
        assert_eq!(
            (&show["kernel"], &show["ramdisk"]),
            (&"k".into(), &"r".into())
        );
        assert_eq!(show["cmdline"], "x y");
    }
    let small = ["create", "-f", &file, "--memory", "4MiB"];
    assert_eq!(refused(&machine, &small), (4, "below-minimum".into()));
}

#[test]
fn poweroff_ends_the_machine_after_its_answer() {
    let machine = machine();
    assert_eq!(
        done(&machine, &["poweroff"]).out,
        "the machine powers off\n"
    );
}
