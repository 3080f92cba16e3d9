//! The smallest kernel that the builder takes: an ELF file with notes, made here.

use alloc::vec::Vec;

const BASE: u64 = 0xffff_ffff_8000_0000;

fn note(out: &mut Vec<u8>, kind: u32, contents: &[u8]) {
    let length = u32::try_from(contents.len()).expect("short");
    for word in [4, length, kind] {
        out.extend_from_slice(&word.to_le_bytes());
    }
    out.extend_from_slice(b"Xen\0");
    out.extend_from_slice(contents);
    while !out.len().is_multiple_of(4) {
        out.push(0);
    }
}

/// A kernel of `pages` pages; its first bytes are `mark`.
pub(in super::super) fn kernel(pages: usize, mark: &[u8]) -> Vec<u8> {
    let mut notes = Vec::new();
    note(&mut notes, 5, b"xen-3.0\0");
    note(&mut notes, 6, b"test\0");
    note(&mut notes, 8, b"generic\0");
    note(&mut notes, 3, &BASE.to_le_bytes());
    note(&mut notes, 1, &BASE.to_le_bytes());
    let mut file = Vec::new();
    file.extend_from_slice(&[0x7f, b'E', b'L', b'F', 2, 1, 1, 0, 0, 0, 0, 0, 0, 0, 0, 0]);
    for half in [2_u16, 62] {
        file.extend_from_slice(&half.to_le_bytes());
    }
    file.extend_from_slice(&1_u32.to_le_bytes());
    for word in [BASE, 64, 0] {
        file.extend_from_slice(&word.to_le_bytes());
    }
    file.extend_from_slice(&0_u32.to_le_bytes());
    for half in [64_u16, 56, 2, 64, 0, 0] {
        file.extend_from_slice(&half.to_le_bytes());
    }
    let bytes = u64::try_from(pages * 4096).expect("small");
    let notes_length = u64::try_from(notes.len()).expect("small");
    for (kind, flags, offset, length) in
        [(1_u32, 7_u32, 4096_u64, bytes), (4, 4, 256, notes_length)]
    {
        file.extend_from_slice(&kind.to_le_bytes());
        file.extend_from_slice(&flags.to_le_bytes());
        let address = if kind == 1 { 0 } else { 256 };
        for word in [offset, BASE + address, address, length, length, 4096] {
            file.extend_from_slice(&word.to_le_bytes());
        }
    }
    file.resize(256, 0);
    file.extend_from_slice(&notes);
    file.resize(4096, 0);
    file.extend_from_slice(mark);
    file.resize(4096 + pages * 4096, 0x90);
    file
}
