//! The FPU's save area and the virtual CR0.TS.
//!
//! State is saved at every switch-out and restored at every switch-in, eagerly: no guest can ever see another's registers,
//! and #NM means what the guest made of it (pv-abi 5.10).

/// Bytes of the area: the standard XSAVE format with x87, SSE, AVX and AVX-512 needs 2688.
pub const FPU_AREA: usize = 2688;

/// An XSAVE area; 64-byte aligned as the instruction demands.
#[derive(Clone, Debug)]
#[repr(C, align(64))]
pub struct FpuArea(pub [u8; FPU_AREA]);

impl FpuArea {
    /// The state at reset: FCW 0x037f, MXCSR 0x1f80, all registers in their initial configuration.
    ///
    /// XSTATE_BV names x87 and SSE, so that both are loaded from this image.
    #[must_use]
    pub const fn new() -> Self {
        let mut area = [0; FPU_AREA];
        [area[0], area[1]] = 0x037f_u16.to_le_bytes();
        [area[24], area[25], area[26], area[27]] = 0x1f80_u32.to_le_bytes();
        area[512] = 3;
        Self(area)
    }

    /// Takes the 512 bytes of an FXSAVE image from outside.
    ///
    /// Reserved MXCSR bits would make the restore fault, so they are cleared; `mask` is the CPU's MXCSR mask.
    pub fn load_legacy(&mut self, image: &[u8; 512], mask: u32) {
        let mut fresh = Self::new();
        let (legacy, _) = fresh.0.split_at_mut(512);
        legacy.copy_from_slice(image);
        if let Some(field) = legacy.get_mut(24..28) {
            let mut word = [0; 4];
            word.copy_from_slice(field);
            field.copy_from_slice(&(u32::from_le_bytes(word) & mask).to_le_bytes());
        }
        *self = fresh;
    }
}

impl Default for FpuArea {
    fn default() -> Self {
        Self::new()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_fresh_area_holds_the_reset_state() {
        let area = FpuArea::new();
        assert_eq!(area.0[..2], [0x7f, 0x03]);
        assert_eq!(area.0[24..28], [0x80, 0x1f, 0, 0]);
        assert_eq!(align_of::<FpuArea>(), 64);
    }

    #[test]
    fn reserved_mxcsr_bits_of_an_image_are_dropped() {
        let mut area = FpuArea::new();
        area.load_legacy(&[0xff; 512], 0xffff);
        assert_eq!(area.0[24..28], [0xff, 0xff, 0, 0]);
        assert_eq!(area.0[512], 3);
        assert_eq!(area.0[600], 0);
    }
}
