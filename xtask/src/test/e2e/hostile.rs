//! A guest that writes nonsense into every page that it shares, and says nonsense to the xenstore.

use std::time::Duration;

use anyhow::{Result, ensure};

use super::bench::{Bench, number};

/// Odd seeds speak to the xenstore, even ones write everywhere.
const SEEDS: std::ops::RangeInclusive<u32> = 1..=8;
const LIMIT: Duration = Duration::from_secs(60);

/// What admission would give to a newcomer.
fn available(bench: &Bench<'_, '_>) -> Result<u64> {
    number(&bench.client().json(&["info"])?, "available_memory_bytes")
}

/// Others are served meanwhile, nothing of it is left behind, and the hypervisor's books are right.
pub(crate) fn nonsense(bench: &Bench<'_, '_>) -> Result<()> {
    let kernel = bench.images().kernel("hostile");
    let kernel = kernel.to_string_lossy();
    bench.leaves_nothing(|| {
        let client = bench.client();
        let at_first = available(bench)?;
        client.json(&["create", "--name", "bystander", "--memory", "16MiB"])?;
        let beside_one = available(bench)?;
        for seed in SEEDS {
            let text = format!("seed {seed}");
            let words = [
                "create",
                "--name",
                "hostile",
                "--kernel",
                &kernel,
                "--cmdline",
                &text,
                "--memory",
                "16MiB",
                "--on-poweroff",
                "preserve",
            ];
            client.json(&words)?;
            // Whether it ends well or breaks its own neck is all the same.
            let said = client.say(&["wait", "hostile", "--for", "shutdown", "--timeout", "30"]);
            ensure!(
                matches!(said.code, 0 | 5 | 6),
                "seed {seed}: `{}` ended with {}: {}",
                said.command,
                said.code,
                said.err
            );
            let state = bench.domain("hostile")?["state"].clone();
            // It has a grant table as large as any, and others have not lost more by it than by the bystander.
            let left = available(bench)?;
            ensure!(
                beside_one.checked_sub(left) == at_first.checked_sub(beside_one),
                "seed {seed}: {at_first} bytes were available at first, {beside_one} beside one, {left} beside the hostile one"
            );
            let seen = client.console("bystander", |console| console.memory())?;
            ensure!(seen == 16 << 20, "seed {seed}: the other sees {seen} bytes");
            let audit = client.json(&["audit"])?;
            ensure!(number(&audit, "breaches")? == 0, "seed {seed}: {audit}");
            client.json(&["destroy", "hostile"])?;
            println!("         seed {seed}: the hostile guest is {state} in the end");
        }
        bench.await_state("bystander", &["blocked"], LIMIT)?;
        client.json(&["destroy", "bystander"]).map(|_| ())
    })
}
