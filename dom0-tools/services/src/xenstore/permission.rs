//! Who may do what at a node.
//!
//! A node's list is never empty. Its first entry names the owner, who may do everything, and its letter is what every
//! domain gets that no later entry names; of the later entries the first that names the caller counts.

use super::Error;
use crate::DomId;
use alloc::{vec, vec::Vec};

/// Who asks: a domain, and the domain that it may stand in for (`SET_TARGET`).
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct Caller {
    /// The domain at the other end of the connection.
    pub domain: DomId,
    /// A domain whose rights it has too.
    pub target: Option<DomId>,
}

impl Caller {
    /// dom0 itself.
    pub const DOM0: Self = Self {
        domain: DomId::DOM0,
        target: None,
    };

    /// Whether no permission and no quota holds this caller.
    #[must_use]
    pub fn is_privileged(&self) -> bool {
        self.domain.is_dom0()
    }

    fn acts_for(&self, domain: DomId) -> bool {
        self.domain == domain || self.target == Some(domain)
    }
}

/// What an entry grants.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Access {
    /// Nothing.
    None,
    /// Read, list and hear of.
    Read,
    /// Write and create below.
    Write,
    /// Both.
    Both,
}

impl Access {
    const fn letter(self) -> u8 {
        match self {
            Self::None => b'n',
            Self::Read => b'r',
            Self::Write => b'w',
            Self::Both => b'b',
        }
    }

    /// Whether this grants all of `wanted`.
    #[must_use]
    pub const fn covers(self, wanted: Self) -> bool {
        match wanted {
            Self::None => true,
            Self::Read => matches!(self, Self::Read | Self::Both),
            Self::Write => matches!(self, Self::Write | Self::Both),
            Self::Both => matches!(self, Self::Both),
        }
    }
}

/// One entry of a list.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct Entry {
    /// What it grants.
    pub access: Access,
    /// Whom it names.
    pub domain: DomId,
}

impl Entry {
    /// Reads the text form, a letter and a decimal number, such as `r7`.
    ///
    /// # Errors
    /// `Invalid` for anything else.
    pub fn parse(text: &[u8]) -> Result<Self, Error> {
        let (letter, number) = text.split_first().ok_or(Error::Invalid)?;
        let access = match letter {
            b'n' => Access::None,
            b'r' => Access::Read,
            b'w' => Access::Write,
            b'b' => Access::Both,
            _ => return Err(Error::Invalid),
        };
        Ok(Self {
            access,
            domain: super::wire::domain(number)?,
        })
    }
}

/// A node's list.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct Permissions {
    owner: DomId,
    others: Access,
    named: Vec<Entry>,
}

impl Permissions {
    /// A list with one entry: `owner` may do everything, everyone else what `others` says.
    #[must_use]
    pub const fn new(owner: DomId, others: Access) -> Self {
        Self {
            owner,
            others,
            named: Vec::new(),
        }
    }

    /// The same list with one more entry.
    #[must_use]
    pub fn with(mut self, access: Access, domain: DomId) -> Self {
        self.named.push(Entry { access, domain });
        self
    }

    /// A list from its entries.
    ///
    /// # Errors
    /// `Invalid` if there is none.
    pub fn from_entries(entries: &[Entry]) -> Result<Self, Error> {
        let (first, named) = entries.split_first().ok_or(Error::Invalid)?;
        Ok(Self {
            owner: first.domain,
            others: first.access,
            named: named.to_vec(),
        })
    }

    /// The owner.
    #[must_use]
    pub const fn owner(&self) -> DomId {
        self.owner
    }

    /// How many entries the list has.
    #[must_use]
    pub fn len(&self) -> usize {
        1 + self.named.len()
    }

    /// Never: the owner is always there.
    #[must_use]
    pub const fn is_empty(&self) -> bool {
        false
    }

    /// Whether `caller` may do all of `wanted`.
    #[must_use]
    pub fn allow(&self, caller: Caller, wanted: Access) -> bool {
        if caller.is_privileged() || caller.acts_for(self.owner) {
            return true;
        }
        let named = self
            .named
            .iter()
            .find(|entry| caller.acts_for(entry.domain));
        named
            .map_or(self.others, |entry| entry.access)
            .covers(wanted)
    }

    /// Whether `caller` may change the list.
    #[must_use]
    pub fn owned_by(&self, caller: Caller) -> bool {
        caller.is_privileged() || caller.acts_for(self.owner)
    }

    /// Gives the node another owner, with the list otherwise as it is.
    #[must_use]
    pub fn owned_now_by(mut self, owner: DomId) -> Self {
        self.owner = owner;
        self
    }

    /// Whether `domain` is named anywhere.
    #[must_use]
    pub fn name(&self, domain: DomId) -> bool {
        self.owner == domain || self.named().any(|named| named == domain)
    }

    /// Those whom entries name, the owner's apart.
    pub fn named(&self) -> impl Iterator<Item = DomId> {
        self.named.iter().map(|entry| entry.domain)
    }

    /// The list without any entry for `domain`; what it owned falls to dom0.
    #[must_use]
    pub fn without(mut self, domain: DomId) -> Self {
        self.named.retain(|entry| entry.domain != domain);
        if self.owner == domain {
            self.owner = DomId::DOM0;
        }
        self
    }

    /// The text form: every entry with its NUL.
    #[must_use]
    pub fn to_text(&self) -> Vec<u8> {
        let mut text = vec![];
        let first = Entry {
            access: self.others,
            domain: self.owner,
        };
        for entry in core::iter::once(&first).chain(&self.named) {
            text.push(entry.access.letter());
            text.extend_from_slice(alloc::format!("{}\0", entry.domain).as_bytes());
        }
        text
    }
}

#[cfg(test)]
mod tests {
    use super::{Access, Caller, Entry, Permissions};
    use crate::DomId;

    fn caller(number: u16) -> Caller {
        Caller {
            domain: DomId::new(number).expect("a domain"),
            target: None,
        }
    }

    fn list(texts: &[&str]) -> Permissions {
        let entries: alloc::vec::Vec<_> = texts
            .iter()
            .map(|text| Entry::parse(text.as_bytes()).expect("well formed"))
            .collect();
        Permissions::from_entries(&entries).expect("not empty")
    }

    #[test]
    fn first_entry_is_the_owner_and_the_default() {
        let list = list(&["r3", "w4", "b4", "n5"]);
        assert!(list.allow(caller(3), Access::Both), "owner");
        assert!(list.allow(caller(0), Access::Both), "dom0");
        assert!(list.allow(caller(9), Access::Read), "default");
        assert!(!list.allow(caller(9), Access::Write));
        assert!(list.allow(caller(4), Access::Write), "first match counts");
        assert!(!list.allow(caller(4), Access::Read));
        assert!(!list.allow(caller(5), Access::Read), "n overrides");
    }

    #[test]
    fn a_target_lends_its_rights() {
        let list = list(&["n3", "r4"]);
        let helper = Caller {
            target: DomId::new(4),
            ..caller(9)
        };
        assert!(list.allow(helper, Access::Read));
        assert!(!list.allow(helper, Access::Write));
    }

    #[test]
    fn malformed_entries_are_invalid() {
        for text in ["", "r", "x1", "r-1", "r65535", "r1 ", "r 1", "r99999999999"] {
            assert!(Entry::parse(text.as_bytes()).is_err(), "{text:?}");
        }
    }

    #[test]
    fn text_form_reads_back() {
        assert_eq!(list(&["n0", "r7"]).to_text(), b"n0\0r7\0");
    }
}
