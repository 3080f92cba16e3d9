//! End to end: what a user does, through `dom0ctl`'s commands and the multiplexer's socket, on machines of their own.
//!
//! Each group of cases has one machine. When it is through, the hypervisor recounts every frame and powers off in order;
//! both are cases too.

pub(crate) mod bench;
mod changes;
mod churn;
mod crowd;
mod cuts;
mod hostile;
mod idle;
mod input;
mod moves;
mod neighbours;
mod scheduler;
mod schemas;

use std::path::{Path, PathBuf};

use anyhow::{Context, Result, ensure};

use self::bench::Bench;
use crate::build::bundle::Bundle;
use crate::child::Call;
use crate::run::qemu::Machine;
use crate::test::suite::Suite;

/// `cargo xtask run` without a terminal: boots, shows the tour, powers off.
pub(crate) fn tour(suite: &mut Suite<'_>) -> Result<()> {
    let own = std::env::current_exe().context("cannot find this program")?;
    let log = suite.workspace().log("tour")?;
    let outcome = Call::new(own)
        .directory(suite.workspace().root())
        .arg("run")
        .limit(std::time::Duration::from_secs(300))
        .logged(&log)
        .and_then(|()| says_all(&log));
    suite.case("cargo xtask run </dev/null", outcome);
    Ok(())
}

fn says_all(log: &Path) -> Result<()> {
    let text = std::fs::read_to_string(log).context("cannot read the tour's log")?;
    ensure!(
        text.contains("Every step of the tour held."),
        "it ended well, but says of no tour: {}",
        log.display()
    );
    print!("{text}");
    Ok(())
}

/// Domains come and go.
pub(crate) fn churn(suite: &mut Suite<'_>) -> Result<()> {
    let mut bench = Bench::boot(suite, "churn", |machine| machine)?;
    bench.case("domains in a row leave no byte behind", churn::in_a_row);
    bench.case("16 domains at once", churn::at_once);
    bench.case("JSON is as its schemas say", schemas::hold);
    bench.finish()
}

/// Many domains at once.
pub(crate) fn crowd(suite: &mut Suite<'_>) -> Result<()> {
    let mut bench = Bench::boot(suite, "crowd", |machine| Machine {
        cpus: 1,
        memory_mib: 1024,
        icount: true,
        ..machine
    })?;
    bench.case(
        "64 domains in 1 GiB, and requests cost hardly more",
        crowd::of_sixty_four,
    );
    bench.finish()
}

/// What goes on between domains, and between clients.
pub(crate) fn moves(suite: &mut Suite<'_>) -> Result<()> {
    let mut bench = Bench::boot(suite, "moves", |machine| machine)?;
    bench.case("memory moves whole or not at all", moves::whole_or_not);
    bench.case("a domain grows past its first maximum", moves::growth);
    bench.case(
        "keys are heard, and ends have their consequences",
        moves::keys_and_ends,
    );
    bench.case("a client may go away at every stage", cuts::at_every_stage);
    bench.case("two clients balloon the same domain", cuts::racing_balloons);
    bench.finish()
}

/// Memory and vCPUs change while guests work.
pub(crate) fn changes(suite: &mut Suite<'_>) -> Result<()> {
    let mut bench = Bench::boot(suite, "changes", |machine| machine)?;
    bench.case(
        "a minute of changes without downtime",
        changes::for_a_minute,
    );
    bench.case(
        "changes are refused or carried out whole",
        changes::refusals,
    );
    bench.finish()?;
    let mut bench = Bench::boot(suite, "changes-icount", |machine| Machine {
        cpus: 1,
        icount: true,
        ..machine
    })?;
    bench.case(
        "three beats at most, by counted instructions",
        changes::by_instruction_count,
    );
    bench.finish()
}

/// What one domain or client does to others.
pub(crate) fn neighbours(suite: &mut Suite<'_>) -> Result<()> {
    let mut bench = Bench::boot(suite, "neighbours", |machine| machine)?;
    bench.case("a crash is one domain's own", neighbours::crash);
    bench.case("a domain that suspends itself goes on", neighbours::suspend);
    bench.case(
        "nonsense in every shared page is the guest's own matter",
        hostile::nonsense,
    );
    bench.case(
        "sixteen clients at once, the seventeenth is told",
        neighbours::clients,
    );
    bench.case(
        "a domain is destroyed while it is created, changed and watched",
        neighbours::races,
    );
    bench.finish()?;
    let mut bench = Bench::boot(suite, "idle", |machine| machine)?;
    bench.case("nothing polls", idle::nothing_polls);
    bench.finish()
}

/// CPU time goes to whom it was promised.
pub(crate) fn scheduler(suite: &mut Suite<'_>) -> Result<()> {
    let mut bench = Bench::boot(suite, "scheduler", |machine| Machine {
        icount: true,
        ..machine
    })?;
    for (name, case) in scheduler::CASES {
        bench.case(name, |bench| scheduler::alone(bench, *case));
    }
    bench.case(
        "dom0 answers at once after those that spun are gone",
        scheduler::ends,
    );
    bench.finish()
}

/// What is wrong is refused, and leaves nothing behind.
pub(crate) fn input(suite: &mut Suite<'_>) -> Result<()> {
    let mut bench = Bench::boot(suite, "input", |machine| machine)?;
    for wrong in input::wrong_kernels() {
        bench.case(wrong.name(), |bench| wrong.is_refused(bench));
    }
    for wrong in input::WRONG_FILES {
        bench.case(wrong.name(), |bench| wrong.is_refused(bench));
    }
    for wrong in input::WRONG_WORDS {
        bench.case(wrong.name(), |bench| wrong.is_refused(bench));
    }
    bench.case(
        "a kernel truncated at each of its boundaries",
        input::truncated_everywhere,
    );
    bench.case("a duplicate name", input::duplicate_name);
    bench.case("a kernel that was not bundled", input::uploaded_kernel);
    bench.case("an upload cut in the middle", cuts::upload);
    bench.case("control frames of random bytes", cuts::random_frames);
    bench.finish()
}

/// An invariant is broken, and `dom0ctl audit` says which by its words and that one is by its exit code.
pub(crate) fn breach(suite: &mut Suite<'_>, breaking: PathBuf) -> Result<()> {
    let module = suite.workspace().output("e2e")?.join("breach.cpio");
    let bundle = Bundle::dom0(suite.workspace(), &suite.images()?)?;
    let cmdline = Some("breach=1".to_owned());
    Bundle { cmdline, ..bundle }.write(&module)?;
    let mut bench = Bench::boot(suite, "breach", |machine| Machine {
        kernel: breaking,
        initrd: Some(module.into_os_string()),
        ..machine
    })?;
    bench.case("dom0ctl audit names a broken invariant", |bench| {
        let said = bench.client().say(&["audit"]);
        ensure!(
            said.code == 1 && said.out.contains("I-01"),
            "it ended with {} and said {}{}",
            said.code,
            said.out,
            said.err
        );
        Ok(())
    });
    Ok(())
}
