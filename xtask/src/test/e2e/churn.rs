//! Domains that come and go.

use std::time::Instant;

use anyhow::{Result, ensure};

use super::bench::Bench;

/// Domains in a row, and in a long run.
const IN_A_ROW: [u32; 2] = [200, 1000];
const AT_ONCE: usize = 16;

/// Creates and destroys domains one after the other.
pub(crate) fn in_a_row(bench: &Bench<'_, '_>) -> Result<()> {
    let count = IN_A_ROW[usize::from(bench.is_long())];
    let started = Instant::now();
    bench.leaves_nothing(|| {
        for number in 0..count {
            let name = format!("row-{number}");
            bench
                .client()
                .json(&["create", "--name", &name, "--memory", "16MiB"])?;
            bench.client().json(&["destroy", &name])?;
        }
        Ok(())
    })?;
    let each = started.elapsed() / count;
    println!(
        "         create and destroy: {} ms each, {count} times",
        each.as_millis()
    );
    Ok(())
}

/// Sixteen domains side by side, each of which answers.
pub(crate) fn at_once(bench: &Bench<'_, '_>) -> Result<()> {
    bench.leaves_nothing(|| {
        let names: Vec<String> = (0..AT_ONCE)
            .map(|number| format!("at-once-{number}"))
            .collect();
        for name in &names {
            bench.client().json(&[
                "create",
                "--name",
                name,
                "--memory",
                "16MiB",
                "--max-vcpus",
                "2",
            ])?;
        }
        for name in &names {
            let seen = bench.client().console(name, |console| console.memory())?;
            ensure!(seen == 16 << 20, "{name} sees {seen} bytes");
            let domain = bench.domain(name)?;
            ensure!(
                domain["state"] == "running" || domain["state"] == "blocked",
                "{name} is {}",
                domain["state"]
            );
        }
        for name in &names {
            bench.client().json(&["destroy", name])?;
        }
        Ok(())
    })
}
