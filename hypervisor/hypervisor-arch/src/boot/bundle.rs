//! The boot module: a kernel alone (an ELF file), or a newc cpio archive with `kernel`, and with `ramdisk` and `cmdline` if
//! wanted.

use thiserror::Error;

const ELF_MAGIC: &[u8] = b"\x7fELF";
const CPIO_MAGIC: &[u8] = b"070701";

/// What the first domain is made of.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Bundle<'a> {
    /// The kernel's ELF file.
    pub(crate) kernel: &'a [u8],
    /// Any bytes for the kernel; empty if there are none.
    pub(crate) ramdisk: &'a [u8],
    /// The kernel's command line, without line ends.
    pub(crate) command_line: &'a str,
}

/// Why the module cannot be used.
#[derive(Debug, Error, PartialEq, Eq)]
pub(crate) enum BundleError {
    #[error("the boot module is neither an ELF file nor a newc cpio archive")]
    UnknownFormat,
    #[error("the boot module has no file `kernel`")]
    NoKernel,
    #[error("the boot module's `cmdline` is not text")]
    CommandLine,
}

/// Finds the parts of a module.
pub(crate) fn parse(module: &[u8]) -> Result<Bundle<'_>, BundleError> {
    if module.starts_with(ELF_MAGIC) {
        return Ok(Bundle {
            kernel: module,
            ramdisk: &[],
            command_line: "",
        });
    }
    if !module.starts_with(CPIO_MAGIC) {
        return Err(BundleError::UnknownFormat);
    }
    let file = |name: &str| {
        cpio_reader::iter_files(module)
            .find(|entry| entry.name() == name)
            .map(|entry| entry.file())
    };
    let command_line = core::str::from_utf8(file("cmdline").unwrap_or(&[]));
    Ok(Bundle {
        kernel: file("kernel").ok_or(BundleError::NoKernel)?,
        ramdisk: file("ramdisk").unwrap_or(&[]),
        command_line: command_line
            .map_err(|_| BundleError::CommandLine)?
            .trim_end(),
    })
}
