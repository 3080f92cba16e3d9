//! Formatting and lints, warnings being errors.

use anyhow::Result;

use crate::build::metadata::Metadata;
use crate::child::Call;
use crate::setup::toolchain::Toolchain;
use crate::test::suite::Suite;

pub(crate) fn fmt(suite: &mut Suite<'_>) -> Result<()> {
    let outcome = Call::new("cargo")
        .directory(suite.workspace().root())
        .args(["fmt", "--all", "--", "--check"])
        .logged(&suite.workspace().log("fmt")?);
    suite.case("cargo fmt", outcome);
    Ok(())
}

pub(crate) fn clippy_host(suite: &mut Suite<'_>) -> Result<()> {
    let outcome = Call::new("cargo")
        .directory(suite.workspace().root())
        .args(["clippy", "--all-targets", "--", "-D", "warnings"])
        .logged(&suite.workspace().log("clippy-host")?);
    suite.case("cargo clippy, host packages", outcome);
    Ok(())
}

pub(crate) fn clippy_bare(suite: &mut Suite<'_>) -> Result<()> {
    const NAME: &str = "cargo clippy, bare packages";
    let toolchain = suite.toolchain();
    if toolchain == Toolchain::Debian {
        suite.skip(
            NAME,
            "Debian's toolchain is used, whose clippy is another package",
        );
        return Ok(());
    }
    let mut call = toolchain.cargo(suite.workspace(), "clippy")?;
    for package in Metadata::read(suite.workspace())?.bare_members() {
        call = call.arg("-p").arg(package);
    }
    let outcome = call
        .args(["--", "-D", "warnings"])
        .logged(&suite.workspace().log("clippy-bare")?);
    suite.case(NAME, outcome);
    Ok(())
}
