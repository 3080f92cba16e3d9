//! `cargo xtask doctor`: what is there and what is missing, without changing anything.

use std::process::ExitCode;

use anyhow::Result;

use crate::setup::{packages, peers, toolchain};
use crate::workspace::Workspace;

/// Prints one line per thing; fails when something is missing that cannot be fetched by itself.
pub(crate) fn run(workspace: &Workspace) -> Result<ExitCode> {
    let mut complete = true;
    match toolchain::find(workspace) {
        Ok(found) => line(true, "toolchain", found.describe()),
        Err(complaints) => {
            complete = false;
            line(false, "toolchain", toolchain::ADD_TARGET);
            for complaint in complaints {
                println!("         {complaint}");
            }
        }
    }
    for component in toolchain::COMPONENTS {
        let there = component.is_there();
        complete &= there;
        let advice = component.advice();
        let text = if there {
            "for `cargo xtask test`"
        } else {
            &advice
        };
        line(there, component.name, text);
    }
    let needs = [packages::RUN, packages::ISO, packages::TEST];
    for need in needs.into_iter().flatten() {
        let met = need.is_met();
        complete &= met;
        let advice = format!("{}: apt-get install {}", need.purpose, need.package);
        line(met, need.package, if met { need.purpose } else { &advice });
    }
    for package in peers::ALL {
        let there = peers::directory(workspace, package).is_dir();
        let state = if there {
            "unpacked under target/peers"
        } else {
            "not there yet: `cargo xtask test` downloads it"
        };
        line(there, package, state);
    }
    println!();
    if complete {
        println!("Everything is there: `cargo xtask run`, `cargo xtask test`.");
        Ok(ExitCode::SUCCESS)
    } else {
        println!(
            "What is missing is installed by `cargo xtask run` and `cargo xtask test` where they may."
        );
        Ok(ExitCode::FAILURE)
    }
}

fn line(found: bool, what: &str, text: &str) {
    let mark = if found { "found  " } else { "missing" };
    println!("{mark}  {what:<28} {text}");
}
