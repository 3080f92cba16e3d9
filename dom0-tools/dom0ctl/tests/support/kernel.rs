//! The least that is a PV kernel.

/// A kernel of so many bytes: one segment, loaded at 1 MiB, and the notes that every kernel must have.
pub(crate) fn kernel(length: usize) -> Vec<u8> {
    let note = |kind: u32, text: &[u8; 8]| {
        let words = [4, 8, kind].map(u32::to_le_bytes);
        [words.as_flattened(), b"Xen\0", text].concat()
    };
    let notes = [note(5, b"xen-3.0\0"), note(8, b"generic\0")].concat();
    let mut elf = b"\x7fELF\x02\x01\x01\0\0\0\0\0\0\0\0\0".to_vec();
    elf.extend([2, 0, 62, 0, 1, 0, 0, 0]);
    for word in [0x10_0000_u64, 64, 0] {
        elf.extend(word.to_le_bytes());
    }
    elf.extend([0, 0, 0, 0, 64, 0, 56, 0, 2, 0, 0, 0, 0, 0, 0, 0]);
    let long = u64::try_from(length).unwrap();
    let notes_long = u64::try_from(notes.len()).unwrap();
    for (kind, offset, address, length) in
        [(1_u32, 0_u64, 0x10_0000, long), (4, 176, 0, notes_long)]
    {
        elf.extend(kind.to_le_bytes());
        elf.extend(7_u32.to_le_bytes());
        for word in [offset, 0, address, length, length, 8] {
            elf.extend(word.to_le_bytes());
        }
    }
    elf.extend(notes);
    elf.resize(length, 0x90);
    elf
}
