//! JSON schemas of everything that `--json` prints, derived from the types that are printed.
//!
//! The committed copies in `docs/schema` are the promise; a test compares them.

use crate::command::act::Action;
use crate::command::console::Output;
use crate::command::dmesg::LogLine;
use crate::command::list::List;
use crate::command::man::Pages;
use crate::command::poweroff::PoweredOff;
use crate::command::show::Show;
use crate::command::version::Versions;
use crate::exit::ErrorDocument;
use dom0_protocol::host::{AuditReport, HostInfo};
use dom0_protocol::reply::{
    Ballooned, Created, MaxMemorySet, Moved, Renamed, SchedSettings, VcpusChanged,
};
use schemars::generate::SchemaSettings;
use schemars::{JsonSchema, Schema};

/// Every schema with its name, which is its file's name without `.json`.
#[must_use]
pub fn all() -> Vec<(&'static str, Schema)> {
    vec![
        ("action", of::<Action>()),
        ("audit", of::<AuditReport>()),
        ("balloon", of::<Ballooned>()),
        ("console-output", of::<Output<'_>>()),
        ("create", of::<Created>()),
        ("error", of::<ErrorDocument<'_>>()),
        ("info", of::<HostInfo>()),
        ("list", of::<List>()),
        ("log-line", of::<LogLine<'_>>()),
        ("man", of::<Pages>()),
        ("max-memory", of::<MaxMemorySet>()),
        ("move", of::<Moved>()),
        ("poweroff", of::<PoweredOff>()),
        ("rename", of::<Renamed>()),
        ("sched", of::<SchedSettings>()),
        ("show", of::<Show>()),
        ("vcpus", of::<VcpusChanged>()),
        ("version", of::<Versions>()),
    ]
}

fn of<T: JsonSchema>() -> Schema {
    let settings = SchemaSettings::draft2020_12().for_serialize();
    settings.into_generator().into_root_schema_for::<T>()
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::path::{Path, PathBuf};

    fn directory() -> PathBuf {
        Path::new(env!("CARGO_MANIFEST_DIR")).join("../../docs/schema")
    }

    #[test]
    fn committed_schemas_are_those_of_the_types() {
        for (name, schema) in all() {
            let path = directory().join(name).with_extension("json");
            if std::env::var_os("UPDATE_GENERATED").is_some() {
                let text = serde_json::to_string_pretty(&schema).unwrap() + "\n";
                std::fs::write(&path, text).unwrap();
            }
            // As values: the order of keys depends on how serde_json was built.
            let committed = std::fs::read_to_string(&path).unwrap_or_default();
            let committed: serde_json::Value = serde_json::from_str(&committed).unwrap_or_default();
            assert!(
                committed == schema.to_value(),
                "docs/schema/{name}.json differs from its type: run UPDATE_GENERATED=1 cargo test -p dom0ctl schema"
            );
        }
    }

    #[test]
    fn no_schema_lies_there_without_a_type() {
        let known: Vec<String> = all()
            .iter()
            .map(|(name, _)| format!("{name}.json"))
            .collect();
        for entry in std::fs::read_dir(directory()).unwrap() {
            let name = entry.unwrap().file_name().into_string().unwrap();
            assert!(known.contains(&name), "{name}");
        }
    }
}
