//! The tour: what a machine can do, shown in a minute, each step checked three ways: by what `dom0ctl` answers, by what
//! the hypervisor counts, and by what the guest itself sees on its console.

mod steps;
mod view;

use std::time::Instant;

use anyhow::{Context, Result};

use self::view::View;
use crate::run::client::Client;

/// A step: what it shows, and how.
struct Step {
    title: &'static str,
    run: fn(&View<'_>) -> Result<()>,
}

const STEPS: &[Step] = &[
    Step {
        title: "two domains of the demo kernel are created",
        run: steps::create,
    },
    Step {
        title: "they are listed",
        run: steps::list,
    },
    Step {
        title: "one gives memory back and takes it again, while it works",
        run: steps::balloon,
    },
    Step {
        title: "two gains three vCPUs and loses them again, while it works",
        run: steps::vcpus,
    },
    Step {
        title: "one is destroyed",
        run: steps::destroy,
    },
];

/// Shows all steps; the first that does not hold ends the tour.
pub(crate) fn run(client: &Client) -> Result<()> {
    let view = View::new(client);
    for (number, step) in STEPS.iter().enumerate() {
        let number = number + 1;
        println!("\ntour {number}/{}: {}", STEPS.len(), step.title);
        let started = Instant::now();
        (step.run)(&view)
            .with_context(|| format!("tour step {number} does not hold: {}", step.title))?;
        println!(
            "   holds                ({:.1} s)",
            started.elapsed().as_secs_f64()
        );
    }
    println!("\nEvery step of the tour held.");
    Ok(())
}
