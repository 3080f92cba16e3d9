//! What the boot loader handed over: the first domain's kernel, ramdisk and command line.
//!
//! The first module is a kernel alone (an ELF file), or a newc cpio archive with `kernel`, and with `ramdisk` and `cmdline` if
//! wanted. A second module is the ramdisk. A module's own line, where the loader can give one, is the command line of the
//! kernel in it.

use thiserror::Error;

const ELF_MAGIC: &[u8] = b"\x7fELF";
const CPIO_MAGIC: &[u8] = b"070701";
/// Name of the member that ends an archive.
const TRAILER: &[u8] = b"TRAILER!!!\0";
/// Most padding, and the trailer's header.
const BEFORE_TRAILER: usize = 3 + 110;

/// One module as the boot loader left it.
#[derive(Debug, Clone, Copy)]
pub struct Module<'a> {
    /// Its bytes.
    pub bytes: &'a [u8],
    /// Its line; empty if the loader gave none.
    pub line: &'a [u8],
}

/// What the first domain is made of.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Bundle<'a> {
    /// The kernel's ELF file.
    pub kernel: &'a [u8],
    /// Any bytes for the kernel; empty if there are none.
    pub ramdisk: &'a [u8],
    /// The kernel's command line, without line ends.
    pub command_line: &'a [u8],
}

/// Why the modules cannot be used.
#[derive(Debug, Clone, Copy, Error, PartialEq, Eq)]
pub enum BundleError {
    /// No module.
    #[error("there is no boot module, so no kernel for the first domain")]
    None,
    /// Neither form.
    #[error("the boot module is neither an ELF file nor a newc cpio archive")]
    UnknownFormat,
    /// An archive without an end.
    #[error("the boot module is an archive that is damaged or cut off")]
    Truncated,
    /// An archive without a kernel.
    #[error("the boot module is an archive without a file `kernel`")]
    NoKernel,
    /// Two ramdisks, or three modules.
    #[error("there are more boot modules than a kernel and its ramdisk")]
    TooMany,
}

/// Finds the parts of the first domain in the loader's modules.
///
/// # Errors
/// [`BundleError`].
pub fn bundle<'a>(modules: &[Module<'a>]) -> Result<Bundle<'a>, BundleError> {
    let (first, others) = modules.split_first().ok_or(BundleError::None)?;
    let mut bundle = parse(first.bytes)?;
    match others {
        [] => {}
        [ramdisk] if bundle.ramdisk.is_empty() => bundle.ramdisk = ramdisk.bytes,
        _ => return Err(BundleError::TooMany),
    }
    if !first.line.is_empty() {
        bundle.command_line = first.line;
    }
    Ok(bundle)
}

fn parse(module: &[u8]) -> Result<Bundle<'_>, BundleError> {
    let mut bundle = Bundle {
        kernel: module,
        ramdisk: &[],
        command_line: &[],
    };
    if module.starts_with(ELF_MAGIC) {
        return Ok(bundle);
    }
    if !module.starts_with(CPIO_MAGIC) {
        return Err(BundleError::UnknownFormat);
    }
    bundle.kernel = &[];
    let mut end = 0;
    for entry in cpio_reader::iter_files(module) {
        let file = entry.file();
        match entry.name() {
            "kernel" => bundle.kernel = file,
            "ramdisk" => bundle.ramdisk = file,
            "cmdline" => bundle.command_line = file.trim_ascii_end(),
            _ => {}
        }
        // The reader stops in silence where a header makes no sense: only the trailer right behind the last member tells
        // that it has seen them all.
        end = file
            .as_ptr()
            .addr()
            .saturating_sub(module.as_ptr().addr())
            .saturating_add(file.len());
    }
    let behind = module.get(end..).unwrap_or_default();
    let tail = behind
        .get(
            ..behind
                .len()
                .min(BEFORE_TRAILER.saturating_add(TRAILER.len())),
        )
        .unwrap_or_default();
    if !tail.windows(TRAILER.len()).any(|name| name == TRAILER) {
        return Err(BundleError::Truncated);
    }
    if bundle.kernel.is_empty() {
        return Err(BundleError::NoKernel);
    }
    Ok(bundle)
}

