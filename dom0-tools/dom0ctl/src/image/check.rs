//! Whether an ELF file is a kernel that can be started, by the same reading that dom0's builder does.

use super::ImageError;

const CLASS_64: u8 = 2;
const LITTLE_ENDIAN: u8 = 1;
const X86_64: u16 = 62;

/// Looks at what people get wrong most, in words of its own.
pub(super) fn check(kernel: &[u8]) -> Result<(), ImageError> {
    let bad = |why: &str| Err(ImageError::NotBootable(why.into()));
    let Some(header) = kernel.first_chunk::<64>() else {
        return bad("the ELF file ends within its header");
    };
    if !header.starts_with(b"\x7fELF") {
        return bad("what it unpacks to is no ELF file");
    }
    if header[4] != CLASS_64 {
        return bad("it is a 32-bit ELF file, and guests are 64-bit");
    }
    let machine = u16::from_le_bytes([header[18], header[19]]);
    if header[5] != LITTLE_ENDIAN || machine != X86_64 {
        return bad(&format!(
            "it is an ELF file for another machine (number {machine}), not for x86-64"
        ));
    }
    Ok(())
}

#[cfg(test)]
pub(super) mod tests {
    /// An ELF header of the right kind.
    pub(crate) fn smallest_kernel() -> Vec<u8> {
        let mut elf = vec![0; 64];
        elf[..8].copy_from_slice(b"\x7fELF\x02\x01\x01\0");
        elf[18] = 62;
        elf
    }
}
