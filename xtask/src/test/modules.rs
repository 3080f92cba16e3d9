//! Boot modules that are none: the hypervisor says so in one line and ends with a code of its own.

use std::fs;
use std::time::Duration;

use anyhow::{Context, Result};

use crate::build::bare::Images;
use crate::build::bundle::Bundle;
use crate::run::qemu::Machine;
use crate::test::trial::{Ending, Trial, Wanted};
use crate::workspace::Workspace;

const LIMIT: Duration = Duration::from_secs(180);

/// A machine for each.
pub(crate) fn trials(workspace: &Workspace, images: &Images) -> Result<Vec<Trial>> {
    let directory = workspace.output("damaged")?;
    let whole = directory.join("whole.cpio");
    let bundle = Bundle {
        kernel: images.kernel("demo"),
        ramdisk: None,
        cmdline: None,
    };
    bundle.write(&whole)?;
    let archive = fs::read(&whole).with_context(|| format!("cannot read {}", whole.display()))?;
    let kernel = images.kernel("demo");
    let kernel = fs::read(&kernel).with_context(|| format!("cannot read {}", kernel.display()))?;
    let half = |bytes: &[u8]| bytes.iter().take(bytes.len() / 2).copied().collect();
    let modules: [(&str, Option<Vec<u8>>, &str); 4] = [
        ("missing", None, "there is no boot module"),
        (
            "text",
            Some(b"no kernel\n".to_vec()),
            "neither an ELF file nor a newc cpio archive",
        ),
        ("cut archive", Some(half(&archive)), "damaged or cut off"),
        ("cut kernel", Some(half(&kernel)), "does not start: kernel:"),
    ];
    modules
        .into_iter()
        .map(|(name, bytes, words)| {
            let path = directory.join(name.replace(' ', "-"));
            if let Some(bytes) = &bytes {
                fs::write(&path, bytes)
                    .with_context(|| format!("cannot write {}", path.display()))?;
            }
            Ok(Trial {
                name: format!("boot module: {name}"),
                machine: Machine {
                    initrd: bytes.map(|_| path.into_os_string()),
                    memory_mib: 256,
                    ..Machine::new(images.hypervisor())
                },
                limit: LIMIT,
                wanted: Wanted::Line(words),
                ending: Ending::Refusal,
            })
        })
        .collect()
}
