//! `docs/hypercalls.md` and `docs/hypercalls.json`, made from the table. Host only.
//!
//! Both files are committed. A test makes them anew and fails on a difference; `UPDATE_GENERATED=1 cargo test -p hypercall-abi`
//! writes them.

use std::format;
use std::string::{String, ToString};
use std::vec::Vec;

use serde_json::{Value, json};

use crate::inventory::LAYOUTS;
use crate::table::{Argument, HYPERCALLS, HypercallRow, OperationRow, Who};
use crate::version::{CONTROL_ABI_VERSION, GUEST_ABI_VERSION};

const HEAD: &str = "\
# Hypercalls

Made from the table in `hypercall-abi/src/table.rs`; do not edit. The machine-readable form is `hypercalls.json`, the promise
about versions is in `abi-versioning.md`.

The number goes into RAX, arguments into RDI, RSI, RDX, R10 and R8; the instruction is `syscall`; the result is in RAX, errors as
small negative numbers. `In`, `InOut` and `Out` are addresses of one structure that the call reads, reads and writes back, or
writes; `GuestPtr` is the address of a list. Arguments of a sub-operation are those behind the one that names it. Errors are told
in the order in which they are looked for; `EFAULT` for memory that cannot be read or written may come from every call. What is not
here is answered with `ENOSYS`.
";

/// The manual in Markdown.
#[must_use]
pub fn markdown() -> String {
    let mut text = String::from(HEAD);
    text += "\n| number | name | who | sub-operations |\n| ---: | --- | --- | ---: |\n";
    for call in HYPERCALLS {
        let (number, name, who, count) =
            (call.number, call.name, who(call.who), call.operations.len());
        text += &format!("| {number} | [{name}](#{number}-{name}) | {who} | {count} |\n");
    }
    for call in HYPERCALLS {
        let (number, name, since) = (call.number, call.name, call.since);
        text += &format!(
            "\n## {number} {name}\n\n`{}`\n\n",
            signature(name, call.arguments)
        );
        text += &format!(
            "{}\n\nSince version {since}; {}.\n",
            prose(call.doc),
            who(call.who)
        );
        if !call.operations.is_empty() {
            text += "\n| number | operation | who | since | what |\n| ---: | --- | --- | ---: | --- |\n";
        }
        for row in call.operations {
            let number = if row.number < 0x100 {
                row.number.to_string()
            } else {
                format!("{:#x}", row.number)
            };
            let (signature, doc) = (
                signature(row.name, row.arguments),
                prose(row.doc).replace('|', "\\|"),
            );
            text += &format!(
                "| {number} | `{signature}` | {} | {} | {doc} |\n",
                who(row.who),
                row.since
            );
        }
    }
    text += "\n## Structures\n\nSizes and offsets in bytes.\n\n| structure | in C | size | fields |\n| --- | --- | ---: | --- |\n";
    for layout in LAYOUTS {
        let fields: Vec<String> = layout
            .fields
            .iter()
            .map(|field| format!("{} {}", field.offset, field.name))
            .collect();
        let c_name = if layout.c_name.is_empty() {
            String::new()
        } else {
            format!("`{}`", layout.c_name)
        };
        text += &format!(
            "| `{}` | {c_name} | {} | {} |\n",
            layout.name,
            layout.size,
            fields.join(", ")
        );
    }
    text
}

/// The table in JSON, with a line end.
#[must_use]
pub fn json() -> String {
    let structures: Vec<Value> = LAYOUTS
        .iter()
        .map(|layout| {
            let fields: Vec<Value> = layout
                .fields
                .iter()
                .map(|field| json!({ "name": field.name, "offset": field.offset }))
                .collect();
            let c_name = (!layout.c_name.is_empty()).then_some(layout.c_name);
            json!({ "name": layout.name, "c_name": c_name, "size": layout.size, "fields": fields })
        })
        .collect();
    let table = json!({
        "guest_abi_version": { "major": GUEST_ABI_VERSION >> 16, "minor": GUEST_ABI_VERSION & 0xffff },
        "interface_version": CONTROL_ABI_VERSION,
        "hypercalls": HYPERCALLS.iter().map(call_json).collect::<Vec<Value>>(),
        "structures": structures,
    });
    format!("{table:#}\n")
}

fn call_json(call: &HypercallRow) -> Value {
    json!({
        "number": call.number,
        "name": call.name,
        "arguments": arguments_json(call.arguments),
        "since": call.since,
        "who": who_json(call.who),
        "doc": prose(call.doc),
        "operations": call.operations.iter().map(operation_json).collect::<Vec<Value>>(),
    })
}

fn operation_json(row: &OperationRow) -> Value {
    json!({
        "number": row.number,
        "name": row.name,
        "arguments": arguments_json(row.arguments),
        "since": row.since,
        "who": who_json(row.who),
        "doc": prose(row.doc),
    })
}

fn arguments_json(arguments: &[Argument]) -> Vec<Value> {
    arguments
        .iter()
        .map(|argument| json!({ "name": argument.name, "type": kind(argument) }))
        .collect()
}

fn who_json(who: Who) -> &'static str {
    match who {
        Who::Any => "any",
        Who::Dom0 => "dom0",
    }
}

fn who(who: Who) -> &'static str {
    match who {
        Who::Any => "any domain",
        Who::Dom0 => "dom0",
    }
}

fn signature(name: &str, arguments: &[Argument]) -> String {
    let arguments: Vec<String> = arguments
        .iter()
        .map(|argument| format!("{}: {}", argument.name, kind(argument)))
        .collect();
    format!("{name}({})", arguments.join(", "))
}

/// A type without the spaces that the compiler puts between its tokens.
fn kind(argument: &Argument) -> String {
    argument.kind.replace(' ', "")
}

/// Lines of a doc comment as one paragraph.
fn prose(doc: &[&str]) -> String {
    doc.iter()
        .map(|line| line.trim())
        .collect::<Vec<&str>>()
        .join(" ")
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::path::Path;

    fn compare_or_update(file: &str, generated: &str) {
        let path = Path::new(env!("CARGO_MANIFEST_DIR"))
            .join("../docs")
            .join(file);
        if std::env::var_os("UPDATE_GENERATED").is_some() {
            std::fs::write(&path, generated).expect("docs can be written");
        }
        let committed = std::fs::read_to_string(&path).unwrap_or_default();
        let hint = "differs from the table: run UPDATE_GENERATED=1 cargo test -p hypercall-abi";
        assert!(committed == generated, "docs/{file} {hint}");
    }

    #[test]
    fn committed_manual_is_that_of_the_table() {
        compare_or_update("hypercalls.md", &markdown());
    }

    #[test]
    fn committed_json_is_that_of_the_table() {
        compare_or_update("hypercalls.json", &json());
    }
}
