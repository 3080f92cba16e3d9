//! The number by which the hypervisor knows a domain.

use core::fmt;

/// A domain's number. dom0 is 0; numbers of ordinary domains come from the hypervisor.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Debug)]
pub struct DomId(u16);

impl DomId {
    /// The management domain, which these services run in.
    pub const DOM0: Self = Self(0);

    /// First number that is not a domain (`DOMID_FIRST_RESERVED` of the public headers).
    pub const FIRST_RESERVED: u16 = 0x7ff0;

    /// The domain with this number; none if the number is one of the reserved ones.
    #[must_use]
    pub const fn new(number: u16) -> Option<Self> {
        if number < Self::FIRST_RESERVED {
            Some(Self(number))
        } else {
            None
        }
    }

    /// The number.
    #[must_use]
    pub const fn get(self) -> u16 {
        self.0
    }

    /// Whether this is dom0, which may do everything.
    #[must_use]
    pub const fn is_dom0(self) -> bool {
        self.0 == 0
    }
}

impl fmt::Display for DomId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}", self.0)
    }
}
