//! `cargo xtask run`'s options.

use std::path::PathBuf;

use anyhow::{Result, bail};

/// What machine to run and what to do with it.
#[derive(Debug, Clone, clap::Args)]
pub(crate) struct Options {
    /// CPUs of the machine.
    #[arg(long, default_value_t = 2, value_parser = clap::value_parser!(u32).range(1..=8))]
    pub(crate) cpus: u32,
    /// Memory of the machine, with a unit.
    #[arg(long, default_value = "2GiB", value_parser = mebibytes, value_name = "SIZE")]
    pub(crate) memory: u64,
    /// No tour and no prompt: stay up until `dom0ctl poweroff` or Ctrl-C.
    #[arg(long)]
    pub(crate) no_tour: bool,
    /// Wait for a debugger on 127.0.0.1:1234 before the first instruction.
    #[arg(long)]
    pub(crate) gdb: bool,
    /// The machine's clock counts executed instructions, one a nanosecond, whatever the host does besides.
    #[arg(long)]
    pub(crate) icount: bool,
    /// QEMU's machine type.
    #[arg(long, default_value = "q35", value_parser = ["pc", "q35"])]
    pub(crate) machine: String,
    /// QEMU's CPU model.
    #[arg(long, default_value = "max", value_name = "MODEL")]
    pub(crate) cpu: String,
    /// Words to add to the hypervisor's command line.
    #[arg(long, default_value = "", value_name = "WORDS")]
    pub(crate) append: String,
    /// Show the serial line while the machine runs.
    #[arg(long)]
    pub(crate) serial: bool,
    /// Boot by GRUB from a CD image (`cargo xtask iso`), not by QEMU's own loader.
    #[arg(long)]
    pub(crate) iso: bool,
    /// Run this kernel, an ELF, in dom0's place.
    #[arg(long, value_name = "FILE")]
    pub(crate) dom0: Option<PathBuf>,
    /// Its RAM disk.
    #[arg(long, value_name = "FILE", requires = "dom0")]
    pub(crate) dom0_ramdisk: Option<PathBuf>,
    /// Its command line.
    #[arg(long, value_name = "TEXT", requires = "dom0")]
    pub(crate) dom0_cmdline: Option<String>,
}

/// Reads a size with a unit, in MiB.
fn mebibytes(text: &str) -> Result<u64> {
    let digits = text
        .find(|c: char| !c.is_ascii_digit())
        .unwrap_or(text.len());
    let (number, unit) = text.split_at(digits);
    let factor = match unit {
        "MiB" | "M" => 1,
        "GiB" | "G" => 1024,
        "" => bail!("a size needs a unit: {text}MiB or {text}GiB"),
        _ => bail!("`{unit}` is no unit for the machine's memory: use MiB or GiB"),
    };
    let size = number
        .parse::<u64>()
        .ok()
        .and_then(|n| n.checked_mul(factor));
    match size {
        Some(size @ 256..=16384) => Ok(size),
        _ => bail!("the machine's memory is from 256MiB to 16GiB, not {text}"),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn sizes_need_a_unit_and_a_sensible_amount() {
        assert_eq!(mebibytes("2GiB").unwrap(), 2048);
        assert_eq!(mebibytes("256MiB").unwrap(), 256);
        for wrong in [
            "2",
            "",
            "GiB",
            "1MiB",
            "32GiB",
            "2TB",
            "99999999999999999999GiB",
        ] {
            assert!(mebibytes(wrong).is_err(), "{wrong}");
        }
    }
}
