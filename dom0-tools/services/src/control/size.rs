//! Amounts in words.

use core::fmt;

/// An amount of memory: `64MiB`, or bytes when no larger unit fits.
#[derive(Clone, Copy, Debug)]
pub(super) struct Size(pub(super) u64);

impl fmt::Display for Size {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        for (unit, name) in [(1 << 30, "GiB"), (1 << 20, "MiB"), (1 << 10, "KiB")] {
            if self.0 >= unit && self.0.is_multiple_of(unit) {
                return write!(f, "{}{name}", self.0 / unit);
            }
        }
        if self.0 >= 1 << 20 {
            // Tenths, rounded down, are enough to read; programs take the number.
            let tenths = (u128::from(self.0) * 10) >> 20;
            return write!(f, "{}.{}MiB", tenths / 10, tenths % 10);
        }
        write!(f, "{}B", self.0)
    }
}

/// An amount rounded up to what may be typed: whole MiB.
pub(super) const fn whole_mib(bytes: u64) -> u64 {
    bytes.div_ceil(1 << 20) << 20
}

#[cfg(test)]
mod tests {
    use super::{Size, whole_mib};
    use alloc::string::ToString;

    #[test]
    fn sizes_read_as_they_are_typed() {
        assert_eq!(Size(64 << 20).to_string(), "64MiB");
        assert_eq!(Size(3 << 30).to_string(), "3GiB");
        assert_eq!(Size((64 << 20) + (512 << 10)).to_string(), "66048KiB");
        assert_eq!(Size((64 << 20) + 7).to_string(), "64.0MiB");
        assert_eq!(Size(5).to_string(), "5B");
        assert_eq!(whole_mib(1), 1 << 20);
    }
}
