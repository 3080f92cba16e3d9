//! Guest tests: every test kernel as the first domain, on Paravane and on Debian's Xen.
//!
//! The same binary, unchanged, runs on both: what Xen does is what the guest ABI says, so a kernel that succeeds there
//! and fails here has found our fault.

use std::time::Duration;

use anyhow::Result;

use crate::build::bare::{self, Images};
use crate::build::bundle::Bundle;
use crate::conformance;
use crate::peer::xen;
use crate::peer::xen_linux::XenLinux;
use crate::peer::xen_linux::guest::Guest;
use crate::peer::xen_linux::session::Session;
use crate::run::qemu::Machine;
use crate::test::e2e;
use crate::test::modules;
use crate::test::suite::Suite;
use crate::test::trial::{self, Ending, Trial, Verdict, Wanted};

/// The kernel that is no test: it waits for commands.
const DEMO: &str = "demo";

/// A test kernel that is for an ordinary domain only: the end-to-end cases run it.
const HOSTILE: &str = "hostile";

/// The kernel that needs a hypervisor of its own: one that breaks its invariants.
const BREACHES: &str = "breaches";

/// What a panic's backtrace of it names: the Rust function that the assembly calls for a hypercall.
const TRACED: &str = "paravane::entry::from_guest::on_syscall+0x";

/// What the demo kernel says first.
const GREETING: &str = "paravane demo: ";

/// The smallest test kernel.
const HELLO: &str = "hello";

/// From start to verdict; Xen alone needs a second before the kernel's first instruction.
const LIMIT: Duration = Duration::from_secs(180);

/// The test kernels.
pub(crate) fn subjects(images: &Images) -> Vec<String> {
    images
        .kernels()
        .iter()
        .filter(|kernel| ![DEMO, HOSTILE, BREACHES].contains(&kernel.as_str()))
        .cloned()
        .collect()
}

/// Every test kernel on Paravane.
pub(crate) fn guests(suite: &mut Suite<'_>) -> Result<()> {
    let images = suite.images()?;
    let mut trials: Vec<Trial> = subjects(&images)
        .into_iter()
        .map(|subject| Trial {
            machine: our_machine(&images, &subject),
            name: format!("guest {subject}"),
            limit: LIMIT,
            wanted: Wanted::Verdict,
            ending: Ending::PowerOff,
        })
        .collect();
    let image = bare::build_breaking(suite.workspace(), suite.toolchain())?;
    let breaking = Machine {
        kernel: image.clone(),
        memory_mib: 256,
        ..our_machine(&images, BREACHES)
    };
    let bundle = Bundle {
        kernel: images.kernel(BREACHES),
        ramdisk: None,
        cmdline: Some("panic".to_owned()),
    };
    let module = suite.workspace().output("breach")?.join("panic.cpio");
    bundle.write(&module)?;
    let panicking = Machine {
        initrd: Some(module.into_os_string()),
        ..breaking.clone()
    };
    let breaches = Trial {
        machine: breaking,
        name: format!("guest {BREACHES}"),
        limit: LIMIT,
        wanted: Wanted::Verdict,
        ending: Ending::PowerOff,
    };
    trials.push(Trial {
        machine: panicking,
        name: format!("guest {BREACHES} panic"),
        wanted: Wanted::Line(TRACED),
        ending: Ending::Panic,
        ..breaches.clone()
    });
    trials.push(breaches);
    trials.push(Trial {
        machine: our_machine(&images, DEMO),
        name: "guest demo".to_owned(),
        limit: LIMIT,
        wanted: Wanted::Line(GREETING),
        ending: Ending::Whatever,
    });
    trials.extend(modules::trials(suite.workspace(), &images)?);
    trial::run_all(suite, trials);
    e2e::breach(suite, image)
}

/// Paravane with a kernel as its first domain.
fn our_machine(images: &Images, kernel: &str) -> Machine {
    Machine {
        append: "loglvl=debug dom0_mem=128MiB dom0_max_vcpus=4".to_owned(),
        initrd: Some(images.kernel(kernel).into_os_string()),
        ..Machine::new(images.hypervisor())
    }
}

/// Every test kernel on Debian's Xen.
pub(crate) fn oracle(suite: &mut Suite<'_>) -> Result<()> {
    let images = suite.images()?;
    let xen = xen::hypervisor(suite.workspace())?;
    let mut trials = subjects(&images)
        .into_iter()
        .map(|subject| {
            Ok(Trial {
                machine: xen::machine(&xen, &images.kernel(&subject))?,
                name: format!("oracle {subject}"),
                limit: LIMIT,
                wanted: Wanted::Verdict,
                ending: Ending::Whatever,
            })
        })
        .collect::<Result<Vec<_>>>()?;
    trials.push(Trial {
        machine: xen::machine(&xen, &images.kernel(DEMO))?,
        name: "oracle demo".to_owned(),
        limit: LIMIT,
        wanted: Wanted::Line(GREETING),
        ending: Ending::Whatever,
    });
    trial::run_all(suite, trials);
    Ok(())
}

/// A test kernel as an ordinary domain of Debian's Xen, beside a Linux first domain.
pub(crate) fn oracle_domain(suite: &mut Suite<'_>) -> Result<()> {
    let images = suite.images()?;
    let peer = XenLinux::ensure(suite.workspace())?;
    let guest = Guest::new(HELLO, images.kernel(HELLO));
    let session = Session::one_after_another("oracle-domain", vec![guest], trial::MARK, LIMIT);
    let outcome = session.run(suite.workspace(), &peer)?;
    let console = outcome.console(HELLO);
    match trial::verdict(console) {
        Some(Verdict::Success) => suite.pass("oracle-domain hello"),
        other => suite.fail(
            "oracle-domain hello",
            &format!(
                "{other:?}\nconsole:\n{}\nscript, which ended with {}:\n{}",
                console.join("\n"),
                outcome.status,
                outcome.script().join("\n")
            ),
        ),
    }
    Ok(())
}

/// The conformance suite, as far as it is short.
pub(crate) fn conformance(suite: &mut Suite<'_>) -> Result<()> {
    let images = suite.images()?;
    let report = conformance::short(suite.workspace(), &images)?;
    for (name, counts) in report.counts() {
        if let Some(counts) = counts {
            suite.pass_many(
                counts.passed,
                &format!("answers of {name} are as they must be"),
            );
        }
    }
    for complaint in report.complaints() {
        suite.fail("conformance", complaint);
    }
    Ok(())
}
