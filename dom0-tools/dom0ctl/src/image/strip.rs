//! What dom0 needs of a kernel's file: its segments, not the debug information that often is most of it.
//!
//! Cut behind the last segment, the file must still be read as the same kernel, or it is sent as it is.

use kernel_image::{ImageError, plan};
use std::ops::Range;

/// Offset of the section headers, in the ELF header.
const SECTIONS_AT: Range<usize> = 0x28..0x30;
/// Size and number of the section headers, and which of them has the names.
const SECTION_COUNTS: Range<usize> = 0x3a..0x40;

/// Checks a kernel as dom0's builder will, and leaves away what is never loaded.
pub(super) fn loadable_part(kernel: Vec<u8>) -> Result<Vec<u8>, ImageError> {
    let whole = plan(&kernel)?;
    let ends = whole.segments.iter().map(|segment| segment.file.end);
    let end = ends.max().unwrap_or(kernel.len());
    let mut part = kernel.get(..end).unwrap_or(&kernel).to_vec();
    for field in [SECTIONS_AT, SECTION_COUNTS] {
        if let Some(bytes) = part.get_mut(field) {
            bytes.fill(0);
        }
    }
    if plan(&part).as_ref() == Ok(&whole) {
        Ok(part)
    } else {
        Ok(kernel)
    }
}
