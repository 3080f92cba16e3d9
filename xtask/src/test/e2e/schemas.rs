//! What `--json` prints is what `docs/schema` promises, on real output.

use std::fs;
use std::time::Duration;

use anyhow::{Context, Result, bail};
use serde_json::Value;

use super::bench::Bench;

/// Commands of a domain's life, in order, each with its schema.
const COMMANDS: &[(&[&str], &str)] = &[
    (&["version"], "version"),
    (&["info"], "info"),
    (
        &[
            "create",
            "--name",
            "formal",
            "--memory",
            "32MiB",
            "--max-memory",
            "64MiB",
            "--max-vcpus",
            "2",
        ],
        "create",
    ),
    (&["list"], "list"),
    (&["show", "formal"], "show"),
    (&["balloon", "formal", "48MiB"], "balloon"),
    (&["show", "formal", "--counters"], "show"),
    (&["sched", "formal", "--weight", "300"], "sched"),
    (&["max-memory", "formal", "96MiB"], "max-memory"),
    (&["rename", "formal", "formal"], "rename"),
    (&["sysrq", "formal", "h"], "action"),
    (&["wait", "formal", "--for", "blocked"], "action"),
    (
        &["create", "--name", "other", "--memory", "32MiB"],
        "create",
    ),
    (&["wait", "other", "--for", "blocked"], "action"),
    (&["move", "other", "formal", "16MiB"], "move"),
    (&["destroy", "other"], "action"),
    (&["vcpus", "formal", "2"], "vcpus"),
    (&["pause", "formal"], "action"),
    (&["list"], "list"),
    (&["unpause", "formal"], "action"),
    (&["reboot", "formal"], "action"),
    (&["shutdown", "formal", "--wait"], "action"),
    (&["list"], "list"),
    (&["audit"], "audit"),
];

/// How long a reboot may take.
const LIMIT: Duration = Duration::from_secs(30);

/// Every command's output fits its schema, and an error fits the schema of errors.
pub(crate) fn hold(bench: &Bench<'_, '_>) -> Result<()> {
    for (words, schema) in COMMANDS {
        if words.first() == Some(&"shutdown") {
            // A domain that is yet starting anew cannot be asked to end.
            bench.await_state("formal", &["running", "blocked"], LIMIT)?;
        }
        let output = bench.client().json(words)?;
        fits(bench, schema, &output)
            .with_context(|| format!("dom0ctl {} --json", words.join(" ")))?;
    }
    let (_, error) = bench.refused(&["show", "nobody"])?;
    fits(bench, "error", &error)
}

fn fits(bench: &Bench<'_, '_>, schema: &str, output: &Value) -> Result<()> {
    let path = bench.root().join(format!("docs/schema/{schema}.json"));
    let text =
        fs::read_to_string(&path).with_context(|| format!("cannot read {}", path.display()))?;
    let schema: Value = serde_json::from_str(&text).context("a schema is no JSON")?;
    let validator = jsonschema::validator_for(&schema).context("a schema is none")?;
    if let Some(error) = validator.iter_errors(output).next() {
        bail!("{error}, at `{}` of {output}", error.instance_path());
    }
    Ok(())
}
