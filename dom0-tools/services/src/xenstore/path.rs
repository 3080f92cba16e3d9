//! Names of nodes: absolute, checked, cheap to clone.

use super::Error;
use crate::DomId;
use alloc::{format, sync::Arc};
use core::{borrow::Borrow, fmt};

/// Longest absolute path in bytes (public header `xs_wire.h`).
const ABSOLUTE_MAX: usize = 3072;
/// Longest relative path in bytes.
const RELATIVE_MAX: usize = 2048;

/// An absolute path without a trailing slash, or the name of a special node (`@introduceDomain`).
#[derive(Clone, PartialEq, Eq, PartialOrd, Ord)]
pub struct Path(Arc<str>);

impl Path {
    /// The root, `/`.
    #[must_use]
    pub fn root() -> Self {
        Self(Arc::from("/"))
    }

    /// A domain's home, `/local/domain/<n>`: where its relative paths begin.
    #[must_use]
    pub fn home(domain: DomId) -> Self {
        Self(Arc::from(format!("/local/domain/{domain}")))
    }

    /// Reads what a client sent: absolute, or relative to `caller`'s home.
    ///
    /// # Errors
    /// `Invalid` for an empty or too long path, a character outside `A-Z a-z 0-9 - _ / @`, an empty component, or a
    /// special name.
    pub fn parse(text: &[u8], caller: DomId) -> Result<Self, Error> {
        let text = checked(text)?;
        if text.starts_with('@') {
            return Err(Error::Invalid);
        }
        Self::resolve(text, caller)
    }

    /// As `parse`, and special names too, which only watches and permissions know.
    ///
    /// # Errors
    /// As `parse`.
    pub fn parse_or_special(text: &[u8], caller: DomId) -> Result<Self, Error> {
        let text = checked(text)?;
        if text.starts_with('@') {
            return Ok(Self(Arc::from(text)));
        }
        Self::resolve(text, caller)
    }

    fn resolve(text: &str, caller: DomId) -> Result<Self, Error> {
        if text == "/" {
            return Ok(Self::root());
        }
        if text.ends_with('/') || text.contains("//") {
            return Err(Error::Invalid);
        }
        if text.starts_with('/') {
            return Ok(Self(Arc::from(text)));
        }
        if text.len() > RELATIVE_MAX {
            return Err(Error::Invalid);
        }
        Ok(Self::home(caller).below(text))
    }

    /// The path of something below this one; `name` may have several components.
    #[must_use]
    pub fn below(&self, name: &str) -> Self {
        if self.is_root() {
            Self(Arc::from(format!("/{name}")))
        } else {
            Self(Arc::from(format!("{}/{name}", self.0)))
        }
    }

    /// The text.
    #[must_use]
    pub fn as_str(&self) -> &str {
        &self.0
    }

    /// Whether this is `/`.
    #[must_use]
    pub fn is_root(&self) -> bool {
        &*self.0 == "/"
    }

    /// Whether this names no node of the tree, but an event.
    #[must_use]
    pub fn is_special(&self) -> bool {
        self.0.starts_with('@')
    }

    /// The path one level up; none for the root and special names.
    #[must_use]
    pub fn parent(&self) -> Option<Self> {
        parent_of(&self.0).map(|parent| Self(Arc::from(parent)))
    }

    /// The last component.
    #[must_use]
    pub fn name(&self) -> &str {
        self.0.rsplit('/').next().unwrap_or("")
    }

    /// The components behind the leading slash. A special name is one that no node has.
    pub(super) fn below_root(&self) -> &str {
        self.0.strip_prefix('/').unwrap_or("//")
    }

    /// This path's text and those of all its ancestors, from the deepest up to `/`.
    pub(super) fn upwards(&self) -> impl Iterator<Item = &str> {
        core::iter::successors(Some(&*self.0), |text| parent_of(text))
    }

    /// The text as seen from `domain`'s home, if it lies below it.
    pub(super) fn relative_to_home_of(&self, domain: DomId) -> Option<&str> {
        let home = Self::home(domain);
        self.0.strip_prefix(home.as_str())?.strip_prefix('/')
    }

    /// The length that a domain's quota counts: without a leading `/local/domain/<n>/`.
    pub(super) fn counted_length(&self) -> usize {
        let inside = self
            .0
            .strip_prefix("/local/domain/")
            .and_then(|rest| rest.split_once('/'));
        inside.map_or(self.0.len(), |(_, rest)| rest.len())
    }
}

/// The path one level up in text form.
fn parent_of(text: &str) -> Option<&str> {
    match text.rsplit_once('/') {
        None | Some(("", "")) => None,
        Some(("", _)) => Some("/"),
        Some((parent, _)) => Some(parent),
    }
}

/// Length and character set.
fn checked(text: &[u8]) -> Result<&str, Error> {
    let allowed = |byte: &u8| byte.is_ascii_alphanumeric() || b"-_/@".contains(byte);
    if text.is_empty() || text.len() > ABSOLUTE_MAX || !text.iter().all(allowed) {
        return Err(Error::Invalid);
    }
    core::str::from_utf8(text).map_err(|_| Error::Invalid)
}

impl Borrow<str> for Path {
    fn borrow(&self) -> &str {
        &self.0
    }
}

impl fmt::Debug for Path {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.0)
    }
}

impl fmt::Display for Path {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.0)
    }
}

#[cfg(test)]
mod tests {
    use super::{Error, Path};
    use crate::DomId;
    use alloc::{vec, vec::Vec};

    fn parse(text: &str) -> Result<Path, Error> {
        Path::parse(text.as_bytes(), DomId::new(7).expect("a domain"))
    }

    #[test]
    fn malformed_paths_are_invalid() {
        for text in [
            "",
            "//",
            "/a//b",
            "/a/",
            "a/",
            "/a b",
            "/a\0b",
            "@releaseDomain",
            "/ä",
        ] {
            assert_eq!(parse(text), Err(Error::Invalid), "{text:?}");
        }
        assert_eq!(parse(&"a".repeat(2049)), Err(Error::Invalid));
        assert_eq!(parse(&"/".repeat(3073)), Err(Error::Invalid));
    }

    #[test]
    fn relative_paths_begin_at_the_callers_home() {
        assert_eq!(
            parse("device/vbd").map(|path| path.as_str().len()),
            Ok("/local/domain/7/device/vbd".len())
        );
        let path = parse("device").expect("well formed");
        assert_eq!(path.as_str(), "/local/domain/7/device");
        assert_eq!(path.counted_length(), 6);
    }

    #[test]
    fn ancestors_end_at_the_root() {
        let path = parse("/a/b").expect("well formed");
        assert_eq!(path.upwards().collect::<Vec<_>>(), vec!["/a/b", "/a", "/"]);
        assert_eq!(Path::root().upwards().collect::<Vec<_>>(), vec!["/"]);
        assert!(Path::root().parent().is_none());
    }
}
