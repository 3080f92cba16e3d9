//! Every size, offset and constant, compared with Debian's public headers by a generated C program.
//!
//! The program consists of static assertions only, so that compiling it is the test: nothing is trusted by eye.

use std::path::{Path, PathBuf};
use std::process::Command;

use hypercall_abi::inventory::{CONSTANTS, LAYOUTS};

/// The line to run where something is missing.
const INSTALL: &str = "apt-get install --no-install-recommends gcc libc6-dev libxen-dev";

const PRELUDE: &str = "\
#include <stddef.h>
#include <stdint.h>
#include <stdbool.h>
#define __XEN_INTERFACE_VERSION__ __XEN_LATEST_INTERFACE_VERSION__
#define __XEN_TOOLS__ 1
";

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

fn claim(expression: &str, value: i128, what: &str) -> String {
    let suffix = if value > i128::from(i64::MAX) {
        "ull"
    } else {
        "ll"
    };
    format!("_Static_assert(({expression}) == {value}{suffix}, \"{what}\");\n")
}

fn program() -> String {
    let mut c = String::from(PRELUDE);
    for header in HEADERS {
        c += &format!("#include <xen/{header}>\n");
    }
    for layout in LAYOUTS.iter().filter(|layout| !layout.c_name.is_empty()) {
        let head = layout.c_name.strip_prefix("head of ");
        let name = head.unwrap_or(layout.c_name);
        if head.is_none() {
            c += &claim(
                &format!("sizeof({name})"),
                layout.size as i128,
                &format!("size of {name}"),
            );
        }
        for field in layout
            .fields
            .iter()
            .filter(|field| !field.c_name.is_empty())
        {
            let field_name = field.c_name;
            let what = format!("offset of {name}.{field_name}");
            c += &claim(
                &format!("offsetof({name}, {field_name})"),
                field.offset as i128,
                &what,
            );
        }
    }
    for constant in CONSTANTS
        .iter()
        .copied()
        .flatten()
        .filter(|constant| !constant.c_name.is_empty())
    {
        c += &claim(
            constant.c_name,
            constant.value,
            &format!("value of {}", constant.name),
        );
    }
    c
}

/// Compiles a program and gives what the compiler says of it: nothing, if all assertions hold.
fn complaints(file: &str, program: &str) -> String {
    assert!(
        Path::new("/usr/include/xen/xen.h").exists(),
        "Xen's public headers are missing; run: {INSTALL}"
    );
    let source: PathBuf = Path::new(env!("CARGO_TARGET_TMPDIR")).join(file);
    std::fs::write(&source, program).expect("the target directory is writable");
    let output = Command::new("gcc")
        .args(["-std=gnu11", "-fsyntax-only"])
        .arg(&source)
        .output();
    let output =
        output.unwrap_or_else(|error| panic!("gcc does not start ({error}); run: {INSTALL}"));
    let message = String::from_utf8_lossy(&output.stderr).into_owned();
    assert_eq!(output.status.success(), message.is_empty(), "{message}");
    message
}

#[test]
fn sizes_offsets_and_constants_are_those_of_the_public_headers() {
    let message = complaints("layout.c", &program());
    assert!(message.is_empty(), "the headers disagree:\n{message}");
}

#[test]
fn a_wrong_number_is_found() {
    let right = "(offsetof(struct start_info, pt_base)) == 88";
    assert!(program().contains(right));
    let wrong = program().replace(right, "(offsetof(struct start_info, pt_base)) == 80");
    assert!(complaints("wrong.c", &wrong).contains("offset of struct start_info.pt_base"));
}

/// All sources below a directory, concatenated.
fn sources(directory: &Path) -> String {
    let mut text = String::new();
    for entry in std::fs::read_dir(directory).expect("the sources are there") {
        let path = entry.expect("the sources can be listed").path();
        if path.is_dir() {
            text += &sources(&path);
        } else {
            text += &std::fs::read_to_string(&path).expect("the sources can be read");
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
