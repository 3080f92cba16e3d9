//! Lists of CPUs as people write them: `0-3,5`.

use std::str::FromStr;

/// The protocol's mask has 64 bits.
const LIMIT: u32 = 64;

/// A set of CPUs, never empty.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct CpuList(u64);

/// A set of CPUs, or all that there are.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum CpuSet {
    /// Those of the list.
    Some(CpuList),
    /// All.
    All,
}

impl CpuSet {
    /// One bit for each CPU; 0 is all.
    #[must_use]
    pub const fn mask(self) -> u64 {
        match self {
            Self::Some(list) => list.mask(),
            Self::All => 0,
        }
    }
}

impl FromStr for CpuSet {
    type Err = BadCpuList;

    fn from_str(text: &str) -> Result<Self, BadCpuList> {
        if text == "all" {
            Ok(Self::All)
        } else {
            text.parse().map(Self::Some)
        }
    }
}

/// A text that is no list of CPUs.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error("`{0}` is no list of CPUs: write numbers below {LIMIT} and ranges, as 0-3,5")]
pub struct BadCpuList(String);

impl CpuList {
    /// One bit for each CPU.
    #[must_use]
    pub const fn mask(self) -> u64 {
        self.0
    }
}

impl FromStr for CpuList {
    type Err = BadCpuList;

    fn from_str(text: &str) -> Result<Self, BadCpuList> {
        let bad = || BadCpuList(text.chars().take(40).collect());
        let number = |text: &str| -> Result<u32, BadCpuList> {
            let number = text.trim().parse().map_err(|_| bad())?;
            if number < LIMIT {
                Ok(number)
            } else {
                Err(bad())
            }
        };
        let mut mask = 0;
        for part in text.split(',') {
            let (first, last) = part.split_once('-').unwrap_or((part, part));
            let (first, last) = (number(first)?, number(last)?);
            if first > last {
                return Err(bad());
            }
            for cpu in first..=last {
                mask |= 1 << cpu;
            }
        }
        Ok(Self(mask))
    }
}

impl<'de> serde::Deserialize<'de> for CpuList {
    fn deserialize<D: serde::Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        let text = String::deserialize(deserializer)?;
        text.parse().map_err(serde::de::Error::custom)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn numbers_and_ranges_make_a_set() {
        assert_eq!("all".parse().map(CpuSet::mask), Ok(0));
        assert_eq!("0,2".parse().map(CpuSet::mask), Ok(0b101));
        assert_eq!("0".parse(), Ok(CpuList(1)));
        assert_eq!("0-3,5".parse(), Ok(CpuList(0b10_1111)));
        assert_eq!("63, 0-1".parse(), Ok(CpuList(1 << 63 | 3)));
        for bad in ["", "64", "3-1", "a", "1,", "-", "0-64"] {
            assert!(bad.parse::<CpuList>().is_err(), "{bad}");
        }
    }
}
