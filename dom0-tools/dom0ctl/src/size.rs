//! Amounts of memory as people write and read them: `64MiB`, `1.5GiB`.
//!
//! A bare number is refused, because bytes, KiB and MiB are all taken for granted by somebody. So are decimal units:
//! `64MB` is hardly ever meant.

use serde::{Deserialize, Deserializer};
use std::fmt::{Display, Formatter};
use std::str::FromStr;

/// Memory is owned in frames of this size.
pub const FRAME: u64 = 4096;

const UNITS: [(&str, &str, u32); 5] = [
    ("tib", "t", 40),
    ("gib", "g", 30),
    ("mib", "m", 20),
    ("kib", "k", 10),
    ("b", "b", 0),
];

/// An amount of memory: a whole number of frames.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub struct Size(u64);

/// A text that is no amount of memory.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum BadSize {
    /// Digits alone.
    #[error("`{0}` has no unit: write {0}MiB, or {0}KiB, {0}GiB")]
    NoUnit(String),
    /// A decimal unit.
    #[error("`{0}` has a decimal unit: write {1} (1 MiB is 1024 KiB)")]
    Decimal(String, String),
    /// A unit that does not exist.
    #[error("`{0}` has no unit known here: use KiB, MiB, GiB or TiB")]
    UnknownUnit(String),
    /// No number in front of the unit.
    #[error("`{0}` is no amount of memory: write a number with its unit, as 64MiB")]
    NoNumber(String),
    /// More than 64 bits of bytes.
    #[error("`{0}` is more than any machine has")]
    TooLarge(String),
    /// Not a whole number of frames.
    #[error("`{0}` is no multiple of 4KiB: memory is given in frames of that size")]
    NotFrames(String),
}

impl Size {
    /// The amount in bytes.
    #[must_use]
    pub const fn bytes(self) -> u64 {
        self.0
    }

    /// So many mebibytes.
    #[must_use]
    pub const fn mib(mib: u32) -> Self {
        Self((mib as u64) << 20)
    }
}

impl FromStr for Size {
    type Err = BadSize;

    fn from_str(text: &str) -> Result<Self, BadSize> {
        let said = || text.chars().take(40).collect::<String>();
        let split = text
            .find(|c: char| !(c.is_ascii_digit() || c == '.'))
            .unwrap_or(text.len());
        let (number, unit) = text.split_at(split);
        let unit = unit.trim().to_ascii_lowercase();
        if !number.bytes().any(|b| b.is_ascii_digit()) {
            return Err(BadSize::NoNumber(said()));
        }
        if unit.is_empty() {
            return Err(BadSize::NoUnit(said()));
        }
        let Some(&(_, _, shift)) = UNITS
            .iter()
            .find(|(long, short, _)| unit == *long || unit == *short)
        else {
            return Err(match unit.as_str() {
                "kb" | "mb" | "gb" | "tb" => {
                    let letter = unit.get(..1).unwrap_or("m").to_ascii_uppercase();
                    BadSize::Decimal(said(), format!("{number}{letter}iB"))
                }
                _ => BadSize::UnknownUnit(said()),
            });
        };
        let bytes = scale(number, shift, &said)?;
        if !bytes.is_multiple_of(FRAME) {
            return Err(BadSize::NotFrames(said()));
        }
        Ok(Self(bytes))
    }
}

/// `number` (digits with at most one point) times two to the power of `shift`, exactly.
fn scale(number: &str, shift: u32, said: &impl Fn() -> String) -> Result<u64, BadSize> {
    let (whole, fraction) = number.split_once('.').unwrap_or((number, ""));
    let fraction = fraction.trim_end_matches('0');
    if fraction.contains('.') {
        return Err(BadSize::NoNumber(said()));
    }
    if whole.len() + fraction.len() > 18 {
        return Err(BadSize::TooLarge(said()));
    }
    let digits: u128 = format!("0{whole}{fraction}")
        .parse()
        .map_err(|_| BadSize::NoNumber(said()))?;
    let places = u32::try_from(fraction.len()).map_err(|_| BadSize::TooLarge(said()))?;
    let scaled = digits << shift;
    let parts = 10_u128.pow(places);
    if !scaled.is_multiple_of(parts) {
        return Err(BadSize::NotFrames(said()));
    }
    u64::try_from(scaled / parts).map_err(|_| BadSize::TooLarge(said()))
}

