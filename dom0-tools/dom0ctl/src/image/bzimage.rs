//! The payload of a Linux bzImage (Linux boot protocol, `Documentation/arch/x86/boot.rst`).

use super::{ImageError, beginning};

/// The smallest file with all the fields that are needed.
const HEADER_END: usize = 0x250;

/// The part of a bzImage that is the packed kernel, its trailing length included.
pub(super) fn payload(bytes: &[u8]) -> Result<&[u8], ImageError> {
    let signed = bytes.get(0x202..0x206) == Some(b"HdrS".as_slice());
    if !signed {
        return Err(ImageError::Unknown(beginning(bytes)));
    }
    let header = bytes
        .first_chunk::<HEADER_END>()
        .ok_or(ImageError::Truncated {
            what: "the header",
            end: 0x250,
            length: bytes.len(),
        })?;
    let [minor, major] = [header[0x206], header[0x207]];
    if (major, minor) < (2, 8) {
        return Err(ImageError::OldBzImage { major, minor });
    }
    let word = |at: usize| -> u64 {
        let field = header.get(at..).and_then(|rest| rest.first_chunk::<4>());
        field.map_or(0, |field| u32::from_le_bytes(*field).into())
    };
    // 0 is how the first kernels said 4.
    let sectors = match header[0x1f1] {
        0 => 4,
        sectors => u64::from(sectors),
    };
    let start = (sectors + 1) * 512 + word(0x248);
    let end = start + word(0x24c);
    let range = usize::try_from(start).ok().zip(usize::try_from(end).ok());
    range
        .and_then(|(start, end)| bytes.get(start..end))
        .ok_or(ImageError::Truncated {
            what: "the payload",
            end,
            length: bytes.len(),
        })
}
