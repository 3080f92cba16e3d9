//! Every size, offset and constant, compared with Debian's public headers by a generated C program.
//!
//! The program consists of static assertions only, so that compiling it is the test: nothing is trusted by eye.

use std::fmt::Write as _;
use std::path::Path;
use std::process::Command;

use hypercall_abi::inventory::{CONSTANTS, LAYOUTS};

/// The line to run where something is missing.
const INSTALL: &str = "apt-get install --no-install-recommends gcc libc6-dev libxen-dev";

const HEADERS: &[&str] = &[
    "xen.h",
    "callback.h",
    "elfnote.h",
    "errno.h",
    "event_channel.h",
    "features.h",
    "grant_table.h",
    "memory.h",
    "nmi.h",
    "physdev.h",
    "sched.h",
    "vcpu.h",
    "version.h",
    "arch-x86/cpuid.h",
    "io/blkif.h",
    "io/console.h",
    "io/netif.h",
    "io/xenbus.h",
    "io/xs_wire.h",
];

fn program() -> String {
    let mut c = String::from("#include <stddef.h>\n#include <stdint.h>\n#include <stdbool.h>\n");
    c.push_str("#define __XEN_INTERFACE_VERSION__ __XEN_LATEST_INTERFACE_VERSION__\n#define __XEN_TOOLS__ 1\n");
    for header in HEADERS {
        writeln!(c, "#include <xen/{header}>").unwrap();
    }
    for layout in LAYOUTS.iter().filter(|layout| !layout.c_name.is_empty()) {
        let c_type = layout.c_name;
        writeln!(
            c,
            "_Static_assert(sizeof({c_type}) == {}, \"size of {c_type}\");",
            layout.size
        )
        .unwrap();
        for field in layout
            .fields
            .iter()
            .filter(|field| !field.c_name.is_empty())
        {
            let (name, offset) = (field.c_name, field.offset);
            writeln!(c, "_Static_assert(offsetof({c_type}, {name}) == {offset}, \"offset of {c_type}.{name}\");").unwrap();
        }
    }
    for constant in CONSTANTS
        .iter()
        .copied()
        .flatten()
        .filter(|constant| !constant.c_name.is_empty())
    {
        let (name, value) = (constant.c_name, constant.value);
        let suffix = if value > i128::from(i64::MAX) {
            "ull"
        } else {
            "ll"
        };
        writeln!(
            c,
            "_Static_assert(({name}) == {value}{suffix}, \"value of {name}\");"
        )
        .unwrap();
    }
    c
}

#[test]
fn sizes_offsets_and_constants_are_those_of_the_public_headers() {
    assert!(
        Path::new("/usr/include/xen/xen.h").exists(),
        "Xen's public headers are missing; run: {INSTALL}"
    );
    let directory = Path::new(env!("CARGO_TARGET_TMPDIR"));
    let source = directory.join("layout.c");
    std::fs::write(&source, program()).unwrap();
    let output = Command::new("gcc")
        .args(["-std=gnu11", "-fsyntax-only"])
        .arg(&source)
        .output();
    let output =
        output.unwrap_or_else(|error| panic!("gcc does not start ({error}); run: {INSTALL}"));
    let message = String::from_utf8_lossy(&output.stderr);
    assert!(
        output.status.success(),
        "{} disagrees with the headers:\n{message}",
        source.display()
    );
}

/// All sources of the crate, concatenated.
fn sources(directory: &Path) -> String {
    let mut text = String::new();
    for entry in std::fs::read_dir(directory).unwrap() {
        let path = entry.unwrap().path();
        if path.is_dir() {
            text.push_str(&sources(&path));
        } else {
            text.push_str(&std::fs::read_to_string(&path).unwrap());
        }
    }
    text
}

#[test]
fn inventory_misses_no_layout_and_no_module_of_constants() {
    let text = sources(&Path::new(env!("CARGO_MANIFEST_DIR")).join("src"));
    let starts = |with: &str| text.lines().filter(|line| line.starts_with(with)).count();
    assert_eq!(starts("layout!("), LAYOUTS.len());
    assert_eq!(
        starts("constants! {") + starts("errors! {"),
        CONSTANTS.len()
    );
}

#[test]
fn a_wrong_number_is_found() {
    let source = Path::new(env!("CARGO_TARGET_TMPDIR")).join("wrong.c");
    let wrong = program().replacen(
        "offsetof(struct start_info, pt_base) == 88",
        "offsetof(struct start_info, pt_base) == 80",
        1,
    );
    std::fs::write(&source, wrong).unwrap();
    let output = Command::new("gcc")
        .args(["-std=gnu11", "-fsyntax-only"])
        .arg(&source)
        .output()
        .unwrap();
    assert!(
        String::from_utf8_lossy(&output.stderr).contains("offset of struct start_info.pt_base")
    );
}