impl Display for Size {
    fn fmt(&self, f: &mut Formatter<'_>) -> std::fmt::Result {
        f.pad(&human(self.0))
    }
}

/// Bytes in the largest unit that gives at least 1: whole where it is whole, else with one decimal.
#[must_use]
pub fn human(bytes: u64) -> String {
    let units = [("TiB", 40), ("GiB", 30), ("MiB", 20), ("KiB", 10)];
    // 1536MiB rather than 1.5GiB: what was asked for is said the same way.
    for (unit, shift) in units {
        if bytes >> shift > 0 && bytes.trailing_zeros() >= shift {
            return format!("{}{unit}", bytes >> shift);
        }
        if bytes >> shift > 0 && bytes.trailing_zeros() < shift.saturating_sub(10) {
            let tenths = (u128::from(bytes) * 10) >> shift;
            return format!("{}.{}{unit}", tenths / 10, tenths % 10);
        }
    }
    format!("{bytes}B")
}

impl<'de> Deserialize<'de> for Size {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        struct Visitor;
        impl serde::de::Visitor<'_> for Visitor {
            type Value = Size;

            fn expecting(&self, f: &mut Formatter<'_>) -> std::fmt::Result {
                f.write_str("an amount of memory with its unit, as \"64MiB\"")
            }

            fn visit_str<E: serde::de::Error>(self, text: &str) -> Result<Size, E> {
                text.parse().map_err(E::custom)
            }

            fn visit_i64<E: serde::de::Error>(self, number: i64) -> Result<Size, E> {
                Err(E::custom(format_args!(
                    "{number} has no unit: write \"{number}MiB\", with its quotes"
                )))
            }
        }
        deserializer.deserialize_any(Visitor)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn units_are_binary_and_needed() {
        let bytes = |text: &str| text.parse::<Size>().map(Size::bytes);
        assert_eq!(bytes("64MiB"), Ok(64 << 20));
        assert_eq!(bytes("64 mib"), Ok(64 << 20));
        assert_eq!(bytes("64M"), Ok(64 << 20));
        assert_eq!(bytes("1.5GiB"), Ok(3 << 29));
        assert_eq!(bytes("0.5g"), Ok(1 << 29));
        assert_eq!(bytes("8192b"), Ok(8192));
        assert_eq!(bytes("0MiB"), Ok(0));
        assert_eq!(bytes("64"), Err(BadSize::NoUnit("64".into())));
        assert_eq!(
            bytes("64MB"),
            Err(BadSize::Decimal("64MB".into(), "64MiB".into()))
        );
        assert_eq!(bytes("1kib"), Err(BadSize::NotFrames("1kib".into())));
        assert_eq!(bytes("0.1MiB"), Err(BadSize::NotFrames("0.1MiB".into())));
        assert!(matches!(bytes("64XiB"), Err(BadSize::UnknownUnit(_))));
        assert!(matches!(bytes("-64MiB"), Err(BadSize::NoNumber(_))));
        assert!(matches!(bytes("1.2.3MiB"), Err(BadSize::NoNumber(_))));
        assert!(matches!(bytes(""), Err(BadSize::NoNumber(_))));
        assert!(matches!(bytes("99999999TiB"), Err(BadSize::TooLarge(_))));
        assert!(matches!(bytes(&"9".repeat(99)), Err(BadSize::NoUnit(_))));
    }

    #[test]
    fn amounts_read_back_as_they_were_written() {
        for text in ["64MiB", "1GiB", "1536MiB", "4KiB", "65540KiB"] {
            assert_eq!(
                text.parse::<Size>().map(|size| size.to_string()),
                Ok(text.into())
            );
        }
        assert_eq!(human(0), "0B");
        assert_eq!(human((1 << 30) + 4096), "1.0GiB");
    }
}
