//! Unpacking: each compression that a kernel may be packed with, bounded in output and memory.
//!
//! In a bzImage the last four bytes of the payload state the unpacked length. It is only ever an upper bound while
//! unpacking, and afterwards has to be exactly what came out.

use super::{ImageError, beginning, lzo};
use std::fmt::{Display, Formatter};
use std::io::Read;

/// Room for a decoder's dictionary: the largest window that kernels are packed with is 128 MiB.
const WINDOW: u64 = 128 << 20;

/// A compression format.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Format {
    /// gzip.
    Gzip,
    /// bzip2.
    Bzip2,
    /// xz, with the filter for x86 code.
    Xz,
    /// LZMA without a container.
    Lzma,
    /// lzop's container.
    Lzo,
    /// The legacy container of LZ4.
    Lz4,
    /// Zstandard.
    Zstd,
}

const MAGIC: [(&[u8], Format); 7] = [
    (&[0x1f, 0x8b], Format::Gzip),
    (b"BZh", Format::Bzip2),
    (&[0xfd, b'7', b'z', b'X', b'Z', 0], Format::Xz),
    (&[0x5d, 0, 0], Format::Lzma),
    (&[0x89, b'L', b'Z', b'O', 0], Format::Lzo),
    (&LZ4_MAGIC, Format::Lz4),
    (&[0x28, 0xb5, 0x2f, 0xfd], Format::Zstd),
];

const LZ4_MAGIC: [u8; 4] = 0x184c_2102_u32.to_le_bytes();

/// The most that one block of legacy LZ4 unpacks to.
const LZ4_BLOCK: usize = 8 << 20;

impl Format {
    /// The format that bytes begin with.
    #[must_use]
    pub fn of(bytes: &[u8]) -> Option<Self> {
        MAGIC
            .iter()
            .find(|(magic, _)| bytes.starts_with(magic))
            .map(|(_, format)| *format)
    }
}

impl Display for Format {
    fn fmt(&self, f: &mut Formatter<'_>) -> std::fmt::Result {
        f.write_str(match self {
            Self::Gzip => "gzip",
            Self::Bzip2 => "bzip2",
            Self::Xz => "xz",
            Self::Lzma => "lzma",
            Self::Lzo => "lzo",
            Self::Lz4 => "lz4",
            Self::Zstd => "zstd",
        })
    }
}

/// Unpacks a bzImage's payload, which ends with its unpacked length.
pub(super) fn payload(payload: &[u8], limit: usize) -> Result<Vec<u8>, ImageError> {
    let unknown = || ImageError::UnknownPayload(beginning(payload));
    let format = Format::of(payload).ok_or_else(unknown)?;
    let (packed, length) = payload.split_last_chunk::<4>().ok_or_else(unknown)?;
    let stated = usize::try_from(u32::from_le_bytes(*length)).unwrap_or(usize::MAX);
    if stated > limit {
        return Err(ImageError::TooLarge);
    }
    let damaged = |why: String| ImageError::Damaged { format, why };
    // gzip's own trailer is that length; all others have it appended.
    let unpacked = match format {
        Format::Gzip => bounded(flate2::read::GzDecoder::new(payload), stated),
        Format::Bzip2 => bounded(bzip2::read::BzDecoder::new(packed), stated),
        Format::Xz => bounded(
            lzma_rust2::XzReader::new_mem_limit(packed, false, window_kib()),
            stated,
        ),
        Format::Lzma => lzma_rust2::LzmaReader::new_mem_limit(packed, window_kib(), None)
            .map_err(|error| error.to_string())
            .and_then(|reader| bounded(reader, stated)),
        Format::Zstd => {
            ruzstd::decoding::StreamingDecoder::new_with_max_window_size(packed, WINDOW)
                .map_err(|error| error.to_string())
                .and_then(|reader| bounded(reader, stated))
        }
        Format::Lz4 => lz4(packed, stated),
        Format::Lzo => lzo::unpack(packed, stated),
    }
    .map_err(damaged)?;
    if unpacked.len() != stated {
        return Err(ImageError::WrongLength {
            format,
            stated,
            real: unpacked.len(),
        });
    }
    Ok(unpacked)
}

/// Unpacks a gzip file, which may be of any length up to `limit`.
pub(super) fn gzip_of_any_length(bytes: &[u8], limit: usize) -> Result<Vec<u8>, ImageError> {
    let format = Format::Gzip;
    let unpacked = bounded(flate2::read::GzDecoder::new(bytes), limit)
        .map_err(|why| ImageError::Damaged { format, why })?;
    if unpacked.len() > limit {
        return Err(ImageError::TooLarge);
    }
    Ok(unpacked)
}

fn window_kib() -> u32 {
    u32::try_from(WINDOW >> 10).unwrap_or(u32::MAX)
}

/// Reads to the end, or to one byte past `limit`, which the caller sees by the length.
fn bounded(reader: impl Read, limit: usize) -> Result<Vec<u8>, String> {
    let most = u64::try_from(limit).unwrap_or(u64::MAX).saturating_add(1);
    let mut out = Vec::new();
    reader
        .take(most)
        .read_to_end(&mut out)
        .map_err(|error| error.to_string())?;
    Ok(out)
}

/// Blocks of a length and that many packed bytes; the magic may come again between blocks.
fn lz4(packed: &[u8], limit: usize) -> Result<Vec<u8>, String> {
    let mut out = Vec::new();
    let mut rest = packed;
    while let Some((word, behind)) = rest.split_first_chunk::<4>() {
        rest = behind;
        if *word == LZ4_MAGIC {
            continue;
        }
        let length = usize::try_from(u32::from_le_bytes(*word)).unwrap_or(usize::MAX);
        let (block, behind) = rest
            .split_at_checked(length)
            .ok_or("a block is longer than the file")?;
        rest = behind;
        let start = out.len();
        out.resize(start + LZ4_BLOCK, 0);
        let room = out.get_mut(start..).unwrap_or(&mut []);
        let length =
            lz4_flex::block::decompress_into(block, room).map_err(|error| error.to_string())?;
        out.truncate(start + length);
        if out.len() > limit {
            break;
        }
    }
    Ok(out)
}