#[cfg(test)]
mod tests {
    extern crate std;
    use super::*;
    use std::format;
    use std::vec::Vec;

    fn member(archive: &mut Vec<u8>, name: &str, bytes: &[u8]) {
        let fields = [1, 0o100_644, 0, 0, 1, 0, bytes.len(), 0, 0, 0, 0];
        archive.extend_from_slice(CPIO_MAGIC);
        for field in fields {
            archive.extend_from_slice(format!("{field:08x}").as_bytes());
        }
        archive.extend_from_slice(format!("{:08x}{:08x}", name.len() + 1, 0).as_bytes());
        archive.extend_from_slice(name.as_bytes());
        archive.push(0);
        pad(archive);
        archive.extend_from_slice(bytes);
        pad(archive);
    }

    fn pad(archive: &mut Vec<u8>) {
        archive.resize(archive.len().next_multiple_of(4), 0);
    }

    fn archive(members: &[(&str, &[u8])]) -> Vec<u8> {
        let mut archive = Vec::new();
        for (name, bytes) in members {
            member(&mut archive, name, bytes);
        }
        member(&mut archive, "TRAILER!!!", b"");
        archive
    }

    fn of<'a>(bytes: &[&'a [u8]]) -> Result<Bundle<'a>, BundleError> {
        let modules: Vec<_> = bytes
            .iter()
            .map(|bytes| Module { bytes, line: b"" })
            .collect();
        bundle(&modules)
    }

    const KERNEL: &[u8] = b"\x7fELF and so on";

    #[test]
    fn a_lone_kernel_takes_the_line_of_its_module_and_a_second_module_as_ramdisk() {
        let modules = [(KERNEL, &b"quiet"[..]), (b"disk", b"")];
        let modules = modules.map(|(bytes, line)| Module { bytes, line });
        let wanted = Bundle {
            kernel: KERNEL,
            ramdisk: b"disk",
            command_line: b"quiet",
        };
        assert_eq!(bundle(&modules), Ok(wanted));
        let alone = of(&[KERNEL]).unwrap();
        assert!(alone.ramdisk.is_empty() && alone.command_line.is_empty());
    }

    #[test]
    fn an_archive_gives_its_three_files_whatever_else_is_in_it() {
        let archive = archive(&[
            ("readme", b"1"),
            ("cmdline", b"a b\n"),
            ("kernel", KERNEL),
            ("ramdisk", b"12345"),
        ]);
        let wanted = Bundle {
            kernel: KERNEL,
            ramdisk: b"12345",
            command_line: b"a b",
        };
        assert_eq!(of(&[&archive]), Ok(wanted));
        assert_eq!(of(&[&archive, b"disk"]), Err(BundleError::TooMany));
    }

    #[test]
    fn an_archive_that_is_cut_off_anywhere_is_refused() {
        let whole = archive(&[("kernel", KERNEL), ("ramdisk", &[7; 300])]);
        let end = whole
            .windows(TRAILER.len())
            .position(|name| name == TRAILER)
            .unwrap();
        for length in CPIO_MAGIC.len()..end {
            let cut = of(&[&whole[..length]]);
            assert_eq!(cut, Err(BundleError::Truncated), "{length}");
        }
        for length in 0..CPIO_MAGIC.len() {
            let cut = of(&[&whole[..length]]);
            assert_eq!(cut, Err(BundleError::UnknownFormat), "{length}");
        }
    }

    #[test]
    fn what_is_no_bundle_is_refused_with_its_reason() {
        assert_eq!(of(&[]), Err(BundleError::None));
        assert_eq!(of(&[b"MZ"]), Err(BundleError::UnknownFormat));
        let empty = archive(&[("ramdisk", b"1")]);
        assert_eq!(of(&[&empty]), Err(BundleError::NoKernel));
        assert_eq!(of(&[KERNEL, b"1", b"2"]), Err(BundleError::TooMany));
    }
}
