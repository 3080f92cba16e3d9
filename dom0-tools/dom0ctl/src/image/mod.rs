//! Kernel files: from what people have (ELF, gzip, bzImage) to what dom0 takes, an unpacked ELF.
//!
//! Files are hostile until shown otherwise: nothing is trusted that a header says about sizes, unpacking stops at a limit
//! while it runs, and the result is looked at as dom0 will look at it, so that a bad file is refused here with its name
//! and before it is sent.

mod bzimage;
mod lzo;
mod strip;
mod unpack;

pub use unpack::Format;

use crate::exit::{Failure, Result};
use dom0_protocol::ErrorCode;
use std::io::Read;
use std::path::Path;

/// The largest file that is read, and the largest kernel that one may unpack to.
pub const LIMIT: usize = 1 << 30;

/// Why a file is no kernel.
#[derive(Debug, thiserror::Error)]
pub enum ImageError {
    /// No byte in it.
    #[error("the file is empty")]
    Empty,
    /// Neither ELF nor gzip nor bzImage.
    #[error("it is neither an ELF file nor a bzImage (it begins with {0})")]
    Unknown(String),
    /// A bzImage of a boot protocol before 2.08.
    #[error(
        "it is a bzImage of boot protocol {major}.{minor:02}, which has no payload that can be found: 2.08 is needed"
    )]
    OldBzImage {
        /// Major version.
        major: u8,
        /// Minor version.
        minor: u8,
    },
    /// A header says that there is more than there is.
    #[error("it is cut short: {what} ends at byte {end}, the file at {length}")]
    Truncated {
        /// What is missing.
        what: &'static str,
        /// Where it should end.
        end: u64,
        /// Where the file ends.
        length: usize,
    },
    /// A payload in a format that is not known.
    #[error("its payload is compressed in a way that is not known (it begins with {0})")]
    UnknownPayload(String),
    /// The payload does not unpack.
    #[error("its {format} payload does not unpack: {why}")]
    Damaged {
        /// The payload's format.
        format: Format,
        /// What the decoder says.
        why: String,
    },
    /// The payload unpacks to another length than it states.
    #[error("its {format} payload unpacks to {real} bytes, but states {stated}")]
    WrongLength {
        /// The payload's format.
        format: Format,
        /// What the header says.
        stated: usize,
        /// How much there is, at least.
        real: usize,
    },
    /// Larger than [`LIMIT`].
    #[error("it is larger than 1GiB")]
    TooLarge,
    /// It is an ELF file, but not a kernel that can be started.
    #[error(transparent)]
    NotBootable(#[from] kernel_image::ImageError),
}

/// Reads a kernel file and unpacks it.
///
/// # Errors
/// `local-io` when it cannot be read, `bad-image` when it is no kernel.
pub fn read_kernel(path: &Path) -> Result<Vec<u8>> {
    let bytes = read_file(path)?;
    unpack(bytes).map_err(|error| {
        Failure::new(
            ErrorCode::BadImage,
            format!("{} cannot be started: {error}", path.display()),
        )
        .hint("give a 64-bit PV kernel: an ELF file with Xen notes, or a bzImage that holds one")
    })
}

/// Reads a file whole.
///
/// # Errors
/// `local-io` when it cannot be read, `invalid-argument` when it is larger than [`LIMIT`].
pub fn read_file(path: &Path) -> Result<Vec<u8>> {
    let limit = u64::try_from(LIMIT).unwrap_or(u64::MAX);
    let mut bytes = Vec::new();
    std::fs::File::open(path)
        .and_then(|file| file.take(limit + 1).read_to_end(&mut bytes))
        .map_err(|error| {
            Failure::new(
                ErrorCode::LocalIo,
                format!("cannot read {}: {error}", path.display()),
            )
            .hint("name a file that exists and that you may read")
        })?;
    if bytes.len() > LIMIT {
        return Err(Failure::usage(
            format!("{} is larger than 1GiB", path.display()),
            "dom0 keeps files in memory: give a smaller one",
        ));
    }
    Ok(bytes)
}

/// A kernel's ELF from a file's bytes, without what is never loaded.
///
/// # Errors
/// [`ImageError`] when there is none in it.
pub fn unpack(bytes: Vec<u8>) -> core::result::Result<Vec<u8>, ImageError> {
    let kernel = if bytes.is_empty() {
        return Err(ImageError::Empty);
    } else if is_elf(&bytes) {
        bytes
    } else if Format::of(&bytes) == Some(Format::Gzip) {
        unpack::gzip_of_any_length(&bytes, LIMIT)?
    } else {
        let payload = bzimage::payload(&bytes)?;
        if is_elf(payload) {
            payload.to_vec()
        } else {
            unpack::payload(payload, LIMIT)?
        }
    };
    Ok(strip::loadable_part(kernel)?)
}

fn is_elf(bytes: &[u8]) -> bool {
    bytes.starts_with(b"\x7fELF")
}

/// The first bytes of something, for messages.
fn beginning(bytes: &[u8]) -> String {
    let shown: Vec<String> = bytes
        .iter()
        .take(6)
        .map(|byte| format!("{byte:02x}"))
        .collect();
    shown.join(" ")
}

#[cfg(test)]
mod tests;
