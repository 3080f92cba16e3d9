//! The hypercall page: a page of a guest's own memory, filled by the builder with one stub of 32 bytes per hypercall.
//!
//! Slots are called, but slot 23 (`iret`) is jumped to. A kernel without the note has no page and issues `syscall` itself.

/// Bytes from one slot to the next.
pub const SLOT_SIZE: usize = 32;
/// Slots in a page.
pub const SLOTS: usize = 4096 / SLOT_SIZE;

/// Slot of `iret`, which does not return.
const IRET_SLOT: u8 = 23;
/// `int3`, which fills what no stub covers.
const INT3: u8 = 0xcc;

/// Fills a page as Xen does: `push rcx; push r11; mov eax, n; syscall; pop r11; pop rcx; ret`, and for `iret`
/// `push rcx; push r11; push rax; mov eax, 23; syscall`.
pub fn fill_hypercall_page(page: &mut [u8; 4096]) {
    page.fill(INT3);
    for (slot, number) in page.chunks_exact_mut(SLOT_SIZE).zip(0u8..) {
        let iret: [u8; 11] = [0x51, 0x41, 0x53, 0x50, 0xb8, number, 0, 0, 0, 0x0f, 0x05];
        let call: [u8; 14] = [
            0x51, 0x41, 0x53, 0xb8, number, 0, 0, 0, 0x0f, 0x05, 0x41, 0x5b, 0x59, 0xc3,
        ];
        let stub: &[u8] = if number == IRET_SLOT { &iret } else { &call };
        for (byte, code) in slot.iter_mut().zip(stub) {
            *byte = *code;
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn slots_hold_the_documented_bytes() {
        let mut page = [0; 4096];
        fill_hypercall_page(&mut page);
        let slot = |n: usize| &page[n * SLOT_SIZE..(n + 1) * SLOT_SIZE];
        assert_eq!(
            &slot(17)[..15],
            &[
                0x51, 0x41, 0x53, 0xb8, 17, 0, 0, 0, 0x0f, 0x05, 0x41, 0x5b, 0x59, 0xc3, 0xcc
            ]
        );
        assert_eq!(
            &slot(23)[..12],
            &[0x51, 0x41, 0x53, 0x50, 0xb8, 23, 0, 0, 0, 0x0f, 0x05, 0xcc]
        );
        assert_eq!(slot(127)[4], 127);
        assert!(slot(56)[14..].iter().all(|&byte| byte == 0xcc));
        assert_eq!(SLOTS, 128);
    }
}
