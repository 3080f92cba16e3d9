//! How a domain is called: a name that dom0 keeps, or the hypervisor's number.
//!
//! A name begins with a letter and a number does not, so the two are never mixed up.

use alloc::string::String;
use core::fmt::{Display, Formatter};
use serde::{Deserialize, Serialize};

/// The longest name, in bytes.
pub const MAX_NAME: usize = 63;

/// A domain's name: a letter, then letters, digits, `.`, `_` or `-`, at most 63 in all.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
#[serde(try_from = "String", into = "String")]
pub struct DomainName(String);

/// A text that cannot be a domain's name.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error(
    "`{0}` is no domain name: a name begins with a letter and has only letters, digits, `.`, `_` and `-`, at most {MAX_NAME}"
)]
pub struct BadName(pub String);

impl DomainName {
    /// A name from text.
    ///
    /// # Errors
    /// [`BadName`] when the text breaks the rule above.
    pub fn new(text: &str) -> Result<Self, BadName> {
        let first = text.bytes().next().is_some_and(|b| b.is_ascii_alphabetic());
        let all = text
            .bytes()
            .all(|b| b.is_ascii_alphanumeric() || matches!(b, b'.' | b'_' | b'-'));
        if first && all && text.len() <= MAX_NAME {
            Ok(Self(text.into()))
        } else {
            Err(BadName(text.chars().take(MAX_NAME + 1).collect()))
        }
    }

    /// The text.
    #[must_use]
    pub fn as_str(&self) -> &str {
        &self.0
    }
}

impl TryFrom<String> for DomainName {
    type Error = BadName;

    fn try_from(text: String) -> Result<Self, BadName> {
        Self::new(&text)
    }
}

impl core::str::FromStr for DomainName {
    type Err = BadName;

    fn from_str(text: &str) -> Result<Self, BadName> {
        Self::new(text)
    }
}

impl From<DomainName> for String {
    fn from(name: DomainName) -> Self {
        name.0
    }
}

impl Display for DomainName {
    fn fmt(&self, f: &mut Formatter<'_>) -> core::fmt::Result {
        f.write_str(&self.0)
    }
}

#[cfg(feature = "schema")]
impl schemars::JsonSchema for DomainName {
    fn schema_name() -> alloc::borrow::Cow<'static, str> {
        "DomainName".into()
    }

    fn json_schema(_: &mut schemars::SchemaGenerator) -> schemars::Schema {
        schemars::json_schema!({
            "type": "string",
            "pattern": "^[A-Za-z][A-Za-z0-9._-]{0,62}$"
        })
    }
}

/// Which domain a request is about.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub enum DomainSelector {
    /// By number.
    Id(u16),
    /// By name.
    Name(DomainName),
}

/// A text that is neither a domain's name nor a number.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error(
    "`{0}` is neither a domain's name (which begins with a letter) nor its number (0 to 65535)"
)]
pub struct BadSelector(pub String);

impl core::str::FromStr for DomainSelector {
    type Err = BadSelector;

    fn from_str(text: &str) -> Result<Self, BadSelector> {
        let bad = || BadSelector(text.chars().take(MAX_NAME + 1).collect());
        if !text.is_empty() && text.bytes().all(|b| b.is_ascii_digit()) {
            text.parse().map(Self::Id).map_err(|_| bad())
        } else {
            DomainName::new(text).map(Self::Name).map_err(|_| bad())
        }
    }
}

impl Display for DomainSelector {
    fn fmt(&self, f: &mut Formatter<'_>) -> core::fmt::Result {
        match self {
            Self::Id(id) => Display::fmt(id, f),
            Self::Name(name) => Display::fmt(name, f),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn names_begin_with_a_letter() {
        for good in ["a", "web-1", "A.b_c", &"x".repeat(63)] {
            assert!(DomainName::new(good).is_ok(), "{good}");
        }
        for bad in ["", "1a", "-a", "a b", "a/b", "ä", "a\n", &"x".repeat(64)] {
            assert!(DomainName::new(bad).is_err(), "{bad}");
        }
    }

    #[test]
    fn digits_select_by_number() {
        assert_eq!("17".parse(), Ok(DomainSelector::Id(17)));
        assert!("65536".parse::<DomainSelector>().is_err());
        assert!("1x".parse::<DomainSelector>().is_err());
        assert!("".parse::<DomainSelector>().is_err());
        assert!("a1".parse::<DomainSelector>().is_ok());
    }

    #[test]
    fn a_bad_name_does_not_pass_the_wire() {
        let bytes = postcard::to_allocvec("a/b").unwrap();
        assert!(postcard::from_bytes::<DomainName>(&bytes).is_err());
    }
}
